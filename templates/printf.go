package templates

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"text/template/parse"
)

// A verb of a printf layout, and where it ends.
type verb struct {
	letter byte
	end    int
}

// verbs are a layout's verbs in order. Explicit indexes and * widths are not
// supported: the one is unreadable, the other fills memory.
func verbs(layout string) ([]verb, error) {
	var found []verb
	for i := 0; i < len(layout); i++ {
		if layout[i] != '%' {
			continue
		}
		i++
		start := i
		for i < len(layout) && strings.IndexByte("+-# 0123456789.", layout[i]) >= 0 {
			i++
		}
		switch {
		case i == len(layout):
			return nil, errors.New(`printf: the layout ends within a verb: write %% for a percent sign`)
		case layout[i] == '*':
			return nil, errors.New("printf: no * widths here: write the number")
		case longNumber(layout[start:i]):
			return nil, errors.New("printf: a width has more than 3 digits")
		case layout[i] == '%':
		case strings.IndexByte("vsqdxXobcUtfFeEgG", layout[i]) < 0:
			return nil, fmt.Errorf("printf: there is no verb %%%c: write %%v, %%s, %%d or %%.2f", layout[i])
		default:
			found = append(found, verb{layout[i], i + 1})
		}
	}
	return found, nil
}

func longNumber(s string) bool {
	digits := 0
	for i := range len(s) {
		if digits++; s[i] < '0' || s[i] > '9' {
			digits = 0
		}
		if digits > 3 {
			return true
		}
	}
	return false
}

// verbKinds are the values that a verb prints.
func verbKinds(letter byte) kinds {
	switch letter {
	case 'd', 'o', 'b', 'c', 'U':
		return kindInteger
	case 'f', 'F', 'e', 'E', 'g', 'G':
		return kindNumber
	case 's', 'q':
		return kindString
	case 'x', 'X':
		return kindString | kindInteger
	case 't':
		return kindBool
	}
	return kindScalar
}

// format is printf, for the numbers that JSON has: %d takes 3.0 and %f takes 3,
// which are one number there.
func format(layout string, args ...any) (string, error) {
	found, err := verbs(layout)
	if err != nil {
		return "", err
	}
	if len(found) != len(args) {
		return "", fmt.Errorf("printf: the layout has %d verbs and there are %d values", len(found), len(args))
	}
	values := make([]any, len(args))
	for i, arg := range args {
		if values[i], err = found[i].value(arg); err != nil {
			return "", err
		}
	}
	return bounded(fmt.Sprintf(layout, values...))
}

// value is arg as the verb wants it.
func (v verb) value(arg any) (any, error) {
	want := verbKinds(v.letter)
	switch n := arg.(type) {
	case decimal:
		if want == kindInteger && float64(n) == math.Trunc(float64(n)) && math.Abs(float64(n)) < 1<<53 {
			return int64(n), nil
		}
		if want&kindFraction != 0 && v.letter != 'v' {
			return float64(n), nil
		}
	case int64:
		if want == kindNumber {
			return float64(n), nil
		}
	case int:
		if want == kindNumber {
			return float64(n), nil
		}
	}
	if isData(arg) && kindsOf(arg)&want == 0 && v.letter != 's' { // %s prints whatever has a text
		return nil, fmt.Errorf("printf: %%%c prints %s, not %s", v.letter, want, kindOf(arg))
	}
	if v.letter == 's' {
		return fmt.Sprint(arg), nil
	}
	return arg, nil
}

// isData tells what JSON can hold from what functions and the root make.
func isData(v any) bool {
	switch v.(type) {
	case nil, bool, string, int, int64, float64, decimal, []any, map[string]any:
		return true
	}
	return false
}

// printfArgument is how printf uses an argument: as its verb does.
func printfArgument(args []parse.Node, i int) use {
	layout, ok := args[0].(*parse.StringNode)
	switch {
	case i == 0:
		return computed(kindString, "takes it for a layout")
	case !ok:
		return printed()
	}
	found, err := verbs(layout.Text)
	if err != nil || i > len(found) {
		return printed()
	}
	want := verbKinds(found[i-1].letter)
	if want == kindString {
		want = kindScalar // %s prints a number too
	}
	return computed(want, fmt.Sprintf("prints it with %%%c", found[i-1].letter))
}

// checkPrintf checks a constant layout.
func (w *walker) checkPrintf(f *parse.IdentifierNode, args []parse.Node) {
	if len(args) == 0 {
		return
	}
	layout, ok := args[0].(*parse.StringNode)
	if !ok {
		return
	}
	found, err := verbs(layout.Text)
	switch {
	case err != nil:
		w.faults.add(w.at(layout), "%v", err)
	case len(found) != len(args)-1:
		w.faults.add(w.at(f), "printf: the layout has %d verbs and there are %d values", len(found), len(args)-1)
	}
}
