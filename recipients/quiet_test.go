package recipients_test

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/recipients"
)

func zone(t testing.TB, name string) *time.Location {
	t.Helper()
	z, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func TestQuietHoursEndWhenTheClockOnTheWallSaysSo(t *testing.T) {
	cases := []struct {
		name, zone, from, to string
		now, want            string // want empty: not quiet
	}{
		{"in the evening", "Europe/Berlin", "22:00", "08:00", "2026-01-10T22:00:00+01:00", "2026-01-11T08:00:00+01:00"},
		{"in the small hours", "Europe/Berlin", "22:00", "08:00", "2026-01-11T03:00:00+01:00", "2026-01-11T08:00:00+01:00"},
		{"just before they begin", "Europe/Berlin", "22:00", "08:00", "2026-01-10T21:59:59+01:00", ""},
		{"at their very end", "Europe/Berlin", "22:00", "08:00", "2026-01-11T08:00:00+01:00", ""},
		{"at noon", "Europe/Berlin", "12:00", "14:00", "2026-01-10T13:00:00+01:00", "2026-01-10T14:00:00+01:00"},
		{"after noon", "Europe/Berlin", "12:00", "14:00", "2026-01-10T14:00:00+01:00", ""},
		{"from midnight", "Europe/Berlin", "00:00", "06:00", "2026-01-10T00:00:00+01:00", "2026-01-10T06:00:00+01:00"},
		{"until midnight", "Europe/Berlin", "20:00", "00:00", "2026-01-10T23:59:59+01:00", "2026-01-11T00:00:00+01:00"},
		{"over a month's end", "Europe/Berlin", "22:00", "08:00", "2026-01-31T23:00:00+01:00", "2026-02-01T08:00:00+01:00"},

		{"the night that is an hour short", "Europe/Berlin", "22:00", "08:00", "2026-03-28T23:00:00+01:00", "2026-03-29T08:00:00+02:00"},
		{"the night that is an hour long", "Europe/Berlin", "22:00", "08:00", "2026-10-24T23:00:00+02:00", "2026-10-25T08:00:00+01:00"},
		{"an end that is left out is the jump", "Europe/Berlin", "22:00", "02:30", "2026-03-29T01:00:00+01:00", "2026-03-29T03:00:00+02:00"},
		{"a beginning that is left out is the jump", "Europe/Berlin", "02:30", "08:00", "2026-03-29T03:00:00+02:00", "2026-03-29T08:00:00+02:00"},
		{"and not before it", "Europe/Berlin", "02:30", "08:00", "2026-03-29T01:59:59+01:00", ""},
		{"hours that are left out altogether", "Europe/Berlin", "02:10", "02:50", "2026-03-29T03:00:00+02:00", ""},
		{"an end that comes twice is the second", "Europe/Berlin", "22:00", "02:30", "2026-10-25T02:15:00+02:00", "2026-10-25T02:30:00+01:00"},
		{"between the two", "Europe/Berlin", "22:00", "02:30", "2026-10-25T02:45:00+02:00", "2026-10-25T02:30:00+01:00"},
		{"a beginning that comes twice is the first", "Europe/Berlin", "02:30", "08:00", "2026-10-25T02:30:00+02:00", "2026-10-25T08:00:00+01:00"},
		{"and quiet when the hour comes again", "Europe/Berlin", "02:30", "08:00", "2026-10-25T02:10:00+01:00", "2026-10-25T08:00:00+01:00"},
		{"an end at the second hour's end", "Europe/Berlin", "22:00", "03:00", "2026-10-25T02:59:59+01:00", "2026-10-25T03:00:00+01:00"},

		{"New York in spring", "America/New_York", "22:00", "02:30", "2026-03-08T01:30:00-05:00", "2026-03-08T03:00:00-04:00"},
		{"New York in autumn", "America/New_York", "01:15", "01:45", "2026-11-01T01:30:00-04:00", "2026-11-01T01:45:00-05:00"},
		{"half an hour on Lord Howe", "Australia/Lord_Howe", "22:00", "01:45", "2026-04-05T01:40:00+11:00", "2026-04-05T01:45:00+10:30"},
		{"clocks that jump at midnight", "America/Santiago", "22:00", "00:30", "2026-09-05T23:59:59-04:00", "2026-09-06T01:00:00-03:00"},
		{"clocks that go back over midnight", "America/Santiago", "23:30", "06:00", "2026-04-04T23:10:00-04:00", "2026-04-05T06:00:00-04:00"},
		{"a day that was left out", "Pacific/Apia", "22:00", "08:00", "2011-12-29T23:00:00-10:00", "2011-12-31T08:00:00+14:00"},
		{"a zone without seasons", "Asia/Kolkata", "22:00", "08:00", "2026-06-01T23:00:00+05:30", "2026-06-02T08:00:00+05:30"},
		{"UTC", "UTC", "22:00", "08:00", "2026-06-01T23:00:00Z", "2026-06-02T08:00:00Z"},

		{"hours that cannot be read", "UTC", "22", "08:00", "2026-06-01T23:00:00Z", ""},
		{"hours without length", "UTC", "22:00", "22:00", "2026-06-01T22:00:00Z", ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			q := recipients.QuietHours{From: c.from, To: c.to}
			end, quiet := q.Until(moment(t, c.now), zone(t, c.zone))
			if quiet != (c.want != "") {
				t.Fatalf("%s to %s at %s: quiet %v until %v, want %q", c.from, c.to, c.now, quiet, end, c.want)
			}
			if quiet && !end.Equal(moment(t, c.want)) {
				t.Errorf("%s to %s at %s: until %v, want %s", c.from, c.to, c.now, end, c.want)
			}
		})
	}
}

func TestQuietHoursEndOnceAndForAll(t *testing.T) {
	names := []string{"Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Santiago", "Africa/Casablanca", "Asia/Tehran", "Pacific/Apia", "UTC"}
	clock := rapid.Custom(func(t *rapid.T) string {
		return fmt.Sprintf("%02d:%02d", rapid.IntRange(0, 23).Draw(t, "hour"), rapid.SampledFrom([]int{0, 15, 30, 59}).Draw(t, "minute"))
	})
	rapid.Check(t, func(rt *rapid.T) {
		z := zone(t, rapid.SampledFrom(names).Draw(rt, "zone"))
		q := recipients.QuietHours{From: clock.Draw(rt, "from"), To: clock.Draw(rt, "to")}
		now := time.Unix(rapid.Int64Range(1_262_304_000, 1_893_456_000).Draw(rt, "now"), 0) // 2010 to 2030
		end, quiet := q.Until(now, z)
		if !quiet {
			return
		}
		if !end.After(now) || end.Sub(now) > 49*time.Hour {
			rt.Fatalf("ends at %v, %v from now", end, end.Sub(now))
		}
		if later, again := q.Until(end, z); again {
			rt.Fatalf("quiet again at its end %v, until %v", end, later)
		}
		if between, still := q.Until(end.Add(-time.Second), z); !still || !between.Equal(end) {
			rt.Fatalf("a second before the end %v: quiet %v until %v", end, still, between)
		}
		if q.From != q.To && now.In(z).Format("15:04") == q.To && end.In(z).Format("15:04") != q.To {
			rt.Fatalf("begins at its own end %s, and ends at %v", q.To, end.In(z))
		}
	})
}

func TestTheHoursOfTheConfigurationAreThoseOfAProfile(t *testing.T) {
	q := recipients.QuietHours(config.QuietHours{From: "22:00", To: "08:00", Except: []string{"critical", "security"}})
	cases := []struct {
		lane     notice.Lane
		category string
		want     bool
	}{
		{notice.LaneCritical, "", true}, {notice.LaneNormal, "security", true},
		{notice.LaneNormal, "news", false}, {notice.LaneBulk, "", false},
	}
	for _, c := range cases {
		if got := q.Excepts(c.lane, c.category); got != c.want {
			t.Errorf("Excepts(%s, %q) = %v, want %v", c.lane, c.category, got, c.want)
		}
	}
}

func TestAZoneThatThereIsNotIsUTC(t *testing.T) {
	var zones recipients.Zones
	for name, want := range map[string]string{"": "UTC", "Europe/Berlin": "Europe/Berlin", "Mars/Olympus": "UTC", "Local": "UTC", "../etc/passwd": "UTC"} {
		for range 2 { // read, then remembered
			if got := zones.Location(name).String(); got != want {
				t.Errorf("zone %q: got %s, want %s", name, got, want)
			}
		}
	}
}

func BenchmarkUntil(b *testing.B) {
	q := recipients.QuietHours{From: "22:00", To: "08:00"}
	z, now := zone(b, "Europe/Berlin"), moment(b, "2026-01-10T23:00:00+01:00")
	for b.Loop() {
		q.Until(now, z)
	}
}
