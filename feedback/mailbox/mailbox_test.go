package mailbox_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http/httptest"
	"net/smtp"
	"net/textproto"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"golang.org/x/time/rate"

	"github.com/carillonhq/carillon/feedback"
	"github.com/carillonhq/carillon/feedback/mailbox"
	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/notice/verp"
)

const delivery = "0-06h0fb55798unvn7agmd-1"

// world is a mailbox that listens on loopback, over people and records of the
// test's own.
type world struct {
	t       testing.TB
	address string
	keys    *verp.Keys
	path    verp.Path
	desk    *feedback.Desk

	mu    sync.Mutex
	taken []notice.Feedback
	owner string
	fail  error
}

func (w *world) Take(_ context.Context, f notice.Feedback) (bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fail == nil {
		w.taken = append(w.taken, f)
	}
	return w.fail == nil, w.fail
}

func (w *world) EmailOf(context.Context, string, string) (string, error)      { return "", nil }
func (w *world) NoteFeedback(context.Context, notice.Feedback) (bool, error)  { return true, nil }
func (w *world) Owner(context.Context, string) (string, string, error)        { return w.owner, "", nil }
func (w *world) WentTo(context.Context, string, string, string) (bool, error) { return false, nil }

// newWorld starts a mailbox; change changes what it is made of.
func newWorld(t testing.TB, change func(*mailbox.Options)) *world {
	t.Helper()
	w := &world{t: t}
	w.path, _ = verp.NewPath("bounce+{verp}@bounces.acme.example")
	var err error
	if w.keys, err = verp.NewKeys([]byte("0123456789abcdef0123456789abcdef")); err != nil {
		t.Fatal(err)
	}
	w.desk = &feedback.Desk{People: w, Records: w, Now: time.Now, Counter: feedback.NewCounter(prometheus.NewRegistry())}
	o := mailbox.Options{Path: w.path, Keys: w.keys, Tenants: []string{"globex", "acme"}, Complaints: []string{"fbl@bounces.acme.example"}, Desk: w.desk,
		Hostname: "bounces.acme.example", MaxMail: 64 << 10, Connections: 400, Rate: rate.NewLimiter(100, 100), Now: time.Now, Log: slog.New(slog.DiscardHandler)}
	if change != nil {
		change(&o)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.address = l.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- mailbox.New(o).Serve(ctx, l, time.Second) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return w
}

func (w *world) token(address string) string {
	return w.keys.Token(verp.Mail{Tenant: "acme", Delivery: delivery, Address: address})
}

// dial begins a conversation.
func (w *world) dial() *smtp.Client {
	w.t.Helper()
	conn, err := net.DialTimeout("tcp", w.address, time.Minute)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	c, err := smtp.NewClient(conn, "localhost")
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// send hands a mail over, from the empty sender, and returns the first refusal.
func (w *world) send(to string, mail []byte) error {
	w.t.Helper()
	c := w.dial()
	defer c.Close()
	if err := c.Mail(""); err != nil {
		return err
	}
	if err := c.Rcpt(to); err != nil {
		return err
	}
	body, err := c.Data()
	if err != nil {
		return err
	}
	if _, err := body.Write(mail); err != nil {
		return err
	}
	if err := body.Close(); err != nil {
		return err
	}
	return c.Quit()
}

// sample is a mail of the parser's testdata about ada's mail.
func (w *world) sample(name string) []byte {
	w.t.Helper()
	raw, err := os.ReadFile("../dsn/testdata/" + name + ".eml")
	if err != nil {
		w.t.Fatal(err)
	}
	return []byte(strings.ReplaceAll(string(raw), "TOKEN", w.token("ada@example.com")))
}

func (w *world) got() []notice.Feedback {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]notice.Feedback(nil), w.taken...)
}

func (w *world) counted(kind string) float64 {
	var m dto.Metric
	if err := w.desk.Counter.WithLabelValues("smtp", kind).Write(&m); err != nil {
		w.t.Fatal(err)
	}
	return m.GetCounter().GetValue()
}

// replies is the code that a server refused with; 0 when it took the mail.
func replies(t testing.TB, err error) int {
	t.Helper()
	var reply *textproto.Error
	if err != nil && !errors.As(err, &reply) {
		t.Fatalf("the conversation broke: %v", err)
	}
	if reply == nil {
		return 0
	}
	return reply.Code
}

func TestWhatComesBackIsTakenIn(t *testing.T) {
	for name, want := range map[string]struct {
		kind notice.FeedbackKind
		code string
	}{
		"postfix":           {notice.FeedbackHard, "5.1.1"},
		"postfix-delivered": {notice.FeedbackDelivery, "2.1.5"},
		"exim":              {notice.FeedbackHard, "5.1.1"},
		"exim-old":          {notice.FeedbackHard, "5.1.1"},
		"exchange":          {notice.FeedbackHard, "5.1.10"},
		"gmail":             {notice.FeedbackSoft, "5.2.2"},
		"qmail":             {notice.FeedbackHard, "5.1.1"},
		"policy":            {notice.FeedbackBlocked, "5.7.1"},
		"forwarded":         {notice.FeedbackHard, "5.1.1"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, nil)
			if code := replies(t, w.send(w.path.Address(w.token("ada@example.com")), w.sample(name))); code != 0 {
				t.Fatalf("refused with %d", code)
			}
			got := w.got()
			if len(got) != 1 {
				t.Fatalf("%d reports were taken in", len(got))
			}
			if f := got[0]; f.Kind != want.kind || f.Code != want.code || f.Address != "ada@example.com" || f.Tenant != "acme" || f.Delivery != delivery || f.Source != "smtp" {
				t.Errorf("got %+v", f)
			}
			if strings.Contains(got[0].Detail, "@") {
				t.Errorf("the detail names an address: %q", got[0].Detail)
			}
			if w.counted(string(want.kind)) != 1 {
				t.Error("it was not counted")
			}
		})
	}
}

func TestAComplaintComesToItsOwnAddress(t *testing.T) {
	w := newWorld(t, nil)
	if code := replies(t, w.send("FBL@bounces.acme.example", w.sample("arf"))); code != 0 {
		t.Fatalf("refused with %d", code)
	}
	if code := replies(t, w.send("fbl@bounces.acme.example", w.sample("arf-not-spam"))); code != 0 {
		t.Fatalf("refused with %d", code)
	}
	got := w.got()
	if len(got) != 1 || got[0].Kind != notice.FeedbackComplaint || got[0].Code != "abuse" || got[0].Address != "ada@example.com" || got[0].Delivery != delivery {
		t.Errorf("got %+v", got)
	}
}

func TestAMailThatSaysNothingIsTakenAndForgotten(t *testing.T) {
	w := newWorld(t, nil)
	for _, name := range []string{"out-of-office", "postfix-delayed"} {
		if code := replies(t, w.send(w.path.Address(w.token("ada@example.com")), w.sample(name))); code != 0 {
			t.Errorf("%s: refused with %d", name, code)
		}
	}
	if got := w.got(); len(got) != 0 || w.counted("ignored") != 2 {
		t.Errorf("got %+v; %v are counted as ignored", got, w.counted("ignored"))
	}
}

// Whoever has got a mail knows its token, and can write any report.
func TestNobodySuppressesStrangers(t *testing.T) {
	w := newWorld(t, nil)
	mine := w.token("mallory@example.com")
	forged := func(text string) []byte { return []byte(strings.ReplaceAll(text, w.token("ada@example.com"), mine)) }
	for name, mail := range map[string][]byte{
		"a report of my mail that names her":         forged(string(w.sample("postfix"))),
		"a report of my mail with her failed header": forged(string(w.sample("exim-old"))),
		"a complaint of my mail that names her":      forged(string(w.sample("arf"))),
	} {
		if code := replies(t, w.send(w.path.Address(mine), mail)); code != 0 {
			t.Errorf("%s: refused with %d", name, code)
		}
	}
	if got := w.got(); len(got) != 0 || w.counted("unmatched") != 3 {
		t.Errorf("got %+v; %v are counted as unmatched", got, w.counted("unmatched"))
	}
}

func TestTheTenantOfTheRecordComesBeforeThoseOfTheConfiguration(t *testing.T) {
	w := newWorld(t, func(o *mailbox.Options) { o.Tenants = nil })
	w.owner = "acme" // whose mails came by the inbox, and who has no key
	if w.send(w.path.Address(w.token("ada@example.com")), w.sample("postfix")); len(w.got()) != 1 {
		t.Error("the owner's token is not confirmed")
	}
}

func TestWhatIsNotForItIsRefused(t *testing.T) {
	w := newWorld(t, nil)
	valid := w.token("ada@example.com")
	for name, to := range map[string]string{
		"a person":            "ada@example.com",
		"the postmaster":      "postmaster@bounces.acme.example",
		"a token of nobody's": "bounce+0-06h0fb55798unvn7agmd-1-00000000000000000000000@bounces.acme.example",
		"another delivery's":  w.path.Address(strings.Replace(valid, "-1-", "-2-", 1)),
		"another domain":      "bounce+" + valid + "@acme.example",
		"to be relayed":       "bounce+" + valid + "%example.com@acme.example",
	} {
		if code := replies(t, w.send(to, w.sample("postfix"))); code != 550 {
			t.Errorf("%s: answered %d, want 550", name, code)
		}
	}
	if len(w.got()) != 0 || w.counted("refused") != 6 {
		t.Errorf("%v are counted as refused", w.counted("refused"))
	}
}

func TestAStrangerIsHungUpOn(t *testing.T) {
	w := newWorld(t, nil)
	c := w.dial()
	if err := c.Mail("a@example.com"); err != nil {
		t.Fatal(err)
	}
	for i := range 30 {
		err := c.Rcpt(fmt.Sprintf("guess%d@bounces.acme.example", i))
		var reply *textproto.Error
		if !errors.As(err, &reply) {
			if i < 10 {
				t.Errorf("hung up on after %d guesses: %v", i, err)
			}
			return
		}
	}
	t.Error("thirty guesses over one connection")
}

func TestAStoreThatIsAwayHasTheSenderComeAgain(t *testing.T) {
	w := newWorld(t, nil)
	w.mu.Lock()
	w.fail = errors.New("the store is away")
	w.mu.Unlock()
	if code := replies(t, w.send(w.path.Address(w.token("ada@example.com")), w.sample("postfix"))); code != 451 {
		t.Errorf("answered %d, want 451", code)
	}
	w.mu.Lock()
	w.fail = nil
	w.mu.Unlock()
	if code := replies(t, w.send(w.path.Address(w.token("ada@example.com")), w.sample("postfix"))); code != 0 || len(w.got()) != 1 {
		t.Errorf("the second time: answered %d, %d taken", code, len(w.got()))
	}
}

func TestAMailMayComeOverTLS(t *testing.T) {
	authority := httptest.NewUnstartedServer(nil)
	authority.StartTLS() // for its certificate, which names example.com
	defer authority.Close()
	w := newWorld(t, func(o *mailbox.Options) {
		o.TLS = &tls.Config{Certificates: authority.TLS.Certificates, MinVersion: tls.VersionTLS12}
	})
	c := w.dial()
	roots := x509.NewCertPool()
	roots.AddCert(authority.Certificate())
	if err := c.StartTLS(&tls.Config{RootCAs: roots, ServerName: "example.com"}); err != nil {
		t.Fatal(err)
	}
	if err := c.Mail(""); err != nil {
		t.Fatal(err)
	}
	if err := c.Rcpt(w.path.Address(w.token("ada@example.com"))); err != nil {
		t.Fatal(err)
	}
	body, err := c.Data()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := body.Write(w.sample("postfix")); err != nil {
		t.Fatal(err)
	}
	if err := body.Close(); err != nil || len(w.got()) != 1 {
		t.Errorf("%v; %d taken", err, len(w.got()))
	}
}

func TestBounds(t *testing.T) {
	t.Run("a mail that is too large", func(t *testing.T) {
		w := newWorld(t, nil)
		big := append(w.sample("postfix"), strings.Repeat("x\r\n", 40<<10)...)
		if code := replies(t, w.send(w.path.Address(w.token("ada@example.com")), big)); code != 552 || len(w.got()) != 0 {
			t.Errorf("answered %d, want 552", code)
		}
	})
	t.Run("too many mails", func(t *testing.T) {
		w := newWorld(t, func(o *mailbox.Options) { o.Rate = rate.NewLimiter(rate.Every(time.Hour), 1) })
		first := replies(t, w.send(w.path.Address(w.token("ada@example.com")), w.sample("postfix")))
		second := replies(t, w.send(w.path.Address(w.token("ada@example.com")), w.sample("postfix")))
		if first != 0 || second != 451 {
			t.Errorf("answered %d and %d, want 0 and 451", first, second)
		}
	})
	t.Run("too many connections of one host, and again when they have ended", func(t *testing.T) {
		w := newWorld(t, func(o *mailbox.Options) { o.Connections = 8 }) // two for each host
		one, two := w.dial(), w.dial()
		conn, err := net.Dial("tcp", w.address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(time.Minute))
		if _, _, err := textproto.NewReader(textproto.NewConn(conn).R).ReadResponse(220); replies(t, err) != 421 {
			t.Errorf("the third is answered %v", err)
		}
		_, _ = one.Quit(), two.Quit()
		deadline := time.Now().Add(time.Minute)
		for {
			conn, err := net.Dial("tcp", w.address)
			if err != nil {
				t.Fatal(err)
			}
			_ = conn.SetDeadline(time.Now().Add(time.Minute))
			_, _, err = textproto.NewConn(conn).ReadResponse(220)
			conn.Close()
			if err == nil {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("still full: %v", err)
			}
		}
	})
}
