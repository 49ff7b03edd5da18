package apns

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/carillonhq/carillon/channels"
	"github.com/carillonhq/carillon/notice"
)

func TestPayloadsOfEveryShape(t *testing.T) {
	for name, tc := range map[string]struct {
		content notice.PushContent
		want    string
	}{
		"a title alone": {notice.PushContent{Title: "T"},
			`{"aps":{"alert":{"title":"T"},"sound":"default"}}`},
		"data stands beside aps": {notice.PushContent{Title: "T", Body: "B", Data: []byte(`{"order":"A-1","n":1.50}`)},
			`{"aps":{"alert":{"title":"T","body":"B"},"sound":"default"},"order":"A-1","n":1.50}`},
		"data's aps extends ours": {notice.PushContent{Body: "B", Data: []byte(`{"aps":{"badge":3,"thread-id":"x"}}`)},
			`{"aps":{"alert":{"body":"B"},"sound":"default","badge":3,"thread-id":"x"}}`},
		"data's sound wins": {notice.PushContent{Body: "B", Data: []byte(`{"aps":{"sound":{"critical":1}}}`)},
			`{"aps":{"alert":{"body":"B"},"sound":{"critical":1}}}`},
		"data's alert extends ours and ours wins": {notice.PushContent{Body: "B", Data: []byte(`{"aps":{"alert":{"body":"other","subtitle":"S","title":"T"}}}`)},
			`{"aps":{"alert":{"body":"B","subtitle":"S","title":"T"},"sound":"default"}}`},
		"nothing to show wakes the app": {notice.PushContent{Data: []byte(`{"sync":true}`)},
			`{"aps":{"content-available":1},"sync":true}`},
		"and says so once": {notice.PushContent{Data: []byte(`{"aps":{"content-available":1}}`)},
			`{"aps":{"content-available":1}}`},
		"null is no data": {notice.PushContent{Body: "B", Data: []byte(`null`)},
			`{"aps":{"alert":{"body":"B"},"sound":"default"}}`},
		"what is not UTF-8 is replaced": {notice.PushContent{Body: "a\xffb"},
			`{"aps":{"alert":{"body":"a` + "\ufffd" + `b"},"sound":"default"}}`},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := newPayload(&tc.content)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := p.encode(); err != nil || string(got) != tc.want {
				t.Errorf("got\n%s (%v), want\n%s", got, err, tc.want)
			}
		})
	}
}

// The client library encodes the payload once more, escaping as it goes: what
// arrives is what counts.
func TestNoPayloadArrivesLongerThanAppleTakes(t *testing.T) {
	srv := newApple(t, 100, nil)
	a := adapterFor(t, srv)
	for name, body := range map[string]string{
		"plain text":        strings.Repeat("order ", 1000),
		"markup":            strings.Repeat("<b>&</b>", 1000),
		"quotes":            strings.Repeat(`"`, 5000),
		"umlauts":           strings.Repeat("äöü", 2000),
		"emoji families":    strings.Repeat("👨‍👩‍👧", 500),
		"line separators":   strings.Repeat("x\u2028", 1000),
		"control character": strings.Repeat("\x01", 2000),
	} {
		t.Run(name, func(t *testing.T) {
			m := message()
			m.Content.Push = &notice.PushContent{Title: "<T>", Body: body, Data: []byte(`{ "html" : "<p>" }`)}
			wants(t, send(t, a, m), channels.Sent, "200")
			all := srv.all()
			raw := all[len(all)-1].body
			var got struct {
				APS struct {
					Alert struct{ Title, Body string }
				} `json:"aps"`
				HTML string `json:"html"`
			}
			if err := json.Unmarshal(raw, &got); err != nil {
				t.Fatal(err)
			}
			text, marked := strings.CutSuffix(got.APS.Alert.Body, "…")
			if len(raw) > maxPayload || len(raw) < maxPayload-40 || !marked || !strings.HasPrefix(body, text) || got.HTML != "<p>" {
				t.Errorf("%d bytes, body %.60q", len(raw), got.APS.Alert.Body)
			}
		})
	}
}

func TestDataThatCannotBeSentIsRefusedWithAReason(t *testing.T) {
	srv := newApple(t, 100, nil)
	a := adapterFor(t, srv)
	for name, tc := range map[string]struct{ title, data, code, says string }{
		"a list":                 {"", `[1]`, "data", "data is"},
		"a string":               {"", `"secret"`, "data", "data is"},
		"half an object":         {"", `{"secret":`, "data", "data is not"},
		"a name that is twice":   {"", `{"secret":1,"secret":2}`, "data", "twice"},
		"an aps that is none":    {"", `{"aps":"secret"}`, "data", "data.aps is"},
		"an alert that is none":  {"", `{"aps":{"alert":"secret"}}`, "data", "data.aps.alert is"},
		"data that is too long":  {"", `{"k":"` + strings.Repeat("secret", 800) + `"}`, "PayloadTooLarge", "4096"},
		"a title that is longer": {strings.Repeat("secret", 800), ``, "PayloadTooLarge", "4096"},
	} {
		t.Run(name, func(t *testing.T) {
			m := message()
			m.Content.Push = &notice.PushContent{Title: tc.title, Body: "body", Data: []byte(tc.data)}
			got := send(t, a, m)
			wants(t, got, channels.Rejected, tc.code)
			if got.Err != nil && (!strings.Contains(got.Err.Error(), tc.says) || strings.Contains(got.Err.Error(), "secret")) {
				t.Errorf("error %v, want it to say %q and nothing of the data", got.Err, tc.says)
			}
		})
	}
	m := message()
	m.Content.Push = nil
	wants(t, send(t, a, m), channels.Rejected, "PayloadEmpty")
	if n := len(srv.all()); n != 0 {
		t.Errorf("%d requests were made", n)
	}
}

func FuzzAPayloadIsValidAndFitsOrIsRefused(f *testing.F) {
	f.Add("title", "body", `{"a":1,"aps":{"alert":{"subtitle":"x"},"badge":1}}`)
	f.Add("", strings.Repeat("👩‍👩‍👦<", 900), ``)
	f.Add("\xff", "\x00\u2028", `{"\u0061ps":{}}`)
	f.Fuzz(func(t *testing.T, title, body, data string) {
		p, err := newPayload(&notice.PushContent{Title: title, Body: body, Data: []byte(data)})
		if err != nil {
			return
		}
		raw, err := p.encode()
		if err != nil {
			return
		}
		compacted, err := json.Marshal(json.RawMessage(raw)) // as the client library does
		if err != nil || len(compacted) > maxPayload || len(compacted) != len(raw) {
			t.Errorf("%d bytes became %d (%v): %s", len(raw), len(compacted), err, raw)
		}
	})
}
