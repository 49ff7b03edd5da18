package main

import (
	"fmt"
	"strings"
	"time"
)

// posted is one notification as its sender knows it.
type posted struct {
	n     int       // its content: no other has the same
	hooks int       // how many webhooks it is to reach
	due   time.Time // send_at; zero: now
	id    string    // of the 202; empty: never answered
	at    time.Time // of the 202
}

// target is one webhook of one notification.
type target struct{ n, hook int }

// arrival is what came for one target.
type arrival struct {
	first time.Time
	times []time.Time
	ids   map[string]int // requests by webhook-id
}

// window is a time in which the store may forget what it has acknowledged.
type window struct{ from, to time.Time }

func (w window) holds(t time.Time) bool { return !t.Before(w.from) && !t.After(w.to) }

// tally is what the counting says.
type tally struct {
	Accepted   int `json:"accepted"`   // notifications answered with 202
	Deliveries int `json:"deliveries"` // owed for them
	Delivered  int `json:"delivered"`
	Lost       int `json:"lost"` // owed, and never arrived
	// Unexplained are those lost that were accepted when the store had no
	// licence to forget.
	Unexplained int `json:"lost_unexplained"`
	Duplicates  int `json:"duplicates"` // requests beyond the first, for a target
	// Unrecognisable are the webhook-ids beyond the first under which the same
	// content reached the same target: no receiver can tell that it has it.
	Unrecognisable int           `json:"unrecognisable"`
	Foreign        int           `json:"foreign"` // arrived, and belongs to no id that was answered, or to nothing that was posted
	Early          int           `json:"early"`   // arrived before send_at
	Longest        time.Duration `json:"longest_delay_ns"`
	Examples       []string      `json:"examples,omitempty"`
}

// earlyBy is how far before send_at an arrival still counts as in time: due times
// are kept in milliseconds, and so near do processes follow Redis' clock.
const earlyBy = 5 * time.Millisecond

// judge counts what arrived against what was answered with 202.
func judge(sent []posted, came map[target]*arrival, forgetful []window) tally {
	var t tally
	known := make(map[target]bool, len(came))
	for i := range sent {
		p := &sent[i]
		if p.id != "" {
			t.Accepted++
			t.Deliveries += p.hooks
		}
		for hook := range p.hooks {
			at := target{p.n, hook}
			known[at] = true
			t.count(p, at, came[at], forgetful)
		}
	}
	for at := range came {
		if !known[at] {
			t.Foreign++
			t.example("content %d at hook %d was never posted", at.n, at.hook)
		}
	}
	return t
}

// count takes in one target.
func (t *tally) count(p *posted, at target, a *arrival, forgetful []window) {
	switch {
	case a == nil && p.id == "":
		return
	case a == nil:
		t.lose(p, at, forgetful)
		return
	}
	requests := 0
	for id, times := range a.ids {
		requests += times
		if p.id != "" && !strings.HasPrefix(id, p.id+"-") {
			t.Foreign++
			t.example("content %d was answered as %s and arrived as %s", p.n, p.id, id)
		}
	}
	t.Duplicates += requests - 1
	if len(a.ids) > 1 {
		t.Unrecognisable += len(a.ids) - 1
		t.example("content %d arrived at hook %d as %v", p.n, at.hook, a.ids)
	}
	if !p.due.IsZero() && a.first.Before(p.due.Add(-earlyBy)) {
		t.Early++
		t.example("content %d arrived %v before it was due", p.n, p.due.Sub(a.first))
	}
	if p.id != "" {
		t.Delivered++
		t.Longest = max(t.Longest, a.first.Sub(later(p.at, p.due)))
	}
}

func (t *tally) lose(p *posted, at target, forgetful []window) {
	t.Lost++
	for _, w := range forgetful {
		if w.holds(p.at) {
			return
		}
	}
	t.Unexplained++
	t.example("%s (content %d, hook %d), accepted %s, never arrived", p.id, p.n, at.hook, p.at.Format("15:04:05.000"))
}

func (t *tally) example(format string, args ...any) {
	const most = 8
	if len(t.Examples) < most {
		t.Examples = append(t.Examples, fmt.Sprintf(format, args...))
	}
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// terms are what a row has to keep.
type terms struct {
	duplicates int           // the most that the faults explain
	forgets    bool          // the store forgot, and with it keys: the same content may come under two ids
	longest    time.Duration // no delivery later than this; 0: not bounded
}

// breaches are the ways in which a tally does not keep its terms.
func (t tally) breaches(of terms) (out []string) {
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	if t.Accepted == 0 {
		say("nothing was accepted: nothing was proven")
	}
	if t.Unexplained > 0 {
		say("%d deliveries were lost that the store had no licence to forget", t.Unexplained)
	}
	if t.Unrecognisable > 0 && !of.forgets {
		say("%d arrived under a second id, which no receiver can recognise", t.Unrecognisable)
	}
	if t.Foreign > 0 && !of.forgets {
		say("%d arrived under ids that were never answered", t.Foreign)
	}
	if t.Duplicates > of.duplicates {
		say("%d duplicates, and the faults explain %d", t.Duplicates, of.duplicates)
	}
	if t.Early > 0 {
		say("%d arrived before their send_at", t.Early)
	}
	if of.longest > 0 && t.Longest > of.longest {
		say("the longest delay is %v, more than %v", t.Longest.Round(time.Millisecond), of.longest)
	}
	return out
}
