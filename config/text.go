package config

import (
	"errors"
	"reflect"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// kindOf names what a node is.
func kindOf(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "a section"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case isNull(n):
		return "empty"
	case n.ShortTag() == "!!int", n.ShortTag() == "!!float":
		return "a number"
	}
	return "text"
}

// textKind names what a scalar of type t holds.
func textKind(t reflect.Type) string {
	switch t {
	case reflect.TypeFor[Duration]():
		return "a duration, as 15s"
	case reflect.TypeFor[Size]():
		return "a size, as 64KiB"
	case reflect.TypeFor[Rate]():
		return "a rate, as 100/s"
	case reflect.TypeFor[Bound]():
		return "a share, as 70%, or a size, as 2GiB"
	case reflect.TypeFor[bool]():
		return "true or false"
	case reflect.TypeFor[int]():
		return "a whole number"
	}
	return "text"
}

// setText sets v to what text says, or tells what is wrong with it.
func setText(v reflect.Value, text string) (wrong string) {
	ok := true
	switch p := v.Addr().Interface().(type) {
	case *Secret:
		*p = NewSecret(text)
	case *URL:
		*p = NewURL(text)
	case *Duration:
		return setParsed(p, text, ParseDuration, durationForm)
	case *Size:
		return setParsed(p, text, ParseSize, sizeForm)
	case *Rate:
		return setRate(p, text)
	case *Bound:
		return setBound(p, text)
	case *bool:
		*p, ok = text == "true", text == "true" || text == "false"
		return wrongUnless(ok, "is not true or false")
	case *int:
		n, err := strconv.Atoi(text)
		*p = n
		return wrongUnless(err == nil, wholeForm(err))
	default:
		v.SetString(text)
	}
	return ""
}

// setParsed sets p to what parse makes of text.
func setParsed[T any](p *T, text string, parse func(string) (T, error), form string) (wrong string) {
	parsed, err := parse(text)
	if err != nil {
		return form
	}
	*p = parsed
	return ""
}

// setRate sets p, where empty text is no limit.
func setRate(p *Rate, text string) (wrong string) {
	if text == "" {
		*p = Rate{}
		return ""
	}
	rate, wrong := readRate(text)
	if wrong == "" {
		*p = rate
	}
	return wrong
}

// setBound sets p, where empty text is no bound.
func setBound(p *Bound, text string) (wrong string) {
	if text == "" {
		*p = Bound{}
		return ""
	}
	return setParsed(p, text, ParseBound, boundForm)
}

// wholeForm says what is wrong with what is no int.
func wholeForm(err error) string {
	if errors.Is(err, strconv.ErrRange) {
		return "is too large: write at most 18 digits"
	}
	return "is no whole number: write it in digits alone, as 1000000"
}

func wrongUnless(ok bool, wrong string) string {
	if ok {
		return ""
	}
	return wrong
}
