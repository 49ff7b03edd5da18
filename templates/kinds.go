package templates

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// kinds is a set of what a JSON value can be.
type kinds uint8

const (
	kindNull kinds = 1 << iota
	kindBool
	kindInteger
	kindFraction // a number that is no integer
	kindString
	kindArray
	kindObject

	kindNumber = kindInteger | kindFraction
	kindScalar = kindBool | kindNumber | kindString
	anyKind    = kindNull | kindScalar | kindArray | kindObject
)

// String names the kinds as JSON Schema does: "an array or a string".
func (k kinds) String() string {
	if k&kindFraction != 0 {
		k &^= kindInteger // which is a number
	}
	var names []string
	for i, name := range [...]string{"null", "a boolean", "an integer", "a number", "a string", "an array", "an object"} {
		if k&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, " or ")
}

// kindsOfType are the values of one of JSON Schema's types.
func kindsOfType(name string) kinds {
	switch name {
	case "null":
		return kindNull
	case "boolean":
		return kindBool
	case "integer":
		return kindInteger
	case "number":
		return kindNumber
	case "string":
		return kindString
	case "array":
		return kindArray
	case "object":
		return kindObject
	}
	return 0
}

// kindsOf is the kind of one decoded value.
func kindsOf(v any) kinds {
	switch v := v.(type) {
	case nil:
		return kindNull
	case bool:
		return kindBool
	case string:
		return kindString
	case []any:
		return kindArray
	case map[string]any:
		return kindObject
	case float64:
		if v == float64(int64(v)) {
			return kindInteger
		}
		return kindFraction
	case json.Number:
		if integerLiteral(v.String()) {
			return kindInteger
		}
		return kindFraction
	}
	return kindInteger // int, int64
}

// allows are the kinds that the keywords of one schema, without those that it
// combines, let a value be.
func allows(s *jsonschema.Schema) kinds {
	k := anyKind
	if s.Types != nil && !s.Types.IsEmpty() {
		k = 0
		for _, name := range s.Types.ToStrings() {
			k |= kindsOfType(name)
		}
	}
	if s.Enum != nil {
		var listed kinds
		for _, v := range s.Enum.Values {
			listed |= kindsOf(v)
		}
		k &= listed
	}
	if s.Const != nil {
		k &= kindsOf(*s.Const)
	}
	return k
}

// form is what the text of a string must be for a function to read it.
type form uint8

const (
	formAny    form = iota
	formTime        // 2027-01-01T09:00:00Z, or a day
	formNumber      // digits, as 12.50
)

// fits reports whether a text has the form.
func (f form) fits(s string) bool {
	switch f {
	case formTime:
		_, dayErr := time.Parse(time.DateOnly, s)
		_, err := time.Parse(time.RFC3339, s)
		return dayErr == nil || err == nil
	case formNumber:
		_, err := strconv.ParseFloat(s, 64)
		return err == nil && len(s) <= 40 && strings.Trim(s, "-0123456789.") == ""
	}
	return true
}

// String says what such a text is like.
func (f form) String() string {
	switch f {
	case formTime:
		return "a time like 2027-01-01T09:00:00Z, or a day like 2027-01-01"
	case formNumber:
		return "a number, or a text of digits like 12.50"
	}
	return "a text"
}
