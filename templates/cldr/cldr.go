// Package cldr writes numbers, dates and lists as readers of a locale expect
// them, by the tables of the Unicode Common Locale Data Repository (CLDR 48,
// https://cldr.unicode.org). The tables are those of its JSON packages; gen.go
// says how locales.txt is made of them.
//
//go:generate sh -c "go run gen.go $CLDR > locales.txt"
package cldr

import (
	_ "embed"
	"fmt"
	"strings"
	"sync"

	"github.com/go-json-experiment/json"
)

//go:embed locales.txt
var table string

// Locale is what CLDR says of one locale. It never changes, and is safe for
// use by many goroutines.
type Locale struct {
	// Tag is the locale that the tables have: an ancestor of the one asked for,
	// or en when they know nothing of its language.
	Tag string

	data
}

// data is a line of the table. Patterns are those of Unicode TR35.
type data struct {
	Parent      string     `json:"parent"`
	Decimal     string     `json:"decimal"`
	Group       string     `json:"group"`
	Minus       string     `json:"minus"`
	Percent     string     `json:"percent"`
	Digits      string     `json:"digits"` // "0" to "9"; empty: those of ASCII
	Least       string     `json:"least"`  // digits before the first group separator is written
	Number      string     `json:"number"`
	Percentage  string     `json:"percentage"`
	Months      [12]string `json:"months"`
	ShortMonths [12]string `json:"shortMonths"`
	Days        [7]string  `json:"days"`     // from Sunday
	LoneDays    [7]string  `json:"loneDays"` // where no month follows
	ShortDays   [7]string  `json:"shortDays"`
	Halves      [2]string  `json:"halves"` // am, pm
	Hours       []string   `json:"hours"`  // the part of the day of each hour, where a pattern wants it
	Era         string     `json:"era"`
	Date        [4]string  `json:"date"`     // full, long, medium, short
	Time        [2]string  `json:"time"`     // with and without seconds
	DateTime    [4]string  `json:"dateTime"` // as Date; {1} is the date
	And         [4]string  `json:"and"`      // start, middle, end, two
	Or          [4]string  `json:"or"`
}

// Tables is every locale. Each is read when it is first asked for.
type Tables struct {
	lines map[string]string

	mu   sync.RWMutex
	read map[string]*Locale // by the line's name, and so bounded
}

// New returns the tables.
func New() *Tables {
	t := &Tables{lines: map[string]string{}, read: map[string]*Locale{}}
	for line := range strings.Lines(table) {
		name, text, _ := strings.Cut(line, "\t")
		t.lines[name] = text
	}
	return t
}

// Locale is the nearest locale to a canonical BCP 47 tag: its own, or that of
// its longest prefix that is known.
func (t *Tables) Locale(tag string) *Locale {
	for name := tag; ; {
		if _, ok := t.lines[name]; ok {
			return t.load(name)
		}
		i := strings.LastIndexByte(name, '-')
		if i < 0 {
			return t.load("en")
		}
		name = name[:i]
	}
}

func (t *Tables) load(name string) *Locale {
	t.mu.RLock()
	l := t.read[name]
	t.mu.RUnlock()
	if l != nil {
		return l
	}
	l = &Locale{Tag: name}
	t.fill(&l.data, name)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.read[name] = l
	return l
}

// fill lays the line of a locale over those of its ancestors.
func (t *Tables) fill(d *data, name string) {
	var own data
	if err := json.Unmarshal([]byte(t.lines[name]), &own); err != nil {
		panic(fmt.Sprintf("cldr: the embedded line of %s: %v", name, err)) // a test reads every line
	}
	if own.Parent != "" {
		t.fill(d, own.Parent)
	}
	_ = json.Unmarshal([]byte(t.lines[name]), d)
}
