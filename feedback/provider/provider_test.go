package provider_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/feedback/provider"
	"github.com/carillonhq/carillon/notice"
)

const (
	delivery = "0-06h0fb55798unvn7agmd-1"
	topic    = "arn:aws:sns:eu-central-1:123456789012:ses-feedback"
	certURL  = "https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-0123456789abcdef0123456789abcdef.pem"
	token    = "a-token-of-more-than-16-bytes"
	mgKey    = "mailgun-signing-key"
)

var now = time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)

// world is every provider with keys of its own, and an SNS that serves what
// pages holds.
type world struct {
	t       testing.TB
	all     map[string]provider.Provider
	sns     *rsa.PrivateKey
	grid    *ecdsa.PrivateKey
	pages   map[string][]byte
	fetched []string
	now     time.Time
}

// snsKey is made once: under the race detector a key takes a second.
var snsKey = sync.OnceValue(newKey)

func newKey() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err) // the machine has no randomness
	}
	return key
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, now: now, pages: map[string][]byte{}, sns: snsKey()}
	var err error
	if w.grid, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	w.pages[certURL] = w.certificate(now.Add(-time.Hour), now.Add(time.Hour))
	public, err := x509.MarshalPKIXPublicKey(&w.grid.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	w.all, err = provider.New(config.FeedbackEmail{
		SES:      &config.FeedbackSES{TopicARNs: []string{topic}},
		SendGrid: &config.FeedbackSendGrid{PublicKey: base64.StdEncoding.EncodeToString(public)},
		Postmark: &config.FeedbackPostmark{Token: config.NewSecret(token)},
		Mailgun:  &config.FeedbackMailgun{SigningKey: config.NewSecret(mgKey)},
	}, w.fetch, func() time.Time { return w.now })
	if err != nil || len(w.all) != 4 {
		t.Fatalf("%d providers: %v", len(w.all), err)
	}
	return w
}

func (w *world) fetch(_ context.Context, url string) ([]byte, error) {
	w.fetched = append(w.fetched, url)
	page, ok := w.pages[url]
	if !ok {
		return nil, errors.New("there is no such page")
	}
	return page, nil
}

func (w *world) certificate(from, to time.Time) []byte {
	w.t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: from, NotAfter: to}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &w.sns.PublicKey, w.sns)
	if err != nil {
		w.t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// envelope is one of SNS's, signed.
func (w *world) envelope(version string, change func(e map[string]string)) map[string]string {
	w.t.Helper()
	e := map[string]string{"Type": "Notification", "MessageId": "m-1", "TopicArn": topic, "Subject": "Amazon SES", "Message": sesBounce,
		"Timestamp": w.now.Format("2006-01-02T15:04:05.000Z"), "SignatureVersion": version, "SigningCertURL": certURL}
	if change != nil {
		change(e)
	}
	var text strings.Builder
	names := []string{"Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"}
	if e["Type"] != "Notification" {
		names = []string{"Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"}
	}
	for _, name := range names {
		if e[name] != "" {
			text.WriteString(name + "\n" + e[name] + "\n")
		}
	}
	var signature []byte
	var err error
	if version == "1" {
		sum := sha1.Sum([]byte(text.String()))
		signature, err = rsa.SignPKCS1v15(nil, w.sns, crypto.SHA1, sum[:])
	} else {
		sum := sha256.Sum256([]byte(text.String()))
		signature, err = rsa.SignPKCS1v15(nil, w.sns, crypto.SHA256, sum[:])
	}
	if err != nil {
		w.t.Fatal(err)
	}
	e["Signature"] = base64.StdEncoding.EncodeToString(signature)
	return e
}

func (w *world) read(name string, header http.Header, body any) (provider.Reports, error) {
	w.t.Helper()
	raw, ok := body.(string)
	if !ok {
		text, err := json.Marshal(body)
		if err != nil {
			w.t.Fatal(err)
		}
		raw = string(text)
	}
	return w.all[name].Read(w.t.Context(), provider.Notification{Header: header, Body: []byte(raw)})
}

// gridHeader signs a body as SendGrid does.
func (w *world) gridHeader(at time.Time, body string) http.Header {
	w.t.Helper()
	unix := strconv.FormatInt(at.Unix(), 10)
	sum := sha256.Sum256([]byte(unix + body))
	signature, err := ecdsa.SignASN1(rand.Reader, w.grid, sum[:])
	if err != nil {
		w.t.Fatal(err)
	}
	h := http.Header{}
	h.Set("X-Twilio-Email-Event-Webhook-Timestamp", unix)
	h.Set("X-Twilio-Email-Event-Webhook-Signature", base64.StdEncoding.EncodeToString(signature))
	return h
}

// mailgunBody signs an event as Mailgun does.
func mailgunBody(at time.Time, key, once, event string) string {
	unix := strconv.FormatInt(at.Unix(), 10)
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte(unix + once))
	return fmt.Sprintf(`{"signature":{"timestamp":%q,"token":%q,"signature":%q},"event-data":%s}`, unix, once, hex.EncodeToString(mac.Sum(nil)), event)
}

func basic(user, password string) http.Header {
	return http.Header{"Authorization": {"Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))}}
}

const (
	sesBounce = `{"notificationType":"Bounce","bounce":{"bounceType":"Permanent","bounceSubType":"General","feedbackId":"f-1","timestamp":"2026-11-23T09:59:00.000Z",
 "bouncedRecipients":[{"emailAddress":"ada@example.com","action":"failed","status":"5.1.1","diagnosticCode":"smtp; 550 5.1.1 <ada@example.com>: User unknown"}]},
 "mail":{"messageId":"0000ses","headers":[{"name":"From","value":"a"},{"name":"Message-ID","value":"<` + delivery + `@acme.example>"}]}}`
	sesComplaint = `{"eventType":"Complaint","complaint":{"feedbackId":"f-2","complaintFeedbackType":"abuse","timestamp":"2026-11-23T09:59:00.000Z","complainedRecipients":[{"emailAddress":"ada@example.com"}]},
 "mail":{"commonHeaders":{"messageId":"<` + delivery + `@acme.example>"}}}`
	gridEvents = `[{"email":"ada@example.com","event":"bounce","type":"bounce","status":"5.1.1","reason":"550 5.1.1 <ada@example.com> User unknown","smtp-id":"<` + delivery + `@acme.example>","sg_event_id":"e1","timestamp":1795427940},
 {"email":"ada@example.com","event":"bounce","type":"blocked","status":"5.7.1","reason":"550 blocked","sg_event_id":"e2","timestamp":1795427940},
 {"email":"ada@example.com","event":"spamreport","sg_event_id":"e3","timestamp":1795427940},
 {"email":"ada@example.com","event":"delivered","sg_event_id":"e4","timestamp":1795427940},
 {"email":"ada@example.com","event":"open","sg_event_id":"e5","timestamp":1795427940}]`
	postmarkBounce = `{"RecordType":"Bounce","ID":42,"Type":"HardBounce","TypeCode":1,"Email":"ada@example.com","Details":"smtp;550 5.1.1 <ada@example.com> User unknown","BouncedAt":"2026-11-23T09:59:00Z","Metadata":{"delivery":"` + delivery + `"}}`
	mailgunFailed  = `{"id":"g1","event":"failed","severity":"permanent","reason":"bounce","recipient":"ada@example.com","timestamp":1795427940.5,"delivery-status":{"code":550,"enhanced-code":"5.1.1","message":"5.1.1 <ada@example.com> User unknown"},"message":{"headers":{"message-id":"` + delivery + `@acme.example"}}}`
)

// says checks the one report of a notification.
func says(t *testing.T, r provider.Reports, err error, source string, kind notice.FeedbackKind, code string) {
	t.Helper()
	if err != nil || len(r.Items) != 1 {
		t.Fatalf("%d reports: %v", len(r.Items), err)
	}
	f := r.Items[0]
	if f.Source != source || f.Kind != kind || f.Code != code || f.Address != "ada@example.com" || f.Delivery != delivery || f.At.IsZero() || f.Event == "" {
		t.Errorf("got %+v", f)
	}
	if strings.Contains(f.Detail, "ada@") {
		t.Errorf("the detail names the address: %q", f.Detail)
	}
}

func TestAuthenticNotificationsAreRead(t *testing.T) {
	w := newWorld(t)
	for _, version := range []string{"1", "2"} {
		r, err := w.read("ses", nil, w.envelope(version, nil))
		says(t, r, err, "ses", notice.FeedbackHard, "5.1.1")
		r, err = w.read("ses", nil, w.envelope(version, func(e map[string]string) { e["Message"] = sesComplaint; delete(e, "Subject") }))
		says(t, r, err, "ses", notice.FeedbackComplaint, "abuse")
	}
	if len(w.fetched) != 1 {
		t.Errorf("the certificate was fetched %d times for four envelopes", len(w.fetched))
	}
	r, err := w.read("postmark", basic("anybody", token), postmarkBounce)
	says(t, r, err, "postmark", notice.FeedbackHard, "5.1.1")
	r, err = w.read("mailgun", nil, mailgunBody(now, mgKey, "once", mailgunFailed))
	says(t, r, err, "mailgun", notice.FeedbackHard, "5.1.1")
	r, err = w.read("sendgrid", w.gridHeader(now, gridEvents), gridEvents)
	if err != nil || len(r.Items) != 4 {
		t.Fatalf("%d reports: %v", len(r.Items), err)
	}
	for i, kind := range []notice.FeedbackKind{notice.FeedbackHard, notice.FeedbackBlocked, notice.FeedbackComplaint, notice.FeedbackDelivery} {
		if r.Items[i].Kind != kind {
			t.Errorf("event %d is %s, want %s", i, r.Items[i].Kind, kind)
		}
	}
	r.Items = r.Items[:1]
	says(t, r, nil, "sendgrid", notice.FeedbackHard, "5.1.1")
}

func TestForgedOldAndStrangeNotificationsAreRefused(t *testing.T) {
	w := newWorld(t)
	other := newWorld(t)
	other.sns = newKey()
	longAgo, ahead := now.Add(-2*time.Hour), now.Add(10*time.Minute)
	sns := func(from *world, change func(e map[string]string), after func(e map[string]string)) map[string]string {
		e := from.envelope("2", change)
		if after != nil {
			after(e)
		}
		return e
	}
	set := func(name, value string) func(map[string]string) {
		return func(e map[string]string) { e[name] = value }
	}
	unsigned := http.Header{}
	for _, test := range []struct {
		name, provider string
		header         http.Header
		body           any
		want           error
	}{
		{"ses: signed by somebody else", "ses", nil, sns(other, nil, nil), provider.ErrForged},
		{"ses: another message under the signature", "ses", nil, sns(w, nil, set("Message", sesComplaint)), provider.ErrForged},
		{"ses: version 2's signature called version 1", "ses", nil, sns(w, nil, set("SignatureVersion", "1")), provider.ErrForged},
		{"ses: an unknown version", "ses", nil, sns(w, nil, set("SignatureVersion", "3")), provider.ErrForged},
		{"ses: a type that changes what is signed", "ses", nil, sns(w, nil, set("Type", "SubscriptionConfirmation")), provider.ErrForged},
		{"ses: no signature", "ses", nil, sns(w, nil, set("Signature", "")), provider.ErrNoCredentials},
		{"ses: raw message delivery", "ses", nil, sesBounce, provider.ErrNoCredentials},
		{"ses: another topic", "ses", nil, sns(w, set("TopicArn", topic+"x"), nil), provider.ErrNotOurs},
		{"ses: published two hours ago", "ses", nil, sns(w, set("Timestamp", longAgo.Format(time.RFC3339)), nil), provider.ErrOld},
		{"ses: published ahead of time", "ses", nil, sns(w, set("Timestamp", ahead.Format(time.RFC3339)), nil), provider.ErrOld},
		{"sendgrid: signed by somebody else", "sendgrid", other.gridHeader(now, gridEvents), gridEvents, provider.ErrForged},
		{"sendgrid: another body under the signature", "sendgrid", w.gridHeader(now, gridEvents), "[]", provider.ErrForged},
		{"sendgrid: signed an hour ago", "sendgrid", w.gridHeader(now.Add(-time.Hour), gridEvents), gridEvents, provider.ErrOld},
		{"sendgrid: not signed", "sendgrid", unsigned, gridEvents, provider.ErrNoCredentials},
		{"postmark: another password", "postmark", basic("carillon", token+"x"), postmarkBounce, provider.ErrForged},
		{"postmark: no password", "postmark", unsigned, postmarkBounce, provider.ErrNoCredentials},
		{"postmark: credentials that are no base64", "postmark", http.Header{"Authorization": {"Basic %%%"}}, postmarkBounce, provider.ErrNoCredentials},
		{"mailgun: another key", "mailgun", nil, mailgunBody(now, "another", "once", mailgunFailed), provider.ErrForged},
		{"mailgun: another token under the signature", "mailgun", nil, strings.Replace(mailgunBody(now, mgKey, "once", mailgunFailed), "once", "more", 1), provider.ErrForged},
		{"mailgun: signed an hour ago", "mailgun", nil, mailgunBody(now.Add(-time.Hour), mgKey, "once", mailgunFailed), provider.ErrOld},
		{"mailgun: not signed", "mailgun", nil, `{"event-data":` + mailgunFailed + `}`, provider.ErrNoCredentials},
	} {
		r, err := w.read(test.provider, test.header, test.body)
		if !errors.Is(err, test.want) || len(r.Items) != 0 {
			t.Errorf("%s: %d reports, %v; want %v", test.name, len(r.Items), err, test.want)
		}
	}
}

func TestACertificateIsFetchedOfSNSAlone(t *testing.T) {
	for name, url := range map[string]string{
		"http":                    strings.Replace(certURL, "https", "http", 1),
		"another host":            "https://evil.example/SimpleNotificationService-0.pem",
		"a host that begins so":   "https://sns.eu-central-1.amazonaws.com.evil.example/SimpleNotificationService-0.pem",
		"a host that ends so":     "https://evil-sns.eu-central-1.amazonaws.com/SimpleNotificationService-0.pem",
		"somebody's bucket":       "https://sns.s3.amazonaws.com.s3.amazonaws.com/SimpleNotificationService-0.pem",
		"a bucket named sns":      "https://sns.s3-eu-central-1.amazonaws.com/SimpleNotificationService-0.pem",
		"another region":          "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-0.pem",
		"a user":                  "https://sns.eu-central-1.amazonaws.com@evil.example/SimpleNotificationService-0.pem",
		"a port":                  "https://sns.eu-central-1.amazonaws.com:8443/SimpleNotificationService-0.pem",
		"another path":            "https://sns.eu-central-1.amazonaws.com/?Action=GetFile&x=.pem",
		"a path with a query":     certURL + "?x=1",
		"an address of this host": "https://127.0.0.1/SimpleNotificationService-0.pem",
		"nothing":                 "",
	} {
		w := newWorld(t)
		w.pages[url] = w.pages[certURL]
		_, err := w.read("ses", nil, w.envelope("2", func(e map[string]string) { e["SigningCertURL"] = url }))
		if !errors.Is(err, provider.ErrForged) || len(w.fetched) > 0 {
			t.Errorf("%s: %v after fetching %q", name, err, w.fetched)
		}
	}
}

func TestACertificateOfAnotherTimeSignsNothing(t *testing.T) {
	w := newWorld(t)
	w.pages[certURL] = w.certificate(now.Add(-2*time.Hour), now.Add(-time.Hour))
	if _, err := w.read("ses", nil, w.envelope("2", nil)); !errors.Is(err, provider.ErrForged) {
		t.Errorf("an expired certificate: %v", err)
	}
	w = newWorld(t)
	delete(w.pages, certURL)
	if _, err := w.read("ses", nil, w.envelope("2", nil)); err == nil || errors.Is(err, provider.ErrForged) {
		t.Errorf("a certificate that cannot be fetched is our trouble, to be tried again: %v", err)
	}
}

func TestASubscriptionIsConfirmedForAConfiguredTopicAlone(t *testing.T) {
	const link = "https://sns.eu-central-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn=" + topic + "&Token=t"
	confirmation := func(at, of string) func(map[string]string) {
		return func(e map[string]string) {
			e["Type"], e["SubscribeURL"], e["Token"], e["TopicArn"], e["Message"] = "SubscriptionConfirmation", at, "t", of, "You have chosen to subscribe"
			delete(e, "Subject")
		}
	}
	w := newWorld(t)
	w.pages[link] = []byte("<ConfirmSubscriptionResponse/>")
	if r, err := w.read("ses", nil, w.envelope("2", confirmation(link, topic))); err != nil || len(r.Items) != 0 || len(w.fetched) != 2 || w.fetched[1] != link {
		t.Errorf("%v after fetching %q", err, w.fetched)
	}
	for name, change := range map[string]func(map[string]string){
		"another topic":            confirmation(link, topic+"x"),
		"a link to somewhere else": confirmation("https://evil.example/?Action=ConfirmSubscription", topic),
		"a link to this network":   confirmation("https://169.254.169.254/latest", topic),
	} {
		w := newWorld(t)
		if _, err := w.read("ses", nil, w.envelope("2", change)); err == nil || len(w.fetched) > 1 {
			t.Errorf("%s: %v after fetching %q", name, err, w.fetched)
		}
	}
}

func TestAnAuthenticBodyThatIsNotUnderstoodIsAFault(t *testing.T) {
	w := newWorld(t)
	for _, body := range []string{`{"email":1}`, `[{"timestamp":"soon"}]`, `[{`} {
		_, err := w.read("sendgrid", w.gridHeader(now, body), body)
		var faults notice.Faults
		var syntax *notice.SyntaxError
		if !errors.As(err, &faults) && !errors.As(err, &syntax) {
			t.Errorf("%s: %v", body, err)
		}
	}
}

func TestANotificationHasTheSameIDWheneverItComes(t *testing.T) {
	w := newWorld(t)
	first, _ := w.read("mailgun", nil, mailgunBody(now, mgKey, "once", mailgunFailed))
	again, _ := w.read("mailgun", nil, mailgunBody(now, mgKey, "once", strings.Replace(mailgunFailed, "ada@", "bob@", 2)))
	third, _ := w.read("mailgun", nil, mailgunBody(now, mgKey, "twice", mailgunFailed))
	if first.ID == "" || first.ID != again.ID || first.ID == third.ID {
		t.Errorf("ids %q, %q and %q", first.ID, again.ID, third.ID)
	}
	one, _ := w.read("ses", nil, w.envelope("1", nil))
	two, _ := w.read("ses", nil, w.envelope("2", nil))
	if one.ID == "" || one.ID != two.ID {
		t.Errorf("ids %q and %q", one.ID, two.ID)
	}
}

func FuzzProvidersRefuseWhatTheyDidNotSign(f *testing.F) {
	f.Add("ses", sesBounce)
	f.Add("mailgun", mailgunFailed)
	f.Add("sendgrid", gridEvents)
	f.Add("postmark", postmarkBounce)
	w := newWorld(f)
	f.Fuzz(func(t *testing.T, name, body string) {
		p := w.all[name]
		if p == nil {
			t.Skip()
		}
		if r, err := p.Read(t.Context(), provider.Notification{Header: http.Header{"Authorization": {body}}, Body: []byte(body)}); err == nil {
			t.Errorf("%s took %q as %+v", name, body, r)
		}
	})
}
