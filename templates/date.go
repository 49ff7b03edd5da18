package templates

import (
	"fmt"
	"strings"
	"sync"
	"time"
	_ "time/tzdata" // recipients live in zones that the host may not know
)

// maxZones bounds how many zones are kept; there are about 600 names.
const maxZones = 1000

// zones keeps the time zones that recipients live in, because reading one
// costs a file.
type zones struct {
	mu     sync.RWMutex
	loaded map[string]*time.Location
}

func newZones() *zones { return &zones{loaded: map[string]*time.Location{}} }

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

// dateLayouts are the formats that read the same in every locale; any other
// format is a Go layout such as 02.01.2006.
func dateLayouts() map[string]string {
	return map[string]string{"date": time.DateOnly, "time": "15:04", "datetime": "2006-01-02 15:04", "rfc3339": time.RFC3339}
}

// dateLayout is the Go layout that a format's name means.
func dateLayout(format string) (string, error) {
	if layout, ok := dateLayouts()[format]; ok {
		return layout, nil
	}
	if !strings.ContainsAny(format, "0123456789") {
		return "", fmt.Errorf("%q is no date format: write date, time, datetime, rfc3339 or a layout of 2006-01-02 15:04", format)
	}
	return format, nil
}

// format is the template function dateIn ZONE FORMAT TIME; `date FORMAT TIME`
// becomes it with the recipient's zone. A day without a time ("2027-01-01") is
// that day in every zone.
func (z *zones) format(zone, format string, v any) (string, error) {
	layout, err := dateLayout(format)
	if err != nil {
		return "", err
	}
	switch v := v.(type) {
	case time.Time:
		return bounded(v.In(z.get(zone)).Format(layout))
	case int64:
		return bounded(time.Unix(v, 0).In(z.get(zone)).Format(layout))
	case string:
		if day, err := time.Parse(time.DateOnly, v); err == nil {
			return bounded(day.Format(layout))
		}
		at, err := time.Parse(time.RFC3339, v)
		if err != nil {
			return "", fmt.Errorf("date wants a time like 2027-01-01T09:00:00Z or a day like 2027-01-01")
		}
		return bounded(at.In(z.get(zone)).Format(layout))
	}
	return "", fmt.Errorf("date wants a time like 2027-01-01T09:00:00Z or seconds since 1970, not %s", kindOf(v))
}
