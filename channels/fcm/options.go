package fcm

import (
	"encoding/json" // of the client library's own types
	"errors"
	"strings"

	"firebase.google.com/go/v4/messaging"
	"github.com/carillonhq/carillon/notice"
	"github.com/go-json-experiment/json/jsontext"
)

// address puts a token, a topic or a condition in its place, or says that it
// is none of them.
func address(msg *messaging.Message, to string) error {
	switch topic, isTopic := strings.CutPrefix(to, notice.TopicPrefix); {
	case isTopic && isToken(topic):
		msg.Topic = topic
	case strings.HasPrefix(to, notice.ConditionPrefix):
		msg.Condition = strings.TrimPrefix(to, notice.ConditionPrefix)
	case !isTopic && isToken(to):
		msg.Token = to
	default:
		return errors.New("the device token is not one: want what the app's FirebaseMessaging.getToken gave, or topic: and its name")
	}
	return nil
}

// apply puts the sender's options into a message that has everything else.
func apply(msg *messaging.Message, o *notice.FCMOptions) error {
	if o == nil {
		return nil
	}
	if o.AnalyticsLabel != "" {
		msg.FCMOptions = &messaging.FCMOptions{AnalyticsLabel: o.AnalyticsLabel}
	}
	if msg.Notification != nil {
		msg.Notification.ImageURL = o.Image
	}
	if o.Android != nil {
		applyAndroid(msg, o.Android)
	}
	return errors.Join(applyAPNs(msg, o.APNs), applyWebPush(msg, o.WebPush))
}

func applyAndroid(msg *messaging.Message, o *notice.AndroidOptions) {
	a := msg.Android
	if o.Priority != "" {
		a.Priority = o.Priority
	}
	a.RestrictedPackageName, a.DirectBootOK = o.RestrictedPackageName, o.DirectBootOK
	n := o.Notification
	if n == nil || msg.Notification == nil { // data alone shows nothing
		return
	}
	tag := n.Tag
	if tag == "" {
		tag = a.Notification.Tag
	}
	a.Notification = &messaging.AndroidNotification{
		ChannelID: n.ChannelID, Icon: n.Icon, Color: n.Color, Sound: n.Sound, Tag: tag, ClickAction: n.ClickAction,
		ImageURL: n.Image, Ticker: n.Ticker, Sticky: n.Sticky, LocalOnly: n.LocalOnly, NotificationCount: n.Count,
	}
}

func applyAPNs(msg *messaging.Message, o *notice.FCMAPNs) error {
	if o == nil {
		return nil
	}
	msg.APNS = &messaging.APNSConfig{Headers: o.Headers}
	if o.Payload.Kind() != '{' {
		return nil
	}
	payload := messaging.APNSPayload{Aps: &messaging.Aps{}}
	msg.APNS.Payload = &payload
	return into(&payload, o.Payload, "options.fcm.apns.payload")
}

func applyWebPush(msg *messaging.Message, o *notice.FCMWebPush) error {
	if o == nil {
		return nil
	}
	msg.Webpush = &messaging.WebpushConfig{Headers: o.Headers}
	if o.Link != "" {
		msg.Webpush.FCMOptions = &messaging.WebpushFCMOptions{Link: o.Link}
	}
	if o.Notification.Kind() != '{' {
		return nil
	}
	msg.Webpush.Notification = &messaging.WebpushNotification{}
	return into(msg.Webpush.Notification, o.Notification, "options.fcm.webpush.notification")
}

// into reads raw into one of the client library's types. Its words are left
// out, which may quote what stands there.
func into(v any, raw jsontext.Value, where string) error {
	if json.Unmarshal(raw, v) != nil {
		return errors.New(where + " is not what FCM documents: check the kinds of its members")
	}
	return nil
}
