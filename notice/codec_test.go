package notice_test

import (
	"bytes"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/carillonhq/carillon/notice"
)

func fullContent() *notice.Content {
	return &notice.Content{Email: &notice.EmailContent{Subject: "s", HTML: "<p>h", Text: "t", FromName: "Acme", ReplyTo: "help@acme.example", Attachments: []notice.Attachment{
		{Filename: "f", ContentType: "a/b", Content: "Yg==", URL: "https://f.example", Inline: "c"}, {Filename: "g"}}},
		Push: &notice.PushContent{Title: "t", Body: "b", Data: jsontext.Value(`{"a":1}`), Options: fullOptions()}, Webhook: jsontext.Value(`{"w":2}`)}
}

func fullOptions() *notice.PushOptions {
	one, half, object := 1, 0.5, jsontext.Value(`{"o":1}`)
	headers := map[string]string{"a": "b"}
	return &notice.PushOptions{
		APNs: &notice.APNsOptions{PushType: "alert", Priority: 5, Badge: &one, Sound: jsontext.Value(`"bell.caf"`), ThreadID: "t", Category: "c",
			InterruptionLevel: "active", RelevanceScore: &half, MutableContent: true, ContentAvailable: true, TargetContentID: "i", FilterCriteria: "f", APS: object},
		FCM: &notice.FCMOptions{AnalyticsLabel: "l", Image: "https://i.example", Android: &notice.AndroidOptions{Priority: "high", RestrictedPackageName: "p", DirectBootOK: true,
			Notification: &notice.AndroidNotification{ChannelID: "c", Icon: "i", Color: "#112233", Sound: "s", Tag: "t", ClickAction: "a", Image: "https://i.example", Ticker: "t",
				Sticky: true, LocalOnly: true, Count: &one}},
			APNs:    &notice.FCMAPNs{Headers: headers, Payload: object},
			WebPush: &notice.FCMWebPush{Headers: headers, Notification: object, Link: "https://l.example"}},
		WebPush: &notice.WebPushOptions{Urgency: "low", Notification: object},
	}
}

func fullEvent() notice.Event {
	at := time.UnixMilli(1795500000123).UTC()
	return notice.Event{ID: "3-06h0f1oi622ct0rrchlv", Tenant: "acme", AcceptedAt: at, Keyed: true, Planned: 2, Notification: notice.Notification{
		Template: "t", Content: fullContent(), Data: jsontext.Value(`{"n":1}`), Channels: []notice.Medium{"email", "push"}, Route: "first",
		Category: "c", Priority: "bulk", SendAt: at.Add(time.Hour), ExpiresAt: at.Add(2 * time.Hour), CollapseKey: "k",
		To: notice.Recipient{User: "u", Email: "e@x.example", Name: "Zoë", Locale: "de", Timezone: "Europe/Berlin",
			Devices:  []notice.Device{{Platform: "ios", Token: "ab", App: "a", Environment: "sandbox"}, {Platform: "web", Token: "{}"}},
			Webhooks: []notice.Webhook{{URL: "https://h.example", Secret: "whsec_x"}}}}}
}

func fullDelivery() notice.Delivery {
	at := time.UnixMilli(1795500000123).UTC()
	address := notice.Address{Channel: "webhook", To: "https://h.example", App: "a", Secret: "whsec_x", Environment: "sandbox"}
	return notice.Delivery{ID: "3-06h0f1oi622ct0rrchlv-1", Tenant: "acme", Template: "t", Version: "v", Content: fullContent(),
		Data: jsontext.Value(`{"n":1}`), Category: "c", Lane: "bulk", To: notice.Person{User: "u", Name: "n", Email: "e", Locale: "l", Timezone: "z"},
		Address: address, AcceptedAt: at, ExpiresAt: at.Add(time.Hour), CollapseKey: "k", Attempt: 3, Unknown: true,
		Alone: true, Keyed: true, Chain: &notice.Chain{First: 2, Last: 3, Rest: fullEvent()}, Quiet: "22:00-08:00", Digest: "digests"}
}

// everyFieldSet fails for a field that is zero, so that a field which is added
// to a struct, and forgotten in its encoding, is noticed here.
func everyFieldSet(t *testing.T, path string, v reflect.Value) {
	t.Helper()
	switch v.Kind() {
	case reflect.Pointer:
		v = v.Elem()
	case reflect.Slice:
		if v.Len() > 0 && v.Type().Elem().Kind() == reflect.Struct {
			everyFieldSet(t, path+"[0]", v.Index(0))
		}
	}
	if v.Kind() != reflect.Struct || v.Type() == reflect.TypeFor[time.Time]() {
		return
	}
	for i := range v.NumField() {
		name := path + "." + v.Type().Field(i).Name
		if v.Field(i).IsZero() {
			t.Errorf("%s is not set here: set it, so that its encoding is proven", name)
		}
		everyFieldSet(t, name, v.Field(i))
	}
}

func TestWhatIsEncodedIsReadBackWhole(t *testing.T) {
	ev, d := fullEvent(), fullDelivery()
	everyFieldSet(t, "Event", reflect.ValueOf(ev))
	everyFieldSet(t, "Delivery", reflect.ValueOf(d))

	var gotEvent notice.Event
	b, _ := ev.AppendBinary(nil)
	if err := gotEvent.UnmarshalBinary(b); err != nil || !reflect.DeepEqual(gotEvent, ev) {
		t.Errorf("event read back as %+v, %v\nwant %+v", gotEvent, err, ev)
	}
	var gotDelivery notice.Delivery
	b, _ = d.AppendBinary(nil)
	if err := gotDelivery.UnmarshalBinary(b); err != nil || !reflect.DeepEqual(gotDelivery, d) {
		t.Errorf("delivery read back as %+v, %v\nwant %+v", gotDelivery, err, d)
	}
	var empty notice.Delivery
	b, _ = (&notice.Delivery{}).AppendBinary(nil)
	if err := empty.UnmarshalBinary(b); err != nil || !reflect.DeepEqual(empty, notice.Delivery{}) {
		t.Errorf("an empty delivery read back as %+v, %v", empty, err)
	}
}

func TestAnEncodingThatIsCutOrGoesOnIsRefused(t *testing.T) {
	d := fullDelivery()
	whole, _ := d.AppendBinary(nil)
	for n := range len(whole) {
		if err := new(notice.Delivery).UnmarshalBinary(whole[:n]); !errors.Is(err, notice.ErrEncoding) {
			t.Fatalf("%d of %d bytes: %v", n, len(whole), err)
		}
	}
	for _, bad := range [][]byte{append(whole, 0), []byte(`{"id":"x"}`), {2}, {3}} {
		if err := new(notice.Delivery).UnmarshalBinary(bad); !errors.Is(err, notice.ErrEncoding) {
			t.Errorf("%.20q: %v", bad, err)
		}
	}
}

func FuzzUnmarshalBinary(f *testing.F) {
	ev, d := fullEvent(), fullDelivery()
	for _, one := range []interface{ AppendBinary([]byte) ([]byte, error) }{&ev, &d, &notice.Event{}, &notice.Delivery{}} {
		b, _ := one.AppendBinary(nil)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var d notice.Delivery
		if d.UnmarshalBinary(data) == nil {
			b, _ := d.AppendBinary(nil)
			var again notice.Delivery
			err := again.UnmarshalBinary(b)
			if twice, _ := again.AppendBinary(nil); err != nil || !bytes.Equal(twice, b) {
				t.Errorf("read back as %+v, %v, want %+v", again, err, d)
			}
		}
		var e notice.Event
		if e.UnmarshalBinary(data) == nil {
			b, _ := e.AppendBinary(nil)
			var again notice.Event
			err := again.UnmarshalBinary(b)
			if twice, _ := again.AppendBinary(nil); err != nil || !bytes.Equal(twice, b) {
				t.Errorf("read back as %+v, %v, want %+v", again, err, e)
			}
		}
	})
}

// BenchmarkCodec is one reading and one writing of a delivery, beside JSON's.
func BenchmarkCodec(b *testing.B) {
	d := fullDelivery()
	d.Content = nil
	binary, _ := d.AppendBinary(nil)
	text, err := json.Marshal(&d)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("binary", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var got notice.Delivery
			if err := got.UnmarshalBinary(binary); err != nil {
				b.Fatal(err)
			}
			if _, err := got.AppendBinary(make([]byte, 0, 1024)); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("json", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var got notice.Delivery
			if err := json.Unmarshal(text, &got); err != nil {
				b.Fatal(err)
			}
			if _, err := json.Marshal(&got); err != nil {
				b.Fatal(err)
			}
		}
	})
}
