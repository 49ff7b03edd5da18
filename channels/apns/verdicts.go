package apns

import (
	"net/http"

	"github.com/carillonhq/carillon/channels"
	"github.com/sideshow/apns2"
)

// row says what one of Apple's answers means. The mend is what an operator
// reads.
type row struct {
	status  int
	reason  string // empty: any other reason with this status
	verdict channels.Verdict
	scope   channels.Scope // of Throttled
	mend    string
	source  string
}

// The pages that the rows are from.
const (
	sourceApple = "Apple, Handling notification responses from APNs"
	sourceToken = "Apple, Establishing a token-based connection to APNs"
	sourceHTTP  = "RFC 9110 §15"
)

// Reasons of the table that the client library has no name for.
const (
	reasonUnrelatedKeyID      = "UnrelatedKeyIdInToken"
	reasonBadEnvironmentKeyID = "BadEnvironmentKeyIdInToken"
)

// table lists every documented answer. Two rules decide the doubtful ones: an
// address is Gone only by a 410, which no fault of ours can cause, and what
// speaks of our key, topic or certificate is Broken, so that nothing is lost
// while an operator mends it.
//
// BadDeviceToken is Rejected and not Gone because a gateway that is set to the
// wrong environment (sandbox tokens at the production host) gets it for every
// device that there is.
func table() []row {
	return []row{
		{http.StatusOK, "", channels.Sent, 0, "", sourceApple},

		{http.StatusBadRequest, apns2.ReasonBadCollapseID, channels.Rejected, 0, "the collapse id is too long", sourceApple},
		{http.StatusBadRequest, apns2.ReasonBadDeviceToken, channels.Rejected, 0, "the device token is malformed or of the other environment: check apns.host (sandbox or production)", sourceApple},
		{http.StatusBadRequest, apns2.ReasonBadExpirationDate, channels.Rejected, 0, "the expiration was refused", sourceApple},
		{http.StatusBadRequest, apns2.ReasonBadMessageID, channels.Rejected, 0, "the apns-id was refused", sourceApple},
		{http.StatusBadRequest, apns2.ReasonBadPriority, channels.Rejected, 0, "the priority was refused", sourceApple},
		{http.StatusBadRequest, apns2.ReasonBadTopic, channels.Broken, 0, "the topic is not one: check apns.topic", sourceApple},
		{http.StatusBadRequest, apns2.ReasonDeviceTokenNotForTopic, channels.Rejected, 0, "the device token belongs to another app: check apns.topic and the device's app", sourceApple},
		{http.StatusBadRequest, apns2.ReasonDuplicateHeaders, channels.Rejected, 0, "a header was repeated", sourceApple},
		{http.StatusBadRequest, apns2.ReasonIdleTimeout, channels.Retry, 0, "the connection was idle for too long", sourceApple},
		{http.StatusBadRequest, apns2.ReasonInvalidPushType, channels.Rejected, 0, "the push type was refused", sourceApple},
		{http.StatusBadRequest, apns2.ReasonMissingDeviceToken, channels.Rejected, 0, "no device token reached Apple", sourceApple},
		{http.StatusBadRequest, apns2.ReasonMissingTopic, channels.Broken, 0, "no topic: set apns.topic", sourceApple},
		{http.StatusBadRequest, apns2.ReasonPayloadEmpty, channels.Rejected, 0, "the payload is empty", sourceApple},
		{http.StatusBadRequest, apns2.ReasonTopicDisallowed, channels.Broken, 0, "the key may not push to this topic: check apns.topic and apns.team_id", sourceApple},
		{http.StatusBadRequest, "", channels.Rejected, 0, "the request was refused", sourceHTTP},

		{http.StatusForbidden, apns2.ReasonBadCertificate, channels.Broken, 0, "the certificate was refused", sourceApple},
		{http.StatusForbidden, apns2.ReasonBadCertificateEnvironment, channels.Broken, 0, "the certificate is of the other environment: check apns.host", sourceApple},
		{http.StatusForbidden, apns2.ReasonExpiredProviderToken, channels.Broken, 0, "a token minted this moment is expired to Apple: check this machine's clock", sourceToken},
		{http.StatusForbidden, apns2.ReasonForbidden, channels.Broken, 0, "the action is not allowed to this key", sourceApple},
		{http.StatusForbidden, apns2.ReasonInvalidProviderToken, channels.Broken, 0, "the provider token was refused: check apns.key, apns.key_id and apns.team_id", sourceApple},
		{http.StatusForbidden, apns2.ReasonMissingProviderToken, channels.Broken, 0, "no provider token reached Apple", sourceApple},
		{http.StatusForbidden, reasonUnrelatedKeyID, channels.Broken, 0, "the key is not related to the one that the connection began with: check apns.key_id", sourceApple},
		{http.StatusForbidden, reasonBadEnvironmentKeyID, channels.Broken, 0, "the key is of the other environment: check apns.host and apns.key_id", sourceApple},
		{http.StatusForbidden, "", channels.Broken, 0, "access was refused: check the apns section, and that no proxy answers in Apple's place", sourceHTTP},

		{http.StatusNotFound, apns2.ReasonBadPath, channels.Rejected, 0, "the path was refused", sourceApple},
		{http.StatusNotFound, "", channels.Broken, 0, "this is not Apple's service: check apns.host", sourceHTTP},
		{http.StatusMethodNotAllowed, apns2.ReasonMethodNotAllowed, channels.Rejected, 0, "the method was refused", sourceApple},
		{http.StatusMethodNotAllowed, "", channels.Broken, 0, "this is not Apple's service: check apns.host", sourceHTTP},

		{http.StatusGone, apns2.ReasonExpiredToken, channels.Gone, 0, "the device token has expired", sourceApple},
		{http.StatusGone, apns2.ReasonUnregistered, channels.Gone, 0, "the device is no longer registered for the topic", sourceApple},
		// Without Apple's reason it may be anybody's 410: too little to
		// remove a device for.
		{http.StatusGone, "", channels.Rejected, 0, "gone, without a reason of Apple's", sourceHTTP},

		{http.StatusRequestEntityTooLarge, apns2.ReasonPayloadTooLarge, channels.Rejected, 0, "the payload is too large", sourceApple},
		{http.StatusRequestEntityTooLarge, "", channels.Rejected, 0, "the payload is too large", sourceHTTP},

		{http.StatusTooManyRequests, apns2.ReasonTooManyProviderTokenUpdates, channels.Throttled, channels.ScopeChannel, "the provider token changes more often than every 20 minutes: does another program use the same key?", sourceToken},
		{http.StatusTooManyRequests, apns2.ReasonTooManyRequests, channels.Throttled, channels.ScopeDevice, "too many pushes in a row to one device", sourceApple},
		{http.StatusTooManyRequests, "", channels.Throttled, channels.ScopeChannel, "Apple asks for less", sourceHTTP},

		{http.StatusInternalServerError, apns2.ReasonInternalServerError, channels.Retry, 0, "an internal error of Apple's", sourceApple},
		{http.StatusServiceUnavailable, apns2.ReasonServiceUnavailable, channels.Retry, 0, "the service is unavailable", sourceApple},
		{http.StatusServiceUnavailable, apns2.ReasonShutdown, channels.Retry, 0, "the server is shutting down", sourceApple},
	}
}

// aboutTopic reports whether a reason speaks of the topic.
func aboutTopic(reason string) bool {
	switch reason {
	case apns2.ReasonBadTopic, apns2.ReasonMissingTopic, apns2.ReasonTopicDisallowed, apns2.ReasonDeviceTokenNotForTopic:
		return true
	}
	return false
}

// answer is what a row is found by.
type answer struct {
	status int
	reason string
}

func index(rows []row) map[answer]row {
	m := make(map[answer]row, len(rows))
	for _, r := range rows {
		m[answer{r.status, r.reason}] = r
	}
	return m
}

// lookUp finds the row of an answer, or what its class of status means when
// the table has none: a reason may be new, and a proxy may answer in Apple's
// place.
func lookUp(rows map[answer]row, a answer) row {
	if r, ok := rows[a]; ok {
		return r
	}
	if r, ok := rows[answer{a.status, ""}]; ok {
		return r
	}
	switch {
	case a.status >= 500:
		return row{verdict: channels.Retry, mend: "the service failed"}
	case a.status >= 400:
		return row{verdict: channels.Rejected, mend: "the request was refused"}
	}
	return row{verdict: channels.Broken, mend: "no answer of Apple's: check apns.host, and that no proxy answers in its place"}
}
