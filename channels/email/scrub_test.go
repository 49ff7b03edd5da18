package email

import (
	"strings"
	"testing"
)

func TestScrubbedWordsNameNobody(t *testing.T) {
	for _, c := range []struct{ name, words, want string }{
		{"the address", "5.1.1 <ada.lovelace@example.com>: Recipient rejected", "5.1.1 [address] Recipient rejected"},
		{"other case", "user ADA.Lovelace unknown", "user [address] unknown"},
		{"the domain", "Domain example.com not found", "Domain [address] not found"},
		{"in a link", "see https://x.example/?u=ada.lovelace%40example.com now", "see [address] now"},
		{"another address", "relay for eve@evil.example denied", "relay for [address] denied"},
		{"several lines", "5.7.1 one\n5.7.1 two\x07", "5.7.1 one 5.7.1 two"},
		{"nobody", "4.2.0 try later", "4.2.0 try later"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := scrub(c.words, adaAddress); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
	if got := scrub(strings.Repeat("word ", 1000), adaAddress); len(got) > mostWords {
		t.Errorf("%d bytes were kept", len(got))
	}
}

func FuzzScrub(f *testing.F) {
	f.Add("550 <ada@x.example> no", "ada@x.example")
	f.Fuzz(func(t *testing.T, words, local string) {
		if strings.ContainsAny(local, "@% \t\r\n") || len(local) < 3 || strings.Contains(redacted, strings.ToLower(local)) {
			return
		}
		got := strings.ToLower(scrub(words, local+"@x.example"))
		if strings.Contains(got, strings.ToLower(local)+"@") || strings.ContainsAny(got, "\r\n") {
			t.Errorf("%q names %q: %q", words, local, got)
		}
	})
}
