package webpush

import (
	"net/http"

	"github.com/carillonhq/carillon/channels"
)

// row says what one of a push service's answers means.
type row struct {
	status  int
	verdict channels.Verdict
	scope   channels.Scope // of Throttled
	mend    string
	source  string
}

// table is every status that RFC 8030 and the push services of the browsers
// document. Three things are decided here:
//
// Only a 404 and a 410 remove a subscription.
//
// A refused VAPID token is Retry and not Broken. It may be our key; but a
// subscription is bound to the key that its page chose, and it may name any
// host, so one person could stop the channel for everybody. If it is our key,
// the messages end as dead letters that can be sent again.
//
// A 429 speaks of the one subscription, as RFC 8030 has it; a service that is
// overloaded as a whole answers 503.
func table() []row {
	const (
		rfc     = "RFC 8030"
		mozilla = "Mozilla autopush, Error Codes"
		apple   = "Apple, Sending web push notifications in web apps and browsers"
		windows = "WNS, Push notification service request and response headers"
		common  = "RFC 9110 §15"
	)
	return []row{
		{http.StatusOK, channels.Sent, 0, "", windows},
		{http.StatusCreated, channels.Sent, 0, "", rfc + " §5"},
		{http.StatusAccepted, channels.Sent, 0, "", rfc + " §5.1"},
		{http.StatusNoContent, channels.Sent, 0, "", common},
		{http.StatusMovedPermanently, channels.Rejected, 0, "redirects are not followed", common},
		{http.StatusFound, channels.Rejected, 0, "redirects are not followed", common},
		{http.StatusTemporaryRedirect, channels.Rejected, 0, "redirects are not followed", common},
		{http.StatusPermanentRedirect, channels.Rejected, 0, "redirects are not followed", common},
		{http.StatusBadRequest, channels.Rejected, 0, "the request was refused: was the subscription made for this VAPID key?", mozilla},
		{http.StatusUnauthorized, channels.Retry, 0, "the VAPID token was refused: check webpush.private_key, webpush.subject and this machine's clock", mozilla},
		{http.StatusForbidden, channels.Retry, 0, "the VAPID token was refused: check webpush.private_key, and that the subscription was made for it", apple},
		{http.StatusNotFound, channels.Gone, 0, "the subscription is no longer known", rfc + " §7.3"},
		{http.StatusMethodNotAllowed, channels.Rejected, 0, "the endpoint is not a push service's", apple},
		{http.StatusNotAcceptable, channels.Throttled, channels.ScopeHost, "the service asks for less", windows},
		{http.StatusRequestTimeout, channels.Retry, 0, "the service did not get the request in time", common},
		{http.StatusGone, channels.Gone, 0, "the subscription has ended", mozilla + "; " + apple},
		{http.StatusRequestEntityTooLarge, channels.Rejected, 0, "the message is too large", rfc + " §7.2"},
		{http.StatusTooManyRequests, channels.Throttled, channels.ScopeDevice, "too many messages to one subscription", rfc + " §8.4"},
		{http.StatusInternalServerError, channels.Retry, 0, "the service failed", mozilla},
		{http.StatusBadGateway, channels.Retry, 0, "the service failed", common},
		{http.StatusServiceUnavailable, channels.Retry, channels.ScopeHost, "the service is unavailable", mozilla},
		{http.StatusGatewayTimeout, channels.Retry, 0, "the service took too long", common},
	}
}

func index(rows []row) map[int]row {
	m := make(map[int]row, len(rows))
	for _, r := range rows {
		m[r.status] = r
	}
	return m
}

// lookUp finds the row of a status, or what its class means (RFC 9110 §15).
func lookUp(rows map[int]row, status int) row {
	if r, ok := rows[status]; ok {
		return r
	}
	switch {
	case status >= 500:
		return row{verdict: channels.Retry, mend: "the service failed"}
	case status >= 400:
		return row{verdict: channels.Rejected, mend: "the request was refused"}
	case status >= 300:
		return row{verdict: channels.Rejected, mend: "redirects are not followed"}
	}
	return row{verdict: channels.Sent}
}
