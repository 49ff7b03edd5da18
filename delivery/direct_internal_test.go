package delivery

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/carillonhq/carillon/channels"
	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/queue"
	"github.com/carillonhq/carillon/throttle"
)

// silent is an adapter that nobody calls.
type silent notice.Channel

func (s silent) Channel() notice.Channel                              { return notice.Channel(s) }
func (silent) Send(context.Context, channels.Message) channels.Result { return channels.Result{} }

// planner is a pipeline whose senders take nothing: what a planner meets.
func planner(patience time.Duration, served ...notice.Channel) *Pipeline {
	o := Options{Patience: patience, Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry()}
	for _, c := range served {
		o.Channels = append(o.Channels, Channel{Adapter: silent(c), Slots: throttle.NewSlots(1, time.Now)})
	}
	return New(o)
}

// planOf is a batch of events, each with one delivery to a channel.
func planOf(c notice.Channel, n int) []*draft {
	out := make([]*draft, n)
	for i := range out {
		out[i] = &draft{lease: &queue.Lease{}, out: []queue.PlannedDelivery{{Delivery: notice.Delivery{Address: notice.Address{Channel: c}}}}}
	}
	return out
}

// hand hands a batch over on the normal lane, and says how much was left, and
// how long it took.
func hand(p *Pipeline, drafts []*draft) (left int, took time.Duration) {
	start := time.Now()
	offers, written := p.offerings(drafts)
	rest := p.handOver(context.Background(), notice.LaneNormal, offers)
	return len(written) + len(rest), time.Since(start)
}

func TestAPlannerWaitsForRoomOnceInAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const patience = 100 * time.Millisecond
		p := planner(patience, notice.ChannelEmail, notice.ChannelWebhook)
		room := p.senders[0].lanes.room / 2
		expect := func(what string, drafts []*draft, wantLeft int, wantTook time.Duration) {
			t.Helper()
			if left, took := hand(p, drafts); left != wantLeft || took != wantTook {
				t.Errorf("%s: %d left after %v, want %d after %v", what, left, took, wantLeft, wantTook)
			}
		}
		expect("an empty lane", planOf(notice.ChannelEmail, room), 0, 0)
		expect("a full lane", planOf(notice.ChannelEmail, 3), 3, patience)
		expect("a full lane that was waited for", planOf(notice.ChannelEmail, 3), 3, 0)
		expect("another channel's lane", append(planOf(notice.ChannelWebhook, 5), planOf(notice.ChannelEmail, 2)...), 2, 0)
		time.Sleep(slowFor)
		expect("a full lane a second later", planOf(notice.ChannelEmail, 3), 3, patience)
		time.Sleep(slowFor)
		go func() {
			time.Sleep(patience / 2)
			for range room / 2 {
				p.senders[0].lanes.done(p.senders[0].lanes.take())
			}
		}()
		expect("a lane that gets room while it is waited for", planOf(notice.ChannelEmail, 3), 0, patience/2)
		p.senders[0].Slots.Pause(time.Now().Add(time.Hour))
		expect("a paused channel", planOf(notice.ChannelEmail, 3), 3, 0)
		expect("a channel that nobody serves here", planOf(notice.ChannelAPNs, 3), 3, 0)
	})
}

func TestAStopEndsAPlannersWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := planner(time.Hour, notice.ChannelEmail)
		room := p.senders[0].lanes.room / 2
		hand(p, planOf(notice.ChannelEmail, room))
		time.AfterFunc(time.Second, func() { p.closeLanes() })
		if left, took := hand(p, planOf(notice.ChannelEmail, 7)); left != 7 || took != time.Second {
			t.Errorf("%d left after %v, want all of them as soon as the lanes close", left, took)
		}
	})
}

func TestWhatIsHandedOverAndWhatIsReadKeepEachOtherOutOfNoLane(t *testing.T) {
	l := newLanes(16, 64, 0)
	tasks := make([]*task, 20)
	for i := range tasks {
		tasks[i] = &task{lease: &queue.Lease{}, direct: &handed{}}
	}
	if rest, _ := l.offer(1, tasks); len(rest) != 12 {
		t.Fatalf("%d of 20 had no room, want the 12 past half the lane", len(rest))
	}
	if room, _ := l.awaitRoom(1); room[0] != 16 {
		t.Errorf("room %d for what is read beside what was handed over, want all 16", room[0])
	}
	l.put(1, waitingTasks(1, 16))
	if rest, _ := l.offer(0, tasks[8:]); len(rest) != 4 {
		t.Errorf("%d of 12 had no room in another lane, want 4", len(rest))
	}
	count := 0
	for l.take() != nil {
		count++
	}
	if rest, _ := l.offer(1, tasks); count != 32 || len(rest) != 12 {
		t.Errorf("took %d, and then %d of 20 had no room; want 32, and room again", count, len(rest))
	}
}

func TestOnlyWhatWasHandedOverLongAgoIsStale(t *testing.T) {
	l := newLanes(64, 64, 0)
	now := time.Now()
	for _, ago := range []time.Duration{3 * time.Second, time.Second, 2 * time.Second} {
		l.put(1, waitingTasks(1, 1))
		l.offer(1, []*task{{lease: &queue.Lease{}, direct: &handed{at: now.Add(-ago)}}})
	}
	old := l.stale(now.Add(-1500 * time.Millisecond))
	if len(old) != 2 || !old[0].direct.at.Before(now) {
		t.Fatalf("%d were stale, want 2", len(old))
	}
	left, direct := 0, 0
	for next := l.take(); next != nil; next = l.take() {
		left++
		if next.direct != nil {
			direct++
		}
	}
	if left != 4 || direct != 1 {
		t.Errorf("%d left, %d of them handed over; want 4 and 1", left, direct)
	}
}

// A worker that waited for a permit while the only delivery was swept up took
// nothing then, and ended: its slot was never used again.
func TestAWorkerOutlivesWhatIsSweptUpWhileItWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := planner(time.Minute, notice.ChannelEmail)
		s := p.senders[0]
		s.Pace = throttle.NewPace(config.Rate{Count: 1, Per: time.Hour})
		if taken, _ := s.Pace.Try(); !taken {
			t.Fatal("the hour's permit is not there")
		}
		hand(p, planOf(notice.ChannelEmail, 1))
		var got *task
		go func() { got = s.next(t.Context()) }()
		synctest.Wait()
		if old := s.lanes.stale(time.Now().Add(time.Second)); len(old) != 1 {
			t.Fatalf("swept up %d", len(old))
		}
		s.Pace.Replace(config.Rate{Count: 1000, Per: time.Second})
		synctest.Wait()
		s.lanes.put(1, waitingTasks(1, 1))
		if synctest.Wait(); got == nil || got.direct != nil {
			t.Error("the worker did not take what came next")
		}
		p.closeLanes()
	})
}
