package e2e_test

import (
	"fmt"
	"io"
	"net"
	netsmtp "net/smtp"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/emersion/go-smtp"
)

// relay is a mail server that takes everything and keeps the envelopes.
type relay struct {
	host, port string

	mu    sync.Mutex
	mails []envelope
}

type envelope struct{ from, to, header string }

func newRelay(t *testing.T) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{}
	r.host, r.port, _ = net.SplitHostPort(l.Addr().String())
	server := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &relaySession{relay: r}, nil }))
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _, _ = server.Close(), l.Close() })
	return r
}

// to are the mails to an address.
func (r *relay) to(address string) (found []envelope) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range r.mails {
		if m.to == address {
			found = append(found, m)
		}
	}
	return found
}

type relaySession struct {
	relay *relay
	mail  envelope
}

func (s *relaySession) Mail(from string, _ *smtp.MailOptions) error { s.mail.from = from; return nil }
func (s *relaySession) Rcpt(to string, _ *smtp.RcptOptions) error   { s.mail.to = to; return nil }
func (s *relaySession) Reset()                                      {}
func (s *relaySession) Logout() error                               { return nil }
func (s *relaySession) Data(r io.Reader) error {
	raw, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	header, _, _ := strings.Cut(string(raw), "\r\n\r\n")
	s.mail.header = header
	s.relay.mu.Lock()
	defer s.relay.mu.Unlock()
	s.relay.mails = append(s.relay.mails, s.mail)
	return nil
}

// bounceOf is what Postfix writes of a mail whose mailbox does not exist.
func bounceOf(m envelope, status string) string {
	return strings.ReplaceAll(fmt.Sprintf(`From: MAILER-DAEMON@mx.acme.example (Mail Delivery System)
Subject: Undelivered Mail Returned to Sender
To: %s
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="b1"

--b1
Content-Type: text/plain

<%[2]s>: host mail.example.com said: 550 %[3]s <%[2]s>: User unknown

--b1
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.acme.example

Final-Recipient: rfc822; %[2]s
Action: failed
Status: %[3]s
Diagnostic-Code: smtp; 550 %[3]s <%[2]s>: User unknown

--b1
Content-Type: text/rfc822-headers

%[4]s

--b1--
`, m.from, m.to, status, m.header), "\n", "\r\n")
}

// newBouncing is a gateway whose mails go to a relay and come back to a
// mailbox; it returns the mailbox's address too.
func newBouncing(t *testing.T) (*gateway, *relay, *client, string) {
	t.Helper()
	r := newRelay(t)
	g := newGateway(t, sections{
		"channels": fmt.Sprintf(`{email: {smtp: {host: %q, port: %s, tls: none}, from: "no-reply@acme.example", mandatory: [security],
  return_path: "bounce+{verp}@bounces.acme.example", return_path_key: "0123456789abcdef0123456789abcdef"}}`, r.host, r.port),
		"feedback": `{bounces: {listen: "127.0.0.1:0"}}`,
	})
	api := newClient(t, g.ingest().api)
	g.consume("a")
	p := start(t, "bounces", "--config", g.config(nil))
	at := regexp.MustCompile(`smtp=(127\.0\.0\.1:\d+)`).FindStringSubmatch(p.log.String())
	if at == nil {
		t.Fatalf("the mailbox does not say where it listens:\n%s", p.log)
	}
	return g, r, api, at[1]
}

func order(to string) object {
	return object{"template": "order-shipped", "to": object{"email": to}, "data": object{"order": "A-1"}, "channels": []string{"email"}}
}

func TestAMailThatComesBackSuppressesItsAddress(t *testing.T) {
	t.Parallel()
	g, relay, api, mailbox := newBouncing(t)
	const ada = "ada@example.com"
	id := api.post(order(ada))
	api.awaitStatus(id, "delivered")
	sent := relay.to(ada)
	if len(sent) != 1 || !strings.HasPrefix(sent[0].from, "bounce+"+id+"-1-") {
		t.Fatalf("the relay has %+v", sent)
	}

	// A stranger who reads the token off a mail to himself names her address.
	mallory := api.post(order("mallory@example.com"))
	api.awaitStatus(mallory, "delivered")
	forged := relay.to("mallory@example.com")[0]
	forged.to = ada
	if err := netsmtp.SendMail(mailbox, nil, "", []string{forged.from}, []byte(bounceOf(forged, "5.1.1"))); err != nil {
		t.Fatal(err)
	}
	if a := api.call("GET", "/v1/suppressions/email/"+ada, nil); a.status != 404 {
		t.Fatalf("a forged report: %d %s", a.status, a.body)
	}

	if err := netsmtp.SendMail(mailbox, nil, "", []string{sent[0].from}, []byte(bounceOf(sent[0], "5.1.1"))); err != nil {
		t.Fatal(err)
	}
	a := api.call("GET", "/v1/suppressions/email/"+ada, nil)
	for _, want := range []string{`"reason":"bounced: 5.1.1`, `"kind":"bounce"`, `"at":"`} {
		if a.status != 200 || !strings.Contains(string(a.body), want) {
			t.Errorf("the suppression is %d %s, want %s in it", a.status, a.body, want)
		}
	}
	r := api.awaitStatus(id, "delivered")
	last := r.Deliveries[0].Timeline[len(r.Deliveries[0].Timeline)-1]
	if last.Code != "bounce" || !strings.HasPrefix(last.Detail, "hard: 5.1.1") || strings.Contains(last.Detail, ada) {
		t.Errorf("the record's last word is %+v", last)
	}
	next := api.awaitStatus(api.post(order(ada)), "suppressed")
	if last := next.Deliveries[0].Timeline[len(next.Deliveries[0].Timeline)-1]; last.Code != "suppressed" || !strings.HasPrefix(last.Detail, "bounced: 5.1.1") {
		t.Errorf("the next one's record says %+v", last)
	}
	security := object{"to": object{"email": ada}, "category": "security", "content": object{"email": object{"subject": "A new login", "text": "from Vienna"}}}
	api.awaitStatus(api.post(security), "suppressed") // a dead mailbox gets nothing at all
	if len(relay.to(ada)) != 1 {
		t.Errorf("she was written to %d times", len(relay.to(ada)))
	}
	g.awaitEmptyStreams()
}

func TestWhoComplainsStillGetsWhatIsMandatory(t *testing.T) {
	t.Parallel()
	_, relay, api, _ := newBouncing(t)
	const bob = "bob@example.com"
	id := api.post(order(bob))
	api.awaitStatus(id, "delivered")
	a := api.call("POST", "/v1/feedback/email", []byte(fmt.Sprintf(`{"type":"complaint","address":%q,"delivery_id":"%s-1","code":"abuse"}`, bob, id)), "Content-Type", "application/json")
	if a.status != 200 || strings.TrimSpace(string(a.body)) != `{"suppressed":true,"recorded":true}` {
		t.Fatalf("the report: %d %s", a.status, a.body)
	}
	api.awaitStatus(api.post(order(bob)), "suppressed")
	security := object{"to": object{"email": bob}, "category": "security", "content": object{"email": object{"subject": "A new login", "text": "from Vienna"}}}
	api.awaitStatus(api.post(security), "delivered")
	if len(relay.to(bob)) != 2 {
		t.Errorf("he was written to %d times, want 2", len(relay.to(bob)))
	}
}
