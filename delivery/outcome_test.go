package delivery

import (
	"errors"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/carillonhq/carillon/channels"
	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/queue"
)

var start = time.Date(2026, 11, 2, 9, 0, 0, 0, time.UTC)

// most is a jitter that always takes all of it, least one that takes nothing.
func most(d time.Duration) time.Duration { return d }
func least(time.Duration) time.Duration  { return 0 }

// waits is a schedule of two waits: three attempts in all.
func waits() config.Retry {
	return config.Retry{Schedule: []config.Duration{config.Duration(10 * time.Second), config.Duration(time.Minute)}}
}

func hold() config.Retry {
	r := waits()
	r.OnUnknown = config.OnUnknownHold
	return r
}

var errProvider = errors.New("the provider's words")

// fallback is the rest of a chain.
func fallback() *notice.Chain { return &notice.Chain{First: 1, Last: 1} }

// verdictCase is an answer, and what must follow from it.
type verdictCase struct {
	name     string
	verdict  channels.Verdict
	after    time.Duration // the provider's Retry-After
	scope    channels.Scope
	made     int // attempts before this one
	expires  time.Duration
	fallback *notice.Chain
	retry    config.Retry
	jitter   func(time.Duration) time.Duration

	kind    queue.Kind
	status  notice.Status
	reason  string
	attempt int
	due     time.Duration // from now; of queue.Later
	pause   time.Duration // from now
	broken  bool
	gone    bool
}

func TestWhatFollowsFromAnAnswerThatIsFinal(t *testing.T) {
	for _, tt := range []verdictCase{
		{name: "sent is delivered", verdict: channels.Sent, kind: queue.Done, status: notice.StatusDelivered},
		{name: "sent at the last attempt is delivered", verdict: channels.Sent, made: 2, kind: queue.Done, status: notice.StatusDelivered, attempt: 2},
		{name: "sent after it expired is delivered all the same", verdict: channels.Sent, expires: -time.Hour, kind: queue.Done, status: notice.StatusDelivered},
		{name: "sent leaves the rest of its chain alone", verdict: channels.Sent, fallback: fallback(), kind: queue.Done, status: notice.StatusDelivered},
		{name: "rejected fails", verdict: channels.Rejected, kind: queue.Done, status: notice.StatusFailed},
		{name: "rejected with a fallback goes on to it", verdict: channels.Rejected, fallback: fallback(), kind: queue.Next, status: notice.StatusFailed},
		{name: "rejected has no use for a Retry-After", verdict: channels.Rejected, after: time.Hour, kind: queue.Done, status: notice.StatusFailed},
		{name: "gone fails and the address is dead", verdict: channels.Gone, kind: queue.Done, status: notice.StatusFailed, gone: true},
		{name: "gone with a fallback goes on to it and the address is dead", verdict: channels.Gone, fallback: fallback(), kind: queue.Next, status: notice.StatusFailed, gone: true},
	} {
		t.Run(tt.name, tt.check)
	}
}

func TestWhatFollowsFromAFailedAttempt(t *testing.T) {
	for _, tt := range []verdictCase{
		{name: "a retry waits by the schedule", verdict: channels.Retry, kind: queue.Later, status: notice.StatusRetrying, attempt: 1, due: 10 * time.Second},
		{name: "the second retry waits for the second wait", verdict: channels.Retry, made: 1, kind: queue.Later, status: notice.StatusRetrying, attempt: 2, due: time.Minute},
		{name: "a retry has full jitter", verdict: channels.Retry, jitter: least, kind: queue.Later, status: notice.StatusRetrying, attempt: 1, due: 0},
		{name: "a retry waits for a Retry-After that is longer than the schedule", verdict: channels.Retry, after: 30 * time.Second,
			kind: queue.Later, status: notice.StatusRetrying, attempt: 1, due: 30 * time.Second},
		{name: "a retry waits by the schedule when the Retry-After is shorter", verdict: channels.Retry, after: time.Second,
			kind: queue.Later, status: notice.StatusRetrying, attempt: 1, due: 10 * time.Second},
		{name: "a Retry-After holds whatever the jitter", verdict: channels.Retry, after: 5 * time.Second, jitter: least,
			kind: queue.Later, status: notice.StatusRetrying, attempt: 1, due: 5 * time.Second},
		{name: "a retry past the schedule is buried", verdict: channels.Retry, made: 2, kind: queue.Bury, status: notice.StatusDead, reason: "attempts", attempt: 3},
		{name: "a retry past the schedule goes on to the fallback", verdict: channels.Retry, made: 2, fallback: fallback(), kind: queue.Next, status: notice.StatusFailed, attempt: 3},
		{name: "a retry that has a fallback is retried first", verdict: channels.Retry, fallback: fallback(), kind: queue.Later, status: notice.StatusRetrying, attempt: 1, due: 10 * time.Second},
		{name: "a retry that would come after it expires is expired", verdict: channels.Retry, expires: 10 * time.Second, kind: queue.Done, status: notice.StatusExpired, attempt: 1},
		{name: "a retry that comes just before it expires is made", verdict: channels.Retry, expires: 10*time.Second + 1,
			kind: queue.Later, status: notice.StatusRetrying, attempt: 1, due: 10 * time.Second},
		{name: "a retry whose Retry-After ends after it expires is expired", verdict: channels.Retry, after: time.Hour, expires: time.Minute,
			kind: queue.Done, status: notice.StatusExpired, attempt: 1},
		{name: "without a schedule the first failure is the last", verdict: channels.Retry, retry: config.Retry{Schedule: []config.Duration{}},
			kind: queue.Bury, status: notice.StatusDead, reason: "attempts", attempt: 1},
		{name: "an unknown outcome is sent again", verdict: channels.Unknown, kind: queue.Later, status: notice.StatusRetrying, attempt: 1, due: 10 * time.Second},
		{name: "an unknown outcome past the schedule is buried", verdict: channels.Unknown, made: 2, kind: queue.Bury, status: notice.StatusDead, reason: "attempts", attempt: 3},
		{name: "an unknown outcome is held where that is asked", verdict: channels.Unknown, retry: hold(),
			kind: queue.Bury, status: notice.StatusDead, reason: "unknown-outcome", attempt: 1},
		{name: "an unknown outcome is held even with a fallback", verdict: channels.Unknown, retry: hold(), fallback: fallback(),
			kind: queue.Bury, status: notice.StatusDead, reason: "unknown-outcome", attempt: 1},
		{name: "a retry is not held", verdict: channels.Retry, retry: hold(), kind: queue.Later, status: notice.StatusRetrying, attempt: 1, due: 10 * time.Second},
		{name: "a verdict that nobody knows is a retry", verdict: channels.Verdict(99), kind: queue.Later, status: notice.StatusRetrying, attempt: 1, due: 10 * time.Second},
	} {
		t.Run(tt.name, tt.check)
	}
}

func TestWhatFollowsFromBeingAskedForLess(t *testing.T) {
	for _, tt := range []verdictCase{
		{name: "throttled waits for the Retry-After and costs no attempt", verdict: channels.Throttled, after: 40 * time.Second, scope: channels.ScopeHost, made: 2,
			kind: queue.Later, status: notice.StatusDeferred, attempt: 2, due: 44 * time.Second, pause: 40 * time.Second},
		{name: "throttled without a Retry-After rests for five seconds", verdict: channels.Throttled, jitter: least,
			kind: queue.Later, status: notice.StatusDeferred, due: 5 * time.Second, pause: 5 * time.Second},
		{name: "throttled until after it expires is expired, and its scope rests all the same", verdict: channels.Throttled, after: time.Hour, expires: time.Minute,
			kind: queue.Done, status: notice.StatusExpired, pause: time.Hour},
		{name: "throttled with a fallback waits for its own address", verdict: channels.Throttled, after: time.Second, fallback: fallback(), jitter: least,
			kind: queue.Later, status: notice.StatusDeferred, due: time.Second, pause: time.Second},
		{name: "broken rests the channel and costs no attempt", verdict: channels.Broken, made: 2, jitter: least,
			kind: queue.Later, status: notice.StatusDeferred, attempt: 2, due: 10 * time.Second, pause: 10 * time.Second, broken: true},
		{name: "broken with a Retry-After rests for as long as that asks", verdict: channels.Broken, after: time.Minute, jitter: least,
			kind: queue.Later, status: notice.StatusDeferred, due: time.Minute, pause: time.Minute, broken: true},
		{name: "broken until after it expires is expired", verdict: channels.Broken, expires: time.Second,
			kind: queue.Done, status: notice.StatusExpired, pause: 10 * time.Second, broken: true},
	} {
		t.Run(tt.name, tt.check)
	}
}

func (tt verdictCase) check(t *testing.T) {
	d := &notice.Delivery{Attempt: tt.made, Chain: tt.fallback}
	if tt.expires != 0 {
		d.ExpiresAt = start.Add(tt.expires)
	}
	if tt.retry.Schedule == nil {
		tt.retry = waits()
	}
	if tt.jitter == nil {
		tt.jitter = most
	}
	o := decide(attemptOf{delivery: d, retry: tt.retry, now: start, jitter: tt.jitter, result: channels.Result{
		Verdict: tt.verdict, RetryAfter: tt.after, Scope: tt.scope, Code: "418", ProviderID: "p1", Err: errProvider}})
	if o.kind != tt.kind || o.entry.Status != tt.status || o.reason != tt.reason || o.attempt != tt.attempt || o.broken != tt.broken || o.gone != tt.gone {
		t.Errorf("kind %d, status %s, reason %q, attempt %d, broken %t, gone %t", o.kind, o.entry.Status, o.reason, o.attempt, o.broken, o.gone)
	}
	if o.kind == queue.Later && (!o.due.Equal(start.Add(tt.due)) || !o.entry.Until.Equal(o.due)) {
		t.Errorf("due after %v, the record says %v; want %v", o.due.Sub(start), o.entry.Until.Sub(start), tt.due)
	}
	if paused := !o.pause.IsZero(); paused != (tt.pause != 0) || paused && (!o.pause.Equal(start.Add(tt.pause)) || o.pauseScope != tt.scope) {
		t.Errorf("pauses scope %d until %v, want scope %d for %v", o.pauseScope, o.pause, tt.scope, tt.pause)
	}
	if e := o.entry; !e.At.Equal(start) || e.Attempt != tt.made+1 || e.Code != "418" || e.ProviderID != "p1" || e.Detail == "" {
		t.Errorf("the record's entry is %+v", e)
	}
}

// anyAttempt draws everything that an outcome follows from.
func anyAttempt(t *rapid.T) attemptOf {
	seconds := func(label string, most int) time.Duration {
		return time.Duration(rapid.IntRange(0, most).Draw(t, label)) * time.Second
	}
	a := attemptOf{delivery: &notice.Delivery{Attempt: rapid.IntRange(0, 5).Draw(t, "attempts made")}, now: start}
	a.result = channels.Result{Verdict: channels.Verdict(rapid.IntRange(0, 6).Draw(t, "verdict")), RetryAfter: seconds("retry after", 7200)}
	for range rapid.IntRange(0, 4).Draw(t, "waits") {
		a.retry.Schedule = append(a.retry.Schedule, config.Duration(seconds("wait", 3600)))
	}
	if rapid.Bool().Draw(t, "hold") {
		a.retry.OnUnknown = config.OnUnknownHold
	}
	if rapid.Bool().Draw(t, "expires") {
		a.delivery.ExpiresAt = start.Add(seconds("expires in", 7200))
	}
	if rapid.Bool().Draw(t, "fallback") {
		a.delivery.Chain = fallback()
	}
	part := rapid.Float64Range(0, 1).Draw(t, "jitter")
	a.jitter = func(d time.Duration) time.Duration { return time.Duration(part * float64(d)) }
	return a
}

func TestNoOutcomeBreaksAPromise(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := anyAttempt(t)
		o := decide(a)
		if o.kind == queue.Later {
			if o.due.Before(start.Add(a.result.RetryAfter)) {
				t.Errorf("due %v before the Retry-After", start.Add(a.result.RetryAfter).Sub(o.due))
			}
			if exp := a.delivery.ExpiresAt; !exp.IsZero() && !o.due.Before(exp) {
				t.Error("parked until after it expires")
			}
			if o.entry.Status.Final() {
				t.Errorf("parked with the final status %s", o.entry.Status)
			}
		} else if !o.entry.Status.Final() {
			t.Errorf("ended with the status %s", o.entry.Status)
		}
		costs := a.result.Verdict == channels.Retry || a.result.Verdict == channels.Unknown
		if spent := o.attempt - a.delivery.Attempt; costs != (spent == 1) || !costs && spent != 0 {
			t.Errorf("%s costs %d attempts", a.result.Verdict, spent)
		}
		if o.kind == queue.Next && a.delivery.Chain == nil {
			t.Error("goes on to a fallback that there is not")
		}
		if (o.kind == queue.Bury) != (o.reason != "") {
			t.Errorf("kind %d with the reason %q", o.kind, o.reason)
		}
		if o.gone && a.result.Verdict != channels.Gone {
			t.Errorf("%s calls the address dead", a.result.Verdict)
		}
	})
}
