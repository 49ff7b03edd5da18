package notice

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"

	"github.com/cespare/xxhash/v2"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// MaxDepth is how deep objects and arrays may nest in what is decoded here,
// so that nothing downstream recurses at a sender's will.
const MaxDepth = 64

// SyntaxError says that a body is not JSON at all (RFC 8259), and where.
type SyntaxError struct {
	Offset int64 // in bytes from the body's start, 0-based
	Detail string
}

// Error names the offset.
func (e *SyntaxError) Error() string {
	return fmt.Sprintf("malformed JSON at byte %d: %s", e.Offset, e.Detail)
}

// DecodeNotification reads the body of POST /v1/notifications. What is not
// JSON gives a *SyntaxError; a member that is unknown, doubled or of the wrong
// type gives Faults, all of them at once. The result keeps no part of body.
// It is not validated: see Validate.
func DecodeNotification(body []byte) (Notification, error) {
	var n Notification
	if err := Decode(body, &n); err != nil {
		return Notification{}, err
	}
	if n.Data.Kind() == 'n' {
		n.Data = nil
	}
	return n, nil
}

// Decode reads one JSON value strictly into v, a pointer to a struct. It
// fails as DecodeNotification does.
func Decode(body []byte, v any) error {
	return decode(body, v, json.RejectUnknownMembers(true))
}

// decodeOpen is Decode for a struct that keeps unknown members.
func decodeOpen(body []byte, v any) error {
	return decode(body, v, json.RejectUnknownMembers(false))
}

// decode tries the fast way, one pass that stops at the first fault, and only
// when that fails looks for every fault.
func decode(body []byte, v any, opts json.Options) error {
	if tooDeep(body) {
		return Faults{{Detail: fmt.Sprintf("nests deeper than %d levels: flatten it", MaxDepth)}}
	}
	err := json.Unmarshal(body, v, opts)
	if err == nil {
		if jsontext.Value(body).Kind() == 'n' {
			return Faults{{Detail: "want an object, got null"}}
		}
		return nil
	}
	return explain(body, reflect.TypeOf(v).Elem(), err)
}

// Split takes a JSON array apart without reading its elements, at most most of
// them: past that it returns ErrTooMany and what came before. Elements are
// parts of body.
func Split(body []byte, most int) ([]jsontext.Value, error) {
	if kind := jsontext.Value(body).Kind(); kind != '[' {
		if err := checkSyntax(body); err != nil {
			return nil, err
		}
		return nil, Faults{{Detail: "want an array, got " + kindName(kind)}}
	}
	if err := checkSyntax(body); err != nil {
		return nil, err
	}
	dec := jsontext.NewDecoder(bytes.NewBuffer(body), jsontext.AllowDuplicateNames(true))
	if _, err := dec.ReadToken(); err != nil {
		return nil, syntaxError(body, err)
	}
	var items []jsontext.Value
	for dec.PeekKind() != ']' {
		if len(items) == most {
			return items, ErrTooMany
		}
		item, err := dec.ReadValue()
		if err != nil {
			return items, syntaxError(body, err)
		}
		end := dec.InputOffset()
		items = append(items, jsontext.Value(body[end-int64(len(item)):end]))
	}
	return items, nil
}

// ErrTooMany says that an array has more elements than were asked for.
var ErrTooMany = errors.New("too many elements")

// CanonicalDigest is a 64-bit digest of what body says: other spacing, order
// of members or escapes give the same digest (RFC 8785, but integers keep
// every digit). What is no JSON is digested as it is.
func CanonicalDigest(body []byte) uint64 {
	v := jsontext.Value(body).Clone()
	if err := v.Canonicalize(jsontext.CanonicalizeRawInts(false)); err != nil {
		return xxhash.Sum64(body)
	}
	return xxhash.Sum64(v)
}

// checkSyntax returns a *SyntaxError when body is not exactly one JSON value.
func checkSyntax(body []byte) error {
	dec := jsontext.NewDecoder(bytes.NewBuffer(body), jsontext.AllowDuplicateNames(true))
	if err := dec.SkipValue(); err != nil {
		return syntaxError(body, err)
	}
	end := dec.InputOffset()
	if rest := bytes.TrimLeft(body[end:], " \t\r\n"); len(rest) > 0 {
		return &SyntaxError{Offset: int64(len(body) - len(rest)), Detail: "something follows the first value"}
	}
	return nil
}

// syntaxError turns the JSON package's error into ours.
func syntaxError(body []byte, err error) error {
	if len(bytes.TrimSpace(body)) == 0 {
		return &SyntaxError{Detail: "the body is empty"}
	}
	var s *jsontext.SyntacticError
	if !errors.As(err, &s) {
		return &SyntaxError{Offset: int64(len(body)), Detail: "the body ends too early"}
	}
	detail := "the body ends too early"
	if s.Err != nil && !errors.Is(s.Err, io.ErrUnexpectedEOF) && !errors.Is(s.Err, io.EOF) {
		detail = s.Err.Error()
	}
	return &SyntaxError{Offset: s.ByteOffset, Detail: detail}
}

// tooDeep reports whether body nests deeper than MaxDepth. Counting brackets
// is many times cheaper than following them, and settles nearly every body.
func tooDeep(body []byte) bool {
	if bytes.Count(body, []byte{'{'})+bytes.Count(body, []byte{'['}) <= MaxDepth {
		return false
	}
	depth, deepest, quoted := 0, 0, false
	for i := 0; i < len(body); i++ {
		switch c := body[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			depth++
			deepest = max(deepest, depth)
		case c == '}' || c == ']':
			depth--
		}
	}
	return deepest > MaxDepth
}

// hasMember reports whether body is an object with a member of that name.
func hasMember(body []byte, name string) bool {
	dec := jsontext.NewDecoder(bytes.NewBuffer(body), jsontext.AllowDuplicateNames(true))
	if tok, err := dec.ReadToken(); err != nil || tok.Kind() != '{' {
		return false
	}
	for dec.PeekKind() == '"' {
		tok, err := dec.ReadToken()
		if err != nil {
			return false
		}
		if tok.String() == name {
			return true
		}
		if dec.SkipValue() != nil {
			return false
		}
	}
	return false
}
