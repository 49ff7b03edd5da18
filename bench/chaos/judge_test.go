package main

import (
	"strings"
	"testing"
	"time"
)

// noon is when everything in these tests was accepted.
func noon() time.Time { return time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC) }

// accepted is a notification for one webhook that was answered with 202.
func accepted(n int, id string) posted { return posted{n: n, hooks: 1, id: id, at: noon()} }

// arrived is what came a second later, as often as each id says.
func arrived(ids map[string]int) *arrival { return &arrival{first: noon().Add(time.Second), ids: ids} }

// TestTheJudgeFindsWhatIsWrong feeds the counting with what the gateway must
// never do, and with what it may.
func TestTheJudgeFindsWhatIsWrong(t *testing.T) {
	t.Parallel()
	scheduled := accepted(1, "0-a")
	scheduled.due = noon().Add(time.Minute)
	two := accepted(1, "0-a")
	two.hooks = 2
	unanswered := posted{n: 2, hooks: 1}
	good := arrived(map[string]int{"0-a-1": 1})
	for _, c := range []struct {
		name      string
		sent      []posted
		came      map[target]*arrival
		forgetful []window
		terms     terms
		want      []string // a word of each breach
	}{
		{name: "all is well", sent: []posted{accepted(1, "0-a")}, came: map[target]*arrival{{1, 0}: good}},
		{name: "one is lost", sent: []posted{accepted(1, "0-a"), accepted(2, "0-b")}, came: map[target]*arrival{{1, 0}: good}, want: []string{"1 deliveries were lost"}},
		{name: "one of two webhooks is lost", sent: []posted{two}, came: map[target]*arrival{{1, 0}: good}, want: []string{"1 deliveries were lost"}},
		{name: "one is lost that the store may forget", sent: []posted{accepted(1, "0-a"), accepted(2, "0-b")}, came: map[target]*arrival{{1, 0}: good},
			forgetful: []window{{noon().Add(-time.Second), noon().Add(time.Second)}}},
		{name: "one is lost that was accepted before the store forgot", sent: []posted{accepted(1, "0-a"), accepted(2, "0-b")}, came: map[target]*arrival{{1, 0}: good},
			forgetful: []window{{noon().Add(time.Second), noon().Add(2 * time.Second)}}, want: []string{"1 deliveries were lost"}},
		{name: "one is doubled that no fault explains", sent: []posted{accepted(1, "0-a")}, came: map[target]*arrival{{1, 0}: arrived(map[string]int{"0-a-1": 2})}, want: []string{"1 duplicates"}},
		{name: "one is doubled that was in flight", sent: []posted{accepted(1, "0-a")}, came: map[target]*arrival{{1, 0}: arrived(map[string]int{"0-a-1": 2})}, terms: terms{duplicates: 1}},
		{name: "one is doubled under two ids", sent: []posted{accepted(1, "0-a")}, came: map[target]*arrival{{1, 0}: arrived(map[string]int{"0-a-1": 1, "0-a-2": 1})},
			terms: terms{duplicates: 1}, want: []string{"second id"}},
		{name: "one arrives under an id that nobody was told", sent: []posted{accepted(1, "0-a")}, came: map[target]*arrival{{1, 0}: arrived(map[string]int{"0-b-1": 1})}, want: []string{"never answered"}},
		{name: "what was never answered need not arrive", sent: []posted{accepted(1, "0-a"), unanswered}, came: map[target]*arrival{{1, 0}: good}},
		{name: "what was never answered may arrive", sent: []posted{accepted(1, "0-a"), unanswered}, came: map[target]*arrival{{1, 0}: good, {2, 0}: arrived(map[string]int{"0-b-1": 1})}},
		{name: "what was never answered may not arrive under two ids", sent: []posted{accepted(1, "0-a"), unanswered},
			came: map[target]*arrival{{1, 0}: good, {2, 0}: arrived(map[string]int{"0-b-1": 1, "0-c-1": 1})}, terms: terms{duplicates: 1}, want: []string{"second id"}},
		{name: "something arrives that nobody posted", sent: []posted{accepted(1, "0-a")}, came: map[target]*arrival{{1, 0}: good, {7, 0}: good}, want: []string{"never answered"}},
		{name: "one arrives before its time", sent: []posted{scheduled}, came: map[target]*arrival{{1, 0}: good}, want: []string{"before their send_at"}},
		{name: "one is late", sent: []posted{accepted(1, "0-a")}, came: map[target]*arrival{{1, 0}: good}, terms: terms{longest: time.Second / 2}, want: []string{"longest delay is 1s"}},
		{name: "nothing was accepted", sent: []posted{unanswered}, want: []string{"nothing was proven"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			checkBreaches(t, judge(c.sent, c.came, c.forgetful).breaches(c.terms), c.want)
		})
	}
}

// TestARecordThatIsMissingOrOpenBreaksThePromise holds what GET says against
// the terms.
func TestARecordThatIsMissingOrOpenBreaksThePromise(t *testing.T) {
	t.Parallel()
	checkBreaches(t, records{}.breaches(terms{}), nil)
	checkBreaches(t, records{Open: 1, Missing: 2, Other: 3}.breaches(terms{}), []string{"1 accepted", "2 accepted", "3 accepted"})
	checkBreaches(t, records{Missing: 2}.breaches(terms{forgets: true}), nil)
}

func checkBreaches(t *testing.T, got, want []string) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("breaches %q, want %d: %q", got, len(want), want)
	}
	for i := range want {
		if !strings.Contains(got[i], want[i]) {
			t.Errorf("breach %q, want it to say %q", got[i], want[i])
		}
	}
}

// TestATallyCountsEachDeliveryOnce checks the figures of the table.
func TestATallyCountsEachDeliveryOnce(t *testing.T) {
	t.Parallel()
	two := accepted(1, "0-a")
	two.hooks = 2
	got := judge([]posted{two, accepted(2, "0-b")}, map[target]*arrival{
		{1, 0}: arrived(map[string]int{"0-a-1": 3}),
		{1, 1}: arrived(map[string]int{"0-a-2": 1}),
	}, nil)
	if got.Accepted != 2 || got.Deliveries != 3 || got.Delivered != 2 || got.Lost != 1 || got.Duplicates != 2 || got.Longest != time.Second {
		t.Errorf("counted %+v, want 2 accepted, 3 owed, 2 delivered, 1 lost, 2 duplicates, a second at the longest", got)
	}
}
