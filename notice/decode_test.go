package notice_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	stdjson "encoding/json"

	"github.com/carillonhq/carillon/notice"
)

const full = `{"template": "order-shipped",
 "to": {"user": "u42", "email": "ada@example.com", "name": "Ada", "locale": "de", "timezone": "Europe/Berlin",
  "devices": [{"platform": "ios", "token": "00fc13adff785122b4ad28809a3420982341241421348097878e577c991de8f0"}, {"platform": "android", "token": "dQw4:APA91b"}],
  "webhooks": [{"url": "https://example.com/hook", "secret": "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz"}]},
 "data": {"order": "A-1", "items": ["tea", "milk"]}, "channels": ["push", "email", "webhook"], "route": "all", "category": "shipping",
 "priority": "normal", "send_at": "2027-01-01T09:00:00Z", "expires_at": "2027-01-02T09:00:00Z", "collapse_key": "order-A-1"}`

func TestDecodeReadsEveryFieldOfTheContract(t *testing.T) {
	n, err := notice.DecodeNotification([]byte(full))
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2027, 1, 1, 9, 0, 0, 0, time.UTC)
	switch {
	case n.Template != "order-shipped", n.To.User != "u42", n.To.Email != "ada@example.com", n.To.Name != "Ada":
	case n.To.Locale != "de", n.To.Timezone != "Europe/Berlin", len(n.To.Devices) != 2, n.To.Devices[1].Token != "dQw4:APA91b":
	case len(n.To.Webhooks) != 1, n.To.Webhooks[0].URL != "https://example.com/hook":
	case string(n.Data) != `{"order": "A-1", "items": ["tea", "milk"]}`, len(n.Channels) != 3, n.Channels[0] != notice.MediumPush:
	case n.Route != notice.RouteAll, n.Category != "shipping", n.Priority != notice.LaneNormal, n.CollapseKey != "order-A-1":
	case !n.SendAt.Equal(at), !n.ExpiresAt.Equal(at.Add(24 * time.Hour)):
	default:
		return
	}
	t.Errorf("decoded %+v", n)
}

func TestDecodeKeepsNothingOfTheBody(t *testing.T) {
	body := []byte(full)
	n, err := notice.DecodeNotification(body)
	if err != nil {
		t.Fatal(err)
	}
	for i := range body {
		body[i] = 'x'
	}
	if n.Template != "order-shipped" || !strings.HasPrefix(string(n.Data), `{"order"`) {
		t.Errorf("changing the body afterwards changed the notification: %q %q", n.Template, n.Data)
	}
}

func TestMalformedJSONGivesItsOffset(t *testing.T) {
	for _, row := range []struct {
		name, body string
		offset     int64
		says       string
	}{
		{"an empty body", "", 0, "empty"},
		{"only spaces", " \n ", 0, "empty"},
		{"cut off in a string", `{"template": "or`, 16, "too early"},
		{"cut off after a comma", `{"template": "a",`, 17, "too early"},
		{"a trailing comma", `{"template": "a",}`, 16, ""},
		{"single quotes", `{'template': 1}`, 1, ""},
		{"something after the value", `{} {}`, 3, ""},
		{"a comment", `{"template": /* x */ "a"}`, 13, ""},
		{"invalid UTF-8", "{\"template\": \"a\xff\"}", 15, "UTF-8"},
		{"half a surrogate pair", `{"template": "\ud800"}`, 14, ""},
		{"a bare NaN", `{"data": NaN}`, 9, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := notice.DecodeNotification([]byte(row.body))
			var s *notice.SyntaxError
			if !errors.As(err, &s) {
				t.Fatalf("got %v, want a SyntaxError", err)
			}
			if s.Offset != row.offset || !strings.Contains(s.Detail, row.says) {
				t.Errorf("got byte %d (%s), want byte %d saying %q", s.Offset, s.Detail, row.offset, row.says)
			}
		})
	}
}

func TestDecodeNamesEveryFault(t *testing.T) {
	for _, row := range []struct {
		name, body string
		want       []string // "pointer: part of the detail"
	}{
		{"an unknown field, with the nearest", `{"templte": "a"}`, []string{`/templte: unknown field "templte": did you mean "template"?`}},
		{"an unknown field like none", `{"zzzzzzzzzzzz": 1}`, []string{`/zzzzzzzzzzzz: unknown field "zzzzzzzzzzzz": known here are template,`}},
		{"an unknown field deep inside", `{"to": {"devices": [{"platform": "ios"}, {"plattform": "ios"}]}}`,
			[]string{`/to/devices/1/plattform: unknown field "plattform": did you mean "platform"?`}},
		{"an unknown field whose name needs escapes", `{"a/b~c": 1}`, []string{`/a~1b~0c: unknown field "a/b~c"`}},
		{"a number for a string", `{"template": 42}`, []string{`/template: want a string, got the number 42`}},
		{"a string for an object", `{"to": "u42"}`, []string{`/to: want an object, got the string "u42"`}},
		{"a string for an array", `{"channels": "email"}`, []string{`/channels: want an array, got the string "email"`}},
		{"an object for a token", `{"to": {"devices": [{"platform": "web", "token": {"endpoint": "x"}}]}}`, []string{`/to/devices/0/token: want a string, got an object`}},
		{"an unreadable time", `{"send_at": "tomorrow"}`, []string{`/send_at: "tomorrow" is no RFC 3339 time: write it as 2027-01-01T09:00:00Z`}},
		{"a time as a number", `{"send_at": 1790000000}`, []string{`/send_at: want a time as a string (2027-01-01T09:00:00Z), got the number 1790000000`}},
		{"a day that is not", `{"send_at": "2027-02-30T09:00:00Z"}`, []string{`/send_at: "2027-02-30T09:00:00Z" is no RFC 3339 time`}},
		{"a doubled member", `{"template": "a", "template": "b"}`, []string{`/template: the member "template" stands twice`}},
		{"a doubled member inside data", `{"data": {"a": 1, "a": 2}}`, []string{`/data: the member /a stands twice`}},
		{"an array in place of it all", `[]`, []string{`: want an object, got an array`}},
		{"null in place of it all", `null`, []string{`: want an object, got null`}},
		{"several faults at once", `{"templte": 1, "to": {"user": 7, "x": 1}, "send_at": "soon", "channels": [1, "email", {}]}`, []string{
			`/templte: unknown field`, `/to/user: want a string, got the number 7`, `/to/x: unknown field`, `/send_at: "soon"`,
			`/channels/0: want a string, got the number 1`, `/channels/2: want a string, got an object`}},
		{"a long value is clipped", `{"to": "` + strings.Repeat("v", 300) + `"}`, []string{`/to: want an object, got the string "` + strings.Repeat("v", 80) + `…"`}},
		{"nesting without end", `{"data": ` + strings.Repeat(`[`, 100) + strings.Repeat(`]`, 100) + `}`, []string{`: nests deeper than 64 levels`}},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := notice.DecodeNotification([]byte(row.body))
			wantFaults(t, err, row.want)
		})
	}
}

// wantFaults fails unless err is exactly the wanted faults, in order, each
// beginning with "pointer: detail".
func wantFaults(t *testing.T, err error, want []string) {
	t.Helper()
	var faults notice.Faults
	if len(want) == 0 {
		if err != nil {
			t.Errorf("got %v, want no fault", err)
		}
		return
	}
	if !errors.As(err, &faults) {
		t.Fatalf("got %T %v, want faults %q", err, err, want)
	}
	if len(faults) != len(want) {
		t.Fatalf("got %d faults, want %d: %v", len(faults), len(want), faults)
	}
	for i, w := range want {
		if got := faults[i].Pointer + ": " + faults[i].Detail; !strings.HasPrefix(got, w) {
			t.Errorf("fault %d is %q, want %q…", i, got, w)
		}
	}
}

func TestBracketsInStringsAreNoDepth(t *testing.T) {
	body := `{"template": "a", "data": {"text": "` + strings.Repeat(`[{\"`, 200) + `"}}`
	if _, err := notice.DecodeNotification([]byte(body)); err != nil {
		t.Errorf("got %v, want it taken: the brackets stand in a string", err)
	}
}

func TestNullIsAsGoodAsAbsent(t *testing.T) {
	n, err := notice.DecodeNotification([]byte(`{"template": "a", "to": {"user": "u", "email": null}, "data": null, "content": null, "send_at": null}`))
	if err != nil {
		t.Fatal(err)
	}
	if n.Data != nil || n.Content != nil || n.To.Email != "" || !n.SendAt.IsZero() {
		t.Errorf("got %+v, want what was null left out", n)
	}
}

func TestCanonicalDigestTellsBodiesApartByWhatTheySay(t *testing.T) {
	base := notice.CanonicalDigest([]byte(`{"a": 1, "b": [true, "é"]}`))
	for _, row := range []struct {
		name, body string
		same       bool
	}{
		{"other spacing", "{\"a\":1,\n\t\"b\":[ true,\"é\" ]}", true},
		{"another order of members", `{"b": [true, "é"], "a": 1}`, true},
		{"another spelling of a string", `{"a": 1, "b": [true, "\u00e9"]}`, true},
		{"another number", `{"a": 2, "b": [true, "é"]}`, false},
		{"another order of elements", `{"a": 1, "b": ["é", true]}`, false},
		{"an integer past 2^53", `{"a": 9007199254740993, "b": [true, "é"]}`, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			if same := notice.CanonicalDigest([]byte(row.body)) == base; same != row.same {
				t.Errorf("same digest: %v, want %v", same, row.same)
			}
		})
	}
	if notice.CanonicalDigest([]byte(`{"a":9007199254740993}`)) == notice.CanonicalDigest([]byte(`{"a":9007199254740992}`)) {
		t.Error("integers past 2^53 that differ have one digest")
	}
	if notice.CanonicalDigest([]byte(`{`)) == notice.CanonicalDigest([]byte(`[`)) {
		t.Error("bodies that are no JSON have one digest")
	}
}

func TestSplit(t *testing.T) {
	items, err := notice.Split([]byte(` [ {"a":1} , "x,]" , [2] ] `), 3)
	if err != nil || len(items) != 3 || string(items[0]) != `{"a":1}` || string(items[1]) != `"x,]"` || string(items[2]) != `[2]` {
		t.Errorf("got %q, %v", items, err)
	}
	if items, err := notice.Split([]byte(`[1,2,3]`), 2); !errors.Is(err, notice.ErrTooMany) || len(items) != 2 {
		t.Errorf("past the most: got %q, %v", items, err)
	}
	var s *notice.SyntaxError
	if _, err := notice.Split([]byte(`[1,2,`), 9); !errors.As(err, &s) || s.Offset != 5 {
		t.Errorf("cut off: got %v", err)
	}
	_, err = notice.Split([]byte(`{"a":1}`), 9)
	wantFaults(t, err, []string{": want an array, got an object"})
}

func FuzzDecodeNotification(f *testing.F) {
	f.Add([]byte(full))
	f.Add([]byte(`{"templte": 1, "to": {"user": 7}, "send_at": "soon", "channels": [1]}`))
	f.Add([]byte(`{"a": {"a": 1, "a": 2}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		n, err := notice.DecodeNotification(body)
		var s *notice.SyntaxError
		var faults notice.Faults
		switch {
		case err == nil:
			if !stdjson.Valid(body) {
				t.Errorf("took what is no JSON: %q", body)
			}
			n.Validate(time.Unix(1_800_000_000, 0))
		case errors.As(err, &s):
			if s.Offset < 0 || s.Offset > int64(len(body)) {
				t.Errorf("offset %d of %d bytes", s.Offset, len(body))
			}
		case errors.As(err, &faults):
			if len(faults) == 0 {
				t.Error("refused without a fault")
			}
		default:
			t.Errorf("unexpected error %T", err)
		}
	})
}

func BenchmarkDecodeNotification(b *testing.B) {
	body := []byte(full)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := notice.DecodeNotification(body); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeWithEncodingJSON(b *testing.B) {
	body := []byte(full)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		var n struct {
			Template string
			To       struct {
				User, Email, Name, Locale, Timezone string
				Devices                             []notice.Device
				Webhooks                            []notice.Webhook
			}
			Data        stdjson.RawMessage
			Channels    []notice.Medium
			Route       string
			Category    string
			Priority    string
			SendAt      time.Time `json:"send_at"`
			ExpiresAt   time.Time `json:"expires_at"`
			CollapseKey string    `json:"collapse_key"`
		}
		if err := stdjson.Unmarshal(body, &n); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkValidate(b *testing.B) {
	n, err := notice.DecodeNotification([]byte(full))
	if err != nil {
		b.Fatal(err)
	}
	now := time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)
	b.ReportAllocs()
	for b.Loop() {
		if f := n.Validate(now); f != nil {
			b.Fatal(f)
		}
	}
}

func BenchmarkCanonicalDigest(b *testing.B) {
	body := []byte(full)
	b.ReportAllocs()
	for b.Loop() {
		notice.CanonicalDigest(body)
	}
}
