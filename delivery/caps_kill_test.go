package delivery_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/delivery"
	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/recipients"
	"github.com/carillonhq/carillon/throttle"
)

// dying are caps that answer once, after which their consumer hears nothing of
// Redis any more, as if it had been killed: with its places taken, and its plan
// not written.
type dying struct {
	delivery.Capper
	once sync.Once
	rdb  *redis.Client
	dead chan struct{}
}

func (d *dying) Decide(ctx context.Context, asks []throttle.Ask) ([]throttle.Answer, error) {
	answers, err := d.Capper.Decide(ctx, asks)
	d.once.Do(func() {
		d.rdb.Close()
		close(d.dead)
	})
	return answers, err
}

// startDying starts a consumer that dies of its first decision about caps. It
// has everything that it says to Redis go over a client of its own.
func (w *world) startDying(name string) (dead chan struct{}) {
	w.t.Helper()
	rdb := w.server.Client()
	q := w.openQueue(rdb)
	caps, err := throttle.NewCaps(w.rdb, "t", q.Partition, w.setup.caps)
	if err != nil {
		w.t.Fatal(err)
	}
	d := &dying{Capper: caps, rdb: rdb, dead: make(chan struct{})}
	w.start(name, func(o *delivery.Options) { o.Queue, o.Caps = q, d })
	return d.dead
}

// A consumer dies between the caps' decision and the plan. Whoever takes over
// decides again for the same deliveries: the same places count, each once.
func TestPlacesThatADeadConsumerTookCountOnce(t *testing.T) {
	t.Parallel()
	for _, over := range []config.Over{config.OverDrop, config.OverDefer, config.OverDigest} {
		t.Run(string(over), func(t *testing.T) {
			t.Parallel()
			s := digesting(3, func(c *config.Cap) { c.Over = over })
			s.visibility = 300 * time.Millisecond
			w := newWorld(t, s)
			var ids []string
			for i := range 5 {
				ids = append(ids, w.admit(note("ada", i)))
			}
			<-w.startDying("c1")
			had := w.usage()
			if had.Used == 0 {
				t.Fatal("the consumer died before it had taken any place")
			}
			w.start("c2")
			w.settledAs(ids, over)
			if got := w.usage(); got.Used != 3 || got.Waiting != waits[over] {
				t.Errorf("%d places count and %d wait, want 3 and %d (%d and %d when it died)", got.Used, got.Waiting, waits[over], had.Used, had.Waiting)
			}
		})
	}
}

// waits is how many of five deliveries have a place to come under a rule of
// three: each of the two too many, or the one that carries the other.
var waits = map[config.Over]int{config.OverDrop: 0, config.OverDefer: 2, config.OverDigest: 1}

// settledAs waits until of five deliveries three are delivered and two are what
// the rule makes of them.
func (w *world) settledAs(ids []string, over config.Over) {
	w.t.Helper()
	want := map[config.Over]map[notice.Status]int{
		config.OverDrop:   {notice.StatusDelivered: 3, notice.StatusCapped: 2},
		config.OverDefer:  {notice.StatusDelivered: 3, notice.StatusDeferred: 2},
		config.OverDigest: {notice.StatusDelivered: 3, notice.StatusDeferred: 1, notice.StatusCapped: 1},
	}[over]
	w.await("three delivered and two as the rule has it", func() bool {
		got := map[notice.Status]int{}
		for _, id := range ids {
			for _, d := range w.record(id).Deliveries {
				got[d.Status]++
			}
		}
		for status, n := range want {
			if got[status] != n {
				return false
			}
		}
		return true
	})
	if n := len(w.bodies("ada")); n != 3 {
		w.t.Errorf("%d were sent, want 3", n)
	}
}

// usage is what ada has of the one rule.
func (w *world) usage() throttle.Usage {
	w.t.Helper()
	got, err := w.caps.Inspect(w.t.Context(), "acme", "ada", w.clock.Now())
	if err != nil || len(got) != 1 {
		w.t.Fatalf("%+v, %v", got, err)
	}
	return got[0]
}

// A consumer dies between the caps' decision and the plan, and before another
// takes over the person asks not to be disturbed. The place of then is no place
// for the hour at which it goes now.
func TestAPlaceFromBeforeThePersonHadQuietHoursIsGivenBack(t *testing.T) {
	t.Parallel()
	s := hourly()
	s.visibility, s.at = 300*time.Millisecond, time.Date(2026, 11, 2, 21, 30, 0, 0, time.UTC)
	w := newWorld(t, s)
	w.profile("ada", recipients.Profile{Email: "ada@example.com"})
	c := w.start("c0")
	w.ended(w.admit(toUser("ada", notice.MediumEmail)))
	c.stop()
	second := w.admit(toUser("ada", notice.MediumEmail))
	<-w.startDying("c1")
	w.profile("ada", recipients.Profile{Email: "ada@example.com", QuietHours: &recipients.QuietHours{From: "21:00", To: "08:00"}})
	w.start("c2")
	morning := time.Date(2026, 11, 3, 8, 0, 0, 0, time.UTC)
	if until := last(w.became(second, 1, notice.StatusDeferred)).Until; !until.Equal(morning) {
		t.Errorf("the second waits until %v, want %v", until, morning)
	}
	third := w.admit(toUser("ada", notice.MediumEmail))
	if until := last(w.became(third, 1, notice.StatusDeferred)).Until; !until.Equal(morning.Add(time.Hour)) {
		t.Errorf("the third waits until %v, want an hour after the second", until)
	}
}
