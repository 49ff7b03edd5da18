package sandbox

import (
	"bytes"
	"crypto/ecdh"
	"encoding/base64"
	"strings"
	"testing"

	"github.com/emersion/go-smtp"
)

// rfc8291 is the browser and the message of RFC 8291 §5.
func rfc8291(t testing.TB) (subscription, []byte) {
	t.Helper()
	decode := func(s string) []byte {
		out, err := base64.RawURLEncoding.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	private, err := ecdh.P256().NewPrivateKey(decode("q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94"))
	if err != nil {
		t.Fatal(err)
	}
	return subscription{private: private, auth: decode("BTBZMqHH6r4Tts7J_aSIgg")},
		decode("DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN")
}

const watermelon = "When I grow up, I want to be a watermelon"

func TestTheExampleOfRFC8291IsDecrypted(t *testing.T) {
	sub, body := rfc8291(t)
	plain, err := sub.decrypt(body)
	if err != nil || string(plain) != watermelon {
		t.Errorf("got %q, %v", plain, err)
	}
}

func FuzzDecrypt(f *testing.F) {
	sub, body := rfc8291(f)
	f.Add(body)
	f.Add(body[:headerLen+publicLen])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, changed []byte) {
		plain, err := sub.decrypt(changed)
		// The record size is not authenticated; everything else is.
		same := len(changed) == len(body) && bytes.Equal(changed[:saltLen], body[:saltLen]) && bytes.Equal(changed[saltLen+4:], body[saltLen+4:])
		if err == nil && !same {
			t.Errorf("%x was decrypted to %q", changed, plain)
		}
	})
}

func FuzzParseMail(f *testing.F) {
	f.Add("From: a@b.c\r\nSubject: =?utf-8?q?x?=\r\n\r\nhello")
	f.Add("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/html\r\n\r\n<p>\r\n--b--")
	f.Add("Content-Transfer-Encoding: base64\r\nContent-Type: text/plain; charset=klingon\r\n\r\n!!!")
	f.Fuzz(func(t *testing.T, raw string) {
		m := parseMail([]byte(raw))
		m.trim()
		if !strings.HasPrefix(raw, m.Raw) && len(raw) <= keepPart {
			t.Errorf("raw is %q, sent was %q", m.Raw, raw)
		}
		if m.size() > 4<<20 {
			t.Errorf("a mail of %d bytes holds %d", len(raw), m.size())
		}
	})
}

func TestReasonsOfARelayAreSplitFromTheirCode(t *testing.T) {
	for reason, want := range map[string]struct {
		code  smtp.EnhancedCode
		words string
	}{
		"4.2.2 mailbox full": {smtp.EnhancedCode{4, 2, 2}, "mailbox full"},
		"5.1.1":              {smtp.EnhancedCode{5, 1, 1}, ""},
		"mailbox full":       {smtp.NoEnhancedCode, "mailbox full"},
		"4.2 full":           {smtp.NoEnhancedCode, "4.2 full"},
		"4.x.2 full":         {smtp.NoEnhancedCode, "4.x.2 full"},
		"":                   {smtp.NoEnhancedCode, ""},
	} {
		if code, words := enhanced(reason); code != want.code || words != want.words {
			t.Errorf("%q: %v %q, want %v %q", reason, code, words, want.code, want.words)
		}
	}
}
