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

// passing are the beginnings of what a server answers that it cannot do now,
// and may later, or elsewhere.
func passing() []string {
	return []string{
		"LOADING", "READONLY", "MASTERDOWN", "NOREPLICAS", "MISCONF", "OOM", "BUSY", "UNBLOCKED", "NOSCRIPT", "EXECABORT", // the server
		"MOVED", "ASK", "TRYAGAIN", "CLUSTERDOWN", // the cluster
		"NOAUTH", "WRONGPASS", "NOPERM", // its settings and ours
		"NOGROUP", // which a reader mends
		"ERR max number of clients", "ERR max clients", "ERR user_script: server is busy",
	}
}

// classify tells an error that may pass, ErrUnavailable, from ErrFault. Whatever
// is not the server's own word is of the connection, and may pass.
func classify(err error) error {
	if err == nil || errors.Is(err, ErrUnavailable) || errors.Is(err, ErrFault) {
		return err
	}
	var said redis.Error
	if !errors.As(err, &said) || errors.Is(err, redis.Nil) {
		return unavailable(err)
	}
	words := said.Error()
	if slices.ContainsFunc(passing(), func(p string) bool { return strings.HasPrefix(words, p) }) {
		return unavailable(err)
	}
	return fmt.Errorf("%w: %s", ErrFault, withoutArguments(words))
}

// unavailable marks an error of the server's or the network's, in words that
// hold no arguments of the command.
func unavailable(err error) error {
	if errors.Is(err, ErrUnavailable) || errors.Is(err, ErrFault) {
		return err
	}
	return fmt.Errorf("%w: %s", ErrUnavailable, withoutArguments(err.Error()))
}

func withoutArguments(words string) string {
	if i := strings.Index(words, " script: "); i > 0 {
		return words[:i]
	}
	return words
}
