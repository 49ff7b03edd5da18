package email

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/carillonhq/carillon/channels"
	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/notice"
	"github.com/emersion/go-msgauth/dkim"
)

func testComposer(t *testing.T, cfg config.Email, opts ...Option) *composer {
	t.Helper()
	s := settings{now: func() time.Time { return time.Date(2026, 11, 4, 0, 0, 0, 0, time.UTC) }}
	for _, o := range opts {
		o(&s)
	}
	if cfg.From == "" {
		cfg.From = "Acme Läden <no-reply@acme.example>"
	}
	c, err := newComposer(cfg, s)
	if err != nil {
		t.Fatal(err)
	}
	return &c
}

// rendered composes and renders m.
func rendered(t *testing.T, c *composer, m channels.Message, eightBit bool) []byte {
	t.Helper()
	l, err := c.compose(m)
	if err != nil {
		t.Fatal(err)
	}
	var p paper
	if err := l.render(&p, eightBit); err != nil {
		t.Fatal(err)
	}
	return slices.Concat(p.signatures, p.plain.Bytes())
}

// parse reads a mail with the standard library, which shares no code with the
// one that wrote it.
func parse(t *testing.T, raw []byte) *mail.Message {
	t.Helper()
	msg, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		t.Fatalf("%v in:\n%s", err, raw)
	}
	return msg
}

func decoded(t *testing.T, header mail.Header, name string) string {
	t.Helper()
	s, err := new(mime.WordDecoder).DecodeHeader(header.Get(name))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

type part struct{ kind, encoding, body string }

func partsOf(t *testing.T, msg *mail.Message) []part {
	t.Helper()
	kind, params, err := mime.ParseMediaType(msg.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/alternative" {
		t.Fatalf("Content-Type %q (%v), want multipart/alternative", msg.Header.Get("Content-Type"), err)
	}
	var parts []part
	r := multipart.NewReader(msg.Body, params["boundary"])
	for {
		p, err := r.NextRawPart()
		if err == io.EOF {
			return parts
		}
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, readPart(t, p))
	}
}

func readPart(t *testing.T, p *multipart.Part) part {
	t.Helper()
	encoding := p.Header.Get("Content-Transfer-Encoding")
	var body io.Reader = p
	if encoding == "quoted-printable" {
		body = quotedprintable.NewReader(p)
	}
	b, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	return part{p.Header.Get("Content-Type"), encoding, string(b)}
}

func TestAMailHasTextFirstThenHTML(t *testing.T) {
	for name, eightBit := range map[string]bool{"8bit": true, "quoted-printable": false} {
		t.Run(name, func(t *testing.T) {
			m := mailFor("1-aaaaaaaaaaaaaaaaaaaa-0")
			m.Content.Email.HTML = "<p>Grüße\n.\n.leading dot</p>"
			m.Content.Email.Text = "Grüße\n.\nText"
			msg := parse(t, rendered(t, testComposer(t, config.Email{}), m, eightBit))
			parts := partsOf(t, msg)
			want := []part{
				{"text/plain; charset=UTF-8", name, "Grüße\r\n.\r\nText"},
				{"text/html; charset=UTF-8", name, "<p>Grüße\r\n.\r\n.leading dot</p>"},
			}
			if len(parts) != 2 || parts[0] != want[0] || parts[1] != want[1] {
				t.Errorf("parts %q, want %q", parts, want)
			}
		})
	}
}

func TestTheHeadersOfAMail(t *testing.T) {
	msg := parse(t, rendered(t, testComposer(t, config.Email{}), mailFor("1-aaaaaaaaaaaaaaaaaaaa-0"), true))
	for name, want := range map[string]string{
		"From":             `Acme Läden <no-reply@acme.example>`,
		"To":               `"Ada Lovelace" <` + adaAddress + `>`,
		"Subject":          "Grüße",
		"Date":             "Tue, 03 Nov 2026 09:30:00 +0000",
		"Message-Id":       "<1-aaaaaaaaaaaaaaaaaaaa-0@acme.example>",
		"Auto-Submitted":   "auto-generated",
		"Mime-Version":     "1.0",
		"User-Agent":       "",
		"List-Unsubscribe": "",
	} {
		if got := decoded(t, msg.Header, name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestAnHTMLMailWithoutATextPartGetsOne(t *testing.T) {
	parts := partsOf(t, parse(t, rendered(t, testComposer(t, config.Email{}), mailFor("1-a-0"), true)))
	if want := "Hello Ada, your order (https://acme.example/o/1)\r\n"; len(parts) != 2 || parts[0].body != want {
		t.Errorf("parts %q, want the text %q first", parts, want)
	}
}

func TestATextMailIsOnePart(t *testing.T) {
	m := mailFor("1-a-0")
	m.Content.Email = &notice.EmailContent{Subject: "s", Text: "only text"}
	msg := parse(t, rendered(t, testComposer(t, config.Email{}), m, true))
	if kind := msg.Header.Get("Content-Type"); kind != "text/plain; charset=UTF-8" {
		t.Errorf("Content-Type %q", kind)
	}
}

func TestLinesTooLongFor8BitAreEncoded(t *testing.T) {
	m := mailFor("1-a-0")
	m.Content.Email.HTML = "<p>" + strings.Repeat("ä", 600) + "</p>"
	for line := range bytes.SplitSeq(rendered(t, testComposer(t, config.Email{}), m, true), []byte("\r\n")) {
		if len(line) > mostLine {
			t.Fatalf("a line of %d bytes", len(line))
		}
	}
}

func TestNothingCanBeSlippedIntoTheHeaders(t *testing.T) {
	evil := []string{"\r\nBcc: evil@evil.example", "\nBcc: evil@evil.example", "\rBcc: evil@evil.example",
		"x\r\n\r\n<b>body</b>", "\u2028Bcc: evil@evil.example", "\x00\x0b\x0cBcc: evil@evil.example"}
	for _, e := range evil {
		for field, set := range map[string]func(*channels.Message){
			"subject": func(m *channels.Message) { m.Content.Email.Subject = "hello" + e },
			"name":    func(m *channels.Message) { m.To.Name = "Ada" + e },
		} {
			m := mailFor("1-a-0")
			set(&m)
			msg := parse(t, rendered(t, testComposer(t, config.Email{}), m, true))
			if bcc, ok := msg.Header["Bcc"]; ok || len(partsOf(t, msg)) != 2 {
				t.Errorf("%s %q: Bcc %q", field, e, bcc)
			}
			to, err := msg.Header.AddressList("To")
			if err != nil || len(to) != 1 || to[0].Address != adaAddress {
				t.Errorf("%s %q: To %v (%v)", field, e, to, err)
			}
		}
	}
}

func TestAnAddressIsOneBareMailbox(t *testing.T) {
	for _, c := range []struct {
		name, to string
		rcpt     string // empty: refused
	}{
		{"a plain one", "ada@example.com", "<ada@example.com>"},
		{"a tagged one", "ada+news@example.com", "<ada+news@example.com>"},
		{"a quoted local part", `"ada lovelace"@example.com`, `<"ada lovelace"@example.com>`},
		{"an international domain", "ada@bücher.example", "<ada@xn--bcher-kva.example>"},
		{"an international local part", "ädä@example.com", "<ädä@example.com>"},
		{"an address literal", "ada@[192.0.2.1]", "<ada@[192.0.2.1]>"},
		{"none", "", ""},
		{"no domain", "ada", ""},
		{"two", "ada@example.com, eve@example.com", ""},
		{"a name with it", "Ada <ada@example.com>", ""},
		{"angle brackets", "<ada@example.com>", ""},
		{"a line break", "ada@example.com\r\nRCPT TO:<eve@example.com>", ""},
		{"a line break inside", "ada\r\n @example.com", ""},
		{"a NUL", "ada\x00@example.com", ""},
		{"a parameter", "ada@example.com> SIZE=1", ""},
		{"a route", "@evil.example:ada@example.com", ""},
		{"a comment", "ada@example.com (Ada)", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := mailFor("1-a-0")
			m.Address.To = c.to
			l, err := testComposer(t, config.Email{}).compose(m)
			if c.rcpt == "" {
				if err == nil || c.to != "" && strings.Contains(err.Error(), c.to) {
					t.Errorf("%q: envelope %q, error %v; want an error that does not repeat it", c.to, l.rcpt, err)
				}
				return
			}
			if err != nil || l.rcpt != c.rcpt {
				t.Errorf("%q: envelope %q (%v), want %q", c.to, l.rcpt, err, c.rcpt)
			}
		})
	}
}

func FuzzRecipient(f *testing.F) {
	f.Add("ada@example.com")
	f.Add("a\r\n@b")
	f.Add(`"a>\"b"@c`)
	f.Fuzz(func(t *testing.T, to string) {
		addr, err := recipient(to)
		if err != nil {
			return
		}
		s := addr.String()
		if strings.ContainsAny(s, "\r\n\x00") || !strings.HasPrefix(s, "<") || !strings.HasSuffix(s, ">") {
			t.Errorf("%q became the envelope %q", to, s)
		}
	})
}

func TestOneClickUnsubscribe(t *testing.T) {
	c := testComposer(t, config.Email{})
	t.Run("both headers of RFC 8058", func(t *testing.T) {
		m := mailFor("1-a-0")
		m.Unsubscribe = "https://notify.acme.example/u/tok-42"
		h := parse(t, rendered(t, c, m, true)).Header
		if got := h.Get("List-Unsubscribe"); got != "<https://notify.acme.example/u/tok-42>" {
			t.Errorf("List-Unsubscribe %q", got)
		}
		if got := h.Get("List-Unsubscribe-Post"); got != "List-Unsubscribe=One-Click" {
			t.Errorf("List-Unsubscribe-Post %q", got)
		}
	})
	t.Run("none without a link", func(t *testing.T) {
		if h := parse(t, rendered(t, c, mailFor("1-a-0"), true)).Header; h.Get("List-Unsubscribe")+h.Get("List-Unsubscribe-Post") != "" {
			t.Error("a mail that nobody can leave says how to")
		}
	})
	for _, link := range []string{"https://x.example/>\r\nBcc: evil@evil.example", "https://x.example/a>,<b", "https://x.example/ü", "https://x.example/a b"} {
		t.Run("a link that is more than one is refused: "+link, func(t *testing.T) {
			m := mailFor("1-a-0")
			m.Unsubscribe = link
			if _, err := c.compose(m); err == nil {
				t.Error("it was composed")
			}
		})
	}
}

func keyPEM(t testing.TB, key any) config.Secret {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return config.NewSecret(string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
}

func TestASignatureIsVerifiedByAnotherImplementation(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaPublic, err := x509.MarshalPKIXPublicKey(&rsaKey.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		key    crypto.Signer
		record string
	}{
		{"RSA", rsaKey, "v=DKIM1; k=rsa; p=" + base64.StdEncoding.EncodeToString(rsaPublic)},
		{"Ed25519", edKey, "v=DKIM1; k=ed25519; p=" + base64.StdEncoding.EncodeToString(edKey.Public().(ed25519.PublicKey))},
	} {
		for encoding, eightBit := range map[string]bool{"8bit": true, "quoted-printable": false} {
			t.Run(c.name+" over "+encoding, func(t *testing.T) {
				relay := startScripted(t, nil)
				if !eightBit {
					relay.offers = nil
				}
				cfg := settingsFor(t, relay.listener.Addr())
				cfg.DKIM = &config.DKIM{Domain: "acme.example", Selector: "s1", Key: keyPEM(t, c.key)}
				a := newAdapter(t, cfg)
				m := mailFor("1-a-0")
				m.Unsubscribe = "https://notify.acme.example/u/tok"
				m.Content.Email.Text = "Grüße\n.\n..two dots\nand  spaces \t\n\n\n"
				if r := send(t, a, m); r.Verdict != channels.Sent {
					t.Fatalf("%v, %v", r.Verdict, r.Err)
				}
				var received string
				relay.look(func() { received = relay.mails[0] })
				verify(t, received, c.record)
			})
		}
	}
}

func verify(t *testing.T, received, record string) {
	t.Helper()
	options := &dkim.VerifyOptions{LookupTXT: func(name string) ([]string, error) {
		if name != "s1._domainkey.acme.example" {
			t.Errorf("looked up %s", name)
		}
		return []string{record}, nil
	}}
	got, err := dkim.VerifyWithOptions(strings.NewReader(received), options)
	if err != nil || len(got) != 1 || got[0].Err != nil {
		t.Fatalf("%v, %+v in:\n%s", err, deref(got), received)
	}
	signed := strings.ToLower(strings.Join(got[0].HeaderKeys, ":"))
	for _, name := range []string{"from", "to", "subject", "date", "message-id", "list-unsubscribe", "list-unsubscribe-post"} {
		if !strings.Contains(":"+signed+":", ":"+name+":") {
			t.Errorf("%s is not signed: %s", name, signed)
		}
	}
	tampered := strings.Replace(received, "One-Click", "Two-Click", 1)
	if got, err := dkim.VerifyWithOptions(strings.NewReader(tampered), options); err == nil && got[0].Err == nil {
		t.Error("a changed List-Unsubscribe-Post still verifies")
	}
}

func TestASharedSignerSignsAtTheSameTime(t *testing.T) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := testComposer(t, config.Email{DKIM: &config.DKIM{Domain: "acme.example", Selector: "s1", Key: keyPEM(t, key)}})
	l, err := c.compose(mailFor("1-a-0"))
	if err != nil {
		t.Fatal(err)
	}
	errs := make(chan error, 8)
	for range cap(errs) {
		go func() { // the race detector is the judge here
			errs <- l.render(new(paper), true)
		}()
	}
	for range cap(errs) {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}

func TestAMessageThatIsNoMailIsRefused(t *testing.T) {
	for name, content := range map[string]*notice.EmailContent{"no content": nil, "neither text nor HTML": {Subject: "s"}} {
		m := mailFor("1-a-0")
		m.Content.Email = content
		relay := startScripted(t, nil)
		r := send(t, newAdapter(t, settingsFor(t, relay.listener.Addr())), m)
		if r.Verdict != channels.Rejected || r.Code != "invalid" || relay.opened != 0 {
			t.Errorf("%s: %v, %q, %v", name, r.Verdict, r.Code, r.Err)
		}
	}
}

func TestAnInternationalLocalPartNeedsSMTPUTF8(t *testing.T) {
	m := mailFor("1-a-0")
	m.Address.To = "ädä@example.com"
	for _, c := range []struct {
		name    string
		offers  []string
		verdict channels.Verdict
	}{
		{"offered", []string{"8BITMIME", "SMTPUTF8"}, channels.Sent},
		{"not offered", []string{"8BITMIME"}, channels.Rejected},
	} {
		relay := startScripted(t, nil)
		relay.offers = c.offers
		a := newAdapter(t, settingsFor(t, relay.listener.Addr()))
		if r := send(t, a, m); r.Verdict != c.verdict {
			t.Errorf("%s: %v, %v", c.name, r.Verdict, r.Err)
		}
		send(t, a, mailFor("1-a-1"))
		relay.look(func() {
			for _, line := range relay.said {
				asked := strings.HasPrefix(line, "MAIL") && strings.Contains(line, "SMTPUTF8")
				if asked && relay.said[len(relay.said)-3] == line {
					t.Errorf("%s: an ASCII mail asks for SMTPUTF8, which not every next relay has", c.name)
				}
			}
			if relay.opened != 1 {
				t.Errorf("%s: %d connections, want 1", c.name, relay.opened)
			}
		})
	}
}

func TestBadSettingsSayWhatToMend(t *testing.T) {
	small := config.NewSecret("-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----")
	for _, c := range []struct {
		name string
		set  func(*config.Email)
		says string
	}{
		{"no host", func(c *config.Email) { c.SMTP.Host = "" }, "email.smtp.host"},
		{"a port beyond range", func(c *config.Email) { c.SMTP.Port = 70000 }, "email.smtp.port: 70000"},
		{"an unknown TLS mode", func(c *config.Email) { c.SMTP.TLS = "ssl" }, `email.smtp.tls: "ssl"`},
		{"a missing ca_file", func(c *config.Email) { c.SMTP.CAFile = "/nonexistent.pem" }, "email.smtp.ca_file"},
		{"no sender", func(c *config.Email) { c.From = "nobody" }, `email.from: "nobody"`},
		{"an unreadable DKIM key", func(c *config.Email) { c.DKIM = &config.DKIM{Domain: "a.example", Selector: "s", Key: small} }, "email.dkim.key"},
		{"no DKIM selector", func(c *config.Email) { c.DKIM = &config.DKIM{Domain: "a.example", Key: small} }, `selector ""`},
		{"no timeout", func(c *config.Email) { c.Timeout = 0 }, "email.timeout"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := config.Email{SMTP: config.SMTP{Host: "127.0.0.1", Port: 25, TLS: config.TLSNone}, From: "a@b.example", Timeout: 1}
			c.set(&cfg)
			_, err := New(cfg)
			if err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "c2VjcmV0") {
				t.Errorf("got %v, want it to say %s", err, c.says)
			}
		})
	}
}

func deref(got []*dkim.Verification) (all []dkim.Verification) {
	for _, v := range got {
		all = append(all, *v)
	}
	return all
}

// A subject that looks encoded would come out as something else, and past what
// is kept out of headers.
func TestASubjectThatLooksEncodedComesOutAsItIs(t *testing.T) {
	c := testComposer(t, config.Email{})
	for _, subject := range []string{"=?utf-8?q?Bcc=0D=0Ax?=", "Your =?x order =?utf-8?b?4oCu?= today", "=?", strings.Repeat("=?utf-8?q?a?= ", 60) + "b", "=?utf-8?q?a?= Grüße"} {
		msg := parse(t, rendered(t, c, channels.Message{ID: "0-a", Address: notice.Address{To: "ada@example.com"}, Content: notice.Content{Email: &notice.EmailContent{Subject: subject, Text: "t"}}}, false))
		if got := decoded(t, msg.Header, "Subject"); got != subject {
			t.Errorf("%q became %q (%q)", subject, got, msg.Header.Get("Subject"))
		}
	}
}

func TestALongCategoryMakesNoLineThatMailMayNotHave(t *testing.T) {
	c := testComposer(t, config.Email{})
	raw := rendered(t, c, channels.Message{ID: "0-a", Template: "order-shipped", Category: strings.Repeat("long ", 400), Address: notice.Address{To: "ada@example.com"}, Content: notice.Content{Email: &notice.EmailContent{Subject: "s", Text: "t"}}}, false)
	for line := range bytes.SplitSeq(raw, []byte("\r\n")) {
		if len(line) > mostLine {
			t.Errorf("a line of %d bytes: %s", len(line), line)
		}
	}
	if got := parse(t, raw).Header.Get("Feedback-ID"); !strings.HasPrefix(got, "order-shipped:long-long-") || !strings.HasSuffix(got, "::carillon") {
		t.Errorf("Feedback-ID: %q", got)
	}
}
