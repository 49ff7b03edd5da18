package delivery

import (
	"testing"

	"github.com/carillonhq/carillon/queue"
)

func fixedWeights(w [queue.Turns]int) weigh { return func() [queue.Turns]int { return w } }

func TestTurnsGoByWeightAndAnIdleOnesPartGoesToTheOthersAtOnce(t *testing.T) {
	weights := fixedWeights([queue.Turns]int{3, 1, 2, 1, 1, 1, 1, 1})
	for _, tt := range []struct {
		name string
		busy []int
		want [queue.Turns]int // of 120
	}{
		{"three to one", []int{0, 1}, [queue.Turns]int{90, 30}},
		{"three to one to two", []int{0, 1, 2}, [queue.Turns]int{60, 20, 40}},
		{"one alone has all", []int{1}, [queue.Turns]int{0, 120}},
		{"equal ones take turns", []int{3, 4, 7}, [queue.Turns]int{0, 0, 0, 40, 40, 0, 0, 40}},
	} {
		var r rotation
		var got [queue.Turns]int
		busy := map[int]bool{}
		for _, turn := range tt.busy {
			busy[turn] = true
		}
		for range 120 {
			turn := r.next(func(turn int) bool { return busy[turn] })
			r.serve(turn, weights)
			got[turn]++
		}
		if got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
	var r rotation
	if turn := r.next(func(int) bool { return false }); turn != -1 {
		t.Errorf("nobody may, and it is %d's turn", turn)
	}
}

// Two tenants with full lines behind a channel of few slots, whose sends take
// all the same time.
func TestTwoTenantsDrainByTheirWeightsThroughASlowChannel(t *testing.T) {
	l := newLanes(512, 16, 2)
	l.weighTurns(fixedWeights([queue.Turns]int{3, 1, 1, 1, 1, 1, 1, 1}))
	var sent [2]int
	fill := func() {
		for turn := range 2 {
			for l.lanes[ordinaryLane].turns[turn].streamed() < 50 {
				l.put(ordinaryLane, []*task{{lease: &queue.Lease{}, turn: turn}})
			}
		}
	}
	var sending []*task
	for sent[0]+sent[1] < 4000 {
		fill()
		for {
			next := l.take()
			if next == nil {
				break
			}
			sending = append(sending, next)
		}
		l.done(sending[0]) // the one that began first
		sent[sending[0].turn]++
		sending = sending[1:]
	}
	if ratio := float64(sent[0]) / float64(sent[1]); ratio < 2.7 || ratio > 3.3 {
		t.Errorf("%v were sent, %.2f to one, want three", sent, ratio)
	}
}

func TestAWeightLeavesSlotsToTheOthers(t *testing.T) {
	c := class{limit: 16}
	for weight, want := range map[int]int{1: 12, 3: 12, 7: 14, 15: 15} {
		if got := c.most(weight); got != want {
			t.Errorf("of 16 slots weight %d may have %d, want %d", weight, got, want)
		}
	}
}
