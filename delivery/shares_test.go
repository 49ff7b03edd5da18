package delivery

import (
	"testing"

	"github.com/carillonhq/carillon/queue"
)

func TestTurnsOfALaneAreServedInTurn(t *testing.T) {
	l := newLanes(512, 1<<20, 0)
	addTasks(l, 1, 0, 500) // a flood
	addTasks(l, 1, 3, 2)
	addTasks(l, 1, 6, 40)
	if got, want := turnsOf(t, l, 6), [queue.Turns]int{0: 2, 3: 2, 6: 2}; got != want {
		t.Errorf("of the first six %v, want %v", got, want)
	}
	if got, want := turnsOf(t, l, 40), [queue.Turns]int{0: 20, 6: 20}; got != want {
		t.Errorf("of the next forty %v, want %v", got, want)
	}
}

func TestLanesKeepTheirWeightsWhateverTheirTurnsHave(t *testing.T) {
	l := newLanes(512, 1<<20, 0)
	for turn := range queue.Turns {
		addTasks(l, 2, turn, 50)
	}
	addTasks(l, 0, 0, 100)
	addTasks(l, 1, 1, 100)
	if got, want := count(t, l, 42), [3]int{32, 8, 2}; got != want {
		t.Errorf("two rounds gave %v, want %v", got, want)
	}
}

// begin takes as many as may be begun.
func begin(l *lanes) (begun []*task) {
	for next := l.take(); next != nil; next = l.take() {
		begun = append(begun, next)
	}
	return begun
}

func TestSlotsThatAreKeptForTheCriticalAreTakenByNoOther(t *testing.T) {
	l := newLanes(512, 16, 2)
	addTasks(l, 2, 0, 100)
	addTasks(l, 1, 0, 100)
	if got := len(begin(l)); got != 14 {
		t.Fatalf("%d of 16 slots went to bulk and normal, want 14", got)
	}
	addTasks(l, 0, 0, 5)
	for i, next := range begin(l) {
		if next.lane != 0 || i >= 2 {
			t.Fatalf("at %d a task of lane %d began; two critical ones should", i, next.lane)
		}
	}
}

func TestWhatIsCriticalMayUseEverySlotAndBulkMovesOn(t *testing.T) {
	l := newLanes(512, 16, 2)
	addTasks(l, 0, 0, 400)
	addTasks(l, 2, 0, 40)
	begun := begin(l)
	if len(begun) != 16 {
		t.Fatalf("%d slots in use, want all 16", len(begun))
	}
	bulk := 0
	for range 210 { // one ends, one begins
		l.done(begun[0])
		next := l.take()
		if next == nil {
			t.Fatal("a slot is free and nothing begins")
		}
		if begun = append(begun[1:], next); next.lane == 2 {
			bulk++
		}
	}
	if bulk < 10 {
		t.Errorf("%d bulk ones among 210 beside a critical flood, want one in seventeen", bulk)
	}
}

func TestATurnAloneHasEverySlot(t *testing.T) {
	l := newLanes(512, 16, 0)
	addTasks(l, 1, 0, 100)
	if got := len(begin(l)); got != 16 {
		t.Errorf("a tenant alone has %d of 16 slots", got)
	}
}

func TestATurnLeavesAQuarterOfTheSlotsWhileAnotherIsThere(t *testing.T) {
	l := newLanes(512, 16, 0)
	addTasks(l, 1, 1, 1)
	addTasks(l, 1, 0, 1000)
	var slow []*task
	for _, next := range begin(l) {
		if next.turn == 1 {
			l.done(next) // it was fast, and its tenant has nothing more for now
			continue
		}
		slow = append(slow, next)
	}
	if slow = append(slow, begin(l)...); len(slow) != 12 {
		t.Fatalf("turn 0 has %d of 16 slots while turn 1 was there lately, want 12", len(slow))
	}
	addTasks(l, 1, 1, 1)
	if next := l.take(); next == nil || next.turn != 1 {
		t.Fatal("turn 1 must wait for a slot of turn 0")
	}
}

func TestATurnHasEverySlotAgainOnceTheOtherIsLongGone(t *testing.T) {
	l := newLanes(512, 16, 0)
	addTasks(l, 1, 1, 1)
	l.done(l.take())
	addTasks(l, 1, 0, 16*16+100)
	for range 16 * 16 {
		l.done(l.take())
	}
	if got := len(begin(l)); got != 16 {
		t.Errorf("%d of 16 slots after sixteen rounds without the other, want all", got)
	}
}

func TestATenantsBulkLeavesItsOwnCriticalAlone(t *testing.T) {
	l := newLanes(512, 16, 2)
	addTasks(l, 2, 0, 100)
	addTasks(l, 1, 1, 1)
	begin(l)
	addTasks(l, 0, 0, 1)
	if next := l.take(); next == nil || next.lane != 0 {
		t.Error("what is critical waits for its own tenant's bulk")
	}
}

func TestFewSlotsAreSharedSensibly(t *testing.T) {
	tests := []struct {
		name                   string
		slots, reserved, begun int
	}{
		{"one slot is everybody's", 1, 0, 1},
		{"one slot cannot be kept", 1, 1, 1},
		{"one of two is kept", 2, 1, 1},
		{"no more than all but one are kept", 3, 9, 1},
		{"a quarter of three is nothing", 3, 0, 3},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := newLanes(512, tt.slots, tt.reserved)
			addTasks(l, 1, 0, 10)
			addTasks(l, 1, 1, 10)
			if got := len(begin(l)); got != tt.begun {
				t.Errorf("%d begun, want %d", got, tt.begun)
			}
		})
	}
}
