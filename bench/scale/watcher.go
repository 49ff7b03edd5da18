package main

import (
	"context"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/carillonhq/carillon/channels"
	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/throttle"
)

// watcher is a provider that refuses a share of what it is sent the first time,
// and remembers who got what when, to hold it against the rules.
type watcher struct {
	now    func() time.Time
	refuse float64

	mu  sync.Mutex
	got map[int][]receipt // by user
}

// receipt is one push that arrived.
type receipt struct {
	at   time.Time
	kind string
	lane notice.Lane
	late bool // it came at another attempt than the first, a minute or so after its place
}

// Channel implements channels.Adapter.
func (*watcher) Channel() notice.Channel { return notice.ChannelFCM }

// Send takes a message, or asks for it once more.
func (w *watcher) Send(_ context.Context, m channels.Message) channels.Result {
	if w.refuses(m) {
		return channels.Result{Verdict: channels.Retry, Code: "503"}
	}
	to, _ := strconv.Atoi(strings.TrimPrefix(m.To.User, userPrefix))
	w.mu.Lock()
	defer w.mu.Unlock()
	w.got[to] = append(w.got[to], receipt{w.now(), m.Category, m.Lane, m.Attempt > 1})
	return channels.Result{Verdict: channels.Sent, Code: "200"}
}

// forget is what it does with everything that arrived so far.
func (w *watcher) forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.got)
}

// refuses is the same whenever a message is asked about.
func (w *watcher) refuses(m channels.Message) bool {
	return float64(xxhash.Sum64String(m.ID+"/"+strconv.Itoa(m.Attempt))) < w.refuse*math.MaxUint64
}

// breaches are how often a rule was broken; every one is a fault of the gateway.
type breaches struct {
	Pushes, Social, Offers int // more than the cap has room for
	Quiet                  int // in the night of somebody who keeps quiet hours
}

func (b breaches) total() int { return b.Pushes + b.Social + b.Offers + b.Quiet }

// breaches holds what arrived against the rules. A cap gives its place by the
// moment a delivery is to go at, so what needed another attempt is not counted
// against it.
func (w *watcher) breaches(c *crowd) (b breaches) {
	for i, got := range w.got {
		capped := func(of string) (times []time.Time) {
			for _, r := range got {
				if !r.late && r.lane != notice.LaneCritical && (of == "" || of == r.kind) {
					times = append(times, r.at)
				}
			}
			return times
		}
		b.Pushes += over(capped(""), pushesAnHour, time.Hour)
		b.Social += over(capped("social"), socialAnHour, time.Hour)
		b.Offers += over(capped("offers"), offersADay, 24*time.Hour)
		b.Quiet += c.disturbed(i, got)
	}
	return b
}

// over is how many of some moments have more than limit in the window that ends
// with them. The clock of the played day goes by minutes, so a place that is
// free at 10:00:20 is taken at 10:01: the window is two minutes short.
func over(times []time.Time, limit int, window time.Duration) (n int) {
	slices.SortFunc(times, time.Time.Compare)
	for i := limit; i < len(times); i++ {
		if times[i].Sub(times[i-limit]) < window-2*time.Minute {
			n++
		}
	}
	return n
}

// disturbed is how many pushes somebody got who was not to get any.
func (c *crowd) disturbed(i int, got []receipt) (n int) {
	if !c.people[i].quiet {
		return 0
	}
	for _, r := range got {
		if utc := r.at.UTC(); r.lane != notice.LaneCritical && isQuiet(c.day.Regions[c.people[i].region].local(utc.Hour()*60+utc.Minute())) {
			n++
		}
	}
	return n
}

// counting are the caps, and who had to wait for one.
type counting struct {
	*throttle.Caps
	mu   sync.Mutex
	held map[string]bool // deliveries' ids
}

// Decide notes what has to wait for longer than it had to anyway.
func (c *counting) Decide(ctx context.Context, asks []throttle.Ask) ([]throttle.Answer, error) {
	answers, err := c.Caps.Decide(ctx, asks)
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, a := range answers {
		if a.Action == throttle.Wait && a.Until.After(asks[i].NotBefore) && a.Until.After(asks[i].At) {
			c.held[asks[i].DeliveryID] = true
		}
	}
	return answers, err
}

func (c *counting) count() float64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return float64(len(c.held))
}
