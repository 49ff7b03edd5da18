package delivery

import "github.com/carillonhq/carillon/queue"

// slots says who may use a channel's slots: some are kept for what is critical,
// and no turn takes all of the rest while others want them.
//
// A slot that is in use cannot be taken back, so what is to be free when it is
// needed must be left free before: a provider that takes seconds to answer one
// tenant's messages would else hold every slot when another's come.
type slots struct {
	classes [2]class
	begun   int              // tasks ever
	last    [queue.Turns]int // the count of begun when a turn had one last; 0: never
	weights weigh            // of the turns
	lately  int              // for how many tasks a turn that had one counts as present
}

// class is what shares slots: everything critical, and everything else.
type class struct {
	limit  int // slots that it may use
	used   int
	byTurn [queue.Turns]int
}

// most is how many slots one turn may use while others are present: three
// quarters, and more where its weight beside one of weight 1 is more.
func (c *class) most(weight int) int { return c.limit - c.limit/max(4, weight+1) }

const (
	critical = iota
	ordinary
)

// ordinaryLane is any lane of the class ordinary.
const ordinaryLane = 1

func classOf(lane int) int {
	if lane == 0 {
		return critical
	}
	return ordinary
}

// lateRounds is for how many rounds of all slots a turn that had a task counts
// as present: long where sends are slow, and short where they are fast and
// nobody waits long for a slot.
const lateRounds = 16

func newSlots(n, reserved int) slots {
	var s slots
	s.resize(n, reserved)
	return s
}

// resize changes how many there are. What has begun goes on: of fewer nothing
// begins until less is used.
func (s *slots) resize(n, reserved int) {
	s.lately = lateRounds * n
	s.classes[critical].limit = n
	s.classes[ordinary].limit = ordinarySlots(n, reserved)
}

// ordinarySlots is how many of n are for what is not critical: one at least.
func ordinarySlots(n, reserved int) int { return n - min(max(reserved, 0), n-1) }

// answer is whether a task may begin.
type answer uint8

const (
	no answer = iota
	yes
	unlessOthersWait
)

// free says whether a task of a lane and turn may begin.
func (s *slots) free(lane, turn int) answer {
	switch c := &s.classes[classOf(lane)]; {
	case c.used >= c.limit || s.used() >= s.classes[critical].limit:
		return no
	case c.byTurn[turn] < c.most(s.weights.of(turn)):
		return yes
	case s.othersLately(turn):
		return no
	}
	return unlessOthersWait
}

func (s *slots) used() int { return s.classes[critical].used + s.classes[ordinary].used }

// unused is how many slots a task of a lane could have.
func (s *slots) unused(lane int) int {
	c := &s.classes[classOf(lane)]
	return min(c.limit-c.used, s.classes[critical].limit-s.used())
}

// othersLately reports whether another turn had a task lately.
func (s *slots) othersLately(turn int) bool {
	for other, at := range s.last {
		if other != turn && at > 0 && s.begun-at < s.lately {
			return true
		}
	}
	return false
}

func (s *slots) begin(lane, turn int) {
	c := &s.classes[classOf(lane)]
	c.used++
	c.byTurn[turn]++
	s.begun++
	s.last[turn] = s.begun
}

func (s *slots) end(lane, turn int) {
	c := &s.classes[classOf(lane)]
	c.used--
	c.byTurn[turn]--
}
