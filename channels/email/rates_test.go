package email

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/carillonhq/carillon/channels"
)

// waits are how long accounts are said to have to wait.
type waits map[string]time.Duration

func (w waits) of(account string) time.Duration { return w[account] }

// accounts is an adapter's settings for relays of the accounts a, b, c.
func accounts(t *testing.T, relays ...*scripted) (a *Adapter, clock *testClock) {
	t.Helper()
	cfg := several(t, relays...)
	for i := range cfg.Relays {
		cfg.Relays[i].Account = string(rune('a' + i))
	}
	clock = &testClock{at: time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)}
	return newAdapter(t, cfg, WithClock(clock.now)), clock
}

func TestTheRelayIsChosenByWeightHealthAndRate(t *testing.T) {
	for _, c := range []struct {
		name    string
		weights [3]int
		resting string // accounts
		waits   waits
		want    string // the accounts of eight mails, how often each
	}{
		{"by weight", [3]int{5, 2, 1}, "", nil, "a5 b2 c1"},
		{"one at its rate leaves its share to the others", [3]int{5, 1, 1}, "", waits{"a": time.Second}, "a0 b4 c4"},
		{"one that rests does too", [3]int{2, 1, 1}, "a", nil, "a0 b4 c4"},
		{"where all are at their rates it is the one that goes first", [3]int{5, 2, 1}, "", waits{"a": 3 * time.Second, "b": time.Second, "c": 2 * time.Second}, "a0 b8 c0"},
		{"those that go at the same time take turns", [3]int{1, 1, 8}, "", waits{"a": time.Second, "b": time.Second, "c": 2 * time.Second}, "a4 b4 c0"},
		{"one that works is waited for", [3]int{1, 1, 1}, "bc", waits{"a": time.Hour}, "a8 b0 c0"},
		{"while none works it is the one that is due first", [3]int{1, 1, 1}, "abc", waits{"a": time.Hour}, "a8 b0 c0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, clock := accounts(t, startScripted(t, nil), startScripted(t, nil), startScripted(t, nil))
			for i, s := range a.fleet.servers {
				if s.weight = c.weights[i]; strings.Contains(c.resting, s.account) {
					s.until = clock.now().Add(time.Duration(i+1) * time.Second)
				}
			}
			got := map[string]int{}
			for range 8 {
				chosen := a.Choose(c.waits.of)
				if got[chosen.Account]++; chosen.Key != fmt.Sprintf("relays[%d]", chosen.Account[0]-'a') {
					t.Errorf("the account %s is said to be of %s", chosen.Account, chosen.Key)
				}
			}
			if text := fmt.Sprintf("a%d b%d c%d", got["a"], got["b"], got["c"]); text != c.want {
				t.Errorf("of eight mails got %s, want %s", text, c.want)
			}
		})
	}
}

func TestAMailGoesByTheRelayThatWasChosenOrByOneWithAPermit(t *testing.T) {
	for _, c := range []struct {
		name    string
		bad     string // accounts whose relays hang up
		resting string // accounts
		via     string
		permits string // accounts of which a permit can be had
		asked   string // accounts of which one was asked for
		by      string // the account that took it; empty: it is put off
	}{
		{"the one that was chosen needs no other permit", "", "", "relays[1]", "", "", "b"},
		{"where it fails the next one needs one", "b", "", "relays[1]", "ac", "a", "a"},
		{"one without is passed over", "b", "", "relays[1]", "c", "ac", "c"},
		{"where none has one the mail is put off", "b", "", "relays[1]", "", "ac", ""},
		{"one that rests is not tried while one works that is at its rate", "", "b", "relays[1]", "", "ac", ""},
		{"one that rests is tried while none works", "", "abc", "relays[1]", "", "a", "b"},
		{"where none was chosen each needs a permit", "", "", "", "c", "abc", "c"},
		{"where none was chosen and none has one the mail is put off", "", "", "", "", "abc", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			noLeak(t)
			var relays []*scripted
			for _, account := range "abc" {
				r := startScripted(t, nil)
				if strings.ContainsRune(c.bad, account) {
					r = startScripted(t, map[string][]string{"greeting": {cutOff}})
				}
				relays = append(relays, r)
			}
			a, clock := accounts(t, relays...)
			for i, s := range a.fleet.servers {
				if strings.Contains(c.resting, s.account) {
					s.until = clock.now().Add(time.Duration(i+1) * time.Second)
				}
			}
			asked := ""
			m := mailFor("1-a-0")
			m.Via, m.Permit = c.via, func(account string) bool {
				asked += account
				return strings.Contains(c.permits, account)
			}
			r := send(t, a, m)
			if asked != c.asked {
				t.Errorf("permits of %q were asked for, want of %q", asked, c.asked)
			}
			for i, relay := range relays {
				if has, want := mailsAt(relay) == 1, string(rune('a'+i)) == c.by; has != want {
					t.Errorf("the relay of %c has the mail: %v, want %v", 'a'+i, has, want)
				}
			}
			checkPutOff(t, r, c.by == "")
		})
	}
}

// checkPutOff checks that a mail was sent, or that nothing follows from its
// being put off but that it comes again.
func checkPutOff(t *testing.T, r channels.Result, putOff bool) {
	t.Helper()
	switch {
	case !putOff && r.Verdict != channels.Sent:
		t.Errorf("got %v, %v; want it sent", r.Verdict, r.Err)
	case putOff && (r.Verdict != channels.Throttled || r.Scope != channels.ScopeRelay || !r.Unsent || r.Code != "rate" || r.RetryAfter <= 0):
		t.Errorf("got %+v; want it put off for the relays' rates", r)
	case putOff && (!errors.Is(r.Err, errAtRate) || !strings.HasSuffix(r.Err.Error(), ": a, c") && !strings.HasSuffix(r.Err.Error(), ": a, b, c")):
		t.Errorf("it says %q, want which accounts are at their rates", r.Err)
	}
}

func TestASingleRelayIsChosenAlways(t *testing.T) {
	a := newAdapter(t, settingsFor(t, startScripted(t, nil).listener.Addr()))
	chosen := a.Choose(waits{}.of)
	if chosen.Key != "relays[0]" || chosen.Account != a.fleet.servers[0].name {
		t.Errorf("%+v was chosen, want the relay, by host and port", chosen)
	}
	m := mailFor("1-a-0")
	m.Via, m.Permit = chosen.Key, func(string) bool { return false }
	checkPutOff(t, send(t, a, m), false)
}
