package delivery

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/carillonhq/carillon/channels"
	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/queue"
	"github.com/carillonhq/carillon/queue/queuetest"
	"github.com/carillonhq/carillon/throttle"
)

const (
	standWidth = 16
	standTook  = 10 * time.Millisecond // how long the provider takes to answer
)

// stand is a sender at work between a provider and a queue that are not there,
// by a clock that does not wait.
type stand struct {
	s      *sender
	began  time.Time
	answer func(n int) channels.Result // of the nth send

	mu       sync.Mutex
	log      bytes.Buffer
	inFlight int
	most     int // since it was last looked at
	story    story
}

// story is what has happened.
type story struct {
	sends   []time.Duration // when each began
	left    int             // deliveries that have not ended
	ended   map[string]int
	parked  int
	counted int           // attempts that were counted
	lastAt  time.Duration // when nothing was left
}

// seen is what has happened by now.
func (st *stand) seen() story {
	synctest.Wait()
	st.mu.Lock()
	defer st.mu.Unlock()
	out := st.story
	out.sends, out.ended = slices.Clone(out.sends), maps.Clone(out.ended)
	return out
}

// Channel and Send implement channels.Adapter.
func (*stand) Channel() notice.Channel { return notice.ChannelAPNs }

func (st *stand) Send(context.Context, channels.Message) channels.Result {
	st.mu.Lock()
	n := len(st.story.sends)
	st.story.sends = append(st.story.sends, time.Since(st.began))
	st.inFlight++
	st.most = max(st.most, st.inFlight)
	st.mu.Unlock()
	time.Sleep(standTook)
	r := st.answer(n)
	st.mu.Lock()
	defer st.mu.Unlock()
	st.inFlight--
	return r
}

// emptyQueue is a queue with nothing on it: a sender asks it only what was canceled.
// Its server's clock is everybody's, so it is started before the test's.
func emptyQueue(t *testing.T) *queue.Queue {
	t.Helper()
	client := queuetest.Start(t).Client()
	q, err := queue.Open(t.Context(), client, client, config.Queue{Namespace: "t", Partitions: 1, Visibility: config.Duration(time.Minute),
		Retention: config.Duration(time.Hour), MaxBacklog: 1000})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(q.Close)
	return q
}

// newStand starts a sender with so many deliveries waiting.
func newStand(t *testing.T, q *queue.Queue, deliveries int, answer func(n int) channels.Result) *stand {
	st := &stand{began: time.Now(), answer: answer, story: story{left: deliveries, ended: map[string]int{}}}
	p := New(Options{Queue: q, Visibility: 24 * time.Hour, Log: slog.New(slog.NewTextHandler(lockedWriter{st}, nil)),
		Metrics: prometheus.NewRegistry(), Jitter: func(time.Duration) time.Duration { return 0 },
		Channels: []Channel{{Adapter: st, Slots: throttle.NewSlots(standWidth, time.Now), Pace: throttle.NewPace(config.Rate{})}}})
	p.finish = st.finish
	st.s = p.senders[0]
	lease := &queue.Lease{} // one stands for all of them
	p.held.add([]*queue.Lease{lease})
	p.held.renewed([]*queue.Lease{lease}, time.Now())
	for i := range deliveries {
		st.s.lanes.put(1, []*task{{lease: lease, delivery: &notice.Delivery{ID: fmt.Sprint("0-flood-", i),
			Address: notice.Address{Channel: notice.ChannelAPNs, To: "t"}, Content: &notice.Content{}}}})
	}
	go st.work(t.Context())
	t.Cleanup(func() { st.s.lanes.close() })
	return st
}

// work is sender.work for every slot. One goroutine takes, since the clock does
// not run on while others wait for a lock.
func (st *stand) work(ctx context.Context) {
	for t := st.s.next(ctx); t != nil; t = st.s.next(ctx) {
		go st.s.send(ctx, ctx, t)
	}
}

// lockedWriter keeps what is logged.
type lockedWriter struct{ st *stand }

func (w lockedWriter) Write(b []byte) (int, error) {
	w.st.mu.Lock()
	defer w.st.mu.Unlock()
	return w.st.log.Write(b)
}

// finish stands for the queue: what is parked comes back when it is due.
func (st *stand) finish(settled *queue.Settlement) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if settled.Kind == queue.Later {
		st.story.parked++
		st.story.counted += settled.Delivery.Attempt
		time.AfterFunc(time.Until(settled.Due), func() {
			st.s.lanes.put(1, []*task{{lease: settled.Lease, delivery: settled.Delivery}})
		})
		return
	}
	st.story.ended[settled.Delivery.ID]++
	if st.story.left--; st.story.left == 0 {
		st.story.lastAt = time.Since(st.began)
	}
}

// mostInFlight is how many were in flight at once since it was last asked.
func (st *stand) mostInFlight() int {
	st.mu.Lock()
	defer st.mu.Unlock()
	defer func() { st.most = st.inFlight }()
	return st.most
}

// told is how often the log says something.
func (st *stand) told(words string) int { return strings.Count(st.logged(), words) }

func (st *stand) logged() string {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.log.String()
}

var errRefused = errors.New("the provider token was refused")

func broken() channels.Result {
	return channels.Result{Verdict: channels.Broken, Code: "InvalidProviderToken", Err: errRefused}
}

func TestAFloodWaitingForABrokenCredentialCostsOneSendARest(t *testing.T) {
	q := emptyQueue(t)
	synctest.Test(t, func(t *testing.T) {
		const flood = 1000
		mended := time.Now().Add(5 * time.Minute)
		st := newStand(t, q, flood, func(int) channels.Result {
			if time.Now().Before(mended) {
				return broken()
			}
			return channels.Result{Verdict: channels.Sent, Code: "200"}
		})
		time.Sleep(time.Second)
		synctest.Wait()
		if n := st.mostInFlight(); n != standWidth || brokenGauge(st.s.Slots) != 1 || st.s.p.Paused()[notice.ChannelAPNs] == "" {
			t.Errorf("at first %d in flight, gauge %v, said %q", n, brokenGauge(st.s.Slots), st.s.p.Paused())
		}
		time.Sleep(4*time.Minute + 58*time.Second)
		synctest.Wait()
		if n := st.mostInFlight(); n != 1 {
			t.Errorf("%d in flight at once while it was broken, want 1", n)
		}
		saw := st.seen()
		if len(saw.sends) != standWidth+6 {
			t.Fatalf("%d sends while it was broken, want %d and 6 probes:\n%.2000s", len(saw.sends), standWidth, st.logged())
		}
		at := standTook // when the provider's answer came
		for i, rest := range []time.Duration{10, 20, 40, 60, 60, 60} {
			at += rest * time.Second
			if got := saw.sends[standWidth+i]; got != at {
				t.Errorf("probe %d went after %v, want %v", i+1, got, at)
			}
			at += standTook
		}
		if saw.parked != standWidth+6 || saw.counted != 0 || len(saw.ended) != 0 {
			t.Errorf("%d were parked, %d attempts counted, %d ended; want only the %d that were sent parked", saw.parked, saw.counted, len(saw.ended), standWidth+6)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		saw = st.seen()
		if saw.left != 0 || len(saw.ended) != flood || len(saw.sends) != standWidth+6+flood {
			t.Errorf("%d are left, %d ended, in %d sends; want all %d, each sent once more", saw.left, len(saw.ended), len(saw.sends), flood)
		}
		if want := at + time.Minute + (flood/standWidth+3)*standTook; saw.lastAt > want || st.mostInFlight() != standWidth {
			t.Errorf("mended, the last ended after %v, want full width at once: within %v", saw.lastAt, want)
		}
		if refused, taken := st.told("refuses our credential"), st.told("takes our credential again"); refused != 1 || taken != 1 {
			t.Errorf("told %d times that it is refused, %d times that it is taken again:\n%s", refused, taken, st.logged())
		}
		if brokenGauge(st.s.Slots) != 0 || len(st.s.p.Paused()) != 0 {
			t.Errorf("called broken still: %q", st.s.p.Paused())
		}
	})
}

func TestWhichAnswersOfAProbeLetTheChannelGoOn(t *testing.T) {
	q := emptyQueue(t)
	for name, c := range map[string]struct {
		probe    channels.Result
		goesOn   bool
		nextRest time.Duration // between the answer and the next send; here all go to one device
	}{
		"it was sent":                     {probe: channels.Result{Verdict: channels.Sent}, goesOn: true},
		"the message is refused":          {probe: channels.Result{Verdict: channels.Rejected, Code: "400"}, goesOn: true},
		"the address is dead":             {probe: channels.Result{Verdict: channels.Gone, Code: "410"}, goesOn: true},
		"less is asked for of one device": {probe: channels.Result{Verdict: channels.Throttled, Code: "429", Scope: channels.ScopeDevice}, goesOn: true, nextRest: throttledWait},
		"it was never sent":               {probe: channels.Result{Verdict: channels.Rejected, Unsent: true, Code: "payload"}},
		"it is refused":                   {probe: broken(), nextRest: 20 * time.Second},
		"the provider cannot be reached":  {probe: channels.Result{Verdict: channels.Retry, Code: "connect"}, nextRest: 10 * time.Second},
		"nobody knows whether it arrived": {probe: channels.Result{Verdict: channels.Unknown, Code: "timeout"}, nextRest: 10 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				st := newStand(t, q, 100, func(n int) channels.Result {
					switch {
					case n < standWidth:
						return broken()
					case n == standWidth:
						return c.probe
					}
					return broken()
				})
				time.Sleep(time.Hour)
				synctest.Wait()
				sends := st.seen().sends
				probe, next := sends[standWidth], sends[standWidth+1]
				if rest := next - probe - standTook; rest != c.nextRest {
					t.Errorf("the next send began %v after the probe, want %v", rest, c.nextRest)
				}
				if got := st.told("takes our credential again") == 1; got != c.goesOn {
					t.Errorf("it went on: %v, want %v", got, c.goesOn)
				}
			})
		})
	}
}

// What was in flight when the fault was found may have slipped through.
func TestOnlyAProbeShowsThatTheCredentialIsTakenAgain(t *testing.T) {
	q := emptyQueue(t)
	synctest.Test(t, func(t *testing.T) {
		st := newStand(t, q, 100, func(n int) channels.Result {
			if n == 0 || n >= standWidth {
				return broken()
			}
			time.Sleep(time.Second)
			return channels.Result{Verdict: channels.Sent}
		})
		time.Sleep(9 * time.Second)
		synctest.Wait()
		if n := len(st.seen().sends); n != standWidth || !st.s.Slots.Broken() {
			t.Errorf("%d sends, broken %v: want the channel to rest", n, st.s.Slots.Broken())
		}
	})
}

func TestABrokenChannelIsHandedNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := planner(time.Minute, notice.ChannelEmail)
		slots := p.senders[0].Slots
		slots.Break(time.Time{})
		for _, after := range []time.Duration{0, time.Hour} { // resting, and being probed
			time.Sleep(after)
			if left, took := hand(p, planOf(notice.ChannelEmail, 5)); left != 5 || took != 0 {
				t.Errorf("%d left after %v, want all 5 at once", left, took)
			}
		}
		slots.Mend()
		if left, _ := hand(p, planOf(notice.ChannelEmail, 5)); left != 0 {
			t.Errorf("%d left of a channel that goes on", left)
		}
		p.closeLanes()
	})
}
