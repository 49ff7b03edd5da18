package fcm

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/carillonhq/carillon/channels"
	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/notice"
)

func TestMessagesOfEveryShape(t *testing.T) {
	at := time.Unix(1_800_000_000, 0)
	srv := newGoogle(t, nil)
	a := adapterFor(t, srv.URL, WithClock(func() time.Time { return at }))
	const id = "3-0123456789abcdefghij-0"
	for name, tc := range map[string]struct {
		change func(*channels.Message)
		want   string // without the token
	}{
		"a normal push is shown at once, and only once": {func(*channels.Message) {},
			`"notification":{"title":"Shipped","body":"Order A-1"},"android":{"priority":"high","collapse_key":"` + id + `","notification":{"tag":"` + id + `"}}`},
		"a bulk push may wait": {func(m *channels.Message) { m.Lane = notice.LaneBulk; m.CollapseKey = "news" },
			`"notification":{"title":"Shipped","body":"Order A-1"},"android":{"priority":"normal","collapse_key":"news","notification":{"tag":"news"}}`},
		"data alone does not collapse by itself": {func(m *channels.Message) { m.Content.Push = &notice.PushContent{Data: []byte(`{"sync":true}`)} },
			`"data":{"sync":"true"},"android":{"priority":"high"}`},
		"data alone collapses when it is told to": {func(m *channels.Message) {
			m.Content.Push = &notice.PushContent{Data: []byte(`{"sync":""}`)}
			m.CollapseKey = "k"
		}, `"data":{"sync":""},"android":{"priority":"high","collapse_key":"k"}`},
		"nothing is kept longer than four weeks": {func(m *channels.Message) { m.CollapseKey = "k"; m.ExpiresAt = at.AddDate(1, 0, 0) },
			`"notification":{"title":"Shipped","body":"Order A-1"},"android":{"priority":"high","ttl":"2419200s","collapse_key":"k","notification":{"tag":"k"}}`},
		"what has expired is now or never": {func(m *channels.Message) { m.CollapseKey = "k"; m.ExpiresAt = at.Add(-time.Hour) },
			`"notification":{"title":"Shipped","body":"Order A-1"},"android":{"priority":"high","ttl":"0s","collapse_key":"k","notification":{"tag":"k"}}`},
	} {
		t.Run(name, func(t *testing.T) {
			m := message()
			tc.change(&m)
			wants(t, send(t, a, m), channels.Sent, "")
			all := srv.all()
			want := `{"message":{"token":"` + deviceToken + `",` + tc.want + `}}`
			if got := canonical(t, all[len(all)-1].body); got != canonical(t, []byte(want)) {
				t.Errorf("got\n%s, want\n%s", got, canonical(t, []byte(want)))
			}
		})
	}
}

func TestDataBecomesStrings(t *testing.T) {
	got, err := stringData([]byte(`{"s":"a\"b","n":1.50,"t":true,"z":null,"o":{ "a" : [1, 2] },"":"empty"}`))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"s": `a"b`, "n": "1.50", "t": "true", "z": "null", "o": `{"a":[1,2]}`, "": "empty"}
	for k, v := range want {
		if got[k] != v {
			t.Errorf("%s is %q, want %q", k, got[k], v)
		}
	}
	if len(got) != len(want) {
		t.Errorf("got %v", got)
	}
}

func TestAMessageThatCannotBeSentIsRefusedBeforeItIs(t *testing.T) {
	srv := newGoogle(t, nil)
	a := adapterFor(t, srv.URL)
	for name, tc := range map[string]struct {
		change func(*channels.Message)
		says   string
	}{
		"no content":               {func(m *channels.Message) { m.Content.Push = nil }, "no push content"},
		"no token":                 {func(m *channels.Message) { m.Address.To = "" }, "device token"},
		"a token with a space":     {func(m *channels.Message) { m.Address.To = "secret token" }, "device token"},
		"a token that is too long": {func(m *channels.Message) { m.Address.To = strings.Repeat("s", 5000) }, "device token"},
		"data that is a list":      {func(m *channels.Message) { m.Content.Push.Data = []byte(`["secret"]`) }, "must be an object"},
		"data that is half":        {func(m *channels.Message) { m.Content.Push.Data = []byte(`{"a":"secret`) }, "that can be read"},
		"data with a name twice":   {func(m *channels.Message) { m.Content.Push.Data = []byte(`{"a":1,"a":"secret"}`) }, "twice"},
		"a name that FCM keeps":    {func(m *channels.Message) { m.Content.Push.Data = []byte(`{"google.x":"secret"}`) }, "data.google.x"},
		"another one":              {func(m *channels.Message) { m.Content.Push.Data = []byte(`{"from":"secret"}`) }, "data.from"},
		"data that is too long": {func(m *channels.Message) {
			m.Content.Push.Data = []byte(`{"k":"` + strings.Repeat("secret", 700) + `"}`)
		}, "4096"},
		"a title that is too long": {func(m *channels.Message) { m.Content.Push.Title = strings.Repeat("secret", 700) }, "4096"},
	} {
		t.Run(name, func(t *testing.T) {
			m := message()
			push := *m.Content.Push
			m.Content.Push = &push
			tc.change(&m)
			got := send(t, a, m)
			code := "INVALID_ARGUMENT"
			if tc.says == "4096" {
				code = "payload"
			}
			wants(t, got, channels.Rejected, code)
			if got.Err != nil && !strings.Contains(got.Err.Error(), tc.says) {
				t.Errorf("error %v, want it to say %q", got.Err, tc.says)
			}
		})
	}
	if n := len(srv.all()); n != 0 {
		t.Errorf("%d requests were made", n)
	}
}

func TestALongBodyIsShortenedToWhatIsLeft(t *testing.T) {
	srv := newGoogle(t, nil)
	m := message()
	m.Content.Push = &notice.PushContent{Title: "Grüße", Body: strings.Repeat("wörd\xff ", 2000), Data: []byte(`{"k":"0123456789"}`)}
	wants(t, send(t, adapterFor(t, srv.URL), m), channels.Sent, "")
	var got struct {
		Message struct {
			Notification struct{ Title, Body string } `json:"notification"`
		} `json:"message"`
	}
	if err := json.Unmarshal(srv.all()[0].body, &got); err != nil {
		t.Fatal(err)
	}
	n := got.Message.Notification
	size := len(n.Title) + len(n.Body) + len("k") + len("0123456789")
	if size > maxPayload || size < maxPayload-12 || !strings.HasSuffix(n.Body, "…") || !utf8.ValidString(n.Body) {
		t.Errorf("%d bytes, body ends in %q", size, n.Body[max(0, len(n.Body)-20):])
	}
}

func TestSectionsThatCannotWorkAreRefusedByName(t *testing.T) {
	for name, tc := range map[string]struct {
		cfg  config.FCM
		says string
	}{
		"no project":                     {config.FCM{Endpoint: "http://127.0.0.1:1"}, "fcm.project"},
		"a project's name":               {config.FCM{Project: "My App", Endpoint: "http://127.0.0.1:1"}, "fcm.project"},
		"a project that is a path":       {config.FCM{Project: "a/../b", Endpoint: "http://127.0.0.1:1"}, "fcm.project"},
		"neither credentials nor a URL":  {config.FCM{Project: "acme"}, "fcm.credentials"},
		"credentials that are none":      {config.FCM{Project: "acme", Credentials: config.NewSecret("secret")}, "fcm.credentials"},
		"credentials of another kind":    {config.FCM{Project: "acme", Credentials: config.NewSecret(`{"type":"authorized_user","client_secret":"secret"}`)}, "fcm.credentials"},
		"credentials without a key":      {config.FCM{Project: "acme", Credentials: config.NewSecret(`{"type":"service_account","private_key":"secret"}`)}, "fcm.credentials"},
		"an endpoint that is a name":     {config.FCM{Project: "acme", Endpoint: "localhost:8090"}, "fcm.endpoint"},
		"an endpoint that is a password": {config.FCM{Project: "acme", Endpoint: "http://u:secret@127.0.0.1:1"}, "fcm.endpoint"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := New(tc.cfg)
			if err == nil || !strings.Contains(err.Error(), tc.says) || strings.Contains(err.Error(), "secret") {
				t.Errorf("error %v, want it to name %s", err, tc.says)
			}
		})
	}
}

func FuzzDataIsReadOrRefused(f *testing.F) {
	f.Add([]byte(`{"a":"b","c":{"d":[1,null]}}`))
	f.Add([]byte(`{"\u0066rom":1}`))
	f.Add([]byte(` null `))
	f.Fuzz(func(t *testing.T, raw []byte) {
		data, err := stringData(raw)
		if err != nil {
			return
		}
		for k, v := range data {
			if reserved(k) || !utf8.ValidString(k) || !utf8.ValidString(v) {
				t.Errorf("%q: %q was let through", k, v)
			}
		}
	})
}
