package routing

import (
	"errors"
	"fmt"

	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/notice"
)

// Table is a compiled set of routes. It never changes, so any number of
// goroutines may use it at once.
type Table struct{ index index }

// Compile compiles the configuration's routes. The error joins one error for
// every fault of every route, each naming the route's position, the key, the
// value and the mend; no Table comes with it.
func Compile(routes []config.Route) (*Table, error) {
	env, err := newEnvironment()
	if err != nil {
		return nil, fmt.Errorf("routes: prepare expressions: %w", err)
	}
	compiled := make([]*route, 0, len(routes))
	var errs []error
	for i, r := range routes {
		c := compiler{env: env, position: i}
		compiled = append(compiled, c.route(r))
		errs = append(errs, c.errs...)
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return &Table{index: newIndex(compiled)}, nil
}

// Error says why a route could not turn an event into a notification. Its
// words name the route and the field, and hold nothing of the event's data.
type Error struct {
	Route int    // the route's position in the configuration, from 0
	Field string // its key: "to.user", "when"; "data" for the event's own
	Err   error
}

// Error names the route as the configuration's errors do.
func (e *Error) Error() string { return fmt.Sprintf("routes[%d].%s: %v", e.Route, e.Field, e.Err) }

// Unwrap is the reason alone.
func (e *Error) Unwrap() error { return e.Err }

// Route makes the notifications that ev gives rise to, in the order of the
// routes: none when no route is for it, one, or several where routes say
// `continue`. They are not validated yet, and share ev's data. An *Error
// stands for the whole event: no notification comes with it.
func (t *Table) Route(ev notice.CloudEvent) ([]notice.Notification, error) {
	var out []notice.Notification
	var e *event // made for the first route that concerns ev
	for _, r := range t.index.find(ev.Type) {
		if !r.concerns(&ev) {
			continue
		}
		if e == nil {
			e = &event{CloudEvent: ev}
		}
		ok, err := r.holds(e)
		if err != nil {
			return nil, err
		}
		if !ok {
			continue
		}
		n, err := r.notification(e)
		if err != nil {
			return nil, err
		}
		out = append(out, n)
		if !r.goOn {
			break
		}
	}
	return out, nil
}
