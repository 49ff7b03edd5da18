package config

import (
	"strconv"
	"strings"
)

// Fault is one thing wrong with a configuration.
type Fault struct {
	// Source is the file's name as it was given, or the environment variable
	// that the value came from; empty when it came from neither.
	Source string
	Line   int    // in the file, from 1; 0 when the fault is not at a place in the file
	Column int    // in the line, from 1
	Key    string // "channels.email.smtp.tls", "auth.keys[0].tenant"; empty for the file as a whole
	Value  string // as it was read, passwords hidden; empty for a secret
	Detail string // what is wrong and the mend, in words that follow Value
}

// String is the fault on one line, as
//
//	carillon.yaml:12:9: channels.email.smtp.tls: "startls" is not one of starttls, implicit, none: did you mean starttls?
func (f Fault) String() string {
	var parts []string
	if f.Source != "" {
		parts = append(parts, f.place())
	}
	if f.Key != "" {
		parts = append(parts, f.Key)
	}
	said := f.Detail
	if f.Value != "" {
		said = strconv.Quote(clip(f.Value)) + " " + said
	}
	return strings.Join(append(parts, said), ": ")
}

// place is where the fault is.
func (f Fault) place() string {
	if f.Line == 0 {
		return f.Source
	}
	return f.Source + ":" + strconv.Itoa(f.Line) + ":" + strconv.Itoa(f.Column)
}

// clip shortens a value for use in a fault.
func clip(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

// Faults is everything wrong with a configuration, as an error.
type Faults []Fault

// Error lists the faults, one a line.
func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i, fault := range f {
		lines[i] = fault.String()
	}
	return strings.Join(lines, "\n")
}

// Err is f as an error, nil when there is no fault.
func (f Faults) Err() error {
	if len(f) == 0 {
		return nil
	}
	return f
}
