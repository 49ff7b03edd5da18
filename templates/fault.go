package templates

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Fault is one thing wrong with a catalogue: where, what, and the mend.
type Fault struct {
	File   string `json:"file"`   // relative to the catalogue's folder, with slashes
	Line   int    `json:"line"`   // from 1
	Column int    `json:"column"` // in bytes, from 1
	What   string `json:"what"`
}

// Error is the fault as compilers print them, so that editors find the place.
func (f Fault) Error() string {
	return fmt.Sprintf("%s:%d:%d: %s", f.File, max(f.Line, 1), max(f.Column, 1), f.What)
}

// Faults is everything wrong with a catalogue at once, as an error; sorted by
// place and without repetitions.
type Faults []Fault

// Error lists the faults, one a line.
func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i, fault := range f {
		lines[i] = fault.Error()
	}
	return strings.Join(lines, "\n")
}

// Err is f as an error, nil when there is no fault. A partial that is used
// twice is at fault once.
func (f Faults) Err() error {
	if len(f) == 0 {
		return nil
	}
	slices.SortFunc(f, func(a, b Fault) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), cmp.Compare(a.What, b.What))
	})
	return slices.Compact(f)
}

func (f *Faults) add(at position, format string, args ...any) {
	*f = append(*f, Fault{File: at.file, Line: at.line, Column: at.column, What: fmt.Sprintf(format, args...)})
}

// position is a place in a source file; line and column count from 1.
type position struct {
	file         string
	line, column int
}

func (p position) String() string { return fmt.Sprintf("%s:%d:%d", p.file, p.line, p.column) }

// positionAt finds the place of a byte offset.
func positionAt(file, text string, offset int) position {
	before := text[:min(max(offset, 0), len(text))]
	return position{file, strings.Count(before, "\n") + 1, len(before) - strings.LastIndexByte(before, '\n')}
}

// The shapes of the standard library's template errors: "template: FILE:LINE:COL:
// executing "NAME" at <…>: what", with the column and the execution optional.
var engineError = regexp.MustCompile(`^(?:html/)?template: ?([^:]+)(?::(\d+))?(?::(\d+))?: (?:executing "[^"]*" at (<.*?>): )?((?s:.*))$`)

// engineFault takes an error of the template engine apart. One that has no
// place in it is put at the start of the given file.
func engineFault(file string, err error) Fault {
	m := engineError.FindStringSubmatch(err.Error())
	if m == nil {
		return Fault{File: file, Line: 1, Column: 1, What: err.Error()}
	}
	line, _ := strconv.Atoi(m[2])
	column, _ := strconv.Atoi(m[3])
	what := m[5]
	if m[4] != "" {
		what = "at " + m[4] + ": " + what
	}
	return Fault{File: m[1], Line: max(line, 1), Column: column + 1, What: what}
}
