package optout

import (
	"encoding/base64"
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"
)

func at() time.Time { return time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC) }

func keysOf(t testing.TB, secrets ...string) *Keys {
	t.Helper()
	var raw [][]byte
	for _, s := range secrets {
		raw = append(raw, []byte(s))
	}
	k, err := NewKeys(raw...)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func wishes() map[string]Wish {
	return map[string]Wish{
		"a user's":                     {Tenant: "acme", User: "u42", Category: "marketing"},
		"an address's":                 {Tenant: "acme", Address: "grüße@bücher.example", Category: "news.weekly"},
		"of names that hold anything":  {Tenant: "a", User: "\x00\xff:/?#\n", Category: "c"},
		"of the longest user there is": {Tenant: strings.Repeat("t", 64), User: strings.Repeat("u", 256), Category: strings.Repeat("c", 64)},
	}
}

func TestAWishComesBackAsItWas(t *testing.T) {
	k := keysOf(t, "a secret of some length")
	for name, w := range wishes() {
		t.Run(name, func(t *testing.T) {
			token := k.Token(w, at())
			if got, err := k.Open(token, at().Add(300*24*time.Hour)); err != nil || got != w {
				t.Errorf("got %+v, %v", got, err)
			}
			if url.PathEscape(token) != token || len(token) > MaxToken {
				t.Errorf("%q cannot stand in a URL as it is", token)
			}
			if again := k.Token(w, at()); again != token {
				t.Error("another attempt has another token")
			}
			raw, _ := base64.RawURLEncoding.DecodeString(token)
			for _, secret := range []string{w.User, w.Address} {
				if secret != "" && strings.Contains(string(raw)+token, secret) {
					t.Error("the token shows whom it is of")
				}
			}
		})
	}
}

func TestEveryChangedBitMakesATokenInvalid(t *testing.T) {
	k := keysOf(t, "a secret of some length")
	token := k.Token(Wish{Tenant: "acme", User: "u42", Category: "marketing"}, at())
	raw, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		t.Fatal(err)
	}
	for i := range len(raw) * 8 {
		raw[i/8] ^= 1 << (i % 8)
		if w, err := k.Open(base64.RawURLEncoding.EncodeToString(raw), at()); !errors.Is(err, ErrToken) {
			t.Errorf("bit %d turned: %+v, %v", i, w, err)
		}
		raw[i/8] ^= 1 << (i % 8)
	}
	for cut := range len(token) {
		if _, err := k.Open(token[:cut], at()); !errors.Is(err, ErrToken) {
			t.Errorf("cut to %d characters: %v", cut, err)
		}
	}
}

func TestALinkOutlivesAChangeOfKeyButNotItsTime(t *testing.T) {
	w := Wish{Tenant: "acme", Address: "ada@example.com", Category: "marketing"}
	old, both, other := keysOf(t, "old secret 123456"), keysOf(t, "new secret 123456", "old secret 123456"), keysOf(t, "new secret 123456")
	token := old.Token(w, at())
	if got, err := both.Open(token, at()); err != nil || got != w {
		t.Errorf("with the old key beside: %+v, %v", got, err)
	}
	if _, err := other.Open(token, at()); !errors.Is(err, ErrToken) {
		t.Errorf("without the old key: %v", err)
	}
	if got, err := other.Open(both.Token(w, at()), at()); err != nil || got != w {
		t.Errorf("the first key does not seal: %+v, %v", got, err)
	}
	if _, err := both.Open(token, at().Add(Lifetime-time.Hour)); err != nil {
		t.Errorf("an hour before its end: %v", err)
	}
	if _, err := both.Open(token, at().Add(Lifetime+25*time.Hour)); !errors.Is(err, ErrExpired) {
		t.Errorf("a day after its end: %v", err)
	}
}

func TestWhoHasNoLink(t *testing.T) {
	l := NewLinks("https://notify.acme.example/u/", keysOf(t, "a secret of some length"), []string{"security"})
	for name, w := range map[string]Wish{
		"a mandatory category": {Tenant: "acme", User: "u42", Category: "security"},
		"no category":          {Tenant: "acme", User: "u42"},
		"nobody":               {Tenant: "acme", Category: "marketing"},
		"a user without end":   {Tenant: "acme", User: strings.Repeat("u", 5000), Category: "marketing"},
	} {
		if link := l.For(w, at()); link != "" {
			t.Errorf("%s: has the link %q", name, link)
		}
	}
	if link := l.For(Wish{User: "u42", Category: "marketing"}, at()); !strings.HasPrefix(link, "https://notify.acme.example/u/") || strings.Count(link, "/") != 4 {
		t.Errorf("the link of anybody else is %q", link)
	}
	if link := (*Links)(nil).For(Wish{User: "u42", Category: "marketing"}, at()); link != "" {
		t.Errorf("without links there is %q", link)
	}
	if _, err := NewKeys(); err == nil {
		t.Error("keys were made of nothing")
	}
}

func FuzzOpen(f *testing.F) {
	k := keysOf(f, "a secret of some length")
	for _, w := range wishes() {
		f.Add(k.Token(w, at()))
	}
	f.Add("AQ")
	f.Fuzz(func(t *testing.T, token string) {
		w, err := k.Open(token, at())
		if err == nil && k.Token(w, at()) != token {
			t.Errorf("%q was opened as %+v, whose token it is not", token, w)
		}
	})
}

func BenchmarkToken(b *testing.B) {
	k := keysOf(b, "a secret of some length")
	w := Wish{Tenant: "acme", User: "u42", Category: "marketing"}
	b.ReportAllocs()
	for b.Loop() {
		if k.Token(w, at()) == "" {
			b.Fatal("no token")
		}
	}
}
