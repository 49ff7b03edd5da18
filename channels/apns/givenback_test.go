package apns

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/carillonhq/carillon/channels"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// server speaks HTTP/2 frame by frame, for what no ordinary server does.
type server struct {
	net.Listener
	cert  *x509.Certificate
	conns atomic.Int32
	work  sync.WaitGroup
}

// peer is one connection of a server.
type peer struct {
	*http2.Framer
	conn net.Conn
	nth  int // 1 for the server's first connection
}

// newServer starts a server that has request handle each request, after the
// request's last frame.
func newServer(t *testing.T, streams uint32, request func(p *peer, stream uint32)) *server {
	certs := httptest.NewUnstartedServer(nil)
	certs.StartTLS() // for its certificate
	defer certs.Close()
	conf := &tls.Config{Certificates: certs.TLS.Certificates, NextProtos: []string{"h2"}}
	l, err := tls.Listen("tcp", "127.0.0.1:0", conf)
	if err != nil {
		t.Fatal(err)
	}
	s := &server{Listener: l, cert: certs.Certificate()}
	s.work.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			s.work.Go(func() { s.serve(conn, streams, request) })
		}
	})
	t.Cleanup(func() { l.Close(); s.work.Wait() })
	return s
}

func (s *server) serve(conn net.Conn, streams uint32, request func(*peer, uint32)) {
	defer conn.Close()
	preface := make([]byte, len(http2.ClientPreface))
	if _, err := io.ReadFull(conn, preface); err != nil {
		return
	}
	p := &peer{http2.NewFramer(conn, conn), conn, int(s.conns.Add(1))}
	p.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: streams})
	for {
		f, err := p.ReadFrame()
		if err != nil {
			return
		}
		switch f := f.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() {
				p.WriteSettingsAck()
			}
		case *http2.DataFrame:
			if f.StreamEnded() {
				request(p, f.StreamID)
			}
		}
	}
}

// accept answers 200.
func (p *peer) accept(stream uint32) {
	var buf sliceWriter
	hpack.NewEncoder(&buf).WriteField(hpack.HeaderField{Name: ":status", Value: "200"})
	p.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: buf, EndHeaders: true, EndStream: true})
}

type sliceWriter []byte

func (w *sliceWriter) Write(b []byte) (int, error) { *w = append(*w, b...); return len(b), nil }

func (s *server) adapter(t *testing.T, connections int) *Adapter {
	cfg := section(t, "https://"+s.Addr().String(), s.cert)
	cfg.Connections = connections
	cfg.Timeout = 0
	return newAdapter(t, cfg)
}

func TestARequestThatTheServerGivesBackIsSentOnAnotherConnection(t *testing.T) {
	for name, giveBack := range map[string]func(p *peer, stream uint32){
		"a refused stream": func(p *peer, stream uint32) { p.WriteRSTStream(stream, http2.ErrCodeRefusedStream) },
		"a GOAWAY that names an earlier stream": func(p *peer, stream uint32) {
			p.WriteGoAway(0, http2.ErrCodeNo, []byte(`{"reason":"Shutdown"}`))
		},
	} {
		for _, connections := range []int{1, 2} {
			t.Run(name, func(t *testing.T) {
				var requests atomic.Int32
				s := newServer(t, 100, func(p *peer, stream uint32) {
					if requests.Add(1) == 1 {
						giveBack(p, stream)
						return
					}
					p.accept(stream)
				})
				a := s.adapter(t, connections)
				wants(t, send(t, a, message()), channels.Sent, "200")
				wants(t, send(t, a, message()), channels.Sent, "200")
				if n := requests.Load(); n != 3 {
					t.Errorf("%d requests, want 3", n)
				}
			})
		}
	}
}

func TestAServerThatGivesEverythingBackIsTriedLaterNeverUnknown(t *testing.T) {
	s := newServer(t, 100, func(p *peer, stream uint32) { p.WriteRSTStream(stream, http2.ErrCodeRefusedStream) })
	wants(t, send(t, s.adapter(t, 2), message()), channels.Retry, "refused")
}

func TestAConnectionThatIsClosedBeforeItsFirstRequestIsReplaced(t *testing.T) {
	s := newServer(t, 100, func(p *peer, stream uint32) { p.accept(stream) })
	cfg := section(t, "https://"+s.Addr().String(), s.cert)
	cfg.Connections = 1
	a := newAdapter(t, cfg)
	l, err := poolOf(a).take(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	l.conn.Close()
	l.conn.Release()
	poolOf(a).give(l, false, false)
	wants(t, send(t, a, message()), channels.Sent, "200")
	if n := s.conns.Load(); n != 2 {
		t.Errorf("%d connections, want 2", n)
	}
}

// What a GOAWAY leaves open is finished on the old connection, while new
// requests go on a new one.
func TestAGOAWAYDrainsTheOldConnectionAndOpensANewOne(t *testing.T) {
	held := make(chan *peer, 1)
	s := newServer(t, 100, func(p *peer, stream uint32) {
		if p.nth == 1 && stream == 3 {
			p.WriteGoAway(3, http2.ErrCodeNo, nil)
			held <- p
			return
		}
		p.accept(stream)
	})
	a := s.adapter(t, 1)
	wants(t, send(t, a, message()), channels.Sent, "200")
	old := make(chan channels.Result, 1)
	go func() { old <- send(t, a, message()) }()
	p := <-held
	waitFor(t, func() bool { return poolOf(a).slots[0].conn.Available() == 0 })
	wants(t, send(t, a, message()), channels.Sent, "200")
	if n := s.conns.Load(); n != 2 {
		t.Errorf("%d connections, want 2", n)
	}
	p.accept(3)
	wants(t, <-old, channels.Sent, "200")
}

func TestAGOAWAYAndAnEndBeforeTheAnswerIsUnknown(t *testing.T) {
	s := newServer(t, 100, func(p *peer, stream uint32) {
		p.WriteGoAway(stream, http2.ErrCodeNo, nil)
		p.conn.Close()
	})
	wants(t, send(t, s.adapter(t, 1), message()), channels.Unknown, "connection")
}

func TestTheServersLimitIsObeyedWhenItRises(t *testing.T) {
	var open, most atomic.Int32
	release := make(chan struct{})
	s := newServer(t, 1, func(p *peer, stream uint32) {
		if stream == 1 { // as Apple does after the first valid token
			p.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 4})
			p.accept(stream)
			return
		}
		if n := open.Add(1); n > most.Load() {
			most.Store(n)
		}
		if open.Load() == 4 {
			close(release)
		}
	})
	a := s.adapter(t, 1)
	wants(t, send(t, a, message()), channels.Sent, "200")
	waitFor(t, func() bool { return poolOf(a).slots[0].conn.Available() == 4 })
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() { send(t, a, message()) })
	}
	<-release // four arrived together, though a connection begins with one
	a.Close()
	wg.Wait()
	if most.Load() != 4 {
		t.Errorf("%d streams at once, and the server allows 4", most.Load())
	}
}

func TestGivenBackKnowsNoOtherFailure(t *testing.T) {
	for _, err := range []error{
		io.ErrUnexpectedEOF, errors.New("boom"), net.ErrClosed,
		http2.StreamError{StreamID: 1, Code: http2.ErrCodeInternal},
		http2.StreamError{StreamID: 1, Code: http2.ErrCodeCancel},
	} {
		if givenBack(err) {
			t.Errorf("%v counts as given back", err)
		}
	}
}

// blockedDialer fails once release is closed.
func blockedDialer(dials *atomic.Int32, release <-chan struct{}) func(context.Context, string, string) (net.Conn, error) {
	return func(context.Context, string, string) (net.Conn, error) {
		dials.Add(1)
		<-release
		return nil, &net.OpError{Op: "dial", Err: errors.New("connection refused")}
	}
}

func TestAFailedDialIsToldToEveryWaitingRequestAndRests(t *testing.T) {
	var dials atomic.Int32
	release := make(chan struct{})
	now := time.Unix(1_800_000_000, 0)
	a := newAdapter(t, section(t, "https://127.0.0.1:1", newApple(t, 1, nil).Certificate()),
		WithClock(func() time.Time { return now }), WithRedialAfter(time.Hour),
		WithDialer(blockedDialer(&dials, release)))
	poolOf(a).slots = poolOf(a).slots[:1]
	results := make(chan channels.Result, 5)
	for range 5 {
		go func() { results <- send(t, a, message()) }()
	}
	waitFor(t, func() bool { return dials.Load() == 1 })
	close(release)
	got := <-results
	wants(t, got, channels.Retry, "connect")
	a.Close() // whoever came after the dial rests, until the end
	for range 4 {
		if got := <-results; got.Verdict != channels.Retry {
			t.Errorf("%v (%v)", got.Verdict, got.Err)
		}
	}
	if n := dials.Load(); n != 1 {
		t.Errorf("%d dials within the rest, want 1", n)
	}
}
