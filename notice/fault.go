package notice

import (
	"strings"

	"github.com/agnivade/levenshtein"
)

// Fault is one thing wrong with what somebody sent: where (an RFC 6901 JSON
// pointer, "" for the whole) and what, with the mend.
type Fault struct {
	Pointer string `json:"pointer"`
	Detail  string `json:"detail"`
}

// Faults is everything wrong with one notification, as an error.
type Faults []Fault

// Error lists every fault on one line.
func (f Faults) Error() string {
	var b strings.Builder
	for i, fault := range f {
		if i > 0 {
			b.WriteString("; ")
		}
		if fault.Pointer != "" {
			b.WriteString(fault.Pointer + ": ")
		}
		b.WriteString(fault.Detail)
	}
	return b.String()
}

// Add appends a fault.
func (f *Faults) Add(pointer, detail string) {
	*f = append(*f, Fault{Pointer: pointer, Detail: detail})
}

// Err is f as an error, nil when there is no fault.
func (f Faults) Err() error {
	if len(f) == 0 {
		return nil
	}
	return f
}

// Nearest is the known word that word was most likely meant to be; empty when
// none is near.
func Nearest(word string, known []string) string {
	best, least := "", len(word)/3+2
	for _, k := range known {
		if d := levenshtein.ComputeDistance(strings.ToLower(word), strings.ToLower(k)); d < least {
			best, least = k, d
		}
	}
	return best
}
