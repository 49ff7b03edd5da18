package sandbox_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/carillonhq/carillon/channels"
	"github.com/carillonhq/carillon/channels/apns"
	"github.com/carillonhq/carillon/channels/email"
	"github.com/carillonhq/carillon/channels/fcm"
	"github.com/carillonhq/carillon/channels/sandbox"
	"github.com/carillonhq/carillon/channels/webhook"
	"github.com/carillonhq/carillon/channels/webpush"
	"github.com/carillonhq/carillon/notice"
	"github.com/go-json-experiment/json/jsontext"
)

// adapters are the gateway's own, configured by Section alone.
func adapters(t testing.TB, box *sandbox.Sandbox) map[notice.Channel]channels.Adapter {
	t.Helper()
	section := box.Section()
	out := map[notice.Channel]channels.Adapter{}
	keep := func(a channels.Adapter, err error) {
		if err != nil {
			t.Fatal(err)
		}
		out[a.Channel()] = a
		if closer, ok := a.(interface{ Close() }); ok {
			t.Cleanup(closer.Close)
		} else if closer, ok := a.(interface{ Close() error }); ok {
			t.Cleanup(func() { _ = closer.Close() })
		}
	}
	mail, err := email.New(*section.Email)
	keep(mail, err)
	apple, err := apns.New(*section.APNs)
	keep(apple, err)
	google, err := fcm.New(*section.FCM)
	keep(google, err)
	web, err := webpush.New(*section.WebPush)
	keep(web, err)
	hook, err := webhook.New(*section.Webhook)
	keep(hook, err)
	return out
}

// finished is one message for a channel of box.
func finished(t testing.TB, box *sandbox.Sandbox, c notice.Channel) channels.Message {
	t.Helper()
	subscription, err := box.NewSubscription()
	if err != nil {
		t.Fatal(err)
	}
	to := map[notice.Channel]string{
		notice.ChannelEmail: "ada@example.com", notice.ChannelAPNs: strings.Repeat("ab", 32),
		notice.ChannelFCM: "device-token", notice.ChannelWebPush: subscription, notice.ChannelWebhook: box.WebhookURL + "/hooks/ada",
	}
	m := channels.Message{
		ID: "3-0123456789abcdefghij-0", Tenant: "default", Lane: notice.LaneNormal, Attempt: 1,
		Address: notice.Address{Channel: c, To: to[c]}, AcceptedAt: time.Now(),
	}
	switch c.Medium() {
	case notice.MediumEmail:
		m.Content.Email = &notice.EmailContent{Subject: "Grüße", HTML: "<p>Hello Ada</p>", Text: "Hello Ada"}
	case notice.MediumPush:
		m.Content.Push = &notice.PushContent{Title: "Grüße", Body: "Hello Ada", Data: jsontext.Value(`{"order":"A-1"}`)}
	default:
		m.Address.Secret = box.WebhookSecret
		m.Content.Webhook = jsontext.Value(`{"type":"Grüße","data":{"text":"Hello Ada"}}`)
	}
	return m
}

func TestRealAdaptersSpeakWithTheStandIns(t *testing.T) {
	for name, o := range map[string]sandbox.Options{"plain SMTP": {}, "STARTTLS": {StartTLS: true}} {
		t.Run(name, func(t *testing.T) {
			box := start(t, o)
			for c, adapter := range adapters(t, box) {
				t.Run(string(c), func(t *testing.T) {
					ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
					defer cancel()
					if got := adapter.Send(ctx, finished(t, box, c)); got.Verdict != channels.Sent {
						t.Fatalf("%s %s: %v; refused: %+v", got.Verdict, got.Code, got.Err, box.Refusals())
					}
					got := wait(t, box, 1, sandbox.Filter{Channel: c})
					m := got[0]
					if len(got) != 1 || m.Title != "Grüße" || !strings.Contains(m.Text+string(m.JSON), "Hello Ada") {
						t.Errorf("arrived: %d, the first %+v", len(got), m)
					}
					if c != notice.ChannelEmail && c != notice.ChannelFCM && m.Verified != sandbox.Verified {
						t.Errorf("signature: %s %s", m.Verified, m.Note)
					}
				})
			}
		})
	}
}

func TestRealAdaptersKeepOneIDOverAttempts(t *testing.T) {
	box := start(t, sandbox.Options{})
	for c, adapter := range adapters(t, box) {
		t.Run(string(c), func(t *testing.T) {
			m := finished(t, box, c)
			for attempt := 1; attempt <= 2; attempt++ {
				m.Attempt = attempt
				if got := adapter.Send(t.Context(), m); got.Verdict != channels.Sent {
					t.Fatalf("%s: %v", got.Verdict, got.Err)
				}
			}
			got := wait(t, box, 2, sandbox.Filter{Channel: c})
			if got[0].ID == "" || got[0].ID != got[1].ID {
				t.Errorf("ids %q and %q", got[0].ID, got[1].ID)
			}
		})
	}
}

func TestRealAdaptersUnderstandTheStandInsFailures(t *testing.T) {
	box := start(t, sandbox.Options{})
	all := adapters(t, box)
	for _, tc := range []struct {
		name    string
		channel notice.Channel
		b       sandbox.Behaviour
		verdict channels.Verdict
		after   time.Duration
	}{
		{"a relay that greylists", notice.ChannelEmail, sandbox.Behaviour{Status: 451, Reason: "4.7.1 later"}, channels.Retry, 0},
		{"a mailbox that is none", notice.ChannelEmail, sandbox.Behaviour{Status: 550, Reason: "5.1.1 no such user"}, channels.Gone, 0},
		{"a mail without an answer", notice.ChannelEmail, sandbox.Behaviour{Cut: sandbox.CutAfter}, channels.Unknown, 0},
		{"an app that was removed", notice.ChannelAPNs, sandbox.Behaviour{Status: 410}, channels.Gone, 0},
		{"a revoked APNs key", notice.ChannelAPNs, sandbox.Behaviour{Status: 403}, channels.Broken, 0},
		{"a device that gets too much", notice.ChannelAPNs, sandbox.Behaviour{Status: 429, RetryAfter: 7 * time.Second}, channels.Throttled, 7 * time.Second},
		{"a token that FCM forgot", notice.ChannelFCM, sandbox.Behaviour{Status: 404}, channels.Gone, 0},
		{"a quota of FCM", notice.ChannelFCM, sandbox.Behaviour{Status: 429, RetryAfter: 9 * time.Second}, channels.Throttled, 9 * time.Second},
		{"a subscription that ended", notice.ChannelWebPush, sandbox.Behaviour{Status: 410}, channels.Gone, 0},
		{"a webhook host that is down", notice.ChannelWebhook, sandbox.Behaviour{Status: 500}, channels.Retry, 0},
		{"a webhook host that asks for less", notice.ChannelWebhook, sandbox.Behaviour{Status: 429, RetryAfter: 30 * time.Second}, channels.Throttled, 30 * time.Second},
		{"a webhook without an answer", notice.ChannelWebhook, sandbox.Behaviour{Cut: sandbox.CutAfter}, channels.Unknown, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			misbehave(t, box, tc.channel, tc.b)
			defer misbehave(t, box, tc.channel, sandbox.Behaviour{})
			got := all[tc.channel].Send(t.Context(), finished(t, box, tc.channel))
			if got.Verdict != tc.verdict || tc.after > 0 && got.RetryAfter != tc.after {
				t.Errorf("%s after %v (%s: %v), want %s after %v", got.Verdict, got.RetryAfter, got.Code, got.Err, tc.verdict, tc.after)
			}
		})
	}
}
