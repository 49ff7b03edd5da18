// Package notice holds the words that every room of the gateway speaks: the
// notification as it is accepted, the delivery as it is worked, and the
// channels, lanes, statuses and identities they carry. It imports nothing
// else of the gateway, so any room may import it.
package notice

import "slices"

// Medium is a way to reach a person, as people who send notifications name
// it: the values of a notification's "channels". One medium may be served by
// several channels (push by APNs, FCM and Web Push).
type Medium string

// The media that a notification may ask for.
const (
	MediumEmail   Medium = "email"
	MediumPush    Medium = "push"
	MediumWebhook Medium = "webhook"
)

// Media lists every medium, in the order in which they are tried by default.
func Media() []Medium { return []Medium{MediumPush, MediumEmail, MediumWebhook} }

// Valid reports whether m is one of Media.
func (m Medium) Valid() bool { return slices.Contains(Media(), m) }

// Channel is one provider protocol: the unit that has an adapter, streams,
// limits and metrics of its own.
type Channel string

// The channels, one adapter each.
const (
	ChannelEmail   Channel = "email"
	ChannelAPNs    Channel = "apns"
	ChannelFCM     Channel = "fcm"
	ChannelWebPush Channel = "webpush"
	ChannelWebhook Channel = "webhook"
)

// ChannelInbox is not a way to reach anybody: it is where dead letters of
// entries that could not be read from the inbox stream are filed.
const ChannelInbox Channel = "inbox"

// Channels lists every channel that has an adapter.
func Channels() []Channel {
	return []Channel{ChannelEmail, ChannelAPNs, ChannelFCM, ChannelWebPush, ChannelWebhook}
}

// Valid reports whether c is one of Channels.
func (c Channel) Valid() bool { return slices.Contains(Channels(), c) }

// Medium is the medium that c serves; empty for ChannelInbox.
func (c Channel) Medium() Medium {
	switch c {
	case ChannelEmail:
		return MediumEmail
	case ChannelAPNs, ChannelFCM, ChannelWebPush:
		return MediumPush
	case ChannelWebhook:
		return MediumWebhook
	}
	return ""
}

// Platform is the kind of a push device, as apps register it.
type Platform string

// The platforms of a device, and the channel that serves each.
const (
	PlatformIOS     Platform = "ios"
	PlatformAndroid Platform = "android"
	PlatformWeb     Platform = "web"
)

// Channel is the channel that reaches devices of platform p; empty when p is
// not a platform.
func (p Platform) Channel() Channel {
	switch p {
	case PlatformIOS:
		return ChannelAPNs
	case PlatformAndroid:
		return ChannelFCM
	case PlatformWeb:
		return ChannelWebPush
	}
	return ""
}

// Lane is the priority of a notification and the stream it queues on.
type Lane string

// The lanes, most urgent first.
const (
	LaneCritical Lane = "critical"
	LaneNormal   Lane = "normal"
	LaneBulk     Lane = "bulk"
)

// Lanes lists every lane, most urgent first.
func Lanes() []Lane { return []Lane{LaneCritical, LaneNormal, LaneBulk} }

// Valid reports whether l is one of Lanes.
func (l Lane) Valid() bool { return slices.Contains(Lanes(), l) }

// Status is where a delivery stands; the last seven are final.
type Status string

// The statuses of a delivery, as GET /v1/notifications/{id} shows them.
const (
	StatusQueued     Status = "queued"     // on its channel's stream
	StatusDeferred   Status = "deferred"   // parked until a time that a rule or send_at names
	StatusSending    Status = "sending"    // handed to the provider, no answer yet
	StatusRetrying   Status = "retrying"   // parked after a failed attempt
	StatusDelivered  Status = "delivered"  // the provider took it
	StatusFailed     Status = "failed"     // the provider said it can never go
	StatusExpired    Status = "expired"    // expires_at passed first
	StatusCanceled   Status = "canceled"   // DELETE came first
	StatusSuppressed Status = "suppressed" // the address or the person's preferences forbid it
	StatusCapped     Status = "capped"     // a cap with over: drop was full
	StatusDead       Status = "dead"       // attempts used up; kept as a dead letter
)

// Final reports whether no transition but a redrive leaves s.
func (s Status) Final() bool {
	switch s {
	case StatusDelivered, StatusFailed, StatusExpired, StatusCanceled, StatusSuppressed, StatusCapped, StatusDead:
		return true
	}
	return false
}
