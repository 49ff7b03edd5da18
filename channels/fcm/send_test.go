package fcm

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/carillonhq/carillon/channels"
	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/notice"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("go.opencensus.io/stats/view.(*worker).start"))
}

const deviceToken = "cXk9:APA91bH-secret_device-token"

type seen struct {
	path   string
	header http.Header
	body   []byte
}

// google is a stand-in for the messaging service on loopback.
type google struct {
	*httptest.Server
	mu       sync.Mutex
	requests []seen
}

func newGoogle(t testing.TB, answer http.HandlerFunc) *google {
	g := &google{}
	g.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		g.mu.Lock()
		g.requests = append(g.requests, seen{r.URL.Path, r.Header.Clone(), body})
		g.mu.Unlock()
		if answer == nil {
			io.WriteString(w, `{"name":"projects/acme/messages/0:1"}`)
			return
		}
		answer(w, r)
	}))
	t.Cleanup(g.Close)
	return g
}

func (g *google) all() []seen {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]seen(nil), g.requests...)
}

func adapterFor(t testing.TB, url string, opts ...Option) *Adapter {
	a, err := New(config.FCM{Project: "acme", Endpoint: url, Timeout: config.Duration(5 * time.Second)}, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	return a
}

func message() channels.Message {
	return channels.Message{
		ID: "3-0123456789abcdefghij-0", Lane: notice.LaneNormal,
		Address: notice.Address{Channel: notice.ChannelFCM, To: deviceToken},
		Content: notice.Content{Push: &notice.PushContent{Title: "Shipped", Body: "Order A-1"}},
		Attempt: 1,
	}
}

func send(t testing.TB, a *Adapter, m channels.Message) channels.Result {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return a.Send(ctx, m)
}

func wants(t *testing.T, got channels.Result, verdict channels.Verdict, code string) {
	t.Helper()
	if got.Verdict != verdict || got.Code != code {
		t.Errorf("got %v %q (%v), want %v %q", got.Verdict, got.Code, got.Err, verdict, code)
	}
	if (got.Err == nil) != (verdict == channels.Sent) {
		t.Errorf("a %v result has error %v", got.Verdict, got.Err)
	}
	if got.Err != nil && (strings.Contains(got.Err.Error(), "secret") || strings.Contains(got.Err.Error(), "127.0.0.1")) {
		t.Errorf("the error holds the token or the address: %v", got.Err)
	}
}

func TestAPushGoesOutAsGoogleDocumentsIt(t *testing.T) {
	srv := newGoogle(t, nil)
	at := time.Unix(1_800_000_000, 0)
	a := adapterFor(t, srv.URL, WithClock(func() time.Time { return at }))
	m := message()
	m.ExpiresAt = at.Add(90 * time.Second)
	m.CollapseKey = "order-A-1"
	m.Content.Push.Data = []byte(`{"order":"A-1","items":["tea"],"n":1.50,"nested":{"a":null}}`)
	got := send(t, a, m)
	wants(t, got, channels.Sent, "")
	if got.ProviderID != "projects/acme/messages/0:1" {
		t.Errorf("provider id %q", got.ProviderID)
	}
	req := srv.all()[0]
	if req.path != "/v1/projects/acme/messages:send" {
		t.Errorf("path %s", req.path)
	}
	want := `{"message":{"data":{"items":"[\"tea\"]","n":"1.50","nested":"{\"a\":null}","order":"A-1"},` +
		`"notification":{"title":"Shipped","body":"Order A-1"},` +
		`"android":{"ttl":"90s","collapse_key":"order-A-1","priority":"high","notification":{"tag":"order-A-1"}},` +
		`"token":"` + deviceToken + `"}}`
	if have := canonical(t, req.body); have != canonical(t, []byte(want)) {
		t.Errorf("body\n%s, want\n%s", have, want)
	}
}

func TestUnderLoadConnectionsAreKept(t *testing.T) {
	var opened atomic.Int32
	srv := newGoogle(t, nil)
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		opened.Add(1)
		return (&net.Dialer{}).DialContext(ctx, network, addr)
	}
	a := adapterFor(t, srv.URL, WithDialer(dial))
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			for range 20 {
				wants(t, send(t, a, message()), channels.Sent, "")
			}
		})
	}
	wg.Wait()
	if n := opened.Load(); n > defaultConcurrency {
		t.Errorf("%d connections for 640 pushes of 32 callers", n)
	}
}

// plain is a loop that only posts the same bytes to the same stand-in: what
// the adapter is measured against.
func plain(b *testing.B, url string, body []byte) {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	defer client.CloseIdleConnections()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			resp, err := client.Post(url+"/v1/projects/acme/messages:send", "application/json", bytes.NewReader(body))
			if err != nil {
				b.Error(err)
				return
			}
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
	})
}

// quiet is a stand-in that keeps nothing.
func quiet(b *testing.B) *httptest.Server {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		io.WriteString(w, `{"name":"projects/acme/messages/0:1"}`)
	}))
	b.Cleanup(srv.Close)
	return srv
}

func BenchmarkSend(b *testing.B) {
	a := adapterFor(b, quiet(b).URL)
	m := message()
	b.ReportAllocs()
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if r := a.Send(context.Background(), m); r.Verdict != channels.Sent {
				b.Error(r.Err)
				return
			}
		}
	})
}

func BenchmarkPlainLoop(b *testing.B) {
	srv := quiet(b)
	b.ReportAllocs()
	b.SetParallelism(32)
	plain(b, srv.URL, []byte(`{"message":{"notification":{"title":"Shipped","body":"Order A-1"},"android":{"collapse_key":"3-0123456789abcdefghij-0","priority":"high","notification":{"tag":"3-0123456789abcdefghij-0"}},"token":"`+deviceToken+`"}}`))
}
