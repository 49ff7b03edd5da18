package recipients

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/carillonhq/carillon/notice"
)

// QuietHours is a time of day in which a person is not disturbed, by the clock
// on their wall. The fields are those of config.QuietHours, so that either
// converts to the other.
type QuietHours struct {
	From   string   `json:"from"` // HH:MM, the first quiet minute
	To     string   `json:"to"`   // HH:MM, the first minute that is not; before From: on the next day
	Except []string `json:"except,omitempty"`
}

// Excepts reports whether a lane or a category is among those that do not wait.
func (q *QuietHours) Excepts(lane notice.Lane, category string) bool {
	return slices.Contains(q.Except, string(lane)) || category != "" && slices.Contains(q.Except, category)
}

// Until reports whether now is quiet in a zone, and when that ends. It is right
// on the days when clocks change: an hour that comes twice is quiet both times,
// and a boundary in an hour that is left out is the moment at which the clock
// jumps. Hours that cannot be read, or that begin and end at the same time, are
// never quiet, and then end is now.
func (q *QuietHours) Until(now time.Time, zone *time.Location) (end time.Time, quiet bool) {
	from, errFrom := parseClock(q.From)
	to, errTo := parseClock(q.To)
	if errFrom != nil || errTo != nil || from == to {
		return now, false
	}
	nights := 0
	if to < from {
		nights = 1
	}
	year, month, day := now.In(zone).Date()
	// The hours that began yesterday may last until today. Those of two days
	// meet where a whole day is left out (Samoa, 30 December 2011).
	until := now
	for shift := -1; ; shift++ {
		if begin := from.on(year, month, day+shift, zone).first; until.Before(begin) {
			return until, until.After(now)
		}
		if end := to.on(year, month, day+shift+nights, zone).last; until.Before(end) {
			until = end
		}
	}
}

func (q *QuietHours) check(at string, f *notice.Faults) {
	from, err := parseClock(q.From)
	if err != nil {
		f.Add(at+"/from", err.Error())
	}
	to, errTo := parseClock(q.To)
	if errTo != nil {
		f.Add(at+"/to", errTo.Error())
	}
	if err == nil && errTo == nil && from == to {
		f.Add(at+"/to", "is the same as from, which makes no time quiet: leave quiet_hours out, or give another time")
	}
	if len(q.Except) > MaxExceptions {
		f.Add(at+"/except", tooMany(len(q.Except), MaxExceptions))
		return
	}
	for i, name := range q.Except {
		if detail := notice.CheckCategory(name); detail != "" { // lanes are spelt like categories
			f.Add(fmt.Sprintf("%s/except/%d", at, i), detail)
		}
	}
}

// clock is a time of day on the wall, in minutes after midnight.
type clock int

func parseClock(s string) (clock, error) {
	digit := func(i int) clock { return clock(s[i] - '0') }
	ok := len(s) == 5 && s[2] == ':'
	for _, i := range [...]int{0, 1, 3, 4} {
		ok = ok && s[i] >= '0' && s[i] <= '9'
	}
	if ok {
		hour, minute := digit(0)*10+digit(1), digit(3)*10+digit(4)
		if hour < 24 && minute < 60 {
			return hour*60 + minute, nil
		}
	}
	return 0, fmt.Errorf("%.20q is no time of day: write it as 22:00", s)
}

// moments are the first and the last instant at which a wall clock shows a
// time; they differ only where clocks go back over it.
type moments struct{ first, last time.Time }

// on finds when the clock on the wall shows c on a day. Where clocks jump over
// c, that is the moment of the jump.
func (c clock) on(year int, month time.Month, day int, zone *time.Location) moments {
	wall := time.Date(year, month, day, int(c)/60, int(c)%60, 0, 0, time.UTC)
	t := time.Date(year, month, day, int(c)/60, int(c)%60, 0, 0, zone)
	start, end := t.ZoneBounds()
	switch shown := onWall(t); {
	case shown.After(wall):
		return moments{start, start} // the gap lies just before t
	case shown.Before(wall):
		return moments{end, end} // the gap lies just after t
	}
	m := moments{t, t}
	if !start.IsZero() {
		if earlier := wall.Add(-offset(start.Add(-1))); earlier.Before(start) {
			m.first = earlier.In(zone)
		}
	}
	if !end.IsZero() {
		if later := wall.Add(-offset(end)); !later.Before(end) {
			m.last = later.In(zone)
		}
	}
	return m
}

// onWall is what the wall clock shows at t, as if it were UTC.
func onWall(t time.Time) time.Time { return t.UTC().Add(offset(t)) }

func offset(t time.Time) time.Duration {
	_, seconds := t.Zone()
	return time.Duration(seconds) * time.Second
}

// Zones remembers time zones that were read, since reading one takes a file.
// The zero Zones is ready, and safe to use from many goroutines. It holds no
// more than there are zones.
type Zones struct{ read sync.Map }

// Location is the zone of an IANA name; UTC for the empty name, and for one
// that there is not.
func (z *Zones) Location(name string) *time.Location {
	if name == "" {
		return time.UTC
	}
	if known, ok := z.read.Load(name); ok {
		return known.(*time.Location)
	}
	zone, err := time.LoadLocation(name)
	if err != nil || name == "Local" {
		return time.UTC
	}
	z.read.Store(name, zone)
	return zone
}
