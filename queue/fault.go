package queue

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"
)

// ErrFault is an error that no repetition mends: data of another shape under
// one of the queue's keys, a script that fails, what cannot be encoded. What
// met it must not be tried for ever.
var ErrFault = errors.New("the queue cannot do this")

// PartError says that some members of a batch were not done, or may not have
// been. The others were.
type PartError struct {
	Members []int // their indices in the batch, in order
	Err     error // the first reason: ErrUnavailable, or ErrFault when no member's error is that
}

// Error is the first reason, and how many members have one.
func (e *PartError) Error() string { return fmt.Sprintf("%d of the batch: %v", len(e.Members), e.Err) }

// Unwrap is the first reason.
func (e *PartError) Unwrap() error { return e.Err }

// with adds members that failed for a reason. What may pass outweighs what
// never will: the batch is worth another try.
func (e *PartError) with(err error, members []int) *PartError {
	if e == nil {
		e = &PartError{Err: err}
	}
	if errors.Is(e.Err, ErrFault) {
		e.Err = err
	}
	e.Members = append(e.Members, members...)
	slices.Sort(e.Members)
	return e
}

// isFault reports whether a server's words are of what no repetition mends: data
// of another shape, keys of several slots, a script that fails. Whatever else
// it says (LOADING, READONLY, OOM, MISCONF, BUSY, NOAUTH, a proxy's own words)
// may pass.
func isFault(words string) bool {
	switch {
	case strings.HasPrefix(words, "WRONGTYPE"), strings.HasPrefix(words, "CROSSSLOT"):
		return true
	case strings.Contains(words, "non local key"): // of a slot that is being migrated
		return false
	}
	return strings.HasPrefix(words, "ERR") && (strings.Contains(words, "user_script:") || strings.Contains(words, " script: "))
}

// classify tells an error that may pass, ErrUnavailable, from ErrFault. Whatever
// is not the server's own word is of the connection, and may pass.
func classify(err error) error {
	if err == nil || errors.Is(err, ErrUnavailable) || errors.Is(err, ErrFault) {
		return err
	}
	var said redis.Error
	if errors.As(err, &said) && isFault(said.Error()) {
		return fmt.Errorf("%w: %s", ErrFault, withoutArguments(said.Error()))
	}
	return unavailable(err)
}

// unavailable marks an error of the server's or the network's, in words that
// hold no arguments of the command.
func unavailable(err error) error {
	if errors.Is(err, ErrUnavailable) || errors.Is(err, ErrFault) {
		return err
	}
	if redis.HasErrorPrefix(err, "OOM") {
		return fmt.Errorf("%w: %w", ErrUnavailable, ErrFull)
	}
	return fmt.Errorf("%w: %s", ErrUnavailable, withoutArguments(err.Error()))
}

func withoutArguments(words string) string {
	if i := strings.Index(words, " script: "); i > 0 {
		return words[:i]
	}
	return words
}
