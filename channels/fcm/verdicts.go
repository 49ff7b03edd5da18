package fcm

import (
	"net/http"
	"strings"
	"time"

	"github.com/carillonhq/carillon/channels"
	"github.com/go-json-experiment/json"
)

// What the service asks to wait when it names no time: a minute at a quota,
// and at least ten seconds when it fails ("Best practices when sending FCM
// messages at scale", "FCM error codes").
const (
	quotaWait = time.Minute
	faultWait = 10 * time.Second
)

// row says what one of FCM's answers means. A row is found by the FcmError's
// code, by the RPC status where there is no FcmError (google.rpc.Code), or by
// the HTTP status alone.
type row struct {
	status  int
	code    string // an FcmError's errorCode, or error.status; empty: any other
	verdict channels.Verdict
	wait    time.Duration // the least RetryAfter
	mend    string
	source  string
	// perDevice: it may be the one device's fault, and is when others are
	// pushed to.
	perDevice bool
}

// The pages that the rows are from.
const (
	sourceFCM  = "FCM HTTP v1 reference, ErrorCode"
	sourceRPC  = "google.rpc.Code, googleapis/google/rpc/code.proto"
	sourceHTTP = "RFC 9110 §15"
)

// fcmErrors are the codes of google.firebase.fcm.v1.FcmError, the whole enum
// ErrorCode ("ErrorCode", FCM HTTP v1 reference).
func fcmErrors() []row {
	return []row{
		{http.StatusNotFound, "UNREGISTERED", channels.Gone, 0, "the app instance is no longer registered", sourceFCM, false},
		{http.StatusBadRequest, "INVALID_ARGUMENT", channels.Rejected, 0, "the message was refused", sourceFCM, false},
		{http.StatusForbidden, "SENDER_ID_MISMATCH", channels.Broken, 0, "the device is registered with another project: check fcm.project and fcm.credentials", sourceFCM, true},
		{http.StatusUnauthorized, "THIRD_PARTY_AUTH_ERROR", channels.Broken, 0, "the project's APNs key or web push key is missing or wrong: mend it in the Firebase console", sourceFCM, true},
		{http.StatusTooManyRequests, "QUOTA_EXCEEDED", channels.Throttled, quotaWait, "a quota is used up", sourceFCM, false},
		{http.StatusInternalServerError, "INTERNAL", channels.Retry, faultWait, "an internal error of FCM's", sourceFCM, false},
		{http.StatusServiceUnavailable, "UNAVAILABLE", channels.Retry, faultWait, "the service is overloaded", sourceFCM, false},
	}
}

// rpcErrors are the answers without an FcmError: those of Google's front end,
// which knows the project and the credentials but not the device. None of them
// says anything about an address, not even NOT_FOUND. UNSPECIFIED_ERROR, the
// enum's remaining code, is judged here by its HTTP status.
func rpcErrors() []row {
	return []row{
		{http.StatusOK, "", channels.Unknown, 0, "taken, but the answer cannot be read", sourceHTTP, false},
		{http.StatusBadRequest, "INVALID_ARGUMENT", channels.Rejected, 0, "the message was refused", sourceRPC, false},
		{http.StatusBadRequest, "FAILED_PRECONDITION", channels.Broken, 0, "the project is not ready to send: check it in the Firebase console", sourceRPC, false},
		{http.StatusBadRequest, "OUT_OF_RANGE", channels.Rejected, 0, "the message was refused", sourceRPC, false},
		{http.StatusBadRequest, "", channels.Rejected, 0, "the message was refused", sourceHTTP, false},
		{http.StatusUnauthorized, "UNAUTHENTICATED", channels.Broken, 0, "the credentials were refused: check fcm.credentials", sourceRPC, false},
		{http.StatusUnauthorized, "", channels.Broken, 0, "the credentials were refused: check fcm.credentials", sourceHTTP, false},
		{http.StatusForbidden, "PERMISSION_DENIED", channels.Broken, 0, "the service account may not send for this project: give it the role Firebase Cloud Messaging API Admin", sourceRPC, false},
		{http.StatusForbidden, "", channels.Broken, 0, "access was refused: check fcm.credentials, and that no proxy answers in Google's place", sourceHTTP, false},
		{http.StatusNotFound, "NOT_FOUND", channels.Broken, 0, "no such project: check fcm.project", sourceRPC, false},
		{http.StatusNotFound, "", channels.Broken, 0, "this is not FCM: check fcm.project and fcm.endpoint", sourceHTTP, false},
		{http.StatusMethodNotAllowed, "", channels.Broken, 0, "this is not FCM: check fcm.endpoint", sourceHTTP, false},
		{http.StatusConflict, "ABORTED", channels.Retry, faultWait, "the request was aborted", sourceRPC, false},
		{http.StatusConflict, "ALREADY_EXISTS", channels.Rejected, 0, "the message was refused", sourceRPC, false},
		{http.StatusConflict, "", channels.Retry, faultWait, "the request was aborted", sourceHTTP, false},
		{http.StatusRequestEntityTooLarge, "", channels.Rejected, 0, "the message is too large", sourceHTTP, false},
		{http.StatusTooManyRequests, "RESOURCE_EXHAUSTED", channels.Throttled, quotaWait, "a quota is used up", sourceRPC, false},
		{http.StatusTooManyRequests, "", channels.Throttled, quotaWait, "a quota is used up", sourceHTTP, false},
		{499, "CANCELLED", channels.Retry, faultWait, "the request was canceled", sourceRPC, false},
		{http.StatusInternalServerError, "INTERNAL", channels.Retry, faultWait, "an internal error of FCM's", sourceRPC, false},
		{http.StatusInternalServerError, "UNKNOWN", channels.Retry, faultWait, "an internal error of FCM's", sourceRPC, false},
		{http.StatusInternalServerError, "DATA_LOSS", channels.Retry, faultWait, "an internal error of FCM's", sourceRPC, false},
		{http.StatusInternalServerError, "", channels.Retry, faultWait, "an internal error of FCM's", sourceHTTP, false},
		{http.StatusNotImplemented, "UNIMPLEMENTED", channels.Broken, 0, "the service does not know the method: check fcm.endpoint", sourceRPC, false},
		{http.StatusBadGateway, "", channels.Retry, faultWait, "the service failed", sourceHTTP, false},
		{http.StatusServiceUnavailable, "UNAVAILABLE", channels.Retry, faultWait, "the service is overloaded", sourceRPC, false},
		{http.StatusServiceUnavailable, "", channels.Retry, faultWait, "the service is overloaded", sourceHTTP, false},
		{http.StatusGatewayTimeout, "DEADLINE_EXCEEDED", channels.Retry, faultWait, "the service took too long", sourceRPC, false},
		{http.StatusGatewayTimeout, "", channels.Retry, faultWait, "the service took too long", sourceHTTP, false},
	}
}

type key struct {
	status int
	code   string
}

// verdicts finds rows.
type verdicts struct {
	fcm map[string]row
	rpc map[key]row
}

func newVerdicts() verdicts {
	v := verdicts{fcm: map[string]row{}, rpc: map[key]row{}}
	for _, r := range fcmErrors() {
		v.fcm[r.code] = r
	}
	for _, r := range rpcErrors() {
		v.rpc[key{r.status, r.code}] = r
	}
	return v
}

// lookUp finds the row of an answer and the code to report it under.
func (v verdicts) lookUp(status int, f fault) (row, string) {
	if r, ok := v.fcm[f.fcm]; ok {
		return r, r.code
	}
	if r, ok := v.rpc[key{status, f.rpc}]; ok {
		return r, r.code
	}
	if r, ok := v.rpc[key{status, ""}]; ok {
		return r, ""
	}
	switch {
	case status >= 500:
		return row{verdict: channels.Retry, wait: faultWait, mend: "the service failed"}, ""
	case status >= 400:
		return row{verdict: channels.Rejected, mend: "the message was refused"}, ""
	}
	return row{verdict: channels.Broken, mend: "no answer of FCM's: check fcm.endpoint, and that no proxy answers in Google's place"}, ""
}

// fault is what an error's body says (google.rpc.Status).
type fault struct {
	rpc     string   // error.status
	fcm     string   // the FcmError's code; empty when there is none
	message string   // never reported: it may quote the message
	fields  []string // of BadRequest: the fields at fault
	quotas  []string // of QuotaFailure: what is used up
}

// readFault reads a body; what cannot be read is left empty.
func readFault(body []byte) fault {
	var e struct {
		Error struct {
			Message string `json:"message"`
			Status  string `json:"status"`
			Details []struct {
				Type            string `json:"@type"`
				ErrorCode       string `json:"errorCode"`
				FieldViolations []struct {
					Field string `json:"field"`
				} `json:"fieldViolations"`
				Violations []struct {
					Subject     string `json:"subject"`
					Description string `json:"description"`
				} `json:"violations"`
			} `json:"details"`
		} `json:"error"`
	}
	if json.Unmarshal(body, &e) != nil {
		return fault{}
	}
	f := fault{rpc: e.Error.Status, message: e.Error.Message}
	for _, d := range e.Error.Details {
		if strings.HasSuffix(d.Type, "/google.firebase.fcm.v1.FcmError") {
			f.fcm = d.ErrorCode
		}
		for _, v := range d.FieldViolations {
			f.fields = append(f.fields, v.Field)
		}
		for _, v := range d.Violations {
			f.quotas = append(f.quotas, v.Subject+" "+v.Description)
		}
	}
	return f
}

// namesToken reports whether an INVALID_ARGUMENT is about the device's token
// and nothing else. Only the messaging service itself can judge a token, so
// there must be an FcmError; a violation of any other field is our payload's
// fault and must never cost a device.
func (f fault) namesToken() bool {
	if f.fcm != "INVALID_ARGUMENT" {
		return false
	}
	for _, field := range f.fields {
		if field != "message.token" {
			return false
		}
	}
	return len(f.fields) > 0 || strings.Contains(strings.ToLower(f.message), "registration token")
}

// aboutDevice reports whether the quota is the one of messages to one device
// ("device message rate exceeded").
func (f fault) aboutDevice() bool {
	return strings.Contains(strings.ToLower(strings.Join(append(f.quotas, f.message), " ")), "device")
}

// where names the fields at fault, for an error's end; empty when none are.
// Only names that a message of ours can have are repeated.
func (f fault) where() string {
	var names []string
	for _, field := range f.fields {
		if known := fieldName(field); known != "" {
			names = append(names, known)
		}
	}
	if len(names) == 0 {
		return ""
	}
	return " (" + strings.Join(names, ", ") + ")"
}

// fieldName cuts the part off that may hold a data key.
func fieldName(field string) string {
	for _, known := range []string{"message.token", "message.notification", "message.data", "message.android"} {
		if strings.HasPrefix(field, known) {
			return known
		}
	}
	return ""
}
