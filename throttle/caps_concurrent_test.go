package throttle_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"

	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/queue/queuetest"
	"github.com/carillonhq/carillon/throttle"
)

// Eight consumers ask at once, on a real server. In the order in which the
// server says that it served them, every answer must be the model's: no more
// than the limits, and no fewer.
func TestEightConsumersAtOnceAreAnsweredAsTheModelWouldInTheServersOrder(t *testing.T) {
	rdb := queuetest.Redis(t)
	decide(t, newCaps(t, rdb, atMost(1, time.Hour, config.OverDrop)), push("that the server may know the script", base))
	served := watch(t, rdb)
	run := 0
	rapid.Check(t, func(t *rapid.T) {
		run++
		w := newWorld(t, rdb, fmt.Sprint("run", run))
		calls := w.drawCalls(t)
		answers := atOnce(t, w.caps, calls)
		for _, at := range served.order(t, w.name, calls) {
			for i, a := range calls[at] {
				if want := w.model.decide(a); !agrees(answers[at][i], want) {
					t.Fatalf("%+v:\n got %+v\nwant %+v", a, answers[at][i], want)
				}
			}
		}
	})
}

// drawCalls draws what eight consumers ask: the moment of each call is its own,
// by which it is known again. Consumers ask for the same deliveries, too.
func (w *world) drawCalls(t *rapid.T) map[int64][]throttle.Ask {
	calls := map[int64][]throttle.Ask{}
	for i := range consumers * 5 {
		now := w.clock.Add(time.Duration(i*consumers) * time.Millisecond).Add(time.Duration(rapid.IntRange(0, consumers-1).Draw(t, "ms")) * time.Millisecond)
		asks := make([]throttle.Ask, rapid.IntRange(1, 4).Draw(t, "asks"))
		for k := range asks {
			if len(w.asked) > 0 && rapid.IntRange(0, 5).Draw(t, "again") == 0 {
				asks[k] = rapid.SampledFrom(w.asked).Draw(t, "which")
				asks[k].At = now
				continue
			}
			asks[k] = w.draw(t, now)
			w.asked = append(w.asked, asks[k])
		}
		if slices.ContainsFunc(asks, w.caps.Applies) {
			calls[now.UnixMilli()] = asks
		}
	}
	return calls
}

// atOnce makes calls, divided among eight consumers.
func atOnce(t *rapid.T, caps *throttle.Caps, calls map[int64][]throttle.Ask) map[int64][]throttle.Answer {
	todo := make(chan int64, len(calls))
	for at := range calls {
		todo <- at
	}
	close(todo)
	var lock sync.Mutex
	answers := map[int64][]throttle.Answer{}
	var failed error
	var done sync.WaitGroup
	for range consumers {
		done.Go(func() {
			for at := range todo {
				got, err := caps.Decide(context.Background(), calls[at])
				lock.Lock()
				answers[at] = got
				if err != nil {
					failed = err
				}
				lock.Unlock()
			}
		})
	}
	done.Wait()
	if failed != nil {
		t.Fatal(failed)
	}
	return answers
}

// monitor is what a server says that it serves, a line a command.
type monitor chan string

// watch speaks to the server itself: MONITOR has a connection for its own.
func watch(t *testing.T, rdb *redis.Client) monitor {
	t.Helper()
	conn, err := net.Dial("tcp", rdb.Options().Addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if _, err := conn.Write([]byte("MONITOR\r\n")); err != nil {
		t.Fatal(err)
	}
	said := bufio.NewScanner(conn)
	said.Buffer(nil, 1<<20)
	if !said.Scan() || said.Text() != "+OK" {
		t.Fatalf("the server does not say what it serves: %q, %v", said.Text(), said.Err())
	}
	lines := make(monitor, 1<<16)
	go func() {
		for said.Scan() {
			lines <- said.Text()
		}
	}()
	return lines
}

var termsTime = regexp.MustCompile(`"evalsha" .*?,:(\d{13}):`)

// order is the moments of a world's calls in the order in which they were served.
func (m monitor) order(t *rapid.T, world string, calls map[int64][]throttle.Ask) (order []int64) {
	deadline := time.After(5 * time.Second)
	for len(order) < len(calls) {
		select {
		case line := <-m:
			found := termsTime.FindStringSubmatch(line)
			if found == nil || !strings.Contains(line, world+"-") {
				continue
			}
			at, _ := strconv.ParseInt(found[1], 10, 64) // 13 digits
			if calls[at] != nil && !slices.Contains(order, at) {
				order = append(order, at)
			}
		case <-deadline:
			t.Fatalf("the server has told of %d of %d calls", len(order), len(calls))
		}
	}
	return order
}

func TestAThousandDeferredByEightAtOnceOwnAThousandMoments(t *testing.T) {
	rdb := queuetest.Redis(t)
	caps := newCaps(t, rdb, atMost(1, time.Minute, config.OverDefer))
	moments := make([][]int64, consumers)
	var done sync.WaitGroup
	for n := range consumers {
		done.Go(func() {
			for i := range 5 {
				asks := make([]throttle.Ask, 25)
				for k := range asks {
					asks[k] = push(fmt.Sprint(n, "-", i, "-", k), at(0))
				}
				answers, err := caps.Decide(t.Context(), asks)
				if err != nil {
					t.Error(err)
					return
				}
				for _, a := range answers {
					moments[n] = append(moments[n], a.Until.UnixMilli())
				}
			}
		})
	}
	done.Wait()
	all := slices.Concat(moments...)
	slices.Sort(all)
	for i, got := range all {
		if want := base.Add(time.Duration(i) * time.Minute).UnixMilli(); got != want {
			t.Fatalf("the %dth goes at %v, want %v", i, time.UnixMilli(got).UTC(), time.UnixMilli(want).UTC())
		}
	}
	if len(all) != 1000 {
		t.Errorf("%d answers, want 1000", len(all))
	}
}
