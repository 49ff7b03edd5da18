package ingest

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/carillonhq/carillon/config"
)

// keptBody is the largest buffer that is kept for the next request; 100 of the
// largest bodies must not stay in memory for ever.
const keptBody = 64 << 10

// bodies reads request bodies of at most limit bytes into buffers that are
// used again. A client that takes longer than timeout to send one is cut off,
// so that slow ones do not pile up.
type bodies struct {
	limit   int64
	timeout time.Duration
	pool    sync.Pool
}

func newBodies(limit int64, timeout time.Duration) *bodies {
	return &bodies{limit: limit, timeout: timeout, pool: sync.Pool{New: func() any { b := make([]byte, 0, 4<<10); return &b }}}
}

// read takes the whole body. The buffer must be given back with release, and
// nothing may keep a part of it.
func (b *bodies) read(w http.ResponseWriter, r *http.Request) (*[]byte, error) {
	if r.ContentLength > b.limit {
		w.Header().Set("Connection", "close") // so that the server does not read the rest either
		return nil, b.tooLarge()
	}
	conn := http.NewResponseController(w)
	conn.SetReadDeadline(time.Now().Add(b.timeout)) // unsupported only where there is no connection
	buf := b.pool.Get().(*[]byte)
	err := fill(buf, http.MaxBytesReader(w, r.Body, b.limit))
	if err != nil {
		b.release(buf)
		return nil, b.explain(err)
	}
	conn.SetReadDeadline(time.Time{})
	return buf, nil
}

// release gives a buffer back.
func (b *bodies) release(buf *[]byte) {
	if cap(*buf) <= keptBody {
		*buf = (*buf)[:0]
		b.pool.Put(buf)
	}
}

// fill reads all of r into buf.
func fill(buf *[]byte, r io.Reader) error {
	b := (*buf)[:0]
	for {
		if len(b) == cap(b) {
			b = append(b, 0)[:len(b)]
		}
		n, err := r.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		if err != nil {
			*buf = b
			if err == io.EOF {
				return nil
			}
			return err
		}
	}
}

func (b *bodies) tooLarge() *Problem {
	return kindTooLarge.problem(fmt.Sprintf("the body is larger than ingest.max_body (%v): send less at a time", config.Size(b.limit)))
}

// explain turns a failure to read a body into the problem that it is.
func (b *bodies) explain(err error) error {
	var over *http.MaxBytesError
	switch {
	case errors.As(err, &over):
		return b.tooLarge()
	case errors.Is(err, os.ErrDeadlineExceeded):
		return kindTimeout.problem(fmt.Sprintf("the body took longer than %v", b.timeout))
	}
	return kindBadRequest.problem("the body could not be read to its end")
}

// mediaType is the request's content type without parameters, in lower case;
// "application/json" when it has none.
func mediaType(r *http.Request) string {
	value := r.Header.Get("Content-Type")
	switch value {
	case "", "application/json":
		return "application/json"
	}
	t, _, err := mime.ParseMediaType(value)
	if err != nil {
		return strings.ToLower(value)
	}
	return t
}

// wantType refuses a content type that is none of types.
func wantType(got string, types ...string) error {
	for _, t := range types {
		if got == t {
			return nil
		}
	}
	return kindMediaType.problem(fmt.Sprintf("got %q: set Content-Type to %s", got, strings.Join(types, " or ")))
}

// isJSONType reports whether a media type is JSON.
func isJSONType(t string) bool {
	return t == "application/json" || t == "text/json" || strings.HasSuffix(t, "+json")
}
