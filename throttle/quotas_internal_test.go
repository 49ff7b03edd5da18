package throttle

import (
	"testing"
	"time"
	"unsafe"

	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/notice"
)

// setTo is a moment as a machine reads it whose clock was set by so many whole
// seconds: the wall's time is another, and the monotonic one goes on. It relies
// on how time.Time is laid out, which it checks.
func setTo(t *testing.T, now time.Time, by time.Duration) time.Time {
	t.Helper()
	before := now
	fields := (*struct {
		wall uint64
		ext  int64
		loc  *time.Location
	})(unsafe.Pointer(&now))
	const nsecBits = 30 // below the seconds
	fields.wall = uint64(int64(fields.wall) + int64(by/time.Second)<<nsecBits)
	if now.Round(0).Sub(before.Round(0)) != by || now.Sub(before) != 0 {
		t.Skip("time.Time is laid out another way")
	}
	return now
}

// TestAClockThatIsSetBackPutsNothingOffForLonger sets a machine's clock back by
// an hour while things are put off for a rate: what came next had to stay away
// for that hour.
func TestAClockThatIsSetBackPutsNothingOffForLonger(t *testing.T) {
	q := NewQuotas(NewRates(nil, "t", "c"), notice.ChannelEmail, config.KeyedRates{Domains: tenASecond("slow.example")})
	at := q.Pin(Names{ScopeHost: "slow.example"}).Slowest()
	for range 100 {
		at.PutOff(0, 2)
	}
	q.now = func() time.Time { return setTo(t, time.Now(), -time.Hour) }
	if wait := at.PutOff(0, 2); wait > time.Minute {
		t.Errorf("the next of 10/s has to stay away for %v", wait)
	}
	if s := q.Standings(1); len(s) != 1 || s[0].PutOff > time.Minute.Milliseconds() {
		t.Errorf("it is reported as %+v", s)
	}
}

// TestRatesOfTwoTablesDoNotWriteIntoEachOther has a table with room behind it,
// into which the one that follows it was written.
func TestRatesOfTwoTablesDoNotWriteIntoEachOther(t *testing.T) {
	mine := append(make(config.RateTable, 0, 2), tenASecond("mine.example")...)
	q := NewQuotas(NewRates(nil, "t", "c"), notice.ChannelWebhook, config.KeyedRates{Domains: mine, Hosts: tenASecond("a.example")})
	NewQuotas(NewRates(nil, "t", "c"), notice.ChannelWebhook, config.KeyedRates{Domains: mine, Hosts: tenASecond("b.example")})
	if q.Pin(Names{ScopeHost: "a.example"}).Slowest() == nil {
		t.Error("a host lost its rate when another table was made of the same one")
	}
}

func tenASecond(name string) config.RateTable {
	return config.RateTable{{Name: name, Rate: config.Rate{Count: 10, Per: time.Second}}}
}

// TestAClockThatIsSetLosesNothingThatAHostTook counts what a host takes while
// the machine's clock is set: back, nothing counted until it was where it had
// been, so that the host's next refusal taught that it takes next to nothing.
func TestAClockThatIsSetLosesNothingThatAHostTook(t *testing.T) {
	for name, by := range map[string]time.Duration{"back": -time.Hour, "on": time.Hour} {
		t.Run(name, func(t *testing.T) {
			var r recent
			now := time.Now()
			for range 50 {
				r.add(now)
			}
			for range 50 {
				r.add(setTo(t, now.Add(100*time.Millisecond), by))
			}
			if n := r.count(setTo(t, now.Add(200*time.Millisecond), by)); n != 100 {
				t.Errorf("%d were taken in the last second, want 100", n)
			}
		})
	}
}
