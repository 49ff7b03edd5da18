package delivery

import (
	"container/heap"
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/carillonhq/carillon/queue"
	"github.com/carillonhq/carillon/throttle"
)

// divided is lanes of a channel with many destinations.
func divided(room, slots int, places map[string]int) *lanes {
	l := newLanes(room, slots, 0)
	l.divide(throttle.NewDestinations(throttle.DestinationRules{Slots: slots, Now: time.Now,
		Places: func(name string) int { return places[name] }, Jitter: func(d time.Duration) time.Duration { return d / 2 }}))
	return l
}

// going makes a task for a host.
func going(host string, lane, turn int) *task {
	return &task{lease: &queue.Lease{}, dest: host, lane: lane, turn: turn}
}

func putAll(l *lanes, tasks ...*task) {
	for _, t := range tasks {
		l.put(t.lane, []*task{t})
	}
}

// end is what a worker does when an answer has come.
func end(l *lanes, t *task, took time.Duration, came throttle.Contact) {
	t.took, t.came = took, came
	l.answered(t)
	l.done(t)
}

// takeAll takes what may begin now.
func takeAll(l *lanes) (out []*task) {
	for t := l.take(); t != nil; t = l.take() {
		out = append(out, t)
	}
	return out
}

// prove has hosts answer at once, so that they count as quick.
func prove(l *lanes, hosts ...string) {
	for _, host := range hosts {
		for range 20 {
			t := going(host, 1, 0)
			putAll(l, t)
			l.take()
			end(l, t, time.Millisecond, throttle.Answered)
		}
	}
}

func TestWhatGoesToABusyHostHoldsUpNothingElse(t *testing.T) {
	l := divided(64, 16, map[string]int{"slow": 2})
	prove(l, "quick", "slow")
	for range 8 {
		putAll(l, going("slow", 1, 0))
	}
	quick := going("quick", 1, 0)
	putAll(l, quick)
	got := takeAll(l)
	if len(got) != 3 || got[2] != quick {
		t.Fatalf("%d began, want the two that have a place and the one behind the other six", len(got))
	}
	if room, _ := l.awaitRoom(1); room[0] != 64 {
		t.Errorf("what is set aside takes %d of the 64 that may be read", 64-room[0])
	}
}

func TestWhatIsSetAsideGoesOnInOrderAndBeforeWhatCameLater(t *testing.T) {
	l := divided(64, 16, map[string]int{"h": 1})
	prove(l, "other", "h")
	var want []*task
	for range 5 {
		want = append(want, going("h", 1, 0))
	}
	putAll(l, want[:4]...)
	var got []*task
	for i := range want {
		next := takeAll(l)
		if len(next) != 1 {
			t.Fatalf("%d began at once at a host with one place", len(next))
		}
		if i == 1 {
			putAll(l, want[4]) // later, when there are still some before it
		}
		got = append(got, next...)
		end(l, next[0], time.Millisecond, throttle.Answered)
	}
	if !slices.Equal(got, want) {
		t.Error("they did not go in the order in which they came")
	}
}

func TestInALineLanesAndTenantsTakeTurns(t *testing.T) {
	l := divided(256, 16, map[string]int{"h": 1})
	prove(l, "other", "h")
	first := going("h", 1, 0)
	putAll(l, first)
	l.take()
	for range 20 {
		putAll(l, going("h", 1, 0), going("h", 2, 0))
	}
	takeAll(l) // sets them aside
	putAll(l, going("h", 1, 5), going("h", 1, 5), going("h", 0, 0))
	if more := takeAll(l); len(more) != 0 {
		t.Fatalf("%d overtook the bound of a busy host", len(more))
	}
	var order []string
	next := first
	for range 6 {
		end(l, next, time.Millisecond, throttle.Answered)
		next = l.take()
		order = append(order, fmt.Sprint(next.lane, next.turn))
	}
	if want := []string{"0 0", "1 5", "1 0", "1 5", "1 0", "2 0"}; !slices.Equal(order, want) {
		t.Errorf("lanes and turns went as %v, want %v", order, want)
	}
}

func TestAHostThatGoesDownHasItsLinePutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := divided(64, 16, map[string]int{"h": 6})
		prove(l, "other", "h")
		for range 20 {
			putAll(l, going("h", 1, 0))
		}
		for begun := takeAll(l); len(begun) > 0; begun = takeAll(l) { // the next got the place of one that failed
			for _, t := range begun {
				end(l, t, time.Second, throttle.Silent)
			}
		}
		tasks, waits := l.awaitPutOff()
		if len(tasks) == 0 {
			t.Fatal("nothing was put off")
		}
		for _, w := range waits {
			if w.code != "host_down" || w.wait < 5*time.Second {
				t.Errorf("put off for %+v, want until the probe", w)
			}
		}
		putAll(l, going("h", 1, 0), going("other", 1, 0))
		if got := takeAll(l); len(got) != 1 || got[0].dest != "other" {
			t.Errorf("%d began beside a host that is down", len(got))
		}
	})
}

func TestALineThatIsTooLongByNowIsShortened(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := divided(64, 16, map[string]int{"h": 2})
		prove(l, "other", "h")
		for range 12 {
			putAll(l, going("h", 1, 0))
		}
		putAll(l, going("h", 0, 0), going("other", 1, 0))
		takeAll(l)
		time.Sleep(10 * time.Second) // and h has not answered
		l.tend()
		tasks, _ := l.awaitPutOff()
		if len(tasks) != 9 {
			t.Errorf("%d of 11 in the line were put off, want all but two", len(tasks))
		}
		for _, away := range tasks {
			if away.lane == 0 {
				t.Error("the critical one was put off before the others")
			}
		}
	})
}

func TestEverythingSetAsideComesBackWhenTheLanesClose(t *testing.T) {
	l := divided(256, 16, map[string]int{"a": 1, "b": 1})
	prove(l, "a", "b")
	for range 20 {
		putAll(l, going("a", 1, 0), going("b", 2, 3))
	}
	begun := takeAll(l)
	if len(begun) != 2 {
		t.Fatalf("%d began, want one for each host", len(begun))
	}
	if rest := l.close(); len(rest) != 38 {
		t.Errorf("%d came back, want 38", len(rest))
	}
	for _, b := range begun { // their answers come all the same
		end(l, b, time.Millisecond, throttle.Answered)
	}
	if l.aside.waiting != 0 || l.aside.reserved != 0 || len(l.aside.lines) != 0 {
		t.Errorf("%d wait, %d are reserved and %d lines are there after all", l.aside.waiting, l.aside.reserved, len(l.aside.lines))
	}
}

func TestWhatIsTakenBackLeavesItsLine(t *testing.T) {
	l := divided(256, 16, map[string]int{"a": 1})
	prove(l, "other", "a")
	for i := range 10 {
		putAll(l, going("a", i%3, i%2))
	}
	begun := takeAll(l)
	gone := l.remove(func(t *task) bool { return t.turn == 1 })
	if len(gone) != 4 || begun[0].turn != 1 {
		t.Fatalf("%d were taken back, want the 4 of a tenant of which one had begun", len(gone))
	}
	sent := 0
	for len(begun) > 0 {
		sent += len(begun)
		end(l, begun[0], time.Millisecond, throttle.Answered)
		begun = takeAll(l)
	}
	if sent != 6 || l.aside.waiting != 0 || l.aside.reserved != 0 {
		t.Errorf("%d went, want the one and the other tenant's 5; %d wait, %d are reserved", sent, l.aside.waiting, l.aside.reserved)
	}
}

func TestWhatIsSetAsideIsBoundedWithTenThousandHosts(t *testing.T) {
	l := divided(512, 64, nil)
	prove(l, "quick")
	for i := range 10_000 {
		host := fmt.Sprint("hangs ", i)
		putAll(l, going(host, 1, 0), going(host, 1, 0), going(host, 1, 0))
		l.take()
		if a := &l.aside; a.waiting > a.most || len(a.lines) > a.waiting || len(a.spare) > neighbours {
			t.Fatalf("%d wait in %d lines, %d are spare", a.waiting, len(a.lines), len(a.spare))
		}
		if n := len(l.aside.putOff); n > putOffMost {
			t.Fatalf("%d are on their way back", n)
		}
		if len(l.aside.putOff) > 0 {
			l.awaitPutOff()
		}
	}
	if n := l.aside.places.Known(); n > 5000 {
		t.Errorf("%d hosts are remembered", n)
	}
	if got := takeAll(l); len(got) > 64 {
		t.Errorf("%d began with 64 slots", len(got))
	}
}

// parked is a backlog that comes back when it is due.
type parked []parkedTask

type parkedTask struct {
	*task
	due time.Time
}

// Len, Less, Swap, Push and Pop are heap.Interface.
func (p parked) Len() int           { return len(p) }
func (p parked) Less(i, j int) bool { return p[i].due.Before(p[j].due) }
func (p parked) Swap(i, j int)      { p[i], p[j] = p[j], p[i] }
func (p *parked) Push(x any)        { *p = append(*p, x.(parkedTask)) }
func (p *parked) Pop() any {
	last := (*p)[len(*p)-1]
	*p = (*p)[:len(*p)-1]
	return last
}

// model is a consumer's lanes at work on a stream, in the time of a synctest
// bubble: workers that send, a reader, what is parked and comes back.
type model struct {
	*lanes
	took func(host string) (time.Duration, throttle.Contact)

	mu     sync.Mutex
	stream []*task
	parked parked
	parks  map[*task]int
	sent   map[string]int
	held   map[string]time.Duration // for how long hosts had slots, see had
	using  map[string]int           // slots that hosts have
	ended  map[string]time.Time     // when a host had its last
}

func runModel(ctx context.Context, l *lanes, slots int, stream []*task, took func(string) (time.Duration, throttle.Contact)) *model {
	m := &model{lanes: l, took: took, stream: stream, parks: map[*task]int{}, sent: map[string]int{}, held: map[string]time.Duration{}, using: map[string]int{}, ended: map[string]time.Time{}}
	turn := make(chan struct{}, 1) // a mutex would stop the bubble's time
	for range slots {
		go m.work(turn)
	}
	go m.read()
	go m.putOffs()
	go func() {
		for sleep(ctx, tendEvery) && l.tend() {
		}
	}()
	go func() {
		for sleep(ctx, 10*time.Millisecond) {
			m.promote()
		}
		l.close()
	}()
	return m
}

func (m *model) work(turn chan struct{}) {
	for {
		turn <- struct{}{}
		var t *task
		for t == nil && m.await() {
			t = m.take()
		}
		<-turn
		if t == nil {
			return
		}
		host := t.dest
		took, came := m.took(host)
		m.hold(host, -1)
		time.Sleep(took)
		m.hold(host, 1)
		m.mu.Lock()
		if came == throttle.Answered {
			m.sent[host]++
			m.ended[host] = time.Now()
		}
		m.mu.Unlock()
		end(m.lanes, t, took, came)
	}
}

// hold notes that a host has a slot from now on, with -1, or no more, with 1.
func (m *model) hold(host string, sign time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.held[host] += sign * time.Duration(time.Now().UnixNano())
	m.using[host] -= int(sign)
}

// had is for how long a host has had slots until now, all of them together.
func (m *model) had(host string) time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.held[host] + time.Duration(m.using[host])*time.Duration(time.Now().UnixNano())
}

func (m *model) read() {
	for {
		room, ok := m.awaitRoom(1)
		if !ok {
			return
		}
		m.mu.Lock()
		n := min(room[0], len(m.stream))
		got := m.stream[:n]
		m.stream = m.stream[n:]
		m.mu.Unlock()
		m.put(1, got)
		if n == 0 {
			time.Sleep(10 * time.Millisecond)
		}
	}
}

func (m *model) putOffs() {
	for {
		tasks, waits := m.awaitPutOff()
		if tasks == nil {
			return
		}
		m.mu.Lock()
		for i, t := range tasks {
			m.parks[t]++
			heap.Push(&m.parked, parkedTask{t, time.Now().Add(waits[i].wait)})
		}
		m.mu.Unlock()
	}
}

func (m *model) promote() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for len(m.parked) > 0 && !m.parked[0].due.After(time.Now()) {
		m.stream = append(m.stream, heap.Pop(&m.parked).(parkedTask).task)
	}
}

// mixed is n tasks for troubled, and as many for fifty healthy hosts, one by
// one.
func mixed(n int) (stream []*task) {
	for i := range n {
		stream = append(stream, going("troubled", 1, 0), going(fmt.Sprint("healthy ", i%50), 1, 0))
	}
	return stream
}

func TestTheBacklogOfOneHostDelaysNoOtherAndDoesNotChurn(t *testing.T) {
	const n = 50_000
	for name, tc := range map[string]struct {
		took  time.Duration
		came  throttle.Contact
		parks float64 // a delivery in ten minutes, at most
	}{
		"it refuses connections":       {time.Millisecond, throttle.Silent, 8},
		"it does not answer":           {15 * time.Second, throttle.Silent, 8},
		"it takes half a minute":       {30 * time.Second, throttle.Answered, 5},
		"it takes a tenth of a second": {100 * time.Millisecond, throttle.Answered, 1.5},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, stop := context.WithCancel(t.Context())
				began := time.Now()
				m := runModel(ctx, newModelLanes(), 64, mixed(n), func(host string) (time.Duration, throttle.Contact) {
					if host == "troubled" {
						return tc.took, tc.came
					}
					return 5 * time.Millisecond, throttle.Answered
				})
				time.Sleep(10 * time.Minute)
				stop()
				time.Sleep(time.Minute) // for the workers to end
				m.mu.Lock()
				defer m.mu.Unlock()
				healthy, last := 0, time.Time{}
				for host, sent := range m.sent {
					if host != "troubled" {
						healthy += sent
						last = later(last, m.ended[host])
					}
				}
				parks := 0
				for _, times := range m.parks {
					parks += times
				}
				t.Logf("healthy: %d in %v; troubled: %d; parked %.2f times each", healthy, last.Sub(began), m.sent["troubled"], float64(parks)/n)
				// With every slot theirs they would take 50,000 × 5 ms / 64 = 4 s.
				if healthy != n || last.Sub(began) > 20*time.Second {
					t.Errorf("%d of %d reached healthy hosts, the last after %v", healthy, n, last.Sub(began))
				}
				if each := float64(parks) / n; each > tc.parks {
					t.Errorf("each was parked %.2f times, want %v at most", each, tc.parks)
				}
			})
		})
	}
}

// even is n tasks, one after the other for each of fifty healthy hosts and for
// troubled.
func even(n int) (stream []*task) {
	hosts := make([]string, 50)
	for i := range hosts {
		hosts[i] = fmt.Sprint("healthy ", i)
	}
	for i := range n {
		if hung := i % (len(hosts) + 1); hung < len(hosts) {
			stream = append(stream, going(hosts[hung], 1, 0))
		} else {
			stream = append(stream, going("troubled", 1, 0))
		}
	}
	return stream
}

// What is in flight to a host when it begins to hang stays so until it times
// out, and is a few more or less by how goroutines are scheduled.
func TestAHostThatHangsHasHardlyAnySlots(t *testing.T) {
	for name, answers := range map[string]time.Duration{
		"it never answered":                 0,
		"it has answered for half a second": 500 * time.Millisecond,
		"it has answered for five seconds":  5 * time.Second,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, stop := context.WithCancel(t.Context())
				began, sum := time.Now(), 0
				const span = 20 * time.Second
				m := runModel(ctx, newModelLanes(), 64, even(230_000), func(host string) (time.Duration, throttle.Contact) {
					if host == "troubled" && time.Since(began) >= answers {
						return 15 * time.Second, throttle.Silent
					}
					return 5 * time.Millisecond, throttle.Answered
				})
				time.Sleep(answers)
				before := m.had("troubled")
				time.Sleep(span - answers)
				hung := m.had("troubled") - before
				m.mu.Lock()
				for host, n := range m.sent {
					if host != "troubled" {
						sum += n
					}
				}
				m.mu.Unlock()
				part := hung.Seconds() / (64 * (span - answers).Seconds())
				t.Logf("it had %.1f %% of the slots' time; the healthy were sent %d", 100*part, sum)
				most := 0.05
				if answers > 0 {
					most = 0.09
				}
				if part > most {
					t.Errorf("it had %.1f %% of the slots' time since it hung, want %.0f at most", 100*part, 100*most)
				}
				// What 56 slots send, since eight are for what is critical.
				if all := int(span * 56 / (5 * time.Millisecond)); float64(sum) < float64(all)*(0.99-most) {
					t.Errorf("%d reached the healthy hosts of %d that may, want no less than the slots explain", sum, all)
				}
				stop()
				time.Sleep(time.Minute) // for the workers to end
			})
		})
	}
}

func newModelLanes() *lanes {
	l := newLanes(512, 64, 8)
	l.divide(throttle.NewDestinations(throttle.DestinationRules{Slots: 56, Now: time.Now, Jitter: func(d time.Duration) time.Duration { return d / 2 }}))
	return l
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// What is in flight to a host grows from little, and goroutines may be
// scheduled so that a few find no room meanwhile: one in fifty at most, in the
// best of three runs. What the lanes do wrong they do in each of them; one in
// which the machine ran their goroutines in an odd order says nothing.
func TestHealthyHostsAreHardlyEverParkedHoweverFullTheChannelIs(t *testing.T) {
	const deliveries = 20_000
	for _, hosts := range []int{1, 2, 3, 7, 40} {
		t.Run(fmt.Sprint(hosts, " hosts"), func(t *testing.T) {
			least := deliveries
			for range 3 {
				synctest.Test(t, func(t *testing.T) { least = min(least, parkedOfHealthy(t, hosts, deliveries)) })
			}
			if least > deliveries/50 {
				t.Errorf("%d of %d were parked", least, deliveries)
			}
		})
	}
}

// parkedOfHealthy sends so many deliveries to hosts that all answer at once,
// and returns how many of them were put off.
func parkedOfHealthy(t *testing.T, hosts, deliveries int) int {
	var stream []*task
	for i := range deliveries {
		stream = append(stream, going(fmt.Sprint(i%hosts), 1, 0))
	}
	ctx, stop := context.WithCancel(t.Context())
	began := time.Now()
	m := runModel(ctx, newModelLanes(), 64, stream, func(string) (time.Duration, throttle.Contact) { return 4 * time.Millisecond, throttle.Answered })
	time.Sleep(20 * time.Second)
	stop()
	time.Sleep(time.Second)
	m.mu.Lock()
	defer m.mu.Unlock()
	sent, last := 0, time.Time{}
	for host, n := range m.sent {
		sent += n
		last = later(last, m.ended[host])
	}
	t.Logf("%d in %v, %d parked", sent, last.Sub(began), len(m.parks))
	if sent != deliveries {
		t.Errorf("%d of %d were sent", sent, deliveries)
	}
	return len(m.parks)
}
