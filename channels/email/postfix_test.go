package email

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/carillonhq/carillon/channels"
	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/notice"
)

// postfix is a real relay: Debian's Postfix with a configuration, queue and
// mailboxes of its own, on free ports of 127.0.0.1.
type postfix struct {
	dir                           string
	submission, implicit, trusted int // ports: STARTTLS and login, TLS and login, client certificate
	ca                            string
}

// need skips the test where a program is missing that .ci/setup could not
// install.
func need(t *testing.T, what string, ok bool) {
	t.Helper()
	if !ok {
		t.Skipf("%s is missing: .ci/setup installs it", what)
	}
}

func startPostfix(t *testing.T) *postfix {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("Postfix runs as root alone")
	}
	for _, program := range []string{"postfix", "saslpasswd2"} {
		_, err := exec.LookPath(program)
		need(t, program, err == nil)
	}
	dir, err := os.MkdirTemp("", "carillon-postfix-") // not t.TempDir: Postfix's own user must get through
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	p := &postfix{dir: dir, submission: freePort(t), implicit: freePort(t), trusted: freePort(t)}
	p.makeCertificates(t)
	p.configure(t)
	p.run(t, "postfix", "-c", filepath.Join(dir, "etc"), "start")
	t.Cleanup(func() {
		_ = exec.Command("postfix", "-c", filepath.Join(dir, "etc"), "stop").Run()
		if t.Failed() {
			log, _ := os.ReadFile(filepath.Join(dir, "log"))
			t.Logf("Postfix's log:\n%s", log)
		}
	})
	waitFor(t, "Postfix to listen", func() bool {
		conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", p.submission))
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	return p
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func (p *postfix) run(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
}

func (p *postfix) write(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(p.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func (p *postfix) configure(t *testing.T) {
	t.Helper()
	p.write(t, "etc/main.cf", strings.ReplaceAll(`compatibility_level = 3.6
queue_directory = DIR/queue
data_directory = DIR/data
maillog_file = DIR/log
maillog_file_prefixes = DIR
myhostname = mx.receiver.example
mydestination =
virtual_mailbox_domains = receiver.example, xn--bcher-kva.example
virtual_mailbox_base = DIR/mail
virtual_mailbox_maps = inline:{ ada@receiver.example=ada/, ada@xn--bcher-kva.example=ada/, ada@bücher.example=ada/, jürgen@receiver.example=ada/ }
virtual_uid_maps = static:65534
virtual_gid_maps = static:65534
mynetworks =
smtpd_relay_restrictions = permit_sasl_authenticated, permit_tls_all_clientcerts, reject
smtpd_recipient_restrictions = reject_unlisted_recipient
smtpd_tls_security_level = encrypt
smtpd_tls_auth_only = yes
smtpd_tls_chain_files = DIR/relay.pem
smtpd_tls_CAfile = DIR/ca.pem
smtpd_sasl_auth_enable = yes
smtpd_sasl_local_domain = mx.receiver.example
smtpd_sasl_path = smtpd
smtpd_sasl_security_options = noanonymous
message_size_limit = 200000
smtputf8_enable = yes
smtpd_error_sleep_time = 0
`, "DIR", p.dir))
	p.write(t, "etc/master.cf", fmt.Sprintf(`127.0.0.1:%d inet n - n - - smtpd
127.0.0.1:%d inet n - n - - smtpd -o smtpd_tls_wrappermode=yes
127.0.0.1:%d inet n - n - - smtpd -o smtpd_sasl_auth_enable=no -o smtpd_tls_req_ccert=yes
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
tlsmgr unix - - n 1000? 1 tlsmgr
proxymap unix - - n - - proxymap
anvil unix - - n - 1 anvil
virtual unix - n n - - virtual
error unix - - n - - error
retry unix - - n - - error
postlog unix-dgram n - n - 1 postlogd
`, p.submission, p.implicit, p.trusted))
	// Debian's Postfix looks for it there, whatever cyrus_sasl_config_path says.
	p.write(t, "etc/sasl/smtpd.conf", "pwcheck_method: auxprop\nauxprop_plugin: sasldb\nsasldb_path: "+p.dir+"/etc/sasl/db\nmech_list: PLAIN LOGIN CRAM-MD5 SCRAM-SHA-256\n")
	add := exec.CommandContext(t.Context(), "saslpasswd2", "-p", "-c", "-u", "mx.receiver.example", "-f", p.dir+"/etc/sasl/db", username)
	add.Stdin = strings.NewReader(password)
	if out, err := add.CombinedOutput(); err != nil {
		t.Fatalf("saslpasswd2: %v\n%s", err, out)
	}
	for _, d := range []string{"queue", "data", "mail"} {
		if err := os.Mkdir(filepath.Join(p.dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	p.run(t, "chmod", "-R", "a+rX", p.dir)
	p.run(t, "chown", "postfix", p.dir+"/data", p.dir+"/etc/sasl/db")
	p.run(t, "chown", "65534:65534", p.dir+"/mail")
}

// makeCertificates makes an authority, the relay's certificate and a client's.
func (p *postfix) makeCertificates(t *testing.T) {
	t.Helper()
	authority, key := p.certify(t, "authority", nil, nil, "ca.pem")
	p.certify(t, "127.0.0.1", authority, key, "relay.pem")
	p.certify(t, "the gateway", authority, key, "client.pem")
	p.ca = filepath.Join(p.dir, "ca.pem")
}

func (p *postfix) certify(t *testing.T, name string, issuer *x509.Certificate, issuerKey crypto.Signer, file string) (*x509.Certificate, crypto.Signer) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), BasicConstraintsValid: true,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature}
	if issuer == nil {
		c.IsCA, c.KeyUsage, c.IPAddresses = true, x509.KeyUsageCertSign, nil
		issuer, issuerKey = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, issuer, key.Public(), issuerKey)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	text := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw})) + string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	p.write(t, file, text)
	return c, key
}

// settings reach the relay as its configuration wants it.
func (p *postfix) settings() config.Email {
	return config.Email{
		SMTP: config.SMTP{Host: "127.0.0.1", Port: p.submission, TLS: config.TLSStartTLS, CAFile: p.ca,
			Username: username + "@mx.receiver.example", Password: config.NewSecret(password), Connections: 2},
		From:    "Acme Läden <no-reply@acme.example>",
		Timeout: config.Duration(20 * time.Second),
	}
}

// received waits for the mail with an id to be in the mailbox.
func (p *postfix) received(t *testing.T, id string) []byte {
	t.Helper()
	var found []byte
	waitFor(t, "the mail to be delivered", func() bool {
		files, _ := filepath.Glob(filepath.Join(p.dir, "mail/ada/new/*"))
		for _, f := range files {
			raw, err := os.ReadFile(f)
			if err == nil && strings.Contains(string(raw), "<"+id+"@acme.example>") {
				found = raw
			}
		}
		return found != nil
	})
	return found
}

// judgement is what testdata/judge.py says of a mail.
type judgement struct {
	Signatures []any
	Headers    map[string]string
	Names      []string
	From, To   [][2]string
	Parts      []struct{ Type, Disposition, Filename, Cid, Text, Sha256, Encoding string }
	Defects    []string
	Longest    int
}

func judge(t *testing.T, raw []byte, records map[string]string) (j judgement) {
	t.Helper()
	python := "/usr/bin/python3" // Debian's, which knows Debian's packages
	need(t, "python3 with python3-dkim and python3-nacl", exec.Command(python, "-c", "import dkim, nacl").Run() == nil)
	dns, err := json.Marshal(records)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), python, "testdata/judge.py", string(dns))
	cmd.Stdin, cmd.Stderr = strings.NewReader(string(raw)), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("the judge: %v", err)
	}
	if err := json.Unmarshal(out, &j); err != nil {
		t.Fatal(err)
	}
	return j
}

// dkimPair is an RSA and an Ed25519 key, and their records in the DNS.
func dkimPair(t testing.TB) (first, second *config.DKIM, records map[string]string) {
	t.Helper()
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
	records = map[string]string{
		"s1._domainkey.acme.example": "v=DKIM1; k=rsa; p=" + base64.StdEncoding.EncodeToString(rsaPublic),
		"s2._domainkey.acme.example": "v=DKIM1; k=ed25519; p=" + base64.StdEncoding.EncodeToString(edKey.Public().(ed25519.PublicKey)),
	}
	return &config.DKIM{Domain: "acme.example", Selector: "s1", Key: keyPEM(t, rsaKey)}, &config.DKIM{Domain: "acme.example", Selector: "s2", Key: keyPEM(t, edKey)}, records
}

func richMail(id string) channels.Message {
	m := mailFor(id)
	m.Address.To, m.To.Name = "ada@receiver.example", `Ada "Countess" Lovelace-Größe, 愛達`
	m.Category, m.Template, m.Tenant = "shipping", "order-shipped", "acme"
	m.Unsubscribe = "https://notify.acme.example/u/" + strings.Repeat("aB9_-", 40)
	m.Content.Email = &notice.EmailContent{
		Subject: "Ihre Bestellung „Größe 42“ ist unterwegs – 📦 " + strings.Repeat("sehr lang ", 20),
		HTML:    "<p>Grüße &amp; Küsse</p><img src=\"cid:logo@acme\">\n.\n..\n" + strings.Repeat("wort ", 400),
		Text:    "Grüße\n.\n..zwei Punkte\nFrom the beginning\n" + strings.Repeat("x", 1500) + "\nEnde  \n\n",
		Attachments: []notice.Attachment{
			{Filename: "Rechnung Größe 42 – 請求書.pdf", ContentType: "application/pdf", Content: base64.StdEncoding.EncodeToString([]byte(strings.Repeat("%PDF", 5000)))},
			{Filename: `a"b;c.txt`, ContentType: "text/plain; charset=utf-8", Content: base64.StdEncoding.EncodeToString([]byte(".\r\ntext\n"))},
			{Filename: "logo.png", ContentType: "image/png", Content: "iVBORw0KGgo=", Inline: "logo@acme"},
		},
	}
	return m
}

func digestOf(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// TestARealRelayTakesOurMails sends through Postfix, and has what arrived read
// by other hands.
func TestARealRelayTakesOurMails(t *testing.T) {
	p := startPostfix(t)
	t.Run("with a login of each kind", func(t *testing.T) {
		for _, auth := range []config.SMTPAuth{config.SMTPAuthPlain, config.SMTPAuthLogin, config.SMTPAuthCRAMMD5, config.SMTPAuthScramSHA256, config.SMTPAuthAuto} {
			cfg := p.settings()
			cfg.SMTP.Auth = auth
			m := richMail("1-auth-" + string(auth))
			if r := newAdapter(t, cfg).Send(t.Context(), m); r.Verdict != channels.Sent || r.ProviderID == "" {
				t.Errorf("%s: %v, %v", auth, r.Verdict, r.Err)
			}
			p.received(t, m.ID)
			cfg.SMTP.Password = config.NewSecret("wrong")
			if r := newAdapter(t, cfg).Send(t.Context(), m); r.Verdict != channels.Broken || strings.Contains(r.Err.Error(), "wrong") {
				t.Errorf("%s with a wrong password: %v, %v", auth, r.Verdict, r.Err)
			}
		}
	})
	t.Run("over TLS from the start", func(t *testing.T) {
		cfg := p.settings()
		cfg.SMTP.Port, cfg.SMTP.TLS = p.implicit, config.TLSImplicit
		m := richMail("1-implicit")
		if r := newAdapter(t, cfg).Send(t.Context(), m); r.Verdict != channels.Sent {
			t.Fatalf("%v, %v", r.Verdict, r.Err)
		}
		p.received(t, m.ID)
	})
	t.Run("with a client certificate", func(t *testing.T) { p.testClientCertificate(t) })
	t.Run("and refuses what it must", func(t *testing.T) { p.testRefusals(t) })
	t.Run("and others read and verify them", func(t *testing.T) { p.testContent(t) })
	t.Run("to international addresses", func(t *testing.T) { p.testInternational(t) })
}

func (p *postfix) testClientCertificate(t *testing.T) {
	cfg := p.settings()
	cfg.SMTP.Port, cfg.SMTP.Username, cfg.SMTP.Password = p.trusted, "", config.Secret{}
	if r := newAdapter(t, cfg).Send(t.Context(), richMail("1-nobody")); r.Verdict == channels.Sent {
		t.Error("without a certificate the mail was taken: the test proves nothing")
	}
	cfg.SMTP.ClientCert, cfg.SMTP.ClientKey = p.dir+"/client.pem", p.dir+"/client.pem"
	m := richMail("1-certificate")
	if r := newAdapter(t, cfg).Send(t.Context(), m); r.Verdict != channels.Sent {
		t.Fatalf("%v, %v", r.Verdict, r.Err)
	}
	p.received(t, m.ID)
}

func (p *postfix) testRefusals(t *testing.T) {
	a := newAdapter(t, p.settings())
	unknown := richMail("1-unknown")
	unknown.Address.To = "bob@receiver.example"
	if r := a.Send(t.Context(), unknown); r.Verdict != channels.Gone || r.Code != "5.1.1" || strings.Contains(r.Err.Error(), "bob") {
		t.Errorf("an unknown mailbox: %v, %q, %v", r.Verdict, r.Code, r.Err)
	}
	big := richMail("1-big")
	big.Content.Email.Text = strings.Repeat("0123456789\n", 30000)
	if r := a.Send(t.Context(), big); r.Verdict != channels.Rejected || !strings.Contains(r.Err.Error(), "the relay takes 200000") {
		t.Errorf("a mail beyond SIZE: %v, %v", r.Verdict, r.Err)
	}
	if r := a.Send(t.Context(), richMail("1-after")); r.Verdict != channels.Sent {
		t.Errorf("on the same connection after refusals: %v, %v", r.Verdict, r.Err)
	}
}

func (p *postfix) testContent(t *testing.T) {
	cfg := p.settings()
	cfg.ReturnPath = "bounce+{id}@acme.example"
	var records map[string]string
	cfg.DKIM, cfg.DKIMSecond, records = dkimPair(t)
	m := richMail("1-content")
	if r := newAdapter(t, cfg).Send(t.Context(), m); r.Verdict != channels.Sent {
		t.Fatalf("%v, %v", r.Verdict, r.Err)
	}
	j := judge(t, p.received(t, m.ID), records)
	if len(j.Signatures) != 2 || j.Signatures[0] != true || j.Signatures[1] != true {
		t.Errorf("the signatures are %v, want two that hold", j.Signatures)
	}
	if len(j.Defects) > 0 {
		t.Errorf("Python finds %q", j.Defects)
	}
	if j.Longest > mostLine+1 {
		t.Errorf("a line has %d bytes", j.Longest)
	}
	for name, want := range map[string]string{
		"Subject":               strings.TrimSpace(m.Content.Email.Subject),
		"Message-ID":            "<1-content@acme.example>",
		"Return-Path":           "<bounce+1-content@acme.example>",
		"List-Unsubscribe":      "<" + m.Unsubscribe + ">",
		"List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
		"Auto-Submitted":        "auto-generated",
		"Feedback-ID":           "order-shipped:shipping:acme:carillon",
	} {
		if got := strings.TrimSpace(j.Headers[name]); got != want { // Python keeps the space of a fold after the name
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if len(j.To) != 1 || j.To[0] != [2]string{m.To.Name, m.Address.To} || j.From[0] != [2]string{"Acme Läden", "no-reply@acme.example"} {
		t.Errorf("to %q, from %q", j.To, j.From)
	}
	checkParts(t, j, m)
}

func checkParts(t *testing.T, j judgement, m channels.Message) {
	t.Helper()
	var got []string
	for _, part := range j.Parts {
		got = append(got, strings.TrimSpace(strings.Join([]string{part.Type, part.Disposition, part.Filename, part.Cid}, " ")))
	}
	want := []string{"multipart/mixed", "multipart/related", "multipart/alternative", "text/plain", "text/html",
		"image/png inline logo.png <logo@acme>", "application/pdf attachment Rechnung Größe 42 – 請求書.pdf", `text/plain attachment a"b;c.txt`}
	if !slices.Equal(got, want) {
		t.Fatalf("the parts are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if text := strings.ReplaceAll(j.Parts[3].Text, "\r\n", "\n"); text != m.Content.Email.Text {
		t.Errorf("the text arrived as %q", text)
	}
	if text := strings.ReplaceAll(j.Parts[4].Text, "\r\n", "\n"); strings.TrimRight(text, "\n") != m.Content.Email.HTML {
		t.Errorf("the HTML arrived as %q", text)
	}
	if j.Parts[6].Sha256 != digestOf(strings.Repeat("%PDF", 5000)) || j.Parts[7].Sha256 != digestOf(".\r\ntext\n") {
		t.Error("an attachment arrived changed")
	}
}

func (p *postfix) testInternational(t *testing.T) {
	a := newAdapter(t, p.settings())
	for name, to := range map[string]string{"domain": "ada@bücher.example", "mailbox": "jürgen@receiver.example"} {
		m := richMail("1-international-" + name)
		m.Address.To = to
		if r := a.Send(t.Context(), m); r.Verdict != channels.Sent {
			t.Errorf("%s: %v, %v", name, r.Verdict, r.Err)
			continue
		}
		p.received(t, m.ID)
	}
}
