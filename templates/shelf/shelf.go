// Package shelf keeps catalogues and versions of templates in Redis, where all
// processes of a gateway share them: whole catalogues that were pushed, of
// which one is current, and single versions of templates for deliveries that
// were planned with them.
package shelf

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

//go:embed change.lua
var changeLua string

//go:embed touch.lua
var touchLua string

//go:embed put.lua
var putLua string

// Shelf is a gateway's place for catalogues. It implements templates.Shared and
// templates.Shelf, starts no goroutine and needs no closing.
type Shelf struct {
	rdb  redis.UniversalClient
	keys keys
	Options
	change, touch, put *redis.Script
	last               fetched
}

// Options size a Shelf.
type Options struct {
	Namespace string        // of the gateway's keys
	Keep      int           // changes of the catalogue that are remembered whole
	Bound     int64         // bytes of single versions together; 0 keeps none
	Life      time.Duration // how long a single version is kept that nobody puts there again
}

// New makes a Shelf.
func New(rdb redis.UniversalClient, o Options) *Shelf {
	return &Shelf{rdb: rdb, keys: newKeys(o.Namespace), Options: o,
		change: redis.NewScript(changeLua), touch: redis.NewScript(touchLua), put: redis.NewScript(putLua)}
}

var (
	// ErrUnavailable says that Redis does not answer. What was asked may have
	// been done; every method may be repeated.
	ErrUnavailable = errors.New("the store in Redis does not answer")
	// ErrUnknown says that no such version of the catalogue is remembered.
	ErrUnknown = errors.New("no such version is remembered")
)

// RacedError says that another version is current than was expected: somebody
// has pushed in between.
type RacedError struct{ Expected, Current string }

// Error names both.
func (e *RacedError) Error() string {
	return fmt.Sprintf("version %s is current, not %s as was expected: somebody has pushed: look at carillon catalogue diff %[1]s, then push again with --expect %[1]s",
		shown(e.Current), shown(e.Expected))
}

// None is the version that is current before anything has been pushed.
const None = "-"

func shown(version string) string {
	if version == None {
		return "none"
	}
	return version
}

// wrap names what was being done, and tells an error of Redis from one of the
// connection: only the latter is ErrUnavailable.
func wrap(doing string, err error) error {
	var said redis.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &said) && !errors.Is(err, redis.Nil):
		return fmt.Errorf("%s: %w", doing, err)
	}
	return fmt.Errorf("%s: %w: %w", doing, ErrUnavailable, err)
}

// Follow calls changed at every change of the current version until ctx ends.
func (s *Shelf) Follow(ctx context.Context, changed func()) {
	sub := s.rdb.Subscribe(ctx, s.keys.changed())
	defer sub.Close()
	told := sub.Channel()
	for {
		select {
		case <-ctx.Done():
			return
		case _, ok := <-told:
			if !ok {
				return
			}
			changed()
		}
	}
}
