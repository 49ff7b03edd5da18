package templates

import (
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"reflect"
	"strconv"
	"strings"
	texttemplate "text/template"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// maxOutput bounds one rendered part, and every string that a function makes
// on the way to it, in bytes.
const maxOutput = 1 << 20

var errTooLong = fmt.Errorf("makes more than %d bytes", maxOutput)

// functionNames are the functions that a part may call, as the parser wants
// them. `call` is left out: nothing in a notification is a function.
func functionNames() map[string]any {
	names := map[string]any{}
	for _, name := range []string{"and", "or", "not", "len", "slice", "eq", "ne", "lt", "le", "gt", "ge"} {
		names[name] = true // the engine's own
	}
	for name, f := range functions(nil) {
		names[name] = f
	}
	for name := range readerFunctions() {
		delete(names, readerCall(name))
	}
	delete(names, "once")
	names[cachedCall] = renderAlways // what openCached writes
	return names
}

// functions are what a part may call beyond the engine's own and/or/not,
// comparisons, len and slice; also the engine's own, where they could make a
// string of any length or hide a missing value.
//
// The reader functions stand there twice: as an author calls them, which only
// the parser sees, and as they are compiled, with the reader first.
func functions(t *translator) map[string]any {
	all := map[string]any{
		"default":  withDefault,
		"upper":    func(v any) (string, error) { return bounded(strings.ToUpper(fmt.Sprint(v))) },
		"lower":    func(v any) (string, error) { return bounded(strings.ToLower(fmt.Sprint(v))) },
		"truncate": truncate,
		"join":     join,
		"json":     writeJSON,
		"t":        t.translate,
		"asset":    assetIndex{}.url, // see translators.get
		"isolate":  isolate,
		"once":     once,
		"index":    index,
		"print":    func(v ...any) (string, error) { return bounded(fmt.Sprint(v...)) },
		"println":  func(v ...any) (string, error) { return bounded(fmt.Sprintln(v...)) },
		"printf":   format,
		"eq":       equal,
		"ne":       differ,
		"lt":       ordering(func(n int) bool { return n < 0 }),
		"le":       ordering(func(n int) bool { return n <= 0 }),
		"gt":       ordering(func(n int) bool { return n > 0 }),
		"ge":       ordering(func(n int) bool { return n >= 0 }),
		"html":     func(v ...any) (string, error) { return bounded(template.HTMLEscaper(v...)) },
		"js":       func(v ...any) (string, error) { return bounded(template.JSEscaper(v...)) },
		"urlquery": func(v ...any) (string, error) { return bounded(template.URLQueryEscaper(v...)) },
	}
	for name, f := range readerFunctions() {
		all[name], all[readerCall(name)] = f, f
	}
	return all
}

// bounded refuses a string that doubling in a loop has made.
func bounded(s string) (string, error) {
	if len(s) > maxOutput {
		return "", errTooLong
	}
	return s, nil
}

// withDefault is v, or fallback when v is absent, null or empty:
// {{.data.note | default "none"}}.
func withDefault(fallback, v any) any {
	if truth, _ := texttemplate.IsTrue(v); truth {
		return v
	}
	if b, ok := v.(bool); ok {
		return b // false is an answer, not an absence
	}
	if rv := reflect.ValueOf(v); rv.IsValid() && (rv.CanInt() || rv.CanFloat()) {
		return v // and so is zero
	}
	return fallback
}

// truncate keeps at most n characters, the last of which is … when it cut.
func truncate(n int, v any) (string, error) {
	s := fmt.Sprint(v)
	if n < 1 {
		return "", fmt.Errorf("truncate %d: keep at least 1 character", n)
	}
	if utf8.RuneCountInString(s) <= n {
		return bounded(s)
	}
	return bounded(strings.TrimRight(string([]rune(s)[:n-1]), " ") + "…")
}

// join writes a list with a separator: {{join ", " .data.items}}.
func join(separator string, list any) (string, error) {
	if list == nil {
		return "", nil
	}
	items, ok := list.([]any)
	if !ok {
		return "", fmt.Errorf("join wants a list, not %s", kindOf(list))
	}
	var b strings.Builder
	for i, item := range items {
		if i > 0 {
			b.WriteString(separator)
		}
		fmt.Fprint(&b, item)
		if b.Len() > maxOutput {
			return "", errTooLong
		}
	}
	return b.String(), nil
}

// writeJSON is v as JSON: {{json .data.order}}.
func writeJSON(v any) (string, error) {
	out, err := appendJSON(nil, v, 0)
	if err != nil {
		return "", err
	}
	return bounded(string(out))
}

// index is the engine's, but a key that is not there is an error, not a blank.
func index(v any, keys ...any) (any, error) {
	for _, key := range keys {
		switch container := v.(type) {
		case map[string]any:
			name, ok := key.(string)
			if !ok {
				return nil, fmt.Errorf("index: an object's key is text, not %s", kindOf(key))
			}
			if v, ok = container[name]; !ok {
				return nil, errors.New("index: the object has no such entry")
			}
		case []any:
			i, err := strconv.Atoi(fmt.Sprint(key))
			if err != nil || i < 0 || i >= len(container) {
				return nil, fmt.Errorf("index: no such entry in a list of %d", len(container))
			}
			v = container[i]
		default:
			return nil, fmt.Errorf("index: %s has no entries", kindOf(v))
		}
	}
	return v, nil
}

// kindOf names a value's type as JSON calls it, with its article.
func kindOf(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case string:
		return "a string"
	case bool:
		return "a boolean"
	case int, int64, float64, decimal, json.Number:
		return "a number"
	case []any:
		return "an array"
	case map[string]any:
		return "an object"
	case time.Time:
		return "a time"
	case jsontext.Value:
		return "JSON"
	}
	return fmt.Sprintf("a %T", v)
}
