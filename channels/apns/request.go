package apns

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"

	"github.com/carillonhq/carillon/channels"
	"github.com/carillonhq/carillon/notice"
	"github.com/google/uuid"
	"github.com/sideshow/apns2"
)

const maxCollapseID = 64 // bytes

// kind is what Apple documents of one push type ("Sending notification
// requests to APNs").
type kind struct {
	suffix   string // of the topic
	priority int    // when nobody asks for another
	payload  int    // the most bytes of it
	// aps says when there is an aps though the sender gives none: always, and
	// with what in it.
	always   bool
	fallback member
}

// kindOf is the row of a push type.
func kindOf(t notice.PushType) kind {
	const small, large = 4096, 5120
	changed := member{"content-changed", []byte("true")}
	switch t {
	case notice.PushBackground:
		return kind{"", apns2.PriorityLow, small, true, member{"content-available", []byte("1")}}
	case notice.PushVoIP:
		return kind{".voip", apns2.PriorityHigh, large, false, member{}}
	case notice.PushComplication:
		return kind{".complication", apns2.PriorityHigh, small, false, member{}}
	case notice.PushFileProvider:
		return kind{".pushkit.fileprovider", apns2.PriorityHigh, small, false, member{}}
	case notice.PushMDM:
		return kind{"", apns2.PriorityHigh, small, false, member{}}
	case notice.PushLocation:
		return kind{".location-query", apns2.PriorityHigh, small, false, member{}}
	case notice.PushLiveActivity:
		return kind{".push-type.liveactivity", apns2.PriorityHigh, small, true, member{}}
	case notice.PushToTalk:
		return kind{".voip-ptt", apns2.PriorityHigh, small, false, member{}}
	case notice.PushControls:
		return kind{".push-type.controls", apns2.PriorityHigh, small, true, changed}
	case notice.PushWidgets:
		return kind{".push-type.widgets", apns2.PriorityHigh, small, true, changed}
	}
	return kind{"", apns2.PriorityHigh, small, true, member{}}
}

// request is one push, ready to be sent.
type request struct {
	*apns2.Notification
	service  *service
	provider *provider // nil: the connection's certificate speaks
	// foreign: the topic is the device's own word, and no configured app's, so
	// what Apple thinks of it is not our set-up's fault.
	foreign bool
}

// request makes the request of m, or says why it can never be sent.
func (a *Adapter) request(m channels.Message) (*request, *channels.Result) {
	content := m.Content.Push
	switch {
	case !isToken(m.Address.To):
		return nil, rejected(apns2.ReasonBadDeviceToken, errors.New("the device token is not one: want 64 to 200 hexadecimal digits, as the app's didRegisterForRemoteNotifications got it"))
	case content == nil:
		return nil, rejected(apns2.ReasonPayloadEmpty, errors.New("the message has no push content"))
	}
	r, err := a.route(m.Address)
	if err != nil {
		return nil, rejected("app", err)
	}
	p, err := newPayload(content)
	if err != nil {
		return nil, rejected("data", err)
	}
	raw, err := p.encode()
	if err != nil {
		return nil, rejected(apns2.ReasonPayloadTooLarge, err)
	}
	k := kindOf(p.kind)
	n := r.Notification
	n.Topic += k.suffix
	n.ApnsID, n.DeviceToken, n.Payload = a.id(m.ID), m.Address.To, raw
	n.CollapseID, n.Expiration = collapseID(m.CollapseKey), m.ExpiresAt
	n.PushType, n.Priority = apns2.EPushType(p.kind), priority(k, p, m.Lane)
	return r, nil
}

// route finds where pushes to an address go.
func (a *Adapter) route(to notice.Address) (*request, error) {
	target, known := a.apps[to.App]
	if !known {
		if a.strict {
			return nil, errors.New("the device's app is neither apns.topic nor one of apns.apps: add it there")
		}
		target = app{to.App, a.apps[""].account}
	}
	environment := to.Environment
	if environment == "" {
		environment = notice.EnvironmentProduction
	}
	service := target.account.services[environment]
	if service == nil {
		return nil, errors.New("the device's environment is neither production nor sandbox")
	}
	return &request{&apns2.Notification{Topic: target.topic}, service, target.account.provider, !known}, nil
}

// priority is what was asked for, or what the push type has, or less on the
// bulk lane.
func priority(k kind, p *payload, lane notice.Lane) int {
	switch {
	case p.priority != 0:
		return p.priority
	case p.kind == notice.PushAlert && lane == notice.LaneBulk:
		return apns2.PriorityLow
	}
	return k.priority
}

func rejected(code string, err error) *channels.Result {
	return &channels.Result{Verdict: channels.Rejected, Unsent: true, Code: code, Err: err}
}

// isToken reports whether s can be a device token. It goes into the request's
// path as it is, so nothing but hexadecimal digits may pass. Apple gives no
// length; tokens have been 32 bytes long and may grow to 100.
func isToken(s string) bool {
	if len(s) < 64 || len(s) > 200 || len(s)%2 != 0 {
		return false
	}
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') && (c < 'A' || c > 'F') {
			return false
		}
	}
	return true
}

// idSpace is the namespace of the project's apns-ids (RFC 9562 §5.5): they are
// UUIDs of version 5 over the delivery's id, so anybody can compute the
// apns-id of a delivery.
func idSpace() uuid.UUID {
	return uuid.NewSHA1(uuid.NameSpaceURL, []byte("https://carillonhq.dev/apns-id"))
}

func (a *Adapter) id(delivery string) string {
	return uuid.NewSHA1(a.space, []byte(delivery)).String()
}

// collapseID is the key itself, or its hash when it is longer than Apple
// takes or could not stand in a header.
func collapseID(key string) string {
	if len(key) <= maxCollapseID && printable(key) {
		return key
	}
	sum := sha256.Sum256([]byte(key))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func printable(s string) bool {
	for _, c := range []byte(s) {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	return true
}
