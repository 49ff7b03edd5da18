package routing

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"time"

	"cel.dev/cel-go/cel"
	"github.com/carillonhq/carillon/notice"
	"github.com/go-json-experiment/json/jsontext"
)

// event is a CloudEvent while it is routed. Its data is decoded once, and only
// when a route asks for it.
type event struct {
	notice.CloudEvent
	decoded bool
	data    any   // nil, bool, string, int64, float64, []any or map[string]any
	err     error // why data could not be decoded
	view    map[string]any
}

// decode reads the event's data; later calls give the first's answer. Data
// that is absent is null.
func (e *event) decode() (any, error) {
	if !e.decoded {
		e.decoded = true
		if len(e.Data) > 0 {
			e.data, e.err = decodeData(e.Data)
		}
	}
	return e.data, e.err
}

// fields is the event as templates see it. Absent attributes are empty, so
// that a template may ask about them.
func (e *event) fields() (map[string]any, error) {
	data, err := e.decode()
	if err != nil || e.view != nil {
		return e.view, err
	}
	at := ""
	if !e.Time.IsZero() {
		at = e.Time.Format(time.RFC3339Nano)
	}
	e.view = map[string]any{
		"id": e.ID, "source": e.Source, "type": e.Type, "subject": e.Subject, "time": at, "data": data,
	}
	return e.view, nil
}

// ResolveName gives a CEL expression its variables, and the data only when it
// is named. An absent time is no variable at all: an expression about it
// matches nothing.
func (e *event) ResolveName(name string) (any, bool) {
	switch name {
	case "id":
		return e.ID, true
	case "source":
		return e.Source, true
	case "type":
		return e.Type, true
	case "subject":
		return e.Subject, true
	case "time":
		return e.Time, !e.Time.IsZero()
	case "data":
		data, err := e.decode()
		return data, err == nil
	}
	return nil, false
}

// Parent is nil: an event stands alone.
func (e *event) Parent() cel.Activation { return nil }

// decodeData reads one JSON value, whole numbers as int64, so that they print
// as they were written.
func decodeData(raw jsontext.Value) (any, error) {
	return decodeValue(jsontext.NewDecoder(bytes.NewBuffer(raw)))
}

// errTooDeep bounds recursion at a sender's will.
var errTooDeep = fmt.Errorf("nests deeper than %d levels", notice.MaxDepth)

func decodeValue(dec *jsontext.Decoder) (any, error) {
	if dec.StackDepth() > notice.MaxDepth {
		return nil, errTooDeep
	}
	tok, err := dec.ReadToken()
	if err != nil {
		return nil, malformed(err)
	}
	switch tok.Kind() {
	case '{':
		return decodeObject(dec)
	case '[':
		return decodeArray(dec)
	case '"':
		return tok.String(), nil
	case '0':
		return number(tok)
	case 't', 'f':
		return tok.Bool(), nil
	}
	return nil, nil
}

func decodeObject(dec *jsontext.Decoder) (any, error) {
	object := map[string]any{}
	for dec.PeekKind() != '}' {
		name, err := dec.ReadToken()
		if err != nil {
			return nil, malformed(err)
		}
		key := name.String() // before the next read, which overwrites the token
		if object[key], err = decodeValue(dec); err != nil {
			return nil, err
		}
	}
	_, err := dec.ReadToken()
	return object, malformed(err)
}

func decodeArray(dec *jsontext.Decoder) (any, error) {
	array := []any{}
	for dec.PeekKind() != ']' {
		value, err := decodeValue(dec)
		if err != nil {
			return nil, err
		}
		array = append(array, value)
	}
	_, err := dec.ReadToken()
	return array, malformed(err)
}

// malformed says where the data stops being JSON, without quoting it.
func malformed(err error) error {
	if err == nil {
		return nil
	}
	var syntax *jsontext.SyntacticError
	if errors.As(err, &syntax) {
		return fmt.Errorf("is not JSON from byte %d on", syntax.ByteOffset)
	}
	return errors.New("is not JSON: it ends too early")
}

func number(tok jsontext.Token) (any, error) {
	if n, err := strconv.ParseInt(tok.String(), 10, 64); err == nil {
		return n, nil
	}
	n, err := tok.Float()
	if err != nil {
		return nil, errors.New("holds a number that no computer keeps; send it as a string")
	}
	return n, nil
}
