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
		"nothing to show wakes the app": {notice.PushContent{Data: []byte(`{"sync":true}`)},
			`{"aps":{"content-available":1},"sync":true}`},
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
			if len(raw) > 4096 || len(raw) < 4096-40 || !marked || !strings.HasPrefix(body, text) || got.HTML != "<p>" {
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
		"an aps of its own":      {"", `{"aps":"secret"}`, "data", "data.aps:"},
		"the same in escapes":    {"", `{"\u0061p\u0073":{"badge":1}}`, "data", "data.aps:"},
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
	r := send(t, a, m)
	if wants(t, r, channels.Rejected, "PayloadEmpty"); !r.Unsent {
		t.Error("what was decided here is taken for Apple's answer")
	}
	if n := len(srv.all()); n != 0 {
		t.Errorf("%d requests were made", n)
	}
}

func withOptions(o notice.APNsOptions) *notice.PushOptions { return &notice.PushOptions{APNs: &o} }

func TestOptionsBecomeMembersOfAPS(t *testing.T) {
	three, half := 3, 0.5
	for name, tc := range map[string]struct {
		content notice.PushContent
		want    string
	}{
		"every one": {notice.PushContent{Title: "T", Options: withOptions(notice.APNsOptions{Badge: &three, RelevanceScore: &half, ThreadID: "t\"x", Category: "c",
			InterruptionLevel: "time-sensitive", TargetContentID: "w", FilterCriteria: "f", MutableContent: true, ContentAvailable: true, Sound: []byte(`"bell.caf"`)})},
			`{"aps":{"alert":{"title":"T"},"badge":3,"relevance-score":0.5,"thread-id":"t\"x","category":"c","interruption-level":"time-sensitive",` +
				`"target-content-id":"w","filter-criteria":"f","mutable-content":1,"content-available":1,"sound":"bell.caf"}}`},
		"a sound that breaks through": {notice.PushContent{Body: "B", Options: withOptions(notice.APNsOptions{Sound: []byte(`{"critical":1}`)})},
			`{"aps":{"alert":{"body":"B"},"sound":{"critical":1}}}`},
		"no sound": {notice.PushContent{Body: "B", Options: withOptions(notice.APNsOptions{Sound: []byte(`null`)})},
			`{"aps":{"alert":{"body":"B"}}}`},
		"the alert extends ours, and ours wins": {notice.PushContent{Body: "B", Options: withOptions(notice.APNsOptions{APS: []byte(`{"alert":{"body":"other","subtitle":"S","title":"T"}}`)})},
			`{"aps":{"alert":{"body":"B","subtitle":"S","title":"T"},"sound":"default"}}`},
		"a live activity": {notice.PushContent{Options: withOptions(notice.APNsOptions{PushType: notice.PushLiveActivity, APS: []byte(`{"event":"update","timestamp":1,"content-state":{"eta":5}}`)})},
			`{"aps":{"event":"update","timestamp":1,"content-state":{"eta":5}}}`},
		"a call": {notice.PushContent{Data: []byte(`{"caller":"x"}`), Options: withOptions(notice.APNsOptions{PushType: notice.PushVoIP})},
			`{"caller":"x"}`},
		"a managed device": {notice.PushContent{Data: []byte(`{"mdm":"magic"}`), Options: withOptions(notice.APNsOptions{PushType: notice.PushMDM})},
			`{"mdm":"magic"}`},
		"a widget": {notice.PushContent{Data: []byte(`{}`), Options: withOptions(notice.APNsOptions{PushType: notice.PushWidgets})},
			`{"aps":{"content-changed":true}}`},
		"a background push that says so": {notice.PushContent{Data: []byte(`{"a":1}`), Options: withOptions(notice.APNsOptions{PushType: notice.PushBackground, ContentAvailable: true})},
			`{"aps":{"content-available":1},"a":1}`},
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

func TestABodyOfWhichNothingIsLeftIsRefusedAndNotSentWithout(t *testing.T) {
	a := adapterFor(t, newApple(t, 100, nil))
	for name, body := range map[string]string{
		"no room beside the data":      "hello",
		"a character that has no end":  "e" + strings.Repeat("\u0301", 4000),
		"a megabyte of invisible ones": strings.Repeat("\u200d", 1<<20/3),
	} {
		t.Run(name, func(t *testing.T) {
			m := message()
			m.Content.Push = &notice.PushContent{Title: "T", Body: body}
			if body == "hello" {
				m.Content.Push.Data = []byte(`{"k":"` + strings.Repeat("k", 4030) + `"}`)
			}
			wants(t, send(t, a, m), channels.Rejected, "PayloadTooLarge")
		})
	}
}

func TestACallMayCarryMore(t *testing.T) {
	data := []byte(`{"k":"` + strings.Repeat("k", 5000) + `"}`)
	p, err := newPayload(&notice.PushContent{Data: data, Options: withOptions(notice.APNsOptions{PushType: notice.PushVoIP})})
	if err != nil {
		t.Fatal(err)
	}
	if raw, err := p.encode(); err != nil || len(raw) != len(data) {
		t.Errorf("%d bytes, %v", len(raw), err)
	}
}

func FuzzAPayloadIsValidAndFitsOrIsRefused(f *testing.F) {
	f.Add("title", "body", `{"a":1}`, `{"alert":{"subtitle":"x"}}`)
	f.Add("", strings.Repeat("👩‍👩‍👦<", 900), ``, ``)
	f.Add("\xff", "\x00\u2028", `{"\u0061ps":{}}`, `{"\ud800":"\udfff\u202e"}`)
	f.Fuzz(func(t *testing.T, title, body, data, aps string) {
		p, err := newPayload(&notice.PushContent{Title: title, Body: body, Data: []byte(data), Options: withOptions(notice.APNsOptions{APS: []byte(aps), ThreadID: title})})
		if err != nil {
			return
		}
		raw, err := p.encode()
		if err != nil {
			return
		}
		compacted, err := json.Marshal(json.RawMessage(raw)) // as the client library does
		if err != nil || len(compacted) > 4096 || len(compacted) != len(raw) {
			t.Errorf("%d bytes became %d (%v): %s", len(raw), len(compacted), err, raw)
		}
	})
}
