package notice_test

import (
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/carillonhq/carillon/notice"
)

const cloudEvent = `{"specversion":"1.0","id":"A-1","source":"/shop","type":"order.shipped","subject":"o/1","time":"2026-11-20T12:00:00.5Z",
 "datacontenttype":"application/json","dataschema":"https://example.com/s","data":{"order":"A-1"},"traceparent":"00-1","sampled":true,"count":3,"gone":null}`

func TestAStructuredEventIsReadWhole(t *testing.T) {
	e, err := notice.DecodeCloudEvent([]byte(cloudEvent))
	if err != nil {
		t.Fatal(err)
	}
	if e.ID != "A-1" || e.Source != "/shop" || e.Type != "order.shipped" || e.Subject != "o/1" || e.DataSchema != "https://example.com/s" ||
		!e.Time.Equal(time.Date(2026, 11, 20, 12, 0, 0, 5e8, time.UTC)) || string(e.Data) != `{"order":"A-1"}` {
		t.Errorf("got %+v", e)
	}
	if len(e.Extensions) != 3 || e.Extensions["traceparent"] != "00-1" || e.Extensions["sampled"] != "true" || e.Extensions["count"] != "3" {
		t.Errorf("extensions %v", e.Extensions)
	}
}

func TestDataInBase64IsReadWhenItIsJSON(t *testing.T) {
	event := func(data string) string {
		return `{"specversion":"1.0","id":"1","source":"s","type":"t","data_base64":"` + base64.StdEncoding.EncodeToString([]byte(data)) + `"}`
	}
	e, err := notice.DecodeCloudEvent([]byte(event(`{"a":1}`)))
	if err != nil || string(e.Data) != `{"a":1}` {
		t.Errorf("got %s, %v", e.Data, err)
	}
	_, err = notice.DecodeCloudEvent([]byte(event("\x00\x01")))
	wantFaults(t, err, []string{"/data_base64: holds no JSON"})
}

func TestStructuredEventsThatAreWrong(t *testing.T) {
	for _, row := range []struct {
		name, body string
		want       []string
	}{
		{"nothing of what is required", `{}`, []string{`/specversion: "" is no version`, `/id: CloudEvents requires`, `/source: CloudEvents requires`, `/type: CloudEvents requires`}},
		{"an empty id", `{"specversion":"1.0","id":"","source":"s","type":"t"}`, []string{`/id: CloudEvents requires a non-empty id`}},
		{"an id that is a number", `{"specversion":"1.0","id":7,"source":"s","type":"t"}`, []string{`/id: want a string, got the number 7`}},
		{"another version", `{"specversion":"2.0","id":"1","source":"s","type":"t"}`, []string{`/specversion: "2.0" is no version of CloudEvents read here: send 1.0`}},
		{"an unreadable time", `{"specversion":"1.0","id":"1","source":"s","type":"t","time":"noon"}`, []string{`/time: "noon" is no RFC 3339 time`}},
		{"an attribute that is a structure", `{"specversion":"1.0","id":"1","source":"s","type":"t","ex/t":{"a":1}}`, []string{`/ex~1t: an extension attribute is a string`}},
		{"data twice", `{"specversion":"1.0","id":"1","source":"s","type":"t","data":1,"data_base64":"MQ=="}`, []string{`/data_base64: stands beside data`}},
		{"base64 that is none", `{"specversion":"1.0","id":"1","source":"s","type":"t","data_base64":"*"}`, []string{`/data_base64: is no base64`}},
		{"data that is no JSON", `{"specversion":"1.0","id":"1","source":"s","type":"t","datacontenttype":"text/plain","data":"x"}`, []string{`/datacontenttype: data of type "text/plain" cannot be routed`}},
		{"an id without end", `{"specversion":"1.0","id":"` + strings.Repeat("x", 2049) + `","source":"s","type":"t"}`, []string{`/id: is 2049 bytes: at most 2048`}},
		{"a doubled member", `{"specversion":"1.0","id":"1","id":"2","source":"s","type":"t"}`, []string{`/id: the member "id" stands twice`}},
		{"no object", `[1]`, []string{`: want an object, got an array`}},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := notice.DecodeCloudEvent([]byte(row.body))
			wantFaults(t, err, row.want)
		})
	}
}

// headers makes a header of pairs.
func headers(pairs ...string) http.Header {
	h := http.Header{}
	for i := 0; i < len(pairs); i += 2 {
		h.Add(pairs[i], pairs[i+1])
	}
	return h
}

func TestABinaryEventIsReadFromItsHeaders(t *testing.T) {
	body := []byte(`{"order":"A-1"}`)
	e, err := notice.DecodeBinaryCloudEvent(headers("Content-Type", "application/vnd.shop+json; charset=utf-8", "CE-SpecVersion", "1.0", "ce-id", "A%20%F0%9F%98%80",
		"ce-source", `"/sh\"op"`, "ce-type", "order.shipped", "ce-time", "2026-11-20T12:00:00Z", "ce-traceparent", "00-1", "X-Other", "x"), body)
	if err != nil {
		t.Fatal(err)
	}
	body[0] = 'x'
	if e.ID != "A 😀" || e.Source != `/sh"op` || e.Type != "order.shipped" || e.Time.IsZero() || string(e.Data) != `{"order":"A-1"}` {
		t.Errorf("got %+v", e)
	}
	if len(e.Extensions) != 1 || e.Extensions["traceparent"] != "00-1" {
		t.Errorf("extensions %v", e.Extensions)
	}
	if e, err := notice.DecodeBinaryCloudEvent(headers("ce-specversion", "1.0", "ce-id", "1", "ce-source", "s", "ce-type", "t"), nil); err != nil || e.Data != nil {
		t.Errorf("without data: %+v, %v", e, err)
	}
}

func TestBinaryEventsThatAreWrong(t *testing.T) {
	good := []string{"ce-specversion", "1.0", "ce-id", "1", "ce-source", "s", "ce-type", "t"}
	for _, row := range []struct {
		name string
		more []string
		want []string
	}{
		{"a header twice", []string{"ce-subject", "a", "ce-subject", "b"}, []string{`/ce-subject: the header must stand once`}},
		{"an escape that is none", []string{"ce-subject", "100%"}, []string{`/ce-subject: the header must stand once, its value percent-encoded`}},
		{"an unreadable time", []string{"ce-time", "noon"}, []string{`/ce-time: "noon" is no RFC 3339 time`}},
		{"data that is no JSON", []string{"Content-Type", "image/png"}, []string{`/content-type: data of type "image/png"`}},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := notice.DecodeBinaryCloudEvent(headers(append(row.more, good...)...), []byte(`{}`))
			wantFaults(t, err, row.want)
		})
	}
	_, err := notice.DecodeBinaryCloudEvent(headers(good[:4]...), nil)
	wantFaults(t, err, []string{`/ce-source: CloudEvents requires`, `/ce-type: CloudEvents requires`})
	var s *notice.SyntaxError
	if _, err := notice.DecodeBinaryCloudEvent(headers(good...), []byte(`{"a":`)); !errors.As(err, &s) || s.Offset != 5 {
		t.Errorf("got %v, want the offset in the data", err)
	}
}

func TestACloudEventIsToldFromANotification(t *testing.T) {
	for body, want := range map[string]bool{
		cloudEvent: true,
		`{"data":{"specversion":"9"},"specversion":"1.0"}`: true,
		full: false,
		`{"template":"a","data":{"specversion":"1.0"}}`:        false,
		`{"template":"say \"specversion\"","to":{"user":"u"}}`: false,
		`["specversion"]`:     false,
		`{"a":{"specversion"`: false,
		``:                    false,
	} {
		if got := notice.LooksLikeCloudEvent([]byte(body)); got != want {
			t.Errorf("%s: got %v, want %v", body, got, want)
		}
	}
}

func TestAnEventsKeyIsItsSourceIDAndOrdinal(t *testing.T) {
	key := func(source, id string, ordinal int) string {
		return (&notice.CloudEvent{Source: source, ID: id}).Key(ordinal)
	}
	seen := map[string]string{}
	for name, k := range map[string]string{
		"one": key("s", "1", 0), "another ordinal": key("s", "1", 1), "another id": key("s", "2", 0),
		"the boundary moved": key("s1", "", 0), "moved back": key("", "s1", 0),
	} {
		if other, ok := seen[k]; ok {
			t.Errorf("%q and %q have the key %s", name, other, k)
		}
		seen[k] = name
	}
	if again := key("s", "1", 0); seen[again] != "one" {
		t.Errorf("the same event's key is %s the second time", again)
	}
	if n := len(key(strings.Repeat("s", 9999), "1", 7)); n > 64 {
		t.Errorf("a long source makes a key of %d bytes", n)
	}
}

func FuzzDecodeCloudEvent(f *testing.F) {
	f.Add([]byte(cloudEvent))
	f.Add([]byte(`{"specversion":"1.0","id":"1","source":"s","type":"t","data_base64":"e30="}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		e, err := notice.DecodeCloudEvent(body)
		if err != nil {
			return
		}
		if e.ID == "" || e.Source == "" || e.Type == "" || e.Data != nil && !e.Data.IsValid() {
			t.Errorf("took %+v", e)
		}
		if !notice.LooksLikeCloudEvent(body) && !strings.Contains(string(body), `\u`) {
			t.Errorf("decodes and does not look like an event: %q", body)
		}
	})
}

func FuzzDecodeBinaryCloudEvent(f *testing.F) {
	f.Add("1", "%2Fshop", `"a\"b"`, "2026-11-20T12:00:00Z", []byte(`{}`))
	f.Fuzz(func(t *testing.T, id, source, typ, at string, body []byte) {
		h := headers("ce-specversion", "1.0", "ce-id", id, "ce-source", source, "ce-type", typ, "ce-time", at)
		if e, err := notice.DecodeBinaryCloudEvent(h, body); err == nil && (e.ID == "" || e.Time.IsZero() || e.Data != nil && !e.Data.IsValid()) {
			t.Errorf("took %+v", e)
		}
	})
}

// Binary data is not read with the event around it: what no template could
// read went on the queue.
func TestDataInBase64IsHeldToTheSameRules(t *testing.T) {
	_, err := notice.DecodeCloudEvent([]byte(`{"specversion":"1.0","id":"1","source":"/s","type":"t","data_base64":"` +
		base64.StdEncoding.EncodeToString([]byte(`{"n":1,"n":2}`)) + `"}`))
	var faults notice.Faults
	if !errors.As(err, &faults) || faults[0].Pointer != "/data_base64" || !strings.Contains(faults[0].Detail, "duplicate") {
		t.Errorf("a doubled member: %v", err)
	}
}
