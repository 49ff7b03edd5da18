package delivery

import (
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/queue"
)

// waitingTasks makes n of them, each known by its lane in its payload.
func waitingTasks(lane, n int) []*task {
	out := make([]*task, n)
	for i, l := range leases(lane, n) {
		out[i] = &task{lease: l}
	}
	return out
}

// leases makes n of them, each known by its lane in its payload.
func leases(lane, n int) []*queue.Lease {
	out := make([]*queue.Lease, n)
	for i := range out {
		out[i] = &queue.Lease{Payload: []byte{byte(lane)}}
	}
	return out
}

// filled is lanes with so much waiting in each.
func filled(room int, waiting ...int) *lanes {
	l := newLanes(room, 1<<20, 0)
	for lane, n := range waiting {
		l.put(lane, waitingTasks(lane, n))
	}
	return l
}

// addTasks adds n to a turn of a lane.
func addTasks(l *lanes, lane, turn, n int) {
	tasks := make([]*task, n)
	for i, lease := range leases(lane, n) {
		tasks[i] = &task{lease: lease, turn: turn}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.append(lane, tasks)
}

// turnsOf takes n and tells how many of each turn they were.
func turnsOf(t *testing.T, l *lanes, n int) (got [queue.Turns]int) {
	t.Helper()
	for i := range n {
		next := l.take()
		if next == nil {
			t.Fatalf("nothing to take after %d of %d", i, n)
		}
		got[next.turn]++
	}
	return got
}

// count takes n and tells how many of each lane they were.
func count(t *testing.T, l *lanes, n int) (got [3]int) {
	t.Helper()
	for i := range n {
		next := l.take()
		if next == nil {
			t.Fatalf("nothing to take after %d of %d", i, n)
		}
		got[next.lease.Payload[0]]++
	}
	return got
}

func TestLanesAreServedByTheirWeights(t *testing.T) {
	tests := []struct {
		name    string
		waiting []int
		take    int
		want    [3]int
	}{
		{"all with work share a round 16 to 4 to 1", []int{100, 100, 100}, 21, [3]int{16, 4, 1}},
		{"five rounds starve nobody", []int{200, 200, 200}, 105, [3]int{80, 20, 5}},
		{"an empty critical lane's turns are used", []int{0, 100, 100}, 25, [3]int{0, 20, 5}},
		{"an empty normal lane's turns are used", []int{100, 0, 100}, 34, [3]int{32, 0, 2}},
		{"bulk alone goes as fast as it can", []int{0, 0, 100}, 100, [3]int{0, 0, 100}},
		{"a lane that runs dry leaves its turns", []int{3, 100, 100}, 13, [3]int{3, 8, 2}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := count(t, filled(512, tt.waiting...), tt.take); got != tt.want {
				t.Errorf("took %v, want %v", got, tt.want)
			}
		})
	}
}

func TestWhatIsUrgentOvertakesWhatWaits(t *testing.T) {
	l := filled(512, 0, 50, 50)
	count(t, l, 10)
	l.put(0, waitingTasks(0, 1))
	if got := l.take(); got.lease.Payload[0] != 0 {
		t.Errorf("lane %d went before the critical one", got.lease.Payload[0])
	}
}

func TestALaneKeepsItsOrder(t *testing.T) {
	l := newLanes(16, 1<<20, 0)
	want := waitingTasks(1, 5)
	l.put(1, want[:2])
	l.put(1, want[2:])
	for i := range want {
		if got := l.take(); got != want[i] {
			t.Fatalf("the entry taken at %d is not the one put at %d", i, i)
		}
	}
	if l.take() != nil {
		t.Error("took from empty lanes")
	}
}

func TestATurnThatIsFullHoldsUpNoOtherTurnOrLane(t *testing.T) {
	l := filled(16, 0, 9)
	if room, _ := l.awaitRoom(0); room != [queue.Turns]int{16, 16, 16, 16, 16, 16, 16, 16} {
		t.Errorf("room %v in an empty lane beside a full one, want 16 in each turn", room)
	}
	if room, _ := l.awaitRoom(1); room != [queue.Turns]int{0, 16, 16, 16, 16, 16, 16, 16} {
		t.Errorf("room %v in a lane whose turn 0 is more than half full", room)
	}
	l.take()
	if room, _ := l.awaitRoom(1); room[0] != 8 {
		t.Errorf("room %d after the turn is half empty, want 8", room[0])
	}
}

func TestTheRoomIsSharedOutAmongTheTurnsThatHaveSomething(t *testing.T) {
	l := newLanes(64, 1<<20, 0)
	addTasks(l, 1, 3, 4)
	addTasks(l, 1, 5, 4)
	if room, _ := l.awaitRoom(1); room[3] != 28 || room[5] != 28 || room[0] != 32 {
		t.Errorf("room %v of 64 where two turns have 4 each, want 28 for each of them", room)
	}
}

func TestAReaderWaitsWhenEveryTurnIsFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLanes(64, 1<<20, 0)
		for turn := range queue.Turns {
			addTasks(l, 1, turn, 8)
		}
		var room queue.Room
		go func() { room, _ = l.awaitRoom(1) }()
		if synctest.Wait(); room != (queue.Room{}) {
			t.Fatalf("room %v though every turn has all that it may", room)
		}
		count(t, l, 8*queue.Turns/2) // four of each turn
		if synctest.Wait(); room.Most() != 4 {
			t.Errorf("room %v once a turn is half empty, want 4", room)
		}
	})
}

func TestClosingWakesEverybodyAndReturnsTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := filled(4, 3, 0, 2)
		for turn := 1; turn < queue.Turns; turn++ {
			addTasks(l, 0, turn, 1) // no turn has room
		}
		var ended sync.WaitGroup
		ended.Go(func() {
			if room, ok := l.awaitRoom(0); ok {
				t.Errorf("room %v in closed lanes", room)
			}
		})
		empty := newLanes(4, 1<<20, 0)
		for range 3 {
			ended.Go(func() {
				if empty.await() {
					t.Error("closed lanes have work")
				}
			})
		}
		synctest.Wait()
		if rest := l.close(); len(rest) != 12 {
			t.Errorf("closing returned %d entries, want 12", len(rest))
		}
		if rest := empty.close(); len(rest) != 0 {
			t.Errorf("closing empty lanes returned %d entries", len(rest))
		}
		ended.Wait()
		if l.take() != nil || l.await() {
			t.Error("closed lanes gave work")
		}
		l.put(1, waitingTasks(1, 2)) // what a read that was under way brings
		if rest := l.close(); len(rest) != 2 {
			t.Errorf("closing again returned %d entries, want the 2 that came late", len(rest))
		}
	})
}

func TestEveryEntryIsTakenOnceByManyWorkers(t *testing.T) {
	const each = 500
	l := newLanes(32, 1<<20, 0)
	var mu sync.Mutex
	taken := map[*queue.Lease]int{}
	var workers, readers, left sync.WaitGroup
	left.Add(3 * each)
	for range 8 {
		workers.Go(func() {
			for l.await() {
				if next := l.take(); next != nil {
					mu.Lock()
					taken[next.lease]++
					mu.Unlock()
					left.Done()
				}
			}
		})
	}
	for lane := range notice.Lanes() {
		readers.Go(func() {
			for put := 0; put < each; {
				room, _ := l.awaitRoom(lane)
				turn := slices.Index(room[:], room.Most())
				n := min(room[turn], each-put)
				addTasks(l, lane, turn, n)
				put += n
			}
		})
	}
	readers.Wait()
	left.Wait()
	l.close()
	workers.Wait()
	if len(taken) != 3*each {
		t.Errorf("%d entries were taken, want %d", len(taken), 3*each)
	}
	for _, n := range taken {
		if n != 1 {
			t.Fatalf("an entry was taken %d times", n)
		}
	}
}
