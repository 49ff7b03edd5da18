package sandbox

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

const (
	eventsAtOnce    = 200                    // messages in one go; older ones are left out
	eventsPause     = 100 * time.Millisecond // between two goes, so that a flood does not drown the page
	eventsHeartbeat = 15 * time.Second       // keeps proxies from closing a quiet stream
	eventsWrite     = 10 * time.Second       // the longest one go may take to write
)

// serveEvents streams what happens: "message" with a summary, its Seq as the
// event's id, and "state" whenever anything else changed. A browser that
// reconnects names the last id it saw and misses nothing that is still kept.
func (s *Sandbox) serveEvents(w http.ResponseWriter, r *http.Request) {
	seen, err := resumeAt(r)
	if err != nil {
		fail(w, http.StatusBadRequest, err.Error())
		return
	}
	if !s.enter() {
		fail(w, http.StatusServiceUnavailable, "the sandbox is closing")
		return
	}
	defer s.leave()
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // nginx would hold events back
	stream := events{sandbox: s, w: w, control: http.NewResponseController(w), seen: seen}
	for {
		changed := s.box.changed()
		if stream.write() != nil {
			return
		}
		if !stream.await(r, changed) {
			return
		}
	}
}

// resumeAt is the Seq after which events are wanted. Last-Event-ID, which
// browsers set when they reconnect, wins over the query.
func resumeAt(r *http.Request) (int, error) {
	text := firstOf(r.Header.Get("Last-Event-ID"), r.URL.Query().Get("after"), "0")
	seen, err := strconv.Atoi(text)
	if err != nil || seen < 0 {
		return 0, fmt.Errorf("after=%s: use the number of a message, or 0", text)
	}
	return seen, nil
}

// events is one browser's stream.
type events struct {
	sandbox *Sandbox
	w       io.Writer
	control *http.ResponseController
	seen    int
}

// write sends what is new, oldest first, then the state.
func (e *events) write() error {
	// A server without deadlines has none to set, and that is as well.
	if err := e.control.SetWriteDeadline(time.Now().Add(eventsWrite)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	fresh := e.sandbox.box.list(Filter{After: e.seen, Limit: eventsAtOnce})
	for i := len(fresh) - 1; i >= 0; i-- {
		e.seen = fresh[i].Seq
		if err := e.event("message", e.seen, fresh[i].summary()); err != nil {
			return err
		}
	}
	if err := e.event("state", 0, e.sandbox.state()); err != nil {
		return err
	}
	return e.control.Flush()
}

// event writes one event; an id of 0 leaves the browser's as it was.
func (e *events) event(name string, id int, v any) error {
	data, err := json.Marshal(v, jsontext.AllowInvalidUTF8(true), json.Deterministic(true))
	if err != nil {
		return err
	}
	if id > 0 {
		if _, err := fmt.Fprintf(e.w, "id: %d\n", id); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(e.w, "event: %s\ndata: %s\n\n", name, data)
	return err
}

// await waits for a change and a little longer, so that changes that come
// together are sent together. It is false when the stream is over.
func (e *events) await(r *http.Request, changed <-chan struct{}) bool {
	heartbeat := time.NewTimer(eventsHeartbeat)
	defer heartbeat.Stop()
	select {
	case <-changed:
		return e.sandbox.pause(r.Context(), eventsPause)
	case <-heartbeat.C:
		return true // the state again: harmless, and as good as a comment
	case <-r.Context().Done():
	case <-e.sandbox.done:
	}
	return false
}
