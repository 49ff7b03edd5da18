package throttle

import "time"

// atHandTime is how much of a rate may wait for it at hand before more is
// better sent elsewhere: what keeps the rate used up, in frames of a tenth of a
// second, and delays nothing for long.
const atHandTime = 500 * time.Millisecond

// Counts reports whether anything of a scope has a rate.
func (q *Quotas) Counts(scope Scope) bool {
	if !q.Any() {
		return false
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.tables[scope]) > 0
}

// WaitOf is about how long one more that is counted by a name would wait for its
// rate here, where at most so many wait at hand; 0 where that is less than half a
// second, or there is no rate.
func (q *Quotas) WaitOf(scope Scope, name string, atHand int) time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	counted, rule := q.ruleOf(scope, name)
	at := q.named[scope][counted]
	if rule.Rate.IsZero() || at == nil {
		return 0
	}
	waiting, perSecond := at.pace.waiting(), at.perSecond()
	wait := time.Duration(float64(waiting) / perSecond * float64(time.Second))
	switch {
	case waiting == 0 || wait < atHandTime && waiting < atHand:
		return 0
	case wait < lineTime && waiting < atHand:
		return wait
	}
	// It would be put off, behind those that are.
	return max(wait, at.putOff.last()-q.running())
}

// Try takes a permit of a name's rate when there is one now. Where there is
// none, some are asked for.
func (q *Quotas) Try(scope Scope, name string) bool {
	var names Names
	names[scope] = name
	needs := q.Pin(names)
	defer q.Unpin(needs)
	at := needs[scope]
	if at == nil {
		return true
	}
	taken, _ := at.pace.Try()
	return taken
}
