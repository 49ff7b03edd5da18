package templates

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// maxDataDepth bounds how deep a notification's data may nest, so that no walk
// over it can exhaust a stack.
const maxDataDepth = 64

var errDataDepth = fmt.Errorf("is nested more than %d deep", maxDataDepth)

// decimal is a JSON number that is no integer. It prints as people write it
// (1234567.5), where a float64 would print 1.2345675e+06.
type decimal float64

// String writes d without an exponent unless it is beyond all prices and
// distances.
func (d decimal) String() string {
	if d > 1e21 || d < -1e21 {
		return strconv.FormatFloat(float64(d), 'g', -1, 64)
	}
	return strconv.FormatFloat(float64(d), 'f', -1, 64)
}

// decoder turns JSON into what templates and schemas read: map[string]any,
// []any, string, bool, nil, int64, and for other numbers json.Number (integers
// beyond 64 bits) or a float.
type decoder struct {
	in     *jsontext.Decoder
	floats func(float64) any
}

func plainFloat(f float64) any    { return f }
func readableFloat(f float64) any { return decimal(f) }

// decodeData reads one JSON value; none at all is an empty object, because a
// notification without data leaves it out.
func decodeData(data jsontext.Value, floats func(float64) any) (any, error) {
	return decodeWith(jsontext.NewDecoder(bytes.NewReader(data)), data, floats)
}

// decodeWith is decodeData with a decoder that was used before, whose buffers
// are not made again.
func decodeWith(in *jsontext.Decoder, data jsontext.Value, floats func(float64) any) (any, error) {
	if len(data) == 0 {
		return map[string]any{}, nil
	}
	in.Reset(bytes.NewBuffer(data))
	d := decoder{in, floats}
	v, err := d.value(0)
	if err != nil {
		return nil, err
	}
	if _, err := d.in.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, errors.New("has something after its end")
	}
	return v, nil
}

func (d *decoder) value(depth int) (any, error) {
	if depth > maxDataDepth {
		return nil, errDataDepth
	}
	tok, err := d.in.ReadToken()
	if err != nil {
		return nil, fmt.Errorf("is not JSON: %w", err)
	}
	switch tok.Kind() {
	case 'n':
		return nil, nil
	case 't', 'f':
		return tok.Bool(), nil
	case '"':
		return tok.String(), nil
	case '0':
		return d.number(tok.String())
	case '[':
		return d.array(depth)
	default:
		return d.object(depth)
	}
}

func (d *decoder) number(literal string) (any, error) {
	if n, err := strconv.ParseInt(literal, 10, 64); err == nil {
		return n, nil
	}
	if integerLiteral(literal) {
		return json.Number(literal), nil
	}
	f, err := strconv.ParseFloat(literal, 64)
	if err != nil {
		return nil, errors.New("has a number beyond what a 64-bit float can hold")
	}
	return d.floats(f), nil
}

func integerLiteral(s string) bool {
	for i := range len(s) {
		if (s[i] < '0' || s[i] > '9') && !(i == 0 && s[i] == '-') {
			return false
		}
	}
	return true
}

func (d *decoder) array(depth int) (any, error) {
	list := []any{}
	for d.in.PeekKind() != ']' {
		v, err := d.value(depth + 1)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	_, err := d.in.ReadToken()
	return list, err
}

func (d *decoder) object(depth int) (any, error) {
	object := make(map[string]any, 8)
	for d.in.PeekKind() != '}' {
		name, err := d.in.ReadToken()
		if err != nil {
			return nil, fmt.Errorf("is not JSON: %w", err)
		}
		key := name.String()
		v, err := d.value(depth + 1)
		if err != nil {
			return nil, err
		}
		object[key] = v
	}
	_, err := d.in.ReadToken()
	return object, err
}

// appendJSON writes a decoded value as compact JSON with sorted names, so that
// one value has one spelling.
func appendJSON(b []byte, v any, depth int) ([]byte, error) {
	if depth > maxDataDepth {
		return nil, errDataDepth
	}
	switch v := v.(type) {
	case nil:
		return append(b, "null"...), nil
	case bool:
		return strconv.AppendBool(b, v), nil
	case string:
		return jsontext.AppendQuote(b, v)
	case int:
		return strconv.AppendInt(b, int64(v), 10), nil
	case int64:
		return strconv.AppendInt(b, v, 10), nil
	case json.Number:
		return append(b, v...), nil
	case float64:
		return appendFloat(b, v), nil
	case decimal:
		return appendFloat(b, float64(v)), nil
	case []any:
		return appendArray(b, v, depth)
	case map[string]any:
		return appendObject(b, v, depth)
	}
	return appendOther(b, v)
}

func appendFloat(b []byte, f float64) []byte {
	return append(b, jsontext.Float(f).String()...)
}

func appendArray(b []byte, list []any, depth int) ([]byte, error) {
	b = append(b, '[')
	for i, v := range list {
		if i > 0 {
			b = append(b, ',')
		}
		var err error
		if b, err = appendJSON(b, v, depth+1); err != nil {
			return nil, err
		}
	}
	return append(b, ']'), nil
}

func appendObject(b []byte, object map[string]any, depth int) ([]byte, error) {
	b = append(b, '{')
	for i, name := range slices.Sorted(maps.Keys(object)) {
		if i > 0 {
			b = append(b, ',')
		}
		var err error
		if b, err = jsontext.AppendQuote(b, name); err != nil {
			return nil, err
		}
		if b, err = appendJSON(append(b, ':'), object[name], depth+1); err != nil {
			return nil, err
		}
	}
	return append(b, '}'), nil
}

// appendOther writes what does not come from data: times, and the results of
// functions.
func appendOther(b []byte, v any) ([]byte, error) {
	out, err := jsonv2.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("write a %T as JSON: %w", v, err)
	}
	return append(b, out...), nil
}
