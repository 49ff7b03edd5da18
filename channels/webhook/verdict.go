package webhook

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/carillonhq/carillon/channels"
	"github.com/carillonhq/carillon/channels/webhook/http1"
)

// rule is what the statuses from first to last mean.
type rule struct {
	first, last int
	verdict     channels.Verdict
	scope       channels.Scope
	meaning     string // the words of the result's Err
}

// rules is read from the top; the first that holds the status decides. The
// sources are the Standard Webhooks specification ("Delivery", 1.0) and RFC
// 9110. That specification knows one final failure, 410: a receiver in the
// middle of a deployment answers 401, 404 or 405 for a while, so every other
// failure is tried again until the retry schedule ends.
var rules = [...]rule{
	// Standard Webhooks: "a response code of 2xx indicates success".
	{200, 299, channels.Sent, 0, ""},
	// Standard Webhooks: 3xx is a failure, redirects are not followed.
	{300, 399, channels.Retry, 0, "the endpoint redirects, which is not followed"},
	// RFC 9110 §15.5.9: the client may repeat the request.
	{408, 408, channels.Retry, 0, "the endpoint timed out"},
	// Standard Webhooks: 410 asks for the endpoint to be disabled; RFC 9110
	// §15.5.11: likely to be permanent.
	{410, 410, channels.Gone, 0, "the endpoint says that it is gone"},
	// RFC 8470 §5.2: too early in a TLS session, the request may be repeated.
	{425, 425, channels.Retry, 0, "the endpoint will not take early data"},
	// Standard Webhooks: 429 asks to slow down; RFC 6585 §4: with Retry-After.
	{429, 429, channels.Throttled, channels.ScopeHost, "the endpoint asks for less"},
	{400, 499, channels.Retry, 0, "the endpoint refused the request"},
	// Standard Webhooks: 502 and 504 are a receiver under load. RFC 9110
	// §15.6.4: 503 may carry Retry-After. They cost an attempt all the same,
	// since an endpoint that is down for good answers so for ever; its
	// Retry-After is kept.
	{502, 504, channels.Retry, channels.ScopeHost, "the endpoint is unavailable"},
	{500, 599, channels.Retry, 0, "the endpoint failed"},
}

// ruleFor is the rule of a status; a status beyond the table, as 101 or 600,
// is no answer to a POST.
func ruleFor(status int) rule {
	for _, r := range rules {
		if status >= r.first && status <= r.last {
			return r
		}
	}
	return rule{status, status, channels.Retry, 0, "the endpoint gave an answer that is none"}
}

// answered classifies an answer by its status alone. What an endpoint says of
// a failure goes on record as far as it repeats nothing that was sent to it.
func answered(a http1.Answer, now time.Time, what func() *sent) channels.Result {
	r := ruleFor(a.Status)
	result := channels.Result{Verdict: r.verdict, Scope: r.scope, Code: strconv.Itoa(a.Status)}
	if r.verdict == channels.Sent {
		return result
	}
	result.RetryAfter = channels.RetryAfter(a.Header, now)
	result.Err = fmt.Errorf("%s: %d %s", r.meaning, a.Status, http.StatusText(a.Status))
	if words := what().excerpt(a.Header.Get("Content-Encoding"), a.Body); words != "" {
		result.Err = fmt.Errorf("%w: %q", result.Err, words)
	}
	return result
}

// refused is the result for an address that may not be connected to. It is
// Rejected and not Gone: whether allow_networks holds it is the operator's
// doing, so the address must not be suppressed for it.
func refused() channels.Result {
	return channels.Result{
		Verdict: channels.Rejected,
		Unsent:  true,
		Code:    "address_refused",
		Err:     errors.New("the endpoint's host is not on the public internet, and no network of webhook.allow_networks holds it"),
	}
}
