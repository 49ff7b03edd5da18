package templates

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/bojanz/currency"

	"github.com/carillonhq/carillon/templates/cldr"
)

// readers is what the functions that write for a reader share: numbers, money,
// dates and lists come out as the reader's locale and time zone have them.
type readers struct {
	zones  *zones
	tables *cldr.Tables

	mu    sync.RWMutex
	money map[string]*currency.Formatter // by the tag of a cldr.Locale, and so bounded
}

func newReaders() *readers {
	return &readers{zones: newZones(), tables: cldr.New(), money: map[string]*currency.Formatter{}}
}

// reading is one rendering, as its reader has it. The parts' calls of reader
// functions are given it as their first argument; see expandCalls.
type reading struct {
	all    *readers
	locale *cldr.Locale
	zone   string
}

// at makes r the reader of parts in a locale. The reader's own locale decides
// how things are written when it is of the parts' language, so that de-AT gets
// 1 234,50 in German texts; an English date in them would help nobody.
func (r *reading) at(all *readers, parts, own, zone string) {
	if isPseudo(parts) {
		parts = "en"
	}
	tag := parts
	if own != parts && own != "" {
		if canonical := canonicalLocale(own); baseOf(canonical) == baseOf(parts) && sameScript(canonical, parts) {
			tag = canonical
		}
	}
	*r = reading{all: all, locale: all.tables.Locale(tag), zone: zone}
}

func baseOf(tag string) string {
	base, _, _ := strings.Cut(tag, "-")
	return base
}

// readerFunctions are the template functions that a reader is given to. What
// an author calls `number` is compiled as readerCall("number") with the reader
// put first.
func readerFunctions() map[string]any {
	return map[string]any{
		"date":    (*reading).date,
		"dateIn":  (*reading).dateIn,
		"number":  (*reading).number,
		"percent": (*reading).percent,
		"money":   (*reading).writeMoney,
		"list":    (*reading).list,
		"listOr":  (*reading).listOr,
	}
}

// readerCall is what a reader function is called once it has its reader.
func readerCall(name string) string { return "reader_" + name }

// date is {{date FORMAT TIME}}: a time in the reader's zone.
func (r *reading) date(format string, v any) (string, error) { return r.dateIn(r.zone, format, v) }

// dateIn is {{dateIn ZONE FORMAT TIME}}. A day without a time ("2027-01-01") is
// that day in every zone.
func (r *reading) dateIn(zone, format string, v any) (string, error) {
	write, err := r.all.zones.dateWriter(format)
	if err != nil {
		return "", err
	}
	switch v := v.(type) {
	case time.Time:
		return bounded(write(r.locale, v.In(r.all.zones.get(zone))))
	case int64:
		return bounded(write(r.locale, time.Unix(v, 0).In(r.all.zones.get(zone))))
	case string:
		if day, err := time.Parse(time.DateOnly, v); err == nil {
			return bounded(write(r.locale, day))
		}
		at, err := time.Parse(time.RFC3339, v)
		if err != nil {
			return "", fmt.Errorf("date wants a time like 2027-01-01T09:00:00Z or a day like 2027-01-01")
		}
		return bounded(write(r.locale, at.In(r.all.zones.get(zone))))
	}
	return "", fmt.Errorf("date wants a time like 2027-01-01T09:00:00Z or seconds since 1970, not %s", kindOf(v))
}

// number is {{number VALUE}} or {{number DECIMALS VALUE}}: 1,234.5. A value may
// be a number, or a text of digits where a JSON number is not exact enough.
func (r *reading) number(args ...any) (string, error) {
	decimals, text, err := numberArguments("number", args)
	if err != nil {
		return "", err
	}
	out, err := r.locale.FormatNumber(text, decimals)
	if err != nil {
		return "", fmt.Errorf("number: the value %w", err)
	}
	return out, nil
}

// percent is {{percent VALUE}} or {{percent DECIMALS VALUE}}: 0.25 is 25%.
func (r *reading) percent(args ...any) (string, error) {
	decimals, text, err := numberArguments("percent", args)
	if err != nil {
		return "", err
	}
	out, err := r.locale.FormatPercent(text, decimals)
	if err != nil {
		return "", fmt.Errorf("percent: the value %w", err)
	}
	return out, nil
}

// numberArguments takes [DECIMALS] VALUE apart; decimals is -1 when absent.
func numberArguments(function string, args []any) (decimals int, text string, err error) {
	if len(args) < 1 || len(args) > 2 {
		return 0, "", fmt.Errorf("%s wants a value: {{%s .data.value}}, or {{%s 2 .data.value}} with two decimals", function, function, function)
	}
	decimals = -1
	if len(args) == 2 {
		if decimals, err = strconv.Atoi(fmt.Sprint(args[0])); err != nil || decimals < 0 || decimals > 20 {
			return 0, "", fmt.Errorf("%s: decimals are 0 to 20", function)
		}
	}
	value := args[len(args)-1]
	if s, ok := value.(string); ok {
		return decimals, s, nil
	}
	if text, err = numberText(value); err != nil {
		return 0, "", fmt.Errorf("%s: the value %w", function, err)
	}
	return decimals, text, nil
}

// writeMoney is {{money CURRENCY AMOUNT}}: an integer is an amount in the
// currency's smallest unit (1250 of EUR is 12.50, of JPY 1250, of KWD 1.250), a
// text is a decimal amount ("12.50"). A JSON number with a point is refused,
// because a binary fraction is no amount of money.
func (r *reading) writeMoney(code string, amount any) (string, error) {
	a, err := moneyAmount(strings.ToUpper(code), amount)
	if err != nil {
		return "", err
	}
	return bounded(r.all.formatter(r.locale.Tag).Format(a))
}

func moneyAmount(code string, amount any) (a currency.Amount, err error) {
	if !currency.IsValid(code) {
		return a, errors.New("money: the currency is no code of ISO 4217 like EUR or JPY")
	}
	switch v := amount.(type) {
	case int:
		return currency.NewAmountFromInt64(int64(v), code)
	case int64:
		return currency.NewAmountFromInt64(v, code)
	case string:
		if len(v) > 40 || strings.Trim(v, "-0123456789.") != "" {
			return a, errors.New(`money: the amount is no decimal number like "12.50"`)
		}
		if a, err = currency.NewAmount(v, code); err != nil {
			return a, errors.New(`money: the amount is no decimal number like "12.50"`)
		}
		return a, nil
	case decimal, float64, json.Number:
		return a, errors.New(`money wants an integer of the smallest unit (1250) or a text ("12.50"): a number with a point may not be exact`)
	}
	return a, fmt.Errorf(`money wants an integer of the smallest unit (1250) or a text ("12.50"), not %s`, kindOf(amount))
}

// formatter writes money for one locale. It is safe for many goroutines as
// long as nobody sets it.
func (r *readers) formatter(tag string) *currency.Formatter {
	r.mu.RLock()
	f := r.money[tag]
	r.mu.RUnlock()
	if f != nil {
		return f
	}
	f = currency.NewFormatter(currency.NewLocale(tag))
	r.mu.Lock()
	defer r.mu.Unlock()
	r.money[tag] = f
	return f
}

// list is {{list .data.names}}: "a, b, and c".
func (r *reading) list(v any) (string, error) {
	items, err := listItems("list", v)
	if err != nil {
		return "", err
	}
	return bounded(r.locale.FormatAnd(items))
}

// listOr is {{listOr .data.names}}: "a, b, or c".
func (r *reading) listOr(v any) (string, error) {
	items, err := listItems("listOr", v)
	if err != nil {
		return "", err
	}
	return bounded(r.locale.FormatOr(items))
}

// maxListed bounds a list that is written as a sentence, whose making costs
// the square of its length.
const maxListed = 1000

func listItems(function string, v any) ([]string, error) {
	list, ok := v.([]any)
	switch {
	case v == nil:
		return nil, nil
	case !ok:
		return nil, fmt.Errorf("%s wants a list, not %s", function, kindOf(v))
	case len(list) > maxListed:
		return nil, fmt.Errorf("%s wants at most %d items", function, maxListed)
	}
	items, size := make([]string, len(list)), 0
	for i, item := range list {
		items[i] = fmt.Sprint(item)
		if size += len(items[i]); size > maxOutput/8 {
			return nil, errTooLong
		}
	}
	return items, nil
}

// isolate is {{isolate .to.name}}: a value of unknown direction between the
// marks that keep it from turning the text around it (Unicode UAX 9 §2.4.2).
func isolate(v any) (string, error) { return bounded("\u2068" + fmt.Sprint(v) + "\u2069") }

// isReaderFunction reports whether a call's outcome depends on who reads.
func isReaderFunction(name string) bool {
	switch name {
	case "date", "dateIn", "number", "percent", "money", "list", "listOr":
		return true // the names in readerFunctions, without making them
	}
	return false
}
