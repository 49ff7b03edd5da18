package templates

import (
	"fmt"
	"strings"
	"sync"
	"time"
	_ "time/tzdata" // recipients live in zones that the host may not know

	"github.com/carillonhq/carillon/templates/cldr"
)

// maxZones bounds how many zones are kept; there are about 600 names.
const maxZones = 1000

// zones keeps the time zones that recipients live in, because reading one
// costs a file.
type zones struct {
	formats map[string]dateFormat // by name

	mu     sync.RWMutex
	loaded map[string]*time.Location
}

func newZones() *zones {
	return &zones{formats: dateFormats(), loaded: map[string]*time.Location{}}
}

// get is the zone of an IANA name; UTC for a name that nobody knows.
func (z *zones) get(name string) *time.Location {
	if name == "" || name == "UTC" {
		return time.UTC
	}
	z.mu.RLock()
	loc, ok := z.loaded[name]
	z.mu.RUnlock()
	if ok {
		return loc
	}
	loc, err := time.LoadLocation(name)
	if err != nil || name == "Local" {
		return time.UTC
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	if len(z.loaded) < maxZones {
		z.loaded[name] = loc
	}
	return loc
}

// dateFormat writes a time, for a locale.
type dateFormat func(l *cldr.Locale, at time.Time) string

// dateFormats are the formats that have names: those that read the same in
// every locale, and those of CLDR, which each locale writes its own way.
func dateFormats() map[string]dateFormat {
	formats := map[string]dateFormat{}
	for name, layout := range map[string]string{"date": time.DateOnly, "time": "15:04", "datetime": "2006-01-02 15:04", "rfc3339": time.RFC3339} {
		formats[name] = func(_ *cldr.Locale, at time.Time) string { return at.Format(layout) }
	}
	for style, name := range [...]string{cldr.Full: "full", cldr.Long: "long", cldr.Medium: "medium", cldr.Short: "short"} {
		s := cldr.Style(style)
		formats[name] = func(l *cldr.Locale, at time.Time) string { return l.FormatDate(at, s) }
		formats[name+"-datetime"] = func(l *cldr.Locale, at time.Time) string { return l.FormatDateTime(at, s) }
	}
	for name, s := range map[string]cldr.Style{"medium-time": cldr.Medium, "short-time": cldr.Short} {
		formats[name] = func(l *cldr.Locale, at time.Time) string { return l.FormatTime(at, s) }
	}
	return formats
}

// dateWriter is what a format's name means; any other format is a Go layout
// such as 2 January 2006, whose names of days and months the locale translates.
func (z *zones) dateWriter(format string) (dateFormat, error) {
	if write, ok := z.formats[format]; ok {
		return write, nil
	}
	if !strings.ContainsAny(format, "0123456789") {
		return nil, fmt.Errorf("%q is no date format: write %s or a layout of 2006-01-02 15:04", format, strings.Join(keys(z.formats), ", "))
	}
	return func(l *cldr.Locale, at time.Time) string { return localLayout(l, format, at) }, nil
}

// localLayout writes a Go layout with the locale's names for days and months.
func localLayout(l *cldr.Locale, layout string, at time.Time) string {
	names := [...]struct{ word, name string }{
		{"January", l.Months[at.Month()-1]}, {"Jan", l.ShortMonths[at.Month()-1]},
		{"Monday", l.Days[at.Weekday()]}, {"Mon", l.ShortDays[at.Weekday()]},
	}
	var b strings.Builder
	for layout != "" {
		first, word, name := len(layout), "", ""
		for _, n := range names {
			if i := strings.Index(layout, n.word); i >= 0 && i < first {
				first, word, name = i, n.word, n.name
			}
		}
		b.WriteString(at.Format(layout[:first]) + name)
		layout = layout[first+len(word):]
	}
	return b.String()
}
