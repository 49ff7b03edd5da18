package delivery

import "github.com/carillonhq/carillon/queue"

// weigh says how much more than one of weight 1 each turn gets; nil: all the
// same.
type weigh func() [queue.Turns]int

// of is a turn's weight.
func (w weigh) of(turn int) int {
	if w == nil {
		return 1
	}
	return max(w()[turn], 1)
}

// rotation is whose turn it is among tenants that have something. Each has as
// many tasks in a row as its weight says; whoever has none, or may not go, is
// passed over at once, and has its part when it comes round again.
type rotation struct {
	at   int // the turn that was served last
	left int // how many more it may have in a row
}

// next is the first turn that may, from the one whose turn it is; -1 for none.
func (r *rotation) next(may func(turn int) bool) int {
	first := r.at
	if r.left <= 0 {
		first++
	}
	for i := range queue.Turns {
		if turn := (first + i) % queue.Turns; may(turn) {
			return turn
		}
	}
	return -1
}

// serve notes that a turn has had one.
func (r *rotation) serve(turn int, weights weigh) {
	if turn != r.at || r.left <= 0 {
		r.at, r.left = turn, weights.of(turn)
	}
	r.left--
}
