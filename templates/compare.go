package templates

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"
)

// The comparisons of the engine fail where a whole number meets a fraction:
// JSON has but one kind of number, and a price of 3 is one of 3.5's. These
// compare by value; null, and what is of another kind, equals nothing else.

// equal is the function eq: whether the first equals any other.
func equal(first any, others ...any) (bool, error) {
	for _, other := range others {
		for _, v := range []any{first, other} {
			switch v.(type) {
			case []any, map[string]any:
				return false, fmt.Errorf("eq: %s cannot be compared", kindOf(v))
			}
		}
		if same(first, other) {
			return true, nil
		}
	}
	return false, nil
}

func same(a, b any) bool {
	x, xIsNumber := numberOf(a)
	y, yIsNumber := numberOf(b)
	switch {
	case xIsNumber && yIsNumber:
		return x.compare(y) == 0
	case xIsNumber || yIsNumber:
		return false
	}
	return a == b
}

func differ(a, b any) (bool, error) {
	is, err := equal(a, b)
	return !is, err
}

// order compares numbers or texts: less than, equal to, or more than 0.
func order(a, b any) (int, error) {
	if x, ok := numberOf(a); ok {
		if y, ok := numberOf(b); ok {
			return x.compare(y), nil
		}
	}
	if x, ok := a.(string); ok {
		if y, ok := b.(string); ok {
			return strings.Compare(x, y), nil
		}
	}
	return 0, fmt.Errorf("%s and %s have no order", kindOf(a), kindOf(b))
}

// ordering makes the functions lt, le, gt and ge.
func ordering(holds func(order int) bool) func(a, b any) (bool, error) {
	return func(a, b any) (bool, error) {
		n, err := order(a, b)
		return err == nil && holds(n), err
	}
}

// number is a JSON number: whole when it is an integer of 64 bits.
type number struct {
	whole    int64
	fraction float64
	isWhole  bool
}

func (n number) compare(m number) int {
	if n.isWhole && m.isWhole {
		return cmp.Compare(n.whole, m.whole)
	}
	return cmp.Compare(n.fraction, m.fraction)
}

func numberOf(v any) (number, bool) {
	switch v := v.(type) {
	case int:
		return number{int64(v), float64(v), true}, true
	case int64:
		return number{v, float64(v), true}, true
	case float64:
		return number{fraction: v}, true
	case decimal:
		return number{fraction: float64(v)}, true
	case json.Number:
		f, err := v.Float64()
		return number{fraction: f}, err == nil
	}
	return number{}, false
}
