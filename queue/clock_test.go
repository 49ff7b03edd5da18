package queue

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
)

func TestAClockIsItsServersWhateverTheHostSays(t *testing.T) {
	server := miniredis.RunT(t)
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer rdb.Close()
	c := NewClock(rdb)
	if off := time.Until(c.Now()).Abs(); off > time.Second {
		t.Fatalf("before the first answer the clock is the host's, but it is %v off", off)
	}
	theirs := time.Now().Add(-time.Hour).Truncate(time.Microsecond) // as TIME tells it
	server.SetTime(theirs)
	if err := c.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	if off := c.Now().Sub(theirs); off < 0 || off > 5*time.Second {
		t.Errorf("the clock is %v past the server's", off)
	}
	server.Close()
	if err := c.Sync(t.Context()); err == nil {
		t.Error("a server that is away was no error")
	}
	if off := c.Now().Sub(theirs); off < 0 || off > 10*time.Second {
		t.Errorf("without its server the clock is %v past it", off)
	}
}

func TestAClockMovesOnlyBeyondWhatARoundTripLeavesOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		c := NewClock(nil)
		c.set(start.Add(time.Hour), 10*time.Millisecond)
		time.Sleep(time.Minute)
		at := func(want time.Duration) {
			t.Helper()
			if got := c.Now().Sub(start); got != want {
				t.Errorf("the clock stands at %v, want %v", got, want)
			}
		}
		at(time.Hour + time.Minute)
		c.set(start.Add(time.Hour+time.Minute-5*time.Millisecond), 10*time.Millisecond)
		at(time.Hour + time.Minute)
		c.set(start.Add(time.Hour+time.Minute-5*time.Millisecond), time.Millisecond)
		at(time.Hour + time.Minute - 5*time.Millisecond)
		c.set(start.Add(time.Hour+time.Minute), 10*time.Millisecond)
		at(time.Hour + time.Minute)
		c.set(start, 10*time.Millisecond) // the server's own clock was set back
		at(0)
	})
}

// The server told its time at once, and the answer took 200 ms to be read: half
// of the trip on top of it was 100 ms too much.
func TestAClockIsNotAheadOfItsServerAfterAnAnswerThatWasSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewClock(nil)
		for _, share := range []time.Duration{0, 1, 2} { // halves of the trip that were before the server read its clock
			const trip = 200 * time.Millisecond
			time.Sleep(time.Minute)
			truth := time.Now().Add(time.Hour)
			c.set(truth.Add(-(2-share)*trip/2), trip)
			if off := c.Now().Sub(truth); off > 0 || off < -trip {
				t.Errorf("%d halves of the trip before: the clock is %v past the server's", share, off)
			}
		}
		truth := time.Now().Add(time.Hour)
		c.set(truth, 100*time.Microsecond)
		if off := c.Now().Sub(truth); off != 0 {
			t.Errorf("after a quick answer the clock is %v past the server's", off)
		}
	})
}
