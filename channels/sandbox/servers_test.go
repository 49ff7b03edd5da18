package sandbox_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/smtp"
	"net/textproto"
	"slices"
	"strings"
	"testing"
	"time"

	webpush "github.com/SherClockHolmes/webpush-go"
	"github.com/carillonhq/carillon/channels/sandbox"
	"github.com/carillonhq/carillon/notice"
	"github.com/go-json-experiment/json"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

const multipart = `From: =?utf-8?q?Caf=C3=A9?= <news@acme.example>
To: Ada <ada@example.com>
Subject: =?utf-8?b?R3LDvMOfZQ==?=
Message-ID: <d-1@acme.example>
X-Order: A-1
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=outer

--outer
Content-Type: multipart/alternative; boundary=inner

--inner
Content-Type: text/plain; charset=iso-8859-1
Content-Transfer-Encoding: quoted-printable

Gr=FC=DFe aus Wien
--inner
Content-Type: text/html; charset=utf-8
Content-Transfer-Encoding: base64

PHA+R3LDvMOfZTwvcD4=
--inner--
--outer
Content-Type: text/calendar; name=invite.ics
Content-Disposition: attachment; filename=invite.ics

BEGIN:VCALENDAR
--outer--
`

func TestMailIsTakenApartAsItsReaderWouldSeeIt(t *testing.T) {
	box := start(t, sandbox.Options{})
	if err := mail(box, "ada@example.com", multipart); err != nil {
		t.Fatal(err)
	}
	m := wait(t, box, 1, sandbox.Filter{Channel: notice.ChannelEmail})[0]
	for _, c := range []struct{ what, got, want string }{
		{"To", m.To, "ada@example.com"},
		{"From", m.From, "Café <news@acme.example>"},
		{"Title", m.Title, "Grüße"},
		{"Text", m.Text, "Grüße aus Wien"},
		{"HTML", m.HTML, "<p>Grüße</p>"},
		{"ID", m.ID, "d-1@acme.example"},
		{"X-Order", m.Header("x-order"), "A-1"},
		{"Note", m.Note, `attachment "invite.ics", text/calendar, 15 bytes`},
		{"Verified", string(m.Verified), ""},
	} {
		if strings.TrimRight(c.got, "\r\n") != c.want {
			t.Errorf("%s = %q, want %q", c.what, c.got, c.want)
		}
	}
	if !strings.HasPrefix(m.Raw, "From: =?utf-8?q?") || m.Seq != 1 || m.Headers[4].Name != "X-Order" {
		t.Errorf("raw %.30q, seq %d, headers %v", m.Raw, m.Seq, m.Headers)
	}
}

func TestBrokenMailIsShownWithWhatIsWrong(t *testing.T) {
	deep := "Subject: deep\n"
	for i := range 12 {
		deep += fmt.Sprintf("Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n", i, i)
	}
	for name, c := range map[string]struct{ raw, note string }{
		"no header at all":      {"just words", "cannot be read"},
		"multipart without end": {"Subject: x\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nhello", "breaks off"},
		"unknown charset":       {"Subject: x\nContent-Type: text/plain; charset=klingon\n\nhello", ""},
		"multiparts in a tower": {deep, "deeper than 8"},
	} {
		t.Run(name, func(t *testing.T) {
			box := start(t, sandbox.Options{})
			if err := mail(box, "ada@example.com", c.raw); err != nil {
				t.Fatal(err)
			}
			m := wait(t, box, 1, sandbox.Filter{})[0]
			if !strings.Contains(m.Note, c.note) || m.Raw == "" {
				t.Errorf("note %q, want %q in it; raw %q", m.Note, c.note, m.Raw)
			}
		})
	}
}

func TestRelayOffersWhatSendersUse(t *testing.T) {
	for name, startTLS := range map[string]bool{"plain": false, "with STARTTLS": true} {
		t.Run(name, func(t *testing.T) {
			box := start(t, sandbox.Options{StartTLS: startTLS})
			c, err := smtp.Dial(box.SMTPAddr)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			for _, extension := range []string{"8BITMIME", "SMTPUTF8", "PIPELINING", "ENHANCEDSTATUSCODES", "SIZE", "AUTH"} {
				if ok, _ := c.Extension(extension); !ok {
					t.Errorf("%s is not advertised", extension)
				}
			}
			if ok, _ := c.Extension("STARTTLS"); ok != startTLS {
				t.Fatalf("STARTTLS advertised: %v", ok)
			}
			if !startTLS {
				return
			}
			pool := x509.NewCertPool()
			pool.AppendCertsFromPEM(box.CAPEM)
			if err := c.StartTLS(&tls.Config{RootCAs: pool, ServerName: "127.0.0.1"}); err != nil {
				t.Fatalf("STARTTLS: %v", err)
			}
			if err := c.Auth(smtp.PlainAuth("", "any", "body", "127.0.0.1")); err != nil {
				t.Errorf("AUTH: %v", err)
			}
		})
	}
}

func TestAPNsTakesAPushAsApplesServersDo(t *testing.T) {
	box := start(t, sandbox.Options{})
	got := must(t, client(t, box, true), "POST", box.APNsURL+"/3/device/00fc13adff", alert, apnsHeader(t, box))
	if got.status != 200 || got.header.Get("Apns-Id") != "7c7f6fc4-5b1b-4fd6-a0b8-2f1c7f4b9c11" {
		t.Fatalf("answer %+v", got)
	}
	m := wait(t, box, 1, sandbox.Filter{Channel: notice.ChannelAPNs})[0]
	if m.To != "00fc13adff" || m.Title != "Order A-1" || m.Text != "Your order\nis on its way" ||
		m.ID != got.header.Get("Apns-Id") || m.Verified != sandbox.Verified || string(m.JSON) != alert {
		t.Errorf("message %+v", m)
	}
	if auth := m.Header("authorization"); auth != "bearer [masked]" {
		t.Errorf("Authorization is shown as %q", auth)
	}
}

func TestAPNsRefusesWhatAppleRefuses(t *testing.T) {
	box := start(t, sandbox.Options{})
	c := client(t, box, true)
	other := start(t, sandbox.Options{})
	for _, tc := range []struct {
		name, path, body string
		header           map[string]string
		status           int
		reason           string
	}{
		{"a token that is no hex", "/3/device/xyz", alert, nil, 400, "BadDeviceToken"},
		{"no token", "/3/device/", alert, nil, 400, "MissingDeviceToken"},
		{"another path", "/3/devices/ab", alert, nil, 404, "BadPath"},
		{"no topic", "/3/device/ab", alert, map[string]string{"Apns-Topic": ""}, 400, "MissingTopic"},
		{"no push type", "/3/device/ab", alert, map[string]string{"Apns-Push-Type": ""}, 400, "InvalidPushType"},
		{"a priority of 7", "/3/device/ab", alert, map[string]string{"Apns-Priority": "7"}, 400, "BadPriority"},
		{"an id that is no UUID", "/3/device/ab", alert, map[string]string{"Apns-Id": "7"}, 400, "BadMessageId"},
		{"an expiration in words", "/3/device/ab", alert, map[string]string{"Apns-Expiration": "soon"}, 400, "BadExpirationDate"},
		{"a collapse id of 65 bytes", "/3/device/ab", alert, map[string]string{"Apns-Collapse-Id": strings.Repeat("x", 65)}, 400, "BadCollapseId"},
		{"an empty payload", "/3/device/ab", "", nil, 400, "PayloadEmpty"},
		{"a payload of 4097 bytes", "/3/device/ab", strings.Repeat("x", 4097), nil, 413, "PayloadTooLarge"},
		{"no provider token", "/3/device/ab", alert, map[string]string{"Authorization": ""}, 403, "MissingProviderToken"},
		{"another key's token", "/3/device/ab", alert, map[string]string{"Authorization": "bearer " + providerToken(t, other, time.Now())}, 403, "InvalidProviderToken"},
		{"a token of two hours ago", "/3/device/ab", alert, map[string]string{"Authorization": "bearer " + providerToken(t, box, time.Now().Add(-2*time.Hour))}, 403, "ExpiredProviderToken"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			header := apnsHeader(t, box)
			for name, value := range tc.header {
				header[name] = value
			}
			got := must(t, c, "POST", box.APNsURL+tc.path, tc.body, header)
			if got.status != tc.status || got.body != fmt.Sprintf(`{"reason":%q}`, tc.reason) {
				t.Errorf("answer %d %s, want %d %s", got.status, got.body, tc.status, tc.reason)
			}
			if r := box.Refusals()[0]; r.Reason != tc.reason || r.Status != tc.status {
				t.Errorf("refusal %+v", r)
			}
		})
	}
	if got := box.Messages(sandbox.Filter{}); len(got) != 0 {
		t.Errorf("%d refused pushes are shown as received", len(got))
	}
}

func TestFCMAnswersTheNameOfTheMessage(t *testing.T) {
	box := start(t, sandbox.Options{})
	body := `{"message":{"token":"tok","notification":{"title":"T","body":"B"},"data":{"order":"A-1"},"android":{"collapse_key":"k"}}}`
	got := must(t, client(t, box, false), "POST", box.FCMURL+"/v1/projects/acme/messages:send", body, nil)
	if got.status != 200 || !strings.HasPrefix(got.body, `{"name":"projects/acme/messages/0:`) {
		t.Fatalf("answer %+v", got)
	}
	m := wait(t, box, 1, sandbox.Filter{Channel: notice.ChannelFCM})[0]
	if m.To != "tok" || m.Title != "T" || m.Text != "B" || m.ID != "k" || string(m.JSON) != body {
		t.Errorf("message %+v", m)
	}
}

func TestFCMRefusesWhatGoogleRefuses(t *testing.T) {
	box := start(t, sandbox.Options{})
	for name, tc := range map[string]struct {
		path, body string
		status     int
		word       string
	}{
		"no target":                {"/v1/projects/p/messages:send", `{"message":{}}`, 400, "INVALID_ARGUMENT"},
		"two targets":              {"/v1/projects/p/messages:send", `{"message":{"token":"a","topic":"b"}}`, 400, "INVALID_ARGUMENT"},
		"data that is no string":   {"/v1/projects/p/messages:send", `{"message":{"token":"a","data":{"n":1}}}`, 400, "INVALID_ARGUMENT"},
		"a payload of 5000 bytes":  {"/v1/projects/p/messages:send", `{"message":{"token":"a","data":{"n":"` + strings.Repeat("x", 5000) + `"}}}`, 400, "INVALID_ARGUMENT"},
		"JSON that is none":        {"/v1/projects/p/messages:send", `{`, 400, "INVALID_ARGUMENT"},
		"a path of another method": {"/v1/projects/p/messages", `{}`, 404, "NOT_FOUND"},
	} {
		t.Run(name, func(t *testing.T) {
			got := must(t, client(t, box, false), "POST", box.FCMURL+tc.path, tc.body, nil)
			if got.status != tc.status || !strings.Contains(got.body, `"status":"`+tc.word+`"`) {
				t.Errorf("answer %d %s", got.status, got.body)
			}
		})
	}
	if n := len(box.Refusals()); n != 6 {
		t.Errorf("%d refusals are listed, want 6", n)
	}
}

// webPushOptions signs with the sandbox's key, by the library that most Go
// senders use.
func webPushOptions(t *testing.T, box *sandbox.Sandbox, pem string) *webpush.Options {
	t.Helper()
	key := ecKey(t, pem)
	private, err := key.ECDH()
	if err != nil {
		t.Fatal(err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	return &webpush.Options{
		HTTPClient: client(t, box, false), Subscriber: "dev@acme.example", TTL: 60, Topic: "order", Urgency: webpush.UrgencyHigh,
		VAPIDPublicKey: encode(private.PublicKey().Bytes()), VAPIDPrivateKey: encode(private.Bytes()),
	}
}

func newSubscription(t *testing.T, box *sandbox.Sandbox) *webpush.Subscription {
	t.Helper()
	text, err := box.NewSubscription()
	if err != nil {
		t.Fatal(err)
	}
	var sub webpush.Subscription
	if err := json.Unmarshal([]byte(text), &sub); err != nil {
		t.Fatalf("the subscription %s: %v", text, err)
	}
	return &sub
}

func push(sub *webpush.Subscription, payload string, o *webpush.Options) (reply, error) {
	resp, err := webpush.SendNotification([]byte(payload), sub, o)
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return reply{resp.StatusCode, resp.Header, string(body)}, err
}

func sendWebPush(t *testing.T, box *sandbox.Sandbox, payload string) (reply, error) {
	return push(newSubscription(t, box), payload, webPushOptions(t, box, box.VAPIDKey))
}

func TestWebPushIsDecryptedAsTheBrowserWould(t *testing.T) {
	box := start(t, sandbox.Options{})
	got, err := sendWebPush(t, box, `{"id":"d-1","title":"Grüße","body":"from Wien"}`)
	if err != nil || got.status != 201 || got.header.Get("Location") == "" {
		t.Fatalf("answer %+v, %v; refused %+v", got, err, box.Refusals())
	}
	m := wait(t, box, 1, sandbox.Filter{Channel: notice.ChannelWebPush})[0]
	if m.ID != "d-1" || m.Title != "Grüße" || m.Text != "from Wien" || m.Verified != sandbox.Verified || m.Header("Urgency") != "high" {
		t.Errorf("message %+v", m)
	}
}

func TestWebPushRefusesWhatAPushServiceRefuses(t *testing.T) {
	box, other := start(t, sandbox.Options{}), start(t, sandbox.Options{})
	own := webPushOptions(t, box, box.VAPIDKey)
	for name, tc := range map[string]struct {
		change func(sub *webpush.Subscription, o *webpush.Options)
		status int
		reason string
	}{
		"an id that was never given out": {func(s *webpush.Subscription, _ *webpush.Options) {
			s.Endpoint = box.WebPushURL + "/push/" + strings.Repeat("A", 32)
		}, 404, "no such subscription"},
		"another sender's VAPID key": {func(_ *webpush.Subscription, o *webpush.Options) {
			stranger := webPushOptions(t, other, other.VAPIDKey)
			o.VAPIDPublicKey, o.VAPIDPrivateKey = stranger.VAPIDPublicKey, stranger.VAPIDPrivateKey
		}, 403, "not the one"},
		"a signature by another key": {func(_ *webpush.Subscription, o *webpush.Options) {
			o.VAPIDPrivateKey = webPushOptions(t, other, other.VAPIDKey).VAPIDPrivateKey
		}, 403, "not signed by its key"},
		"keys of another subscription": {func(s *webpush.Subscription, _ *webpush.Options) {
			s.Keys = newSubscription(t, box).Keys
		}, 400, "no aes128gcm message for this subscription"},
		"a topic of 33 characters": {func(_ *webpush.Subscription, o *webpush.Options) {
			o.Topic = strings.Repeat("x", 33)
		}, 400, "Topic"},
		"a TTL of five weeks":  {func(_ *webpush.Subscription, o *webpush.Options) { o.TTL = 5 * 7 * 24 * 3600 }, 400, "four weeks"},
		"a body of 5000 bytes": {func(_ *webpush.Subscription, o *webpush.Options) { o.RecordSize = 5000 }, 413, "4096"},
	} {
		t.Run(name, func(t *testing.T) {
			sub, options := newSubscription(t, box), *own
			tc.change(sub, &options)
			got, err := push(sub, `{"title":"x"}`, &options)
			if err != nil || got.status != tc.status || !strings.Contains(got.body, tc.reason) {
				t.Errorf("answer %d %q, %v; want %d %q", got.status, got.body, err, tc.status, tc.reason)
			}
		})
	}
	if got := box.Messages(sandbox.Filter{}); len(got) != 0 {
		t.Errorf("%d refused pushes are shown as received", len(got))
	}
}

func TestWebPushWithoutTTLIsRefused(t *testing.T) {
	box := start(t, sandbox.Options{})
	got := must(t, client(t, box, false), "POST", newSubscription(t, box).Endpoint, "x", map[string]string{"Content-Encoding": "aes128gcm"})
	if got.status != 400 || !strings.Contains(got.body, "TTL") {
		t.Errorf("answer %+v", got)
	}
}

func TestWebhookShowsWhatItsSignatureProves(t *testing.T) {
	box := start(t, sandbox.Options{})
	const body = `{"type":"order.shipped","data":{"order":"A-1"}}`
	signed := func(secret string, at time.Time, body string) map[string]string {
		w, err := standardwebhooks.NewWebhook(secret)
		if err != nil {
			t.Fatal(err)
		}
		signature, err := w.Sign("msg_1", at, []byte(body))
		if err != nil {
			t.Fatal(err)
		}
		return map[string]string{"Webhook-Id": "msg_1", "Webhook-Timestamp": fmt.Sprint(at.Unix()), "Webhook-Signature": signature}
	}
	stranger := "whsec_" + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 32))
	for name, tc := range map[string]struct {
		header map[string]string
		proof  sandbox.Proof
		note   string
	}{
		"signed with the secret":     {signed(box.WebhookSecret, time.Now(), body), sandbox.Verified, ""},
		"signed with another secret": {signed(stranger, time.Now(), body), sandbox.BadSignature, "not signed with"},
		"changed on the way":         {signed(box.WebhookSecret, time.Now(), body+" "), sandbox.BadSignature, "changed on the way"},
		"signed an hour ago":         {signed(box.WebhookSecret, time.Now().Add(-time.Hour), body), sandbox.BadSignature, "five minutes"},
		"not signed":                 {nil, sandbox.Unsigned, "no webhook-signature"},
		"signed without an id":       {map[string]string{"Webhook-Signature": "v1,x"}, sandbox.BadSignature, "missing"},
		"a time in words":            {map[string]string{"Webhook-Signature": "v1,x", "Webhook-Id": "1", "Webhook-Timestamp": "noon"}, sandbox.BadSignature, "cannot be read"},
	} {
		t.Run(name, func(t *testing.T) {
			path := "/" + strings.ReplaceAll(name, " ", "-")
			got := must(t, client(t, box, false), "POST", box.WebhookURL+path, body, tc.header)
			if got.status != 200 {
				t.Errorf("answer %+v", got)
			}
			m := wait(t, box, 1, sandbox.Filter{To: path})[0]
			if m.Verified != tc.proof || !strings.Contains(m.Note, tc.note) || m.Title != "order.shipped" {
				t.Errorf("message %+v", m)
			}
		})
	}
}

// protocolCode is the SMTP code of an error.
func protocolCode(err error) (int, string) {
	var p *textproto.Error
	if !errors.As(err, &p) {
		return 0, fmt.Sprint(err)
	}
	return p.Code, p.Msg
}

func TestMisbehavedMailIsRefusedInTheRelaysWords(t *testing.T) {
	for name, tc := range map[string]struct {
		b    sandbox.Behaviour
		code int
		words,
		logged string
	}{
		"a mailbox that is full":        {sandbox.Behaviour{Status: 452, Reason: "4.2.2 mailbox full"}, 452, "4.2.2 mailbox full", "told to answer 452 4.2.2 mailbox full"},
		"a mailbox that does not exist": {sandbox.Behaviour{Status: 550, Reason: "5.1.1 no such user"}, 550, "5.1.1 no such user", "told to answer 550 5.1.1 no such user"},
		"no reason given":               {sandbox.Behaviour{Status: 451}, 451, "4.3.0 The sandbox", "told to answer 451"},
		"a relay that closes":           {sandbox.Behaviour{Status: 421, Reason: "4.7.0 too fast"}, 421, "4.7.0 too fast", "told to answer 421 4.7.0 too fast"},
		"a cut before the mail":         {sandbox.Behaviour{Cut: sandbox.CutBefore}, 0, "EOF", "cut before"},
		"a cut after the mail":          {sandbox.Behaviour{Cut: sandbox.CutAfter}, 0, "EOF", "cut after"},
		"a cut in the answer":           {sandbox.Behaviour{Cut: sandbox.CutBody}, 0, "", "middle of the answer"},
	} {
		t.Run(name, func(t *testing.T) {
			box := start(t, sandbox.Options{})
			misbehave(t, box, notice.ChannelEmail, tc.b)
			code, words := protocolCode(mail(box, "ada@example.com", shortMail))
			if code != tc.code || !strings.Contains(words, tc.words) || words == "<nil>" {
				t.Errorf("the sender got %d %q, want %d %q", code, words, tc.code, tc.words)
			}
			refusals := box.Refusals()
			if len(refusals) != 1 || !strings.Contains(refusals[0].Reason, tc.logged) {
				t.Errorf("refusals %+v", refusals)
			}
			if n := box.Counts()[notice.ChannelEmail]; n != 0 {
				t.Errorf("%d mails count as received", n)
			}
		})
	}
}

func misbehave(t *testing.T, box *sandbox.Sandbox, c notice.Channel, b sandbox.Behaviour) {
	t.Helper()
	if err := box.Misbehave(c, b); err != nil {
		t.Fatal(err)
	}
}

// httpChannels are those that are spoken to over HTTP.
func httpChannels() []notice.Channel {
	return slices.DeleteFunc(notice.Channels(), func(c notice.Channel) bool { return c == notice.ChannelEmail })
}

func TestMisbehavedRequestFailsInTheProvidersWords(t *testing.T) {
	box := start(t, sandbox.Options{})
	for _, tc := range []struct {
		channel notice.Channel
		b       sandbox.Behaviour
		body    string
	}{
		{notice.ChannelAPNs, sandbox.Behaviour{Status: 429, RetryAfter: 1500 * time.Millisecond}, `{"reason":"TooManyRequests"}`},
		{notice.ChannelAPNs, sandbox.Behaviour{Status: 410}, `{"reason":"Unregistered","timestamp":`},
		{notice.ChannelAPNs, sandbox.Behaviour{Status: 400, Reason: "DeviceTokenNotForTopic"}, `{"reason":"DeviceTokenNotForTopic"}`},
		{notice.ChannelFCM, sandbox.Behaviour{Status: 404}, `"status":"NOT_FOUND","details":[{"@type":"type.googleapis.com/google.firebase.fcm.v1.FcmError","errorCode":"UNREGISTERED"}]`},
		{notice.ChannelFCM, sandbox.Behaviour{Status: 429, RetryAfter: 2 * time.Second}, `"errorCode":"QUOTA_EXCEEDED"`},
		{notice.ChannelWebPush, sandbox.Behaviour{Status: 410}, "Gone"},
		{notice.ChannelWebhook, sandbox.Behaviour{Status: 503, RetryAfter: 2 * time.Second}, "Service Unavailable"},
		{notice.ChannelWebhook, sandbox.Behaviour{Status: 302}, "Found"},
	} {
		t.Run(fmt.Sprint(tc.channel, " ", tc.b.Status), func(t *testing.T) {
			misbehave(t, box, tc.channel, tc.b)
			got, err := send(t, box, tc.channel)
			if err != nil || got.status != tc.b.Status || !strings.Contains(got.body, tc.body) {
				t.Errorf("answer %d %s, %v", got.status, got.body, err)
			}
			if after := got.header.Get("Retry-After"); (tc.b.RetryAfter > 0) != (after == "2") {
				t.Errorf("Retry-After %q, told %v", after, tc.b.RetryAfter)
			}
			misbehave(t, box, tc.channel, sandbox.Behaviour{})
		})
	}
	if got := box.Messages(sandbox.Filter{}); len(got) != 0 {
		t.Errorf("%d failed requests are shown as received", len(got))
	}
}

func TestCutConnectionsLeaveTheSenderWithoutAnAnswer(t *testing.T) {
	for _, c := range httpChannels() {
		for _, cut := range []sandbox.Cut{sandbox.CutBefore, sandbox.CutAfter, sandbox.CutBody} {
			t.Run(fmt.Sprint(c, " ", cut), func(t *testing.T) {
				box := start(t, sandbox.Options{})
				misbehave(t, box, c, sandbox.Behaviour{Cut: cut, Times: 1})
				got, err := send(t, box, c)
				if err == nil {
					t.Fatalf("the sender got %+v", got)
				}
				if begun := got.status != 0; begun != (cut == sandbox.CutBody) {
					t.Errorf("the sender saw a status: %v", begun)
				}
				refusals := box.Refusals()
				if len(refusals) != 1 || (refusals[0].To != "") != (cut != sandbox.CutBefore) {
					t.Errorf("refusals %+v", refusals)
				}
				if _, err := send(t, box, c); err != nil || box.Counts()[c] != 1 {
					t.Errorf("once is over: %v, %d received", err, box.Counts()[c])
				}
			})
		}
	}
}

func TestDelayedMessageCountsEvenWhenItsSenderLeft(t *testing.T) {
	box := start(t, sandbox.Options{})
	misbehave(t, box, notice.ChannelWebhook, sandbox.Behaviour{Delay: time.Hour})
	c := client(t, box, false)
	c.Timeout = 50 * time.Millisecond
	if _, err := do(c, "POST", box.WebhookURL, "{}", nil); err == nil {
		t.Fatal("an answer came within the hour")
	}
	if m := wait(t, box, 1, sandbox.Filter{})[0]; m.Note != "no webhook-signature header; the sender left before the answer" {
		t.Errorf("note %q", m.Note)
	}
}

func TestShareAndTimesAreKept(t *testing.T) {
	draws, next := []float64{0.1, 0.9, 0.2, 0.3, 0.1}, 0
	box := start(t, sandbox.Options{Random: func() float64 { next++; return draws[next-1] }})
	misbehave(t, box, notice.ChannelFCM, sandbox.Behaviour{Status: 500, Share: 0.5, Times: 3})
	var got []int
	for range 6 { // the sixth asks for no draw: three times are over
		r, err := send(t, box, notice.ChannelFCM)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, r.status)
	}
	if want := []int{500, 200, 500, 500, 200, 200}; !slices.Equal(got, want) {
		t.Errorf("answers %v, want %v", got, want)
	}
}

func TestImpossibleBehaviourIsRefusedWithTheMend(t *testing.T) {
	box := start(t, sandbox.Options{})
	for name, tc := range map[string]struct {
		channel notice.Channel
		b       sandbox.Behaviour
		words   string
	}{
		"a channel that is none":     {"pigeon", sandbox.Behaviour{}, `"pigeon": there is no such channel: use one of [email`},
		"an HTTP status for email":   {notice.ChannelEmail, sandbox.Behaviour{Status: 200}, "email wants 400 to 599"},
		"a status of 99":             {notice.ChannelFCM, sandbox.Behaviour{Status: 99}, "fcm wants 200 to 599"},
		"a negative delay":           {notice.ChannelFCM, sandbox.Behaviour{Delay: -1}, "use 0 to 1h"},
		"Retry-After over SMTP":      {notice.ChannelEmail, sandbox.Behaviour{Status: 451, RetryAfter: 1}, "SMTP has none"},
		"a cut in the dark":          {notice.ChannelFCM, sandbox.Behaviour{Cut: "dark"}, `cut "dark": use before`},
		"a share of two":             {notice.ChannelFCM, sandbox.Behaviour{Share: 2}, "use 0 to 1"},
		"a reason with a line break": {notice.ChannelEmail, sandbox.Behaviour{Status: 550, Reason: "a\r\nRCPT"}, "leave them out"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := box.Misbehave(tc.channel, tc.b); err == nil || !strings.Contains(err.Error(), tc.words) {
				t.Errorf("got %v, want %q", err, tc.words)
			}
		})
	}
}

func TestMemoryIsBoundedByNumberAndBytes(t *testing.T) {
	post := func(box *sandbox.Sandbox, body string) {
		must(t, client(t, box, false), "POST", box.WebhookURL, body, nil)
	}
	t.Run("only the newest are kept, and all are counted", func(t *testing.T) {
		box := start(t, sandbox.Options{Keep: 3})
		for i := range 5 {
			post(box, fmt.Sprintf(`{"n":%d}`, i))
		}
		got := box.Messages(sandbox.Filter{})
		if len(got) != 3 || got[0].Seq != 5 || got[2].Seq != 3 || box.Counts()[notice.ChannelWebhook] != 5 {
			t.Errorf("kept %d, counted %v", len(got), box.Counts())
		}
	})
	t.Run("fewer are kept when they are large", func(t *testing.T) {
		box := start(t, sandbox.Options{KeepBytes: 500 << 10})
		for range 4 {
			post(box, strings.Repeat("x", 100<<10)) // kept twice: raw and as text
		}
		if n := len(box.Messages(sandbox.Filter{})); n != 2 {
			t.Errorf("kept %d, want 2", n)
		}
	})
	t.Run("a long body is cut and says so", func(t *testing.T) {
		box := start(t, sandbox.Options{})
		post(box, strings.Repeat("x", 1<<20))
		if m := box.Messages(sandbox.Filter{})[0]; len(m.Raw) != 256<<10 || !strings.Contains(m.Note, "long parts are cut") {
			t.Errorf("kept %d bytes, note %q", len(m.Raw), m.Note)
		}
	})
}

func TestFiltersChoose(t *testing.T) {
	box := start(t, sandbox.Options{})
	for _, path := range []string{"/a", "/b", "/c"} {
		must(t, client(t, box, false), "POST", box.WebhookURL+path, `{"type":"Order Shipped"}`, map[string]string{"Webhook-Id": "id" + path})
	}
	if err := mail(box, "ada@example.com", shortMail); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		f    sandbox.Filter
		want []int
	}{
		"everything, newest first": {sandbox.Filter{}, []int{4, 3, 2, 1}},
		"by channel":               {sandbox.Filter{Channel: notice.ChannelEmail}, []int{4}},
		"after a number":           {sandbox.Filter{After: 2}, []int{4, 3}},
		"by address":               {sandbox.Filter{To: "/b"}, []int{2}},
		"by id":                    {sandbox.Filter{ID: "id/c"}, []int{3}},
		"by words in any order":    {sandbox.Filter{Search: "shipped ORDER /a"}, []int{1}},
		"the newest two":           {sandbox.Filter{Limit: 2}, []int{4, 3}},
		"after the end":            {sandbox.Filter{After: 99}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var got []int
			for _, m := range box.Messages(tc.f) {
				got = append(got, m.Seq)
			}
			if !slices.Equal(got, tc.want) {
				t.Errorf("got %v, want %v", got, tc.want)
			}
		})
	}
}

func TestWaitTellsWhatIsMissing(t *testing.T) {
	box := start(t, sandbox.Options{Keep: 2})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := box.Wait(ctx, 1, sandbox.Filter{}); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "0 of 1") {
		t.Errorf("canceled: %v", err)
	}
	if _, err := box.Wait(t.Context(), 3, sandbox.Filter{}); err == nil || !strings.Contains(err.Error(), "raise Options.Keep") {
		t.Errorf("more than are kept: %v", err)
	}
	failed := make(chan error)
	go func() {
		_, err := box.Wait(context.Background(), 1, sandbox.Filter{})
		failed <- err
	}()
	box.Close()
	if err := <-failed; err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("closed: %v", err)
	}
}
