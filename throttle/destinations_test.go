package throttle

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// ticking is a clock that stands until it is told.
type ticking struct{ at time.Time }

func (c *ticking) now() time.Time { return c.at }

func (c *ticking) pass(d time.Duration) { c.at = c.at.Add(d) }

// room is Destinations at a channel of so many slots, and how many it uses.
type room struct {
	t *testing.T
	*Destinations
	clock *ticking
	used  int
}

func newRoom(t *testing.T, slots int, places map[string]int) *room {
	c := &ticking{time.Unix(1_800_000_000, 0)}
	return &room{t, NewDestinations(DestinationRules{Slots: slots, Places: func(name string) int { return places[name] },
		Now: c.now, Jitter: func(most time.Duration) time.Duration { return most / 2 }}), c, 0}
}

// fill takes places at a destination until it has no more, or no slot is free.
func (r *room) fill(name string) (taken int) {
	at := r.Pin(name)
	defer r.Unpin(at)
	for r.used < r.rules.Slots && r.Enter(at, r.rules.Slots-r.used) == Entered {
		r.used++
		taken++
	}
	return taken
}

// leave gives n places back, each after took.
func (r *room) leave(name string, n int, took time.Duration, came Contact) {
	at := r.Pin(name)
	defer r.Unpin(at)
	for range n {
		r.Leave(at, took, came)
		r.used--
	}
}

// proven makes a destination one that answers in so much time.
func (r *room) proven(name string, took time.Duration) {
	r.t.Helper()
	at := r.Pin(name)
	defer r.Unpin(at)
	for range 30 {
		if got := r.Enter(at, r.rules.Slots); got != Entered {
			r.t.Fatalf("%s has no place in an empty channel: %d", name, got)
		}
		r.Leave(at, took, Answered)
	}
	at.limit.now, at.opening.now = at.limit.bound, at.opening.most // as they are once many were in flight
}

// silent makes a destination fail n times in a row.
func (r *room) silent(name string, n int) {
	r.t.Helper()
	at := r.Pin(name)
	defer r.Unpin(at)
	for range n {
		if got := r.Enter(at, r.rules.Slots); got != Entered {
			r.t.Fatalf("refused with %d", got)
		}
		r.Leave(at, time.Millisecond, Silent)
	}
}

func (r *room) entry(name string, free int) Entry {
	at := r.Pin(name)
	defer r.Unpin(at)
	got := r.Enter(at, free)
	if got == Entered {
		r.Withdraw(at)
	}
	return got
}

func (r *room) wantEntry(name string, want Entry) {
	r.t.Helper()
	if got := r.entry(name, r.rules.Slots-r.used); got != want {
		r.t.Errorf("%s: entry %d, want %d", name, got, want)
	}
}

func TestAQuickDestinationHasItsShareBesideOthersAndEverySlotAlone(t *testing.T) {
	r := newRoom(t, 64, nil)
	r.proven("b", time.Millisecond)
	r.proven("a", time.Millisecond)
	if n := r.fill("a"); n != 32 {
		t.Errorf("%d places beside another one, want half of 64", n)
	}
	r.clock.pass(aloneAfter - 1)
	r.leave("a", 32, time.Millisecond, Answered)
	if n := r.fill("a"); n != 32 {
		t.Errorf("%d places while another was called lately, want 32", n)
	}
	r.clock.pass(1)
	r.leave("a", 32, time.Millisecond, Answered)
	if n := r.fill("a"); n != 64 {
		t.Errorf("%d places when no other was called for %v, want all", n, aloneAfter)
	}
}

func TestAShareIsAQuarterOr32AndNeverOverHalf(t *testing.T) {
	for slots, want := range map[int]int{0: 1, 1: 1, 2: 1, 16: 8, 64: 32, 100: 32, 256: 64} {
		if got := newRoom(t, slots, nil).share; got != want {
			t.Errorf("of %d slots: %d, want %d", slots, got, want)
		}
	}
}

func TestPlacesThatAreConfiguredAreKeptTo(t *testing.T) {
	r := newRoom(t, 64, map[string]int{"a": 3, "b": 50})
	r.proven("b", time.Millisecond)
	r.proven("a", time.Millisecond)
	if n := r.fill("a"); n != 3 {
		t.Errorf("%d places, want the 3 that are configured", n)
	}
	r.leave("a", 3, time.Millisecond, Answered)
	r.clock.pass(time.Hour)
	if n := r.fill("a"); n != 3 {
		t.Errorf("%d places when alone, want the 3 that are configured", n)
	}
	if n := r.fill("b"); n <= 32 || n > 50 {
		t.Errorf("%d places where 50 are configured, want more than the share", n)
	}
}

func TestHoweverManyQuickOnesHangAtOnceSomeSlotsAreFree(t *testing.T) {
	for hosts, want := range map[int]int{1: 28, 2: 11, 5: 4, 10: 2} {
		r := newRoom(t, 56, nil)
		for i := range hosts {
			r.proven(fmt.Sprint(i), time.Millisecond)
		}
		r.proven("other", time.Millisecond)
		for range 56 { // none answers any more
			for i := range hosts {
				at := r.Pin(fmt.Sprint(i))
				if free := 56 - r.used; free > 0 && r.Enter(at, free) == Entered {
					r.used++
				}
			}
		}
		if free := 56 - r.used; free < want {
			t.Errorf("%d hosts that hang leave %d of 56 slots, want %d at least", hosts, free, want)
		}
		r.wantEntry("other", Entered)
	}
}

func TestHoweverManyAreSlowAQuarterIsLeftToTheRest(t *testing.T) {
	for _, hosts := range []int{1, 3, 20, 200} {
		r := newRoom(t, 56, nil)
		for i := range hosts {
			r.proven(fmt.Sprint("slow ", i), 30*time.Second)
		}
		r.proven("quick", time.Millisecond)
		for i := range hosts {
			r.fill(fmt.Sprint("slow ", i))
		}
		if r.used > 42 {
			t.Errorf("%d slow ones have %d of 56 slots, want 42 at most", hosts, r.used)
		}
		r.wantEntry("quick", Entered)
		r.wantEntry("new", Entered)
	}
}

func TestOneThatStopsAnsweringGetsNoMoreAtOnceAndIsSlowAfterASecond(t *testing.T) {
	r := newRoom(t, 56, nil)
	r.proven("other", time.Millisecond)
	r.proven("a", time.Millisecond)
	at := r.Pin("a")
	for range 10 {
		r.Enter(at, 56)
		r.used++
	}
	if r.clock.pass(hangLeast); r.fill("a") != 18 {
		t.Errorf("%d places after %v without an answer, want all 28", r.used, hangLeast)
	}
	r.leave("a", 5, time.Millisecond, Answered)
	if r.clock.pass(hangLeast + 1); r.fill("a") != 0 {
		t.Errorf("it was given more beside the 23 that hang")
	}
	if r.wantEntry("other", Entered); r.slow != 0 {
		t.Errorf("%d places count as slow after so short a time", r.slow)
	}
	r.clock.pass(quickly)
	if r.wantEntry("a", Full); r.slow != 23 {
		t.Errorf("%d places count as slow after a second, want 23", r.slow)
	}
	r.clock.pass(aloneAfter)
	if n := r.fill("a"); n == 0 {
		t.Error("it was given no more once nobody else was called for whom it could be in the way")
	}
	r.leave("a", 1, 2*time.Second, Answered)
	if r.wantEntry("a", Entered); r.slow != 0 {
		t.Errorf("%d places count as slow once it answers, its average still being short", r.slow)
	}
}

func TestHowLongASilenceCountsAsHangingFollowsWhatIsUsual(t *testing.T) {
	for took, want := range map[time.Duration]time.Duration{time.Millisecond: hangLeast, 200 * time.Millisecond: 400 * time.Millisecond} {
		r := newRoom(t, 56, nil)
		r.proven("other", time.Millisecond)
		r.proven("a", took)
		r.fill("a")
		r.leave("a", 1, took, Answered)
		at := r.Pin("a")
		if r.clock.pass(want); at.hangs(r.clock.now()) {
			t.Errorf("one that takes %v hangs after %v", took, want)
		}
		if r.clock.pass(1); !at.hangs(r.clock.now()) {
			t.Errorf("one that takes %v does not hang after more than %v", took, want)
		}
	}
}

func TestOneThatHasNotAnsweredYetHasFew(t *testing.T) {
	for slots, want := range map[int]int{1: 1, 16: 1, 56: 2, 64: 3, 256: 4, 1000: 4} {
		r := newRoom(t, slots, nil)
		if n := r.fill("new"); n != want {
			t.Errorf("%d places of %d before the first answer, want %d", n, slots, want)
		}
	}
	r := newRoom(t, 56, nil)
	r.proven("other", time.Millisecond)
	for i := range 100 {
		r.fill(fmt.Sprint("new ", i))
	}
	if free := 56 - r.used; free < 7 {
		t.Errorf("a hundred new ones leave %d slots, want an eighth", free)
	}
	r.wantEntry("other", Entered)
}

func TestOneThatAnswersHasTwiceAsManyAfterEachRoundTrip(t *testing.T) {
	r := newRoom(t, 64, nil)
	r.proven("other", time.Millisecond)
	var had []int
	for range 4 {
		n := r.fill("new")
		had = append(had, n)
		r.clock.pass(windowLeast)
		r.leave("new", n, 5*time.Millisecond, Answered)
	}
	if want := []int{3, 7, 15, 31}; !slices.Equal(had, want) {
		t.Errorf("it had %v in flight, want %v", had, want)
	}
}

func TestWhatIsNotUsedIsNotOpened(t *testing.T) {
	r := newRoom(t, 64, nil)
	at := r.Pin("calm")
	for range 100 {
		r.Enter(at, 64)
		r.Leave(at, time.Millisecond, Answered)
	}
	if n := at.opening.now; n != at.opening.first {
		t.Errorf("%d may be in flight to one that had one at a time", n)
	}
}

func TestOneThatTimesOutIsTriedOneByOneAndOneThatOnlyFailsNowAndThenIsNot(t *testing.T) {
	r := newRoom(t, 64, nil)
	r.proven("other", time.Millisecond)
	n := r.fill("hangs")
	r.clock.pass(15 * time.Second)
	r.leave("hangs", n, 15*time.Second, Silent)
	if n := r.fill("hangs"); n != 1 {
		t.Errorf("%d places after all that it had timed out, want one", n)
	}
	r.leave("hangs", 1, time.Millisecond, Answered)
	if n := r.fill("hangs"); n != 3 {
		t.Errorf("%d places after the next answer, want three", n)
	}
	r.proven("flaky", 5*time.Millisecond)
	r.fill("flaky")
	r.clock.pass(15 * time.Second)
	r.leave("flaky", 1, 5*time.Millisecond, Answered)
	r.leave("flaky", 1, 15*time.Second, Silent)
	if at := r.Pin("flaky"); at.opening.now != at.opening.most {
		t.Errorf("%d places after one time-out of many calls, want %d as before", at.opening.now, at.opening.most)
	}
}

func TestDestinationsFollowTheNumberOfSlots(t *testing.T) {
	r := newRoom(t, 16, nil)
	r.proven("other", time.Millisecond)
	r.proven("a", time.Millisecond)
	if n := r.fill("a"); n != 8 {
		t.Fatalf("%d places, want half of 16", n)
	}
	r.Resize(64)
	r.leave("a", 8, time.Millisecond, Answered)
	r.proven("a", time.Millisecond)
	if n := r.fill("a"); n != 32 {
		t.Errorf("%d places of 64 slots, want half", n)
	}
	r.Resize(4)
	if r.leave("a", 30, time.Millisecond, Answered); r.fill("a") != 0 {
		t.Error("it was given more beside the two of four that it has")
	}
	r.leave("a", 1, time.Millisecond, Answered)
	r.wantEntry("a", Entered)
	if n := r.fill("new"); n != 1 {
		t.Errorf("%d places for one that is new, want one of four slots", n)
	}
}

func TestASingleSlotServesEverybody(t *testing.T) {
	r := newRoom(t, 1, nil)
	for _, name := range []string{"new", "newer"} {
		r.wantEntry(name, Entered)
	}
	r.proven("slow", time.Minute)
	r.wantEntry("slow", Entered)
}

func TestADestinationThatIsDownIsLeftAlone(t *testing.T) {
	r := newRoom(t, 64, nil)
	r.silent("dead", downAfter)
	r.wantEntry("dead", Down)
	r.wantEntry("alive", Entered)
	r.clock.pass(downFirst - 1)
	r.wantEntry("dead", Down)
	r.clock.pass(1)
	if n := r.fill("dead"); n != 1 {
		t.Fatalf("%d probes, want one", n)
	}
	r.wantEntry("dead", Down)
	r.leave("dead", 1, time.Second, Silent)
	r.clock.pass(2*downFirst - 1)
	r.wantEntry("dead", Down)
	r.clock.pass(1)
	r.wantEntry("dead", Entered)
}

func TestAProbeThatIsAnsweredLetsEverybodyIn(t *testing.T) {
	r := newRoom(t, 64, nil)
	r.silent("h", downAfter)
	r.clock.pass(downFirst)
	r.fill("h")
	r.leave("h", 1, time.Millisecond, Answered)
	r.silent("h", downAfter-1)
	r.wantEntry("h", Entered)
}

func TestAProbeThatCameToNothingIsFollowedByAnother(t *testing.T) {
	for name, end := range map[string]func(*Destinations, *Destination){
		"broken off":   func(d *Destinations, at *Destination) { d.Leave(at, time.Second, Unclear) },
		"never begun":  func(d *Destinations, at *Destination) { d.Withdraw(at) },
		"found silent": func(d *Destinations, at *Destination) { d.Leave(at, time.Second, Silent) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRoom(t, 64, nil)
			r.silent("h", downAfter)
			for range 3 {
				r.clock.pass(downMost)
				at := r.Pin("h")
				if got := r.Enter(at, 64); got != Entered {
					t.Fatalf("entry %d, want another probe", got)
				}
				end(r.Destinations, at)
				r.Unpin(at)
			}
		})
	}
}

func TestWhatWasOnItsWayWhenItWentDownChangesNothing(t *testing.T) {
	r := newRoom(t, 64, nil)
	r.proven("h", time.Millisecond)
	n := r.fill("h")
	r.leave("h", n, time.Second, Silent)
	if at := r.Pin("h"); at.down != downFirst {
		t.Errorf("down for %v after %d failures at once, want %v", at.down, n, downFirst)
	}
}

func TestTheWaitForADeadOneIsBounded(t *testing.T) {
	r := newRoom(t, 64, nil)
	r.silent("h", downAfter)
	for range 20 {
		r.clock.pass(downMost)
		r.silent("h", 1)
	}
	r.clock.pass(downMost - 1)
	r.wantEntry("h", Down)
	r.clock.pass(1)
	r.wantEntry("h", Entered)
}

func TestWhatIsPutOffComesBackWhenItsTurnIsLikely(t *testing.T) {
	r := newRoom(t, 64, nil)
	r.proven("other", time.Millisecond)
	r.proven("a", 4*time.Second)
	n := r.fill("a") // so many in four seconds
	at := r.Pin("a")
	for i := range 100 {
		if got, want := r.PutOff(at), putOffLeast+time.Duration(i)*(4*time.Second/time.Duration(n)); got != want {
			t.Fatalf("the one put off as %d comes back after %v, want %v", i, got, want)
		}
	}
	r.clock.pass(time.Hour)
	if got := r.PutOff(at); got < putOffLeast || got > time.Minute+putOffMost {
		t.Errorf("an hour later one comes back after %v", got)
	}
}

func TestWhatIsPutOffComesBackWithinSomeMinutes(t *testing.T) {
	r := newRoom(t, 64, nil)
	r.proven("a", 30*time.Second)
	r.fill("a")
	at := r.Pin("a")
	for range 100_000 {
		if got := r.PutOff(at); got < putOffLeast || got > putOffLeast+putOffMost {
			t.Fatalf("put off for %v", got)
		}
	}
}

func TestAHiccupPutsNothingOffForLong(t *testing.T) {
	r := newRoom(t, 64, nil)
	r.proven("a", time.Millisecond)
	r.fill("a")
	r.clock.pass(500 * time.Millisecond)
	at := r.Pin("a")
	for range 100_000 {
		if got := r.PutOff(at); got > putOffLeast+hiccup {
			t.Fatalf("put off for %v after half a second without an answer", got)
		}
	}
}

func TestABacklogOfOneThatIsDownComesBackAfterTheProbeAndSpread(t *testing.T) {
	r := newRoom(t, 64, nil)
	r.silent("dead", downAfter)
	at := r.Pin("dead")
	for i := range 5000 {
		got := r.PutOff(at)
		if got < downFirst || got > downFirst+downSpread*downFirst {
			t.Fatalf("put off for %v of a pause of %v", got, downFirst)
		}
		if want := downFirst + time.Duration(i)*downSpacing; i < 100 && got != want {
			t.Fatalf("the one put off as %d comes back after %v, want %v", i, got, want)
		}
	}
	r.clock.pass(downFirst)
	r.fill("dead")
	r.leave("dead", 1, time.Millisecond, Answered)
	if got := r.PutOff(at); got != putOffLeast {
		t.Errorf("put off for %v once it is back, want %v", got, putOffLeast)
	}
}

func TestALineIsTwoSecondsLong(t *testing.T) {
	for name, tc := range map[string]struct {
		took time.Duration
		want int
	}{"50 ms": {50 * time.Millisecond, 32 * 40}, "half a minute": {30 * time.Second, 2}} {
		r := newRoom(t, 64, nil)
		r.proven("other", time.Millisecond)
		r.proven("a", tc.took)
		r.fill("a")
		at := r.Pin("a")
		if got := r.LineRoom(at); got < tc.want-1 || got > tc.want+1 {
			t.Errorf("%s: room for %d, want %d", name, got, tc.want)
		}
	}
}

func TestWhatIsWorthWaitingFor(t *testing.T) {
	r := newRoom(t, 64, nil)
	for name, took := range map[string]time.Duration{"instant": time.Millisecond, "middling": 100 * time.Millisecond, "slow": 5 * time.Second} {
		r.proven(name, took)
	}
	for _, tc := range []struct {
		name string
		free int
		want bool
	}{{"instant", 40, true}, {"middling", 40, false}, {"middling", 5, true}, {"slow", 5, false}} {
		at := r.Pin(tc.name)
		r.Enter(at, 64)
		for range 20 {
			r.Enter(at, 64)
		}
		if got := r.WorthWaiting(at, tc.free); got != tc.want {
			t.Errorf("%s with %d slots free: %v, want %v", tc.name, tc.free, got, tc.want)
		}
	}
	fresh := r.Pin("fresh")
	r.Enter(fresh, 64)
	if !r.WorthWaiting(fresh, 40) {
		t.Error("one that was just met has no time to show what it is like")
	}
	if r.clock.pass(freshFor); r.WorthWaiting(fresh, 40) {
		t.Errorf("one that gave no answer within %v is waited for", freshFor)
	}
}

func TestTheMemoryOfDestinationsIsBounded(t *testing.T) {
	r := newRoom(t, 64, nil)
	for i := range 3 * mostDestinations {
		r.silent(fmt.Sprint("dead ", i), 1)
	}
	if n := r.Known(); n > mostDestinations {
		t.Errorf("%d are remembered, want %d at most", n, mostDestinations)
	}
	healthy := newRoom(t, 64, nil)
	for i := range 3 * mostDestinations {
		at := healthy.Pin(fmt.Sprint("alive ", i))
		healthy.Enter(at, 64)
		healthy.Leave(at, time.Millisecond, Answered)
		healthy.Unpin(at)
	}
	if n := healthy.Known(); n > mostDestinations/4+1 {
		t.Errorf("%d are remembered of whom there is nothing to say", n)
	}
}

func TestWhoIsCountedOnIsNotForgotten(t *testing.T) {
	r := newRoom(t, 64, nil)
	pinned := r.Pin("pinned")
	for i := range 3 * mostDestinations {
		r.silent(fmt.Sprint(i), 1)
	}
	if r.Pin("pinned") != pinned {
		t.Error("another took its name while it was pinned")
	}
}

func BenchmarkEnterAndLeave(b *testing.B) {
	d := NewDestinations(DestinationRules{Slots: 64, Now: time.Now})
	names := make([]string, 50)
	for i := range names {
		names[i] = fmt.Sprintf("https://hooks-%d.example", i)
	}
	b.ReportAllocs()
	for i := range b.N {
		at := d.Pin(names[i%len(names)])
		if d.Enter(at, 64) == Entered {
			d.Leave(at, time.Millisecond, Answered)
		}
		d.Unpin(at)
	}
}

// A host that asked to be left alone is to be for as long, whoever else is called
// meanwhile.
func TestRoomForAnotherDestinationIsNotMadeOfOneThatIsPausedDownOrHeld(t *testing.T) {
	r := newRoom(t, 20, nil)
	for i := range mostDestinations {
		at := r.Pin(fmt.Sprint("h", i))
		at.answers.slow = true // or it would be forgotten as there is nothing to remember
		r.Unpin(at)
		switch i % 6 {
		case 0:
			r.Pause(at.name, r.clock.at.Add(time.Hour), "429")
		case 1:
			at.breaker = breaker{failures: downAfter, down: downFirst, until: r.clock.at.Add(time.Hour)}
		case 2:
			at.learned.perSecond = 5
		}
	}
	for i := range mostDestinations / 4 {
		at := r.Pin(fmt.Sprint("new", i))
		at.answers.slow = true
		r.Unpin(at)
	}
	for i := range mostDestinations {
		if name := fmt.Sprint("h", i); i%6 < 3 && r.byName[name] == nil {
			t.Errorf("%s was forgotten", name)
		}
	}
	if n := r.Known(); n != mostDestinations {
		t.Errorf("%d are known, want %d", n, mostDestinations)
	}
}
