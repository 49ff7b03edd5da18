package delivery

import (
	"time"

	"github.com/carillonhq/carillon/channels"
	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/queue"
)

const (
	// throttledWait is how long a provider that asks for less is left alone
	// when it does not say how long.
	throttledWait = 5 * time.Second
	// brokenWait is how long a message stays away to which the provider said
	// that it refuses our credential or set-up, and how long the channel rests at
	// least, before another one is tried.
	brokenWait = 10 * time.Second
	// retryAfterMost is the longest Retry-After that is obeyed. A receiver that
	// names years would else decide that nothing is ever sent again.
	retryAfterMost = 24 * time.Hour
)

// outcome is what follows from one attempt.
type outcome struct {
	kind   queue.Kind
	entry  queue.Entry
	due    time.Time // of queue.Later
	reason string    // of queue.Bury

	attempt int // the delivery's count after this attempt

	pause      time.Time // until when to leave pauseScope alone, at least; zero: go on
	pauseScope channels.Scope
	asked      bool // the provider said for how long
	broken     bool // the pause is for a fault of our own, and one message at a time ends it
	gone       bool // the address is dead
}

// attemptOf is everything that an outcome follows from.
type attemptOf struct {
	delivery *notice.Delivery
	result   channels.Result
	retry    config.Retry
	now      time.Time
	jitter   func(time.Duration) time.Duration
	// quiet says when the recipient's quiet hours end that a time is in, and
	// whether it is in any; nil: there are none.
	quiet func(time.Time) (end time.Time, quiet bool)
}

// decide turns a provider's answer into the transition that follows. It looks
// at nothing but its argument.
func decide(a attemptOf) outcome {
	o := outcome{attempt: a.delivery.Attempt, entry: queue.Entry{
		At: a.now, Attempt: a.delivery.Attempt + 1, Code: a.result.Code, Detail: words(a.result.Err), ProviderID: a.result.ProviderID}}
	if asked := a.result.RetryAfter; asked > retryAfterMost {
		a.result.RetryAfter = retryAfterMost
		o.entry.Detail = join("it asked to wait "+asked.Round(time.Second).String()+", and 24 h is the longest that is waited", o.entry.Detail)
	}
	switch a.result.Verdict {
	case channels.Sent:
		return o.end(notice.StatusDelivered)
	case channels.Rejected:
		return o.fail(a.delivery)
	case channels.Gone:
		o.gone = true
		return o.fail(a.delivery)
	case channels.Throttled:
		wait := a.result.RetryAfter
		if wait <= 0 {
			wait = throttledWait
		}
		o.pause, o.pauseScope, o.asked = a.now.Add(wait), a.result.Scope, a.result.RetryAfter > 0
		// What waits for the same moment must not arrive all at once.
		return o.later(a, notice.StatusDeferred, wait+a.jitter(wait/10))
	case channels.Broken:
		wait := max(brokenWait, a.result.RetryAfter)
		o.pause, o.pauseScope, o.broken = a.now.Add(wait), channels.ScopeChannel, true
		return o.later(a, notice.StatusDeferred, wait+a.jitter(wait/10))
	case channels.Unknown:
		if a.retry.OnUnknown == config.OnUnknownHold {
			o.attempt++
			return o.bury("unknown-outcome")
		}
	case channels.Retry:
		// A host that is overloaded may say for how long it is to be left alone
		// (RFC 9110 §10.2.3, of 503), which is not about this message.
		if a.result.RetryAfter > 0 && a.result.Scope == channels.ScopeHost {
			o.pause, o.pauseScope, o.asked = a.now.Add(a.result.RetryAfter), channels.ScopeHost, true
		}
	}
	return o.retry(a)
}

// retry parks a delivery by the schedule, or for as long as the provider asked
// when that is longer, and gives up past the schedule's end.
func (o outcome) retry(a attemptOf) outcome {
	o.attempt++
	if o.attempt > len(a.retry.Schedule) {
		return o.giveUp(a.delivery)
	}
	wait := a.jitter(a.retry.Schedule[o.attempt-1].Std())
	return o.later(a, notice.StatusRetrying, max(wait, a.result.RetryAfter))
}

// giveUp ends a delivery whose attempts are used up: a chain goes on, anything
// else is kept for somebody to redrive.
func (o outcome) giveUp(d *notice.Delivery) outcome {
	if d.Chain != nil {
		return o.fail(d)
	}
	return o.bury("attempts")
}

func (o outcome) later(a attemptOf, status notice.Status, wait time.Duration) outcome {
	o.due = a.now.Add(wait)
	if a.quiet != nil {
		if end, quiet := a.quiet(o.due); quiet {
			o.due, o.entry.Detail = end, join("it waits for the end of the recipient's quiet hours", o.entry.Detail)
		}
	}
	if exp := a.delivery.ExpiresAt; !exp.IsZero() && !o.due.Before(exp) {
		o.entry.Detail = join("it would have been tried again after it expires", o.entry.Detail)
		return o.end(notice.StatusExpired)
	}
	o.kind, o.entry.Status, o.entry.Until = queue.Later, status, o.due
	return o
}

func (o outcome) end(status notice.Status) outcome {
	o.kind, o.entry.Status = queue.Done, status
	return o
}

// fail ends a delivery for good, and a chain goes on.
func (o outcome) fail(d *notice.Delivery) outcome {
	o.kind, o.entry.Status = queue.Done, notice.StatusFailed
	if d.Chain != nil {
		o.kind = queue.Next
	}
	return o
}

func (o outcome) bury(reason string) outcome {
	o.kind, o.entry.Status, o.reason = queue.Bury, notice.StatusDead, reason
	return o
}

func words(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func join(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + ": " + b
}
