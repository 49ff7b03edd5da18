package email

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/carillonhq/carillon/config"
	"github.com/emersion/go-msgauth/dkim"
)

// The mail of RFC 6376 §3.4.5, and what it says of it.
func TestCanonicalFormsAreThoseOfTheStandard(t *testing.T) {
	fields, body := splitMail(nil, []byte("A: X\r\nB : Y\t\r\n\tZ  \r\n\r\n C \r\nD \t E\r\n\r\n\r\n"))
	var header []byte
	for _, f := range fields {
		header = appendField(header, f)
	}
	if got, want := string(header), "a:X\r\nb:Y Z\r\n"; got != want {
		t.Errorf("the header is %q, want %q", got, want)
	}
	got, _ := bodyHash(nil, body)
	if want, _ := bodyHash(nil, []byte(" C\r\nD E\r\n")); got != want {
		t.Error("the body is not the one that the standard gives")
	}
}

func TestHashesOfBodies(t *testing.T) {
	const (
		empty  = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=" // RFC 6376 §3.4.4
		joes   = "2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=" // RFC 8463 §A.3
		joe    = "Hi.\r\n\r\nWe lost the game.  Are you hungry yet?\r\n\r\nJoe.\r\n"
		spread = "Hi.\t \r\n \r\nWe\tlost   the game. \tAre you hungry yet?\n\r\nJoe."
	)
	for name, c := range map[string]struct{ body, want string }{
		"the standard's mail":                       {joe, joes},
		"with other white space and no line end":    {spread, joes},
		"with empty lines behind it":                {joe + "\r\n \r\n\t\r\n", joes},
		"nothing at all":                            {"", empty},
		"nothing but line ends":                     {"\r\n\r\n", empty},
		"nothing but white space":                   {" \t\r\n  ", empty},
		"many empty lines, more than a chunk holds": {strings.Repeat("\r\n", 2*chunk), empty},
	} {
		t.Run(name, func(t *testing.T) {
			sum, _ := bodyHash(nil, []byte(c.body))
			if got := base64.StdEncoding.EncodeToString(sum[:]); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestABodyOfManyChunksIsHashedAsOne(t *testing.T) {
	line := strings.Repeat("x", 997)
	loose, tight := "", ""
	for i := range 40 {
		loose += fmt.Sprint(i, " \t ", line, " \r\n\r\n\t\r\n")
		tight += fmt.Sprint(i, " ", line, "\r\n\r\n\r\n")
	}
	tight = strings.TrimRight(tight, "\r\n") + "\r\n"
	got, scratch := bodyHash(nil, []byte(loose))
	want, _ := bodyHash(scratch[:0], []byte(tight))
	if got != want {
		t.Error("white space changes the hash")
	}
	if cap(scratch) > 4*chunk {
		t.Errorf("%d bytes were gathered before they were hashed", cap(scratch))
	}
}

// signingPair signs with an RSA and an Ed25519 key, and knows their records in
// the DNS. The RSA key is the shortest that may sign: its signature is quick.
func signingPair(t testing.TB) (*signer, map[string]string) {
	t.Helper()
	rsaKey, err := rsa.GenerateKey(rand.Reader, leastRSA)
	if err != nil {
		t.Fatal(err)
	}
	public, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaPublic, err := x509.MarshalPKIXPublicKey(&rsaKey.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	s, err := newSigner(config.Email{
		DKIM:       &config.DKIM{Domain: "acme.example", Selector: "s1", Key: keyPEM(t, rsaKey)},
		DKIMSecond: &config.DKIM{Domain: "acme.example", Selector: "s2", Key: keyPEM(t, edKey)},
	}, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return s, map[string]string{
		"s1._domainkey.acme.example": "v=DKIM1; k=rsa; p=" + base64.StdEncoding.EncodeToString(rsaPublic),
		"s2._domainkey.acme.example": "v=DKIM1; k=ed25519; p=" + base64.StdEncoding.EncodeToString(public),
	}
}

// signedMail is mail with its signatures before it.
func signedMail(t testing.TB, s *signer, mail string) string {
	t.Helper()
	var p paper
	if err := s.sign(&p, []byte(mail)); err != nil {
		t.Fatal(err)
	}
	return string(p.signatures) + mail
}

// doubts is what go-msgauth has against a mail's signatures: one error each,
// nil for one that holds.
func doubts(t testing.TB, mail string, records map[string]string) (errs []error) {
	t.Helper()
	all, err := dkim.VerifyWithOptions(strings.NewReader(mail), &dkim.VerifyOptions{
		LookupTXT: func(name string) ([]string, error) { return []string{records[name]}, nil },
	})
	if err != nil {
		t.Fatalf("%v in:\n%s", err, mail)
	}
	for _, v := range all {
		errs = append(errs, v.Err)
	}
	return errs
}

func holds(errs []error) bool {
	return len(errs) == 2 && errs[0] == nil && errs[1] == nil
}

// awkward is mails that signers are known to stumble over.
func awkward() map[string]string {
	const from = "From: Acme <a@acme.example>\r\n"
	return map[string]string{
		"no body":                             from + "\r\n",
		"a body of empty lines":               from + "\r\n\r\n\r\n",
		"a body that begins with white space": from + "\r\n \tx\r\n",
		"a body without a line end":           from + "\r\nx",
		"empty lines at the end":              from + "\r\nx\r\n\r\n \r\n",
		"runs of white space":                 from + "Subject: a  b \t c \r\n\r\n\ta  b\t\tc \r\n",
		"folded fields":                       from + "Subject: a\r\n b\r\n\t\tc\r\nTo:\r\n b@c.example\r\n\r\nx\r\n",
		"a field that is empty":               from + "Subject:\r\nTo: \r\n\r\nx\r\n",
		"a space before the colon":            from + "Subject : a\r\n\r\nx\r\n",
		"the same field twice":                from + "Subject: a\r\nSubject: b\r\nSubject: c\r\n\r\nx\r\n",
		"names in other cases":                "fRoM: a@acme.example\r\nMESSAGE-ID: <1@a>\r\nmime-version: 1.0\r\n\r\nx\r\n",
		"letters beyond ASCII":                from + "Subject: Grüße\r\n\r\nKüsse \xff\r\n",
		"dots":                                from + "\r\n.\r\n..x\r\n",
		"a long line":                         from + "\r\n" + strings.Repeat("wort ", 200) + "\r\n",
	}
}

func TestAwkwardMailsVerifyElsewhere(t *testing.T) {
	s, records := signingPair(t)
	for name, mail := range awkward() {
		t.Run(name, func(t *testing.T) {
			if errs := doubts(t, signedMail(t, s, mail), records); !holds(errs) {
				t.Errorf("go-msgauth has doubts: %v", errs)
			}
		})
	}
}

// A second implementation, since both sides of one could err alike.
func TestAwkwardMailsVerifyInPythonToo(t *testing.T) {
	python := "/usr/bin/python3" // Debian's, which knows Debian's packages
	need(t, "python3 with python3-dkim and python3-nacl", exec.Command(python, "-c", "import dkim, nacl").Run() == nil)
	s, records := signingPair(t)
	for _, name := range []string{"no body", "empty lines at the end", "runs of white space", "folded fields"} {
		t.Run(name, func(t *testing.T) {
			mail := strings.Replace(awkward()[name], "\r\n\r\n", "\r\nTo: b@c.example\r\n\r\n", 1) // the judge reads it
			if got := judge(t, []byte(signedMail(t, s, mail)), records).Signatures; !slices.Equal(got, []any{true, true}) {
				t.Errorf("python3-dkim says %v", got)
			}
		})
	}
}

func TestWhatIsSignedCannotBeChangedOrAdded(t *testing.T) {
	s, records := signingPair(t)
	mail := signedMail(t, s, "From: a@acme.example\r\nTo: b@c.example\r\nSubject: one\r\nX-Other: y\r\n\r\nbody text\r\n")
	for name, c := range map[string]struct {
		old, new string
		holds    bool
	}{
		"the body":                      {"body text", "body test", false},
		"a field":                       {"Subject: one", "Subject: two", false},
		"a second field above":          {"From: a@acme.example", "From: evil@x.example\r\nFrom: a@acme.example", false},
		"a second field below":          {"Subject: one", "Subject: one\r\nFrom: evil@x.example", false},
		"a field that it lacks":         {"Subject: one", "Subject: one\r\nReply-To: evil@x.example", false},
		"the time of signing":           {"; t=", "; t=1", false},
		"a field that is not signed":    {"X-Other: y", "X-Other: z", true},
		"white space, as relays do":     {"Subject: one", "subject:  one ", true},
		"folding, as relays do":         {"To: b@c.example", "To:\r\n\tb@c.example", true},
		"white space at the body's end": {"body text\r\n", "body  text \r\n\r\n", true},
	} {
		t.Run(name, func(t *testing.T) {
			changed := strings.ReplaceAll(mail, c.old, c.new)
			if changed == mail {
				t.Fatal("nothing was changed")
			}
			if errs := doubts(t, changed, records); holds(errs) != c.holds {
				t.Errorf("go-msgauth says %v; want both to hold: %v", errs, c.holds)
			}
		})
	}
}

func TestASignatureFitsIntoShortLines(t *testing.T) {
	s, _ := signingPair(t)
	field := strings.TrimSuffix(signedMail(t, s, "From: a@acme.example\r\n\r\n"), "From: a@acme.example\r\n\r\n")
	for line := range strings.SplitSeq(field, "\r\n") {
		if len(line) > 78 || strings.ContainsAny(line, "\r\n") { // RFC 5322 §2.1.1
			t.Errorf("a line of %d: %q", len(line), line)
		}
	}
}

func TestSigningNeedsFewAllocations(t *testing.T) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s, err := newSigner(config.Email{DKIM: &config.DKIM{Domain: "acme.example", Selector: "s1", Key: keyPEM(t, key)}}, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	mail := []byte("From: a@acme.example\r\nSubject: x\r\n\r\n" + strings.Repeat("A line of a mail,  and a tab\t.\r\n", 100))
	var p paper
	if got := testing.AllocsPerRun(100, func() { _ = s.sign(&p, mail) }); got > 4 {
		t.Errorf("%v allocations a signature, want 4 at most", got)
	}
}

func TestKeysThatCannotSignAreRefused(t *testing.T) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, cfg := range map[string]config.DKIM{
		"a domain that would add a tag": {Domain: "acme.example; l=0", Selector: "s1", Key: keyPEM(t, key)},
		"a selector with a line end":    {Domain: "acme.example", Selector: "s1\r\nX: y", Key: keyPEM(t, key)},
		"a domain in other letters":     {Domain: "grüße.example", Selector: "s1", Key: keyPEM(t, key)},
		"no selector":                   {Domain: "acme.example", Key: keyPEM(t, key)},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := newSigner(config.Email{DKIMSecond: &cfg}, time.Now); err == nil || !strings.HasPrefix(err.Error(), "dkim_second: domain ") {
				t.Errorf("got %v", err)
			}
		})
	}
}

// FuzzSignature signs any header and body, and has go-msgauth verify them.
func FuzzSignature(f *testing.F) {
	s, records := signingPair(f)
	for _, mail := range awkward() {
		header, body, _ := strings.Cut(mail, "\r\n\r\n")
		f.Add(header, body)
	}
	f.Fuzz(func(t *testing.T, header, body string) {
		mail := "From: a@acme.example\r\n" + fuzzedHeader(header) + "\r\n" + strings.ReplaceAll(asReceived(body), "\n", "\r\n")
		signed := signedMail(t, s, mail)
		if errs := doubts(t, signed, records); !holds(errs) {
			t.Fatalf("%v in:\n%q", errs, signed)
		}
		wire := stuff(nil, []byte(signed))
		if errs := doubts(t, unstuffed(string(wire)), records); !holds(errs) {
			t.Fatalf("after the relay: %v in:\n%q", errs, wire)
		}
	})
}

// asReceived makes a bare CR a line end, as crlf has done before a mail is
// signed: receivers differ over it.
func asReceived(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\r", "\n")
}

// fuzzedHeader makes header fields of anything: each line that is none continues
// the one before it. Other signatures would be verified too.
func fuzzedHeader(s string) string {
	var b strings.Builder
	for line := range strings.SplitSeq(asReceived(s), "\n") {
		name, _, ok := strings.Cut(line, ":")
		switch {
		case !ok || strings.TrimSpace(name) == "" || strings.ContainsAny(name, " \t") || strings.EqualFold(name, "DKIM-Signature"):
			b.WriteString("X-More: " + line)
		case strings.EqualFold(name, "From"): // go-msgauth takes one
			b.WriteString("Sender: " + line)
		default:
			b.WriteString(line)
		}
		b.WriteString("\r\n")
		if len(line)%3 == 0 {
			b.WriteString("\t" + line + " \r\n")
		}
	}
	return b.String()
}

// unstuffed is a mail as its receiver reads it off the wire.
func unstuffed(wire string) string {
	lines := strings.Split(strings.TrimSuffix(wire, ".\r\n"), "\r\n")
	for i := range lines {
		lines[i] = strings.TrimPrefix(lines[i], ".")
	}
	return strings.Join(lines, "\r\n")
}
