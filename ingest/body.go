package ingest

import (
	"compress/flate"
	"compress/gzip"
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

	unzippers sync.Pool // of *gzip.Reader
}

func newBodies(limit int64, timeout time.Duration) *bodies {
	return &bodies{limit: limit, timeout: timeout, pool: sync.Pool{New: func() any { b := make([]byte, 0, 4<<10); return &b }}}
}

// read takes the whole body. The buffer must be given back with release, and
// nothing may keep a part of it. Where it fails, the connection is closed, so
// that the server does not read the rest either.
func (b *bodies) read(w http.ResponseWriter, r *http.Request) (*[]byte, error) {
	if r.ContentLength > b.limit {
		w.Header().Set("Connection", "close")
		return nil, b.tooLarge()
	}
	if r.ContentLength > 0 && !charge(w, int(r.ContentLength)) {
		w.Header().Set("Connection", "close")
		return nil, busy()
	}
	unpack, err := b.unpacker(w, r)
	if err != nil {
		return nil, err
	}
	buf := b.pool.Get().(*[]byte)
	if err := unpack(&charged{buf: buf, to: w, paid: int(max(r.ContentLength, 0))}, http.MaxBytesReader(w, r.Body, b.limit)); err != nil {
		w.Header().Set("Connection", "close")
		b.release(buf)
		return nil, b.explain(err)
	}
	http.NewResponseController(w).SetReadDeadline(time.Time{}) // it would cut a handler that waits; see server.bound
	return buf, nil
}

// unpacker is what reads a body of the request's encoding. The other encodings
// that browsers know are left to proxies: nobody sends with them.
func (b *bodies) unpacker(w http.ResponseWriter, r *http.Request) (func(*charged, io.ReadCloser) error, error) {
	values := r.Header["Content-Encoding"]
	if len(values) == 0 {
		return fillPlain, nil
	}
	switch encoding := strings.ToLower(strings.Join(values, ", ")); encoding {
	case "", "identity":
		return fillPlain, nil
	case "gzip", "x-gzip":
		return func(buf *charged, packed io.ReadCloser) error { return b.fillGzip(w, buf, packed) }, nil
	default:
		w.Header().Set("Accept-Encoding", "gzip")
		return nil, kindMediaType.problem(fmt.Sprintf("got the Content-Encoding %q: send gzip, or leave it out", clip(encoding)))
	}
}

func fillPlain(buf *charged, body io.ReadCloser) error { return buf.fill(body) }

// fillGzip unpacks a body. What comes out is bounded as what comes in is, so
// that a bomb costs no more than the largest body.
func (b *bodies) fillGzip(w http.ResponseWriter, buf *charged, packed io.ReadCloser) error {
	z, err := b.unzip(packed)
	if err != nil {
		return notGzip(err)
	}
	defer b.unzippers.Put(z)
	return notGzip(buf.fill(http.MaxBytesReader(w, z, b.limit)))
}

// unzip takes a reader that was used before: each holds 40 KB.
func (b *bodies) unzip(packed io.Reader) (*gzip.Reader, error) {
	z, ok := b.unzippers.Get().(*gzip.Reader)
	if !ok {
		return gzip.NewReader(packed)
	}
	return z, z.Reset(packed)
}

// errNotGzip says that a body is not what its Content-Encoding says.
var errNotGzip = errors.New("not gzip")

// notGzip tells what is wrong with the packed data from what befell reading it.
func notGzip(err error) error {
	var corrupt flate.CorruptInputError
	if errors.Is(err, gzip.ErrHeader) || errors.Is(err, gzip.ErrChecksum) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, io.EOF) || errors.As(err, &corrupt) {
		return errNotGzip
	}
	return err
}

// release gives a buffer back.
func (b *bodies) release(buf *[]byte) {
	if cap(*buf) <= keptBody {
		*buf = (*buf)[:0]
		b.pool.Put(buf)
	}
}

// charged is a buffer whose memory is charged to its request as it fills: a
// chunked body, and what a packed one unpacks to, says its size only at its end.
type charged struct {
	buf  *[]byte
	to   http.ResponseWriter
	paid int // bytes that are charged
}

// fill reads all of r into the buffer.
func (c *charged) fill(r io.Reader) error {
	b := (*c.buf)[:0]
	for {
		if len(b) == cap(b) {
			b = append(b, 0)[:len(b)]
		}
		n, err := r.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		if over := len(b) - c.paid; over > 0 {
			if !charge(c.to, over) {
				*c.buf = b
				return busy()
			}
			c.paid = len(b)
		}
		if err != nil {
			*c.buf = b
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
	var known *Problem
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &over):
		return b.tooLarge()
	case errors.Is(err, errNotGzip):
		return kindBadRequest.problem("the body is no whole gzip stream, as its Content-Encoding says: pack it again, or leave the header out")
	case errors.Is(err, os.ErrDeadlineExceeded):
		return kindTimeout.problem(fmt.Sprintf("the body took longer than %v", b.timeout))
	}
	return kindBadRequest.problem("the body could not be read to its end")
}

// mediaType is the request's content type without parameters, in lower case;
// "application/json" when it has none. A charset that is not UTF-8 stays part
// of it, so that it is no type that anything takes: guessing would garble names.
func mediaType(r *http.Request) string {
	value := r.Header.Get("Content-Type")
	switch value {
	case "", "application/json":
		return "application/json"
	}
	t, params, err := mime.ParseMediaType(value)
	if err != nil {
		return strings.ToLower(value)
	}
	switch charset := strings.ToLower(params["charset"]); charset {
	case "", "utf-8", "utf8", "us-ascii":
		return t
	default:
		return t + "; charset=" + charset
	}
}

// wantType refuses a content type that is none of types.
func wantType(got string, types ...string) error {
	for _, t := range types {
		if got == t {
			return nil
		}
	}
	return kindMediaType.problem(fmt.Sprintf("got %q: set Content-Type to %s", clip(got), strings.Join(types, " or ")))
}

// isJSONType reports whether a media type is JSON.
func isJSONType(t string) bool {
	return t == "application/json" || t == "text/json" || strings.HasSuffix(t, "+json")
}
