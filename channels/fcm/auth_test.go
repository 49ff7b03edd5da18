package fcm

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	firebase "firebase.google.com/go/v4"
	"github.com/carillonhq/carillon/channels"
	"github.com/carillonhq/carillon/config"
	"google.golang.org/api/option"
)

// serviceAccount is credentials whose tokens come from the given URL.
func serviceAccount(t *testing.T, tokenURL string) string {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(map[string]string{
		"type": "service_account", "project_id": "acme", "client_email": "c@acme.iam.gserviceaccount.com", "client_id": "1",
		"private_key_id": "k", "private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
		"token_uri": tokenURL,
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// googleWithTokens is an adapter with real credentials, whose messaging
// service and token service are stand-ins on loopback.
func googleWithTokens(t *testing.T, srv *google, token http.HandlerFunc) *Adapter {
	tokens := httptest.NewServer(token)
	t.Cleanup(tokens.Close)
	cfg := config.FCM{
		Project: "acme", Credentials: config.NewSecret(serviceAccount(t, tokens.URL)),
		Timeout: config.Duration(2 * time.Second),
	}
	a, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	point(t, a, cfg, srv.URL)
	return a
}

// point has what New made send to a stand-in in place of fcm.googleapis.com.
func point(t *testing.T, a *Adapter, cfg config.FCM, to string) {
	t.Helper()
	authorized, _, err := authorize(cfg, wire{redirect{a.wire, to}})
	if err != nil {
		t.Fatal(err)
	}
	app, err := firebase.NewApp(t.Context(), &firebase.Config{ProjectID: "acme"}, option.WithHTTPClient(&http.Client{Transport: once{authorized}}))
	if err != nil {
		t.Fatal(err)
	}
	if a.client, err = app.Messaging(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// redirect sends every request to another server.
type redirect struct {
	next http.RoundTripper
	to   string
}

func (r redirect) RoundTrip(req *http.Request) (*http.Response, error) {
	to, err := url.Parse(r.to)
	if err != nil {
		return nil, err
	}
	req = req.Clone(req.Context())
	req.URL.Scheme, req.URL.Host, req.Host = to.Scheme, to.Host, to.Host
	return r.next.RoundTrip(req)
}

func TestRealCredentialsAreExchangedOnceAndSentAlong(t *testing.T) {
	var asked atomic.Int32
	srv := newGoogle(t, nil)
	a := googleWithTokens(t, srv, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"access_token":"fresh","token_type":"Bearer","expires_in":3600}`)
	})
	for range 3 {
		wants(t, send(t, a, message()), channels.Sent, "")
	}
	for _, req := range srv.all() {
		if got := req.header.Get("Authorization"); got != "Bearer fresh" {
			t.Errorf("authorization %q", got)
		}
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("the token was asked for %d times", n)
	}
}

func TestATokenServiceThatRefusesStopsTheChannel(t *testing.T) {
	srv := newGoogle(t, nil)
	a := googleWithTokens(t, srv, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, `{"error":"invalid_grant","error_description":"Invalid JWT Signature secret."}`)
	})
	got := send(t, a, message())
	wants(t, got, channels.Broken, "token")
	if got.Err != nil && !strings.Contains(got.Err.Error(), "fcm.credentials") {
		t.Errorf("the error does not name the key: %v", got.Err)
	}
	if n := len(srv.all()); n != 0 {
		t.Errorf("%d messages were sent", n)
	}
}

// The request for a token is written under the same context, and is not a
// message that may have arrived.
func TestATokenServiceThatFailsIsTriedLaterNeverUnknown(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"it answers 503":         func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) },
		"it ends the connection": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"it never answers": func(_ http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body) // or the server would not see the sender go
			<-r.Context().Done()
		},
	} {
		t.Run(name, func(t *testing.T) {
			srv := newGoogle(t, nil)
			a := googleWithTokens(t, srv, answer)
			a.timeout = 300 * time.Millisecond
			if got := send(t, a, message()); got.Verdict != channels.Retry {
				t.Errorf("got %v %q (%v), want Retry", got.Verdict, got.Code, got.Err)
			}
			if n := len(srv.all()); n != 0 {
				t.Errorf("%d messages were sent", n)
			}
		})
	}
}
