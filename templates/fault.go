package templates

import (
	"cmp"
	"errors"
	"fmt"
	htmltemplate "html/template"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Severity says what a fault does to the catalogue.
type Severity string

// The severities. The empty one is SeverityError.
const (
	SeverityError   Severity = "error"   // some rendering fails or misleads: the catalogue is refused
	SeverityWarning Severity = "warning" // it renders, but not as well as it could
)

// Fault is one thing wrong with a catalogue: where, what, and the mend.
type Fault struct {
	File     string   `json:"file"`   // relative to the catalogue's folder, with slashes
	Line     int      `json:"line"`   // from 1
	Column   int      `json:"column"` // in bytes, from 1
	What     string   `json:"what"`
	Severity Severity `json:"severity"`
}

// Error is the fault as compilers print them, so that editors find the place.
func (f Fault) Error() string {
	what := f.What
	if f.Severity == SeverityWarning {
		what = "warning: " + what
	}
	return f.place() + what
}

func (f Fault) place() string {
	return fmt.Sprintf("%s:%d:%d: ", f.File, max(f.Line, 1), max(f.Column, 1))
}

// Faults is everything wrong with a catalogue at once, as an error; sorted by
// place and without repetitions. Warnings may be among them.
type Faults []Fault

// Error lists the faults, one a line.
func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i, fault := range f {
		lines[i] = fault.Error()
	}
	return strings.Join(lines, "\n")
}

// Err is f as an error, with its warnings; nil when there is nothing worse than
// a warning.
func (f Faults) Err() error {
	if f.errors() == 0 {
		return nil
	}
	return f.sorted()
}

// errors counts what is worse than a warning.
func (f Faults) errors() int {
	n := 0
	for _, fault := range f {
		if fault.Severity != SeverityWarning {
			n++
		}
	}
	return n
}

// sorted is f by place. A partial that is used twice is at fault once.
func (f Faults) sorted() Faults {
	all := slices.Clone(f)
	for i := range all {
		all[i].Severity = cmp.Or(all[i].Severity, SeverityError)
	}
	slices.SortFunc(all, func(a, b Fault) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), cmp.Compare(a.What, b.What),
			cmp.Compare(a.Severity, b.Severity))
	})
	return slices.Compact(all)
}

func (f *Faults) add(at position, format string, args ...any) {
	*f = append(*f, Fault{at.file, at.line, at.column, fmt.Sprintf(format, args...), SeverityError})
}

func (f *Faults) warn(at position, format string, args ...any) {
	*f = append(*f, Fault{at.file, at.line, at.column, fmt.Sprintf(format, args...), SeverityWarning})
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
	text := asWritten(engineText(err))
	m := engineError.FindStringSubmatch(text)
	if m == nil {
		return Fault{File: file, Line: 1, Column: 1, What: text}
	}
	line, _ := strconv.Atoi(m[2])
	column, _ := strconv.Atoi(m[3])
	what := m[5]
	if m[4] != "" {
		what = "at " + m[4] + ": " + what
	}
	return Fault{File: m[1], Line: max(line, 1), Column: column + 1, What: what}
}

// engineText is what the engine says. The HTML engine asks the node that it
// speaks of for its source, and falls over one that has none, as what takes the
// place of a call (see expander) has not; then the line has to do.
func engineText(err error) (text string) {
	defer func() {
		var unplaced *htmltemplate.Error
		if recover() != nil && errors.As(err, &unplaced) {
			text = (&htmltemplate.Error{Name: unplaced.Name, Line: unplaced.Line, Description: unplaced.Description}).Error()
		}
	}()
	return err.Error()
}

// asWritten turns the calls that expander has rewritten back.
func asWritten(text string) string {
	if !strings.Contains(text, readerCall("")) {
		return text
	}
	for name := range readerFunctions() {
		text = strings.ReplaceAll(text, readerCall(name)+" $."+readerRoot, name)
		text = strings.ReplaceAll(text, "error calling "+readerCall(name)+":", "error calling "+name+":")
	}
	return text
}
