package notice

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// CloudEvent is an integration event: a fact that services share, of which a
// route decides whether anybody is told. CloudEvents 1.0,
// https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md.
type CloudEvent struct {
	ID              string // unique within Source
	Source          string // a URI reference
	Type            string // "com.github.issues.opened"
	Subject         string
	Time            time.Time // zero when absent
	DataContentType string    // empty: application/json
	DataSchema      string
	Data            jsontext.Value    // JSON; nil when absent
	Extensions      map[string]string // attributes beyond the specification's, nil when there is none
}

// Key identifies the ordinal-th notification that e gives rise to: the same
// event sent again has the same keys, whatever else in it differs, as the
// specification lets a consumer take events of one source and id for one.
func (e *CloudEvent) Key(ordinal int) string {
	h := sha256.New()
	fmt.Fprintf(h, "%d:%s%s", len(e.Source), e.Source, e.ID)
	return "ce:" + base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:16]) + ":" + strconv.Itoa(ordinal)
}

// wireCloudEvent is the JSON event format.
type wireCloudEvent struct {
	SpecVersion     string                    `json:"specversion"`
	ID              string                    `json:"id"`
	Source          string                    `json:"source"`
	Type            string                    `json:"type"`
	Subject         string                    `json:"subject"`
	Time            time.Time                 `json:"time"`
	DataContentType string                    `json:"datacontenttype"`
	DataSchema      string                    `json:"dataschema"`
	Data            jsontext.Value            `json:"data"`
	DataBase64      string                    `json:"data_base64"`
	Extensions      map[string]jsontext.Value `json:",embed"`
}

// LooksLikeCloudEvent tells a CloudEvent of the JSON event format from a
// notification: it has a member "specversion". It reads no further than that
// member, and says nothing about the rest being right.
func LooksLikeCloudEvent(body []byte) bool {
	return bytes.Contains(body, []byte(`"specversion"`)) && hasMember(body, "specversion")
}

// DecodeCloudEvent reads an event in structured mode, that is the JSON event
// format: a *SyntaxError for what is no JSON, otherwise Faults.
func DecodeCloudEvent(body []byte) (CloudEvent, error) {
	var w wireCloudEvent
	if err := decodeOpen(body, &w); err != nil {
		return CloudEvent{}, err
	}
	var faults Faults
	e := CloudEvent{
		ID: w.ID, Source: w.Source, Type: w.Type, Subject: w.Subject, Time: w.Time,
		DataContentType: w.DataContentType, DataSchema: w.DataSchema,
		Data:       w.payload(&faults),
		Extensions: extensions(w.Extensions, &faults),
	}
	e.check(w.SpecVersion, structuredNames, &faults)
	return e, faults.Err()
}

// DecodeBinaryCloudEvent reads an event in binary mode: the attributes are
// ce-* headers and the body is the data
// (https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md).
// The event keeps a copy of body. Its faults point at headers ("/ce-id").
func DecodeBinaryCloudEvent(h http.Header, body []byte) (CloudEvent, error) {
	var faults Faults
	e := CloudEvent{DataContentType: h.Get("Content-Type")}
	version := e.readHeaders(h, &faults)
	e.check(version, binaryNames, &faults)
	if len(body) > 0 && isJSON(e.DataContentType) {
		if err := checkSyntax(body); err != nil {
			return e, err
		}
		e.Data = jsontext.Value(body).Clone()
	}
	return e, faults.Err()
}

// readHeaders takes the attributes from ce-* headers and returns specversion.
func (e *CloudEvent) readHeaders(h http.Header, faults *Faults) (version string) {
	for name, values := range h {
		attribute, ok := strings.CutPrefix(strings.ToLower(name), "ce-")
		if !ok {
			continue
		}
		value, err := unescapeHeader(values[0])
		if err != nil || len(values) > 1 {
			faults.Add("/ce-"+attribute, "the header must stand once, its value percent-encoded UTF-8")
			continue
		}
		switch attribute {
		case "specversion":
			version = value
		case "time":
			e.Time = headerTime(value, faults)
		default:
			e.setAttribute(attribute, value)
		}
	}
	return version
}

// setAttribute sets a string attribute, or an extension.
func (e *CloudEvent) setAttribute(name, value string) {
	switch name {
	case "id":
		e.ID = value
	case "source":
		e.Source = value
	case "type":
		e.Type = value
	case "subject":
		e.Subject = value
	case "dataschema":
		e.DataSchema = value
	default:
		if e.Extensions == nil {
			e.Extensions = make(map[string]string)
		}
		e.Extensions[name] = value
	}
}

func headerTime(value string, faults *Faults) time.Time {
	t, err := time.Parse(time.RFC3339, value)
	if err != nil {
		faults.Add("/ce-time", noTime(value))
	}
	return t
}

// unescapeHeader undoes the binding's encoding of a header value: a pair of
// quotes around it with backslash escapes, then percent-encoding (§3.1.3.2).
func unescapeHeader(v string) (string, error) {
	if len(v) >= 2 && v[0] == '"' && v[len(v)-1] == '"' {
		v = unquoteHeader(v[1 : len(v)-1])
	}
	if strings.IndexByte(v, '%') < 0 {
		return v, nil
	}
	return url.PathUnescape(v)
}

// unquoteHeader removes the backslashes of an HTTP quoted string.
func unquoteHeader(v string) string {
	if strings.IndexByte(v, '\\') < 0 {
		return v
	}
	var b strings.Builder
	for i := 0; i < len(v); i++ {
		if v[i] == '\\' && i+1 < len(v) {
			i++
		}
		b.WriteByte(v[i])
	}
	return b.String()
}

// The pointers of an event's attributes, by how the event came.
func structuredNames(attribute string) string { return "/" + attribute }

func binaryNames(attribute string) string {
	if attribute == "datacontenttype" {
		return "/content-type"
	}
	return "/ce-" + attribute
}

// check holds e against what the specification requires and the gateway can
// read. name gives an attribute's pointer.
func (e *CloudEvent) check(version string, name func(string) string, faults *Faults) {
	if version != "1.0" {
		faults.Add(name("specversion"), fmt.Sprintf("%q is no version of CloudEvents read here: send 1.0", clip(version)))
	}
	for _, a := range []struct{ name, value string }{{"id", e.ID}, {"source", e.Source}, {"type", e.Type}} {
		switch {
		case a.value == "":
			faults.Add(name(a.name), "CloudEvents requires a non-empty "+a.name+": add it")
		case len(a.value) > maxAttribute:
			faults.Add(name(a.name), fmt.Sprintf("is %d bytes: at most %d", len(a.value), maxAttribute))
		}
	}
	if !isJSON(e.DataContentType) {
		faults.Add(name("datacontenttype"), fmt.Sprintf(
			"data of type %q cannot be routed, since routes and templates read JSON: send application/json", clip(e.DataContentType)))
	}
}

// maxAttribute is the longest id, source or type in bytes. The specification
// asks intermediaries to carry events of 64 KiB in all.
const maxAttribute = 2048

// isJSON reports whether a media type is JSON; an empty one is, by the
// specification's default.
func isJSON(contentType string) bool {
	if contentType == "" {
		return true
	}
	t, _, err := mime.ParseMediaType(contentType)
	return err == nil && (t == "application/json" || t == "text/json" || strings.HasSuffix(t, "+json"))
}

// payload is the event's data from whichever member holds it.
func (w *wireCloudEvent) payload(faults *Faults) jsontext.Value {
	if w.DataBase64 == "" {
		if w.Data.Kind() == 'n' {
			return nil
		}
		return w.Data
	}
	if w.Data != nil {
		faults.Add("/data_base64", "stands beside data: keep one of them")
		return nil
	}
	data, err := base64.StdEncoding.DecodeString(w.DataBase64)
	if err != nil {
		faults.Add("/data_base64", "is no base64: encode it with the standard alphabet and padding")
		return nil
	}
	if isJSON(w.DataContentType) && checkSyntax(data) != nil {
		faults.Add("/data_base64", "holds no JSON: routes and templates read JSON data only")
		return nil
	}
	// What stands in data was checked with the event around it.
	if isJSON(w.DataContentType) && !jsontext.Value(data).IsValid() {
		faults.Add("/data_base64", "holds a duplicate member name: name each member of an object once")
		return nil
	}
	return data
}

// extensions turns attributes beyond the specification's into strings.
func extensions(raw map[string]jsontext.Value, faults *Faults) map[string]string {
	if len(raw) == 0 {
		return nil
	}
	out := make(map[string]string, len(raw))
	for name, v := range raw {
		switch v.Kind() {
		case '"':
			var s string
			if json.Unmarshal(v, &s) == nil {
				out[name] = s
			}
		case 't', 'f', '0':
			out[name] = string(v)
		case '{', '[':
			faults.Add("/"+escapePointer(name), "an extension attribute is a string, a number or a boolean: put structures into data")
		}
	}
	return out
}
