package email

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/carillonhq/carillon/channels"
	"github.com/carillonhq/carillon/channels/channelstest"
	"github.com/carillonhq/carillon/config"
	"github.com/emersion/go-sasl"
	gosmtp "github.com/emersion/go-smtp"
)

const (
	username = "relay-user-7"
	password = "correct-horse-battery"
)

// realRelay is a complete SMTP server by another hand, with TLS and AUTH.
type realRelay struct {
	mu    sync.Mutex
	mails [][]byte
	users []string
}

type realSession struct {
	relay *realRelay
	body  bytes.Buffer
}

func (r *realRelay) NewSession(*gosmtp.Conn) (gosmtp.Session, error) {
	return &realSession{relay: r}, nil
}
func (*realSession) AuthMechanisms() []string { return []string{sasl.Plain} }
func (s *realSession) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, pass string) error {
		if user != username || pass != password {
			return &gosmtp.SMTPError{Code: 535, EnhancedCode: gosmtp.EnhancedCode{5, 7, 8}, Message: "bad login " + user + " " + pass}
		}
		s.relay.mu.Lock()
		defer s.relay.mu.Unlock()
		s.relay.users = append(s.relay.users, user)
		return nil
	}), nil
}
func (*realSession) Mail(string, *gosmtp.MailOptions) error { return nil }
func (*realSession) Rcpt(string, *gosmtp.RcptOptions) error { return nil }
func (*realSession) Reset()                                 {}
func (*realSession) Logout() error                          { return nil }
func (s *realSession) Data(r io.Reader) error {
	if _, err := s.body.ReadFrom(r); err != nil {
		return err
	}
	s.relay.mu.Lock()
	defer s.relay.mu.Unlock()
	s.relay.mails = append(s.relay.mails, bytes.Clone(s.body.Bytes()))
	return nil
}

// startReal starts the server and returns settings that reach it, with the
// certificate's authority in a file.
func startReal(t *testing.T, mode config.TLSMode) (*realRelay, config.Email) {
	t.Helper()
	https := httptest.NewTLSServer(nil) // for its certificate for 127.0.0.1
	t.Cleanup(https.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	block := &pem.Block{Type: "CERTIFICATE", Bytes: https.Certificate().Raw}
	if err := os.WriteFile(ca, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	relay := &realRelay{}
	srv := gosmtp.NewServer(relay)
	srv.Domain, srv.AllowInsecureAuth = "relay.example", true
	srv.ErrorLog = discard{}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	pair := &tls.Config{Certificates: https.TLS.Certificates}
	switch mode {
	case config.TLSStartTLS:
		srv.TLSConfig = pair
	case config.TLSImplicit:
		l = tls.NewListener(l, pair)
	}
	var serving sync.WaitGroup
	serving.Go(func() { _ = srv.Serve(l) })
	t.Cleanup(func() { srv.Close(); serving.Wait() })
	cfg := settingsFor(t, l.Addr())
	cfg.Timeout *= 10
	cfg.SMTP.TLS, cfg.SMTP.CAFile = mode, ca
	cfg.SMTP.Username, cfg.SMTP.Password = username, config.NewSecret(password)
	return relay, cfg
}

type discard struct{}

func (discard) Printf(string, ...any) {}
func (discard) Println(...any)        {}

func TestAMailOverEachWayOfTLS(t *testing.T) {
	for _, mode := range []config.TLSMode{config.TLSStartTLS, config.TLSImplicit, config.TLSNone} {
		t.Run(string(mode), func(t *testing.T) {
			noLeak(t)
			relay, cfg := startReal(t, mode)
			a := newAdapter(t, cfg)
			for i := range 2 {
				if r := send(t, a, mailFor("1-a-0")); r.Verdict != channels.Sent {
					t.Fatalf("mail %d: %v, %v", i, r.Verdict, r.Err)
				}
			}
			relay.mu.Lock()
			defer relay.mu.Unlock()
			if len(relay.mails) != 2 || len(relay.users) != 1 {
				t.Errorf("%d mails after %d logins, want 2 after 1", len(relay.mails), len(relay.users))
			}
		})
	}
}

func TestASetUpThatTheRelayRefusesIsBroken(t *testing.T) {
	for _, c := range []struct {
		name string
		mode config.TLSMode // the relay's
		set  func(*config.Email)
		code string
	}{
		{"a wrong password", config.TLSStartTLS, func(c *config.Email) { c.SMTP.Password = config.NewSecret("wrong-" + password) }, "5.7.8"},
		{"a certificate of an unknown authority", config.TLSStartTLS, func(c *config.Email) { c.SMTP.CAFile = "" }, "setup"},
		{"the same over implicit TLS", config.TLSImplicit, func(c *config.Email) { c.SMTP.CAFile = "" }, "setup"},
		{"no STARTTLS where it is required", config.TLSNone, func(c *config.Email) { c.SMTP.TLS = config.TLSStartTLS }, "setup"},
		{"implicit TLS where the relay speaks first", config.TLSNone, func(c *config.Email) { c.SMTP.TLS = config.TLSImplicit }, "setup"},
	} {
		t.Run(c.name, func(t *testing.T) {
			noLeak(t)
			relay, cfg := startReal(t, c.mode)
			c.set(&cfg)
			r := send(t, newAdapter(t, cfg), mailFor("1-a-0"))
			if r.Verdict != channels.Broken || r.Code != c.code {
				t.Errorf("got %v, code %q, %v; want broken, %q", r.Verdict, r.Code, r.Err, c.code)
			}
			channelstest.CheckResult(t, r, password, username, adaAddress)
			relay.mu.Lock()
			defer relay.mu.Unlock()
			if len(relay.mails) != 0 {
				t.Error("a mail went through")
			}
		})
	}
}

func TestAPasswordIsNotShownWithoutTLSBeyondThisMachine(t *testing.T) {
	for _, c := range []struct {
		name, host string
		mode       config.TLSMode
		auth       config.SMTPAuth
		offered    string
		works      bool
	}{
		{"PLAIN under TLS", "relay.example", config.TLSStartTLS, "auto", "PLAIN", true},
		{"LOGIN under TLS", "relay.example", config.TLSImplicit, "auto", "LOGIN", true},
		{"PLAIN in the clear", "relay.example", config.TLSNone, "auto", "PLAIN LOGIN XOAUTH2", false},
		{"PLAIN in the clear though it is asked for", "relay.example", config.TLSNone, "plain", "PLAIN", false},
		{"LOGIN in the clear though it is asked for", "relay.example", config.TLSNone, "login", "LOGIN", false},
		{"XOAUTH2 in the clear though it is asked for", "relay.example", config.TLSNone, "xoauth2", "XOAUTH2", false},
		{"PLAIN in the clear on loopback", "127.0.0.1", config.TLSNone, "auto", "PLAIN", true},
		{"a name that only looks like loopback", "127.0.0.1.example", config.TLSNone, "auto", "PLAIN", false},
		{"SCRAM in the clear shows nothing", "relay.example", config.TLSNone, "auto", "PLAIN SCRAM-SHA-256", true},
		{"CRAM-MD5 in the clear shows nothing", "relay.example", config.TLSNone, "auto", "PLAIN CRAM-MD5", true},
		{"what is asked for is not offered", "relay.example", config.TLSStartTLS, "scram-sha-256", "PLAIN LOGIN", false},
		{"a token is never sent unasked", "relay.example", config.TLSStartTLS, "auto", "XOAUTH2", false},
		{"nothing known", "relay.example", config.TLSStartTLS, "auto", "GSSAPI", false},
		{"nothing", "relay.example", config.TLSStartTLS, "auto", "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLogin(config.SMTP{Host: c.host, TLS: c.mode, Auth: c.auth, Username: "u", Password: config.NewSecret(password)})
			if _, err := l.method(strings.Fields(c.offered)); (err == nil) != c.works {
				t.Errorf("a way to log in: %v, want one: %v", err, c.works)
			}
		})
	}
}

func TestAnAccessTokenIsReadAtEachLogin(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	relay := startScripted(t, map[string][]string{"AUTH": {"235 2.7.0 fine", "535 5.7.8 expired", "235 2.7.0 fine"}})
	relay.offers = append(relay.offers, "AUTH PLAIN XOAUTH2")
	cfg := settingsFor(t, relay.listener.Addr())
	cfg.SMTP.Username, cfg.SMTP.TokenFile, cfg.SMTP.MailsPerConnection = username, file, 1
	a := newAdapter(t, cfg)
	for _, c := range []struct {
		token string
		want  channels.Verdict
		code  string
	}{
		{"", channels.Broken, "setup"},
		{"first-token\n", channels.Sent, "250"},
		{"second-token", channels.Broken, "5.7.8"},
		{"third\ntoken", channels.Broken, "setup"},
		{"fourth-token", channels.Sent, "250"},
	} {
		if err := os.WriteFile(file, []byte(c.token), 0o600); err != nil {
			t.Fatal(err)
		}
		r := send(t, a, mailFor("1-a-0"))
		if r.Verdict != c.want || r.Code != c.code {
			t.Errorf("with %q: %v, %q, %v", c.token, r.Verdict, r.Code, r.Err)
		}
		channelstest.CheckResult(t, r, "token-", username, "-token")
	}
	relay.look(func() {
		var tokens []string
		for _, line := range relay.said {
			if raw, ok := strings.CutPrefix(line, "AUTH XOAUTH2 "); ok {
				plain, _ := base64.StdEncoding.DecodeString(raw)
				tokens = append(tokens, string(plain))
			}
		}
		want := []string{"user=relay-user-7\x01auth=Bearer first-token\x01\x01", "user=relay-user-7\x01auth=Bearer second-token\x01\x01", "user=relay-user-7\x01auth=Bearer fourth-token\x01\x01"}
		if !slices.Equal(tokens, want) {
			t.Errorf("the relay was shown %q, want %q", tokens, want)
		}
	})
}

func TestARelayThatNeverStopsTalkingIsCutOff(t *testing.T) {
	endless := strings.Repeat("250-more\n", mostRead/len("250-more\n")+1000) + "250 done"
	relay := startScripted(t, map[string][]string{"EHLO": {endless}})
	cfg := settingsFor(t, relay.listener.Addr())
	cfg.Timeout *= 20
	if r := send(t, newAdapter(t, cfg), mailFor("1-a-0")); r.Verdict != channels.Retry {
		t.Errorf("got %v, %v", r.Verdict, r.Err)
	}
}

// TestAnIdleConnectionTakesLeave runs in a bubble of fake time, over a pipe.
func TestAnIdleConnectionTakesLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var relays []*scripted // one a connection
		dial := func(context.Context, string, string) (net.Conn, error) {
			here, there := net.Pipe()
			s := &scripted{script: map[string][]string{}, ended: make(chan struct{})}
			relays = append(relays, s)
			go s.serve(there)
			return here, nil
		}
		a, err := New(config.Email{
			SMTP: config.SMTP{Host: "relay.example", Port: 25, TLS: config.TLSNone, Connections: 2},
			From: "no-reply@acme.example", Timeout: config.Duration(time.Minute),
		}, WithDialer(dial), WithHelo("gateway"))
		if err != nil {
			t.Fatal(err)
		}
		send := func() {
			if r := a.Send(t.Context(), mailFor("1-a-0")); r.Verdict != channels.Sent {
				t.Fatalf("%v, %v", r.Verdict, r.Err)
			}
		}
		send()
		time.Sleep(idleLimit - time.Second) // fake: no time passes
		send()
		if len(relays) != 1 {
			t.Errorf("%d connections before the idle limit, want 1", len(relays))
		}
		time.Sleep(idleLimit + time.Second)
		synctest.Wait()
		relays[0].look(func() {
			if said := relays[0].said; said[len(said)-1] != "QUIT" || relays[0].open != 0 {
				t.Errorf("the idle connection ended with %q, want QUIT", said)
			}
		})
		send()
		if len(relays) != 2 {
			t.Errorf("%d connections after the idle limit, want 2", len(relays))
		}
		for range 2 * ageLimit / idleLimit { // busy all the time
			time.Sleep(idleLimit - time.Second)
			send()
		}
		if len(relays) < 3 {
			t.Errorf("%d connections: a busy one outlived the age limit", len(relays))
		}
		a.Close()
	})
}

func TestAFailedDialIsTriedAgain(t *testing.T) {
	cfg := settingsFor(t, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 25})
	refuse := func(context.Context, string, string) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}
	}
	a := newAdapter(t, cfg, WithDialer(refuse))
	for i := range 2 * cfg.SMTP.Connections { // more often than there are slots: each must be freed
		if r := send(t, a, mailFor("1-a-0")); r.Verdict != channels.Retry || r.Code != "connect" {
			t.Errorf("send %d: %v, code %q, %v", i, r.Verdict, r.Code, r.Err)
		}
	}
}
