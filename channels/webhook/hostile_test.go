package webhook

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/carillonhq/carillon/channels"
	"github.com/carillonhq/carillon/channels/channelstest"
	"github.com/carillonhq/carillon/config"
)

// withResolver makes names be looked up by r.
func withResolver(r *net.Resolver) Option { return func(s *settings) { s.egress.Resolver = r } }

// names is a name server on loopback: for each name the answers in turn, the
// last again and again.
type names struct {
	net.PacketConn
	mu      sync.Mutex
	answers map[string][]string
	asked   map[string]int
}

func startNames(t *testing.T, answers map[string][]string) *net.Resolver {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &names{PacketConn: conn, answers: answers, asked: map[string]int{}}
	var serving sync.WaitGroup
	serving.Go(n.serve)
	t.Cleanup(func() {
		conn.Close()
		serving.Wait()
	})
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}

func (n *names) serve() {
	packet := make([]byte, 1500)
	for {
		size, from, err := n.ReadFrom(packet)
		if err != nil {
			return
		}
		var q dnsmessage.Message
		if q.Unpack(packet[:size]) != nil || len(q.Questions) != 1 {
			continue
		}
		if reply, err := n.reply(&q); err == nil {
			_, _ = n.WriteTo(reply, from)
		}
	}
}

func (n *names) reply(q *dnsmessage.Message) ([]byte, error) {
	asked := q.Questions[0]
	r := dnsmessage.Message{Header: dnsmessage.Header{ID: q.ID, Response: true, RecursionAvailable: true}, Questions: q.Questions}
	name := strings.TrimSuffix(strings.ToLower(asked.Name.String()), ".")
	n.mu.Lock()
	defer n.mu.Unlock()
	answers := n.answers[name]
	if len(answers) == 0 {
		r.RCode = dnsmessage.RCodeNameError
		return r.Pack()
	}
	addr := netip.MustParseAddr(answers[min(n.asked[name], len(answers)-1)])
	header := dnsmessage.ResourceHeader{Name: asked.Name, Class: dnsmessage.ClassINET}
	switch {
	case asked.Type == dnsmessage.TypeA && addr.Is4():
		n.asked[name]++
		r.Answers = append(r.Answers, dnsmessage.Resource{Header: header, Body: &dnsmessage.AResource{A: addr.As4()}})
	case asked.Type == dnsmessage.TypeAAAA && !addr.Is4():
		n.asked[name]++
		r.Answers = append(r.Answers, dnsmessage.Resource{Header: header, Body: &dnsmessage.AAAAResource{AAAA: addr.As16()}})
	}
	return r.Pack()
}

// forbidden is a listener on loopback that must never be reached.
func forbidden(t *testing.T, address string) (port string, reached *atomic.Int32) {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	reached = new(atomic.Int32)
	var accepting sync.WaitGroup
	accepting.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			reached.Add(1)
			conn.Close()
		}
	})
	t.Cleanup(func() {
		l.Close()
		accepting.Wait()
	})
	_, port, _ = net.SplitHostPort(l.Addr().String())
	return port, reached
}

func TestHostileAddressesReachNobody(t *testing.T) {
	port, reached := forbidden(t, "127.0.0.1:0")
	resolver := startNames(t, map[string][]string{
		"metadata.evil.example":  {"169.254.169.254"},
		"localhost":              {"127.0.0.1"},
		"loopback.evil.example":  {"127.0.0.1"},
		"mapped.evil.example":    {"::ffff:127.0.0.1"},
		"nat64.evil.example":     {"64:ff9b::7f00:1"},
		"nat64-48.evil.example":  {"64:ff9b:1::7f00:1"},
		"6to4.evil.example":      {"2002:7f00:1::"},
		"teredo.evil.example":    {"2001:0:7f00:1::"},
		"ula.evil.example":       {"fd00:ec2::254"},
		"linklocal.evil.example": {"fe80::1"},
		"cgnat.evil.example":     {"100.64.0.1"},
		"zero.evil.example":      {"0.0.0.0"},
		"xn--pple-43d.example":   {"127.0.0.1"}, // what аpple.example with a Cyrillic а is
	})
	a, err := New(config.Webhook{Timeout: config.Duration(5 * time.Second), MaxResponse: 1 << 10}, withResolver(resolver))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	for _, c := range []struct{ url, code string }{
		{"http://127.0.0.1:%s/", "address_refused"},
		{"http://localhost:%s/", "address_refused"},
		{"http://LOCALHOST.:%s/", "address_refused"},
		{"http://2130706433:%s/", "address_refused"},
		{"http://0x7f000001:%s/", "address_refused"},
		{"http://0x7f.1:%s/", "address_refused"},
		{"http://017700000001:%s/", "address_refused"},
		{"http://0177.0.0.1:%s/", "address_refused"},
		{"http://127.1:%s/", "address_refused"},
		{"http://127.0.0.1.:%s/", "address_refused"},
		{"http://①②⑦.⓪.⓪.①:%s/", "address_refused"},
		{"http://１２７.0.0.1:%s/", "address_refused"},
		{"http://[::1]:%s/", "address_refused"},
		{"http://[::]:%s/", "address_refused"},
		{"http://[::ffff:127.0.0.1]:%s/", "address_refused"},
		{"http://[::ffff:7f00:1]:%s/", "address_refused"},
		{"http://[64:ff9b::7f00:1]:%s/", "address_refused"},
		{"http://[fe80::1%%25lo]:%s/", "invalid"},
		{"http://user:pass@127.0.0.1:%s/", "address_refused"},
		{"http://hooks.example@127.0.0.1:%s/", "address_refused"},
		{"http://metadata.evil.example:%s/latest/meta-data/", "address_refused"},
		{"http://loopback.evil.example:%s/", "address_refused"},
		{"http://mapped.evil.example:%s/", "address_refused"},
		{"http://nat64.evil.example:%s/", "address_refused"},
		{"http://nat64-48.evil.example:%s/", "address_refused"},
		{"http://6to4.evil.example:%s/", "address_refused"},
		{"http://teredo.evil.example:%s/", "address_refused"},
		{"http://ula.evil.example:%s/", "address_refused"},
		{"http://linklocal.evil.example:%s/", "address_refused"},
		{"http://cgnat.evil.example:%s/", "address_refused"},
		{"http://zero.evil.example:%s/", "address_refused"},
		{"http://\u0430pple.example:%s/", "address_refused"},
		{"http://a\u202Eb.example:%s/", "invalid"},
		{"http://h.example:%s/\r\nX-Evil: 1", "invalid"},
		{"http://h.example\r\n:%s/", "invalid"},
		{"http://127.0.0.1:%s\\@h.example/", "invalid"},
		{"gopher://127.0.0.1:%s/", "invalid"},
	} {
		t.Run(c.url, func(t *testing.T) {
			r := a.Send(t.Context(), messageTo(fmt.Sprintf(c.url, port), "1-a-0"))
			if r.Verdict != channels.Rejected || r.Code != c.code {
				t.Errorf("got %v, %q, %v; want rejected, %q", r.Verdict, r.Code, r.Err, c.code)
			}
			channelstest.CheckResult(t, r, "user:pass", secretA)
		})
	}
	if n := reached.Load(); n != 0 {
		t.Errorf("a listener on loopback was reached %d times", n)
	}
}

// TestANameThatChangesItsMindGainsNothing: the first answer may be connected
// to, the second, once the first was checked, may not.
func TestANameThatChangesItsMindGainsNothing(t *testing.T) {
	var served atomic.Int32
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		served.Add(1)
		w.Header().Set("Connection", "close")
	}))
	l, err := net.Listen("tcp", "127.0.0.2:0")
	if err != nil {
		t.Skipf("this system has but one loopback address: %v", err)
	}
	srv.Listener.Close()
	srv.Listener = l
	srv.Start()
	defer srv.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	_, reached := forbidden(t, "127.0.0.1:"+port)
	resolver := startNames(t, map[string][]string{"rebind.example": {"127.0.0.2", "127.0.0.1"}})
	a, err := New(config.Webhook{Timeout: config.Duration(5 * time.Second), MaxResponse: 1 << 10, AllowNetworks: []string{"127.0.0.2/32"}}, withResolver(resolver))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	m := messageTo("http://rebind.example:"+port+"/", "1-a-0")
	mustSend(t, a, m)
	if r := a.Send(t.Context(), m); r.Verdict != channels.Rejected || r.Code != "address_refused" {
		t.Errorf("got %v, %q, %v; want rejected", r.Verdict, r.Code, r.Err)
	}
	if served.Load() != 1 || reached.Load() != 0 {
		t.Errorf("the allowed address was reached %d times, the other %d; want once and never", served.Load(), reached.Load())
	}
}

// packedZeros is n zeros in gzip, a thousandth of that.
func packedZeros(t *testing.T, n int) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(make([]byte, n)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestHostileAnswers(t *testing.T) {
	bomb := packedZeros(t, 4<<20)
	_, reached := forbidden(t, "127.0.0.1:0")
	for _, c := range []struct {
		name    string
		answer  http.HandlerFunc
		verdict channels.Verdict
		code    string
	}{
		{"a redirect to loopback is not followed", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusFound)
		}, channels.Retry, "302"},
		{"a megabyte of headers is not read", func(w http.ResponseWriter, _ *http.Request) {
			for i := range 1000 {
				w.Header().Add("X-"+fmt.Sprint(i), strings.Repeat("y", 1000))
			}
		}, channels.Unknown, "answer"},
		{"a gzip bomb stays packed", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = w.Write(bomb)
		}, channels.Retry, "500"},
		{"a Retry-After beyond all bounds is still a number", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", strings.Repeat("9", 400))
			w.WriteHeader(http.StatusServiceUnavailable)
		}, channels.Retry, "503"},
		{"a line break in a header of the answer changes nothing", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Words", "a\r\nRetry-After: 7")
			w.WriteHeader(http.StatusTeapot)
		}, channels.Retry, "418"},
	} {
		t.Run(c.name, func(t *testing.T) {
			srv := httptest.NewServer(c.answer)
			defer srv.Close()
			r := localAdapter(t).Send(t.Context(), messageTo(srv.URL, "1-a-0"))
			if r.Verdict != c.verdict || r.Code != c.code || r.RetryAfter != 0 {
				t.Errorf("got %v, %q, %v, %v; want %v, %q", r.Verdict, r.Code, r.RetryAfter, r.Err, c.verdict, c.code)
			}
			channelstest.CheckResult(t, r)
		})
	}
	if reached.Load() != 0 {
		t.Error("a listener on loopback was reached")
	}
}

func TestAHeaderCannotBeSmuggledIn(t *testing.T) {
	rec := startReceiver(t)
	a := localAdapter(t)
	m := messageTo(rec.URL+"/a%0d%0aX-Evil:%201?q=%0d%0aX-Evil:1", "1-a-0")
	mustSend(t, a, m)
	if got := rec.requests()[0]; got.header.Get("X-Evil") != "" {
		t.Error("the path became a header")
	}
	m.ID = "1-a-0\r\nX-Evil: 1"
	if r := a.Send(t.Context(), m); r.Verdict != channels.Rejected || len(rec.requests()) != 1 {
		t.Errorf("got %v, and %d requests", r.Verdict, len(rec.requests()))
	}
}

func FuzzParseEndpoint(f *testing.F) {
	for _, seed := range []string{"http://h.example/", "https://user:p@[::1]:8443/a?b#c", "http://0x7f.1/", "http://bücher.example/ä", "http://a%00b/", "http://h:99999/"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		e, err := parseEndpoint(raw)
		if err != nil {
			if len(raw) > 8 && strings.Contains(err.Error(), raw) {
				t.Errorf("the error repeats the URL: %v", err)
			}
			return
		}
		for _, part := range []string{e.host, e.path, e.user, e.address} {
			if strings.ContainsAny(part, "\r\n\x00") {
				t.Errorf("%q holds a line break", part)
			}
		}
		if strings.ContainsAny(e.host+e.path, " ") || !strings.HasPrefix(e.path, "/") && !strings.HasPrefix(e.path, "?") {
			t.Errorf("the request line is %q for %q", e.path, e.host)
		}
		if _, err := url.Parse("http://" + e.host); err != nil {
			t.Errorf("the host is %q: %v", e.host, err)
		}
	})
}
