package webhook

import (
	"strings"
	"testing"

	"github.com/carillonhq/carillon/channels"
	"github.com/carillonhq/carillon/notice"
)

func TestWhatIsQuotedOfAnAnswer(t *testing.T) {
	m := channels.Message{
		To:      notice.Person{User: "u42", Name: "Ada Lovelace", Email: "ada@example.com"},
		Address: notice.Address{To: "https://h.example/hooks/t0k3n?key=qu%65ry", Secret: secretA},
		Content: notice.Content{Webhook: []byte(`{"order":"A-1234","who":{"näme":"Grace"},"amount":1999,"tags":["urgent"],"ok":true}`)},
	}
	to, err := parseEndpoint(m.Address.To)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, encoding, body, want string }{
		{"plain words", "", "no such endpoint", "no such endpoint"},
		{"the name of a member that is missing", "", `{"error":"field order is required"}`, `{"error":"field order is required"}`},
		{"on one line", "", "a\r\n\tb\x00\x1b[31mc", "a b [31mc"},
		{"a value of the body", "", "unknown order A-1234", "unknown order …"},
		{"a name in the body, in capitals", "", "GRACE is not known", "… is not known"},
		{"a number in the body", "", "amount 1999 too large", "amount … too large"},
		{"the person", "", "Lovelace, u42: no", "…, …: no"},
		{"any mail address", "", "ask ops@host.example", "ask …"},
		{"the path's token", "", "POST /hooks/t0k3n", "POST …"},
		{"the query, decoded", "", "key query is wrong", "… … is wrong"},
		{"a secret", "", "bad secret " + secretA, "bad secret …"},
		{"the secret's half in words", "", "got MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "got …"},
		{"escaped for JSON", "", `n\u00e4me`, ""},
		{"escaped for HTML", "", "&#65;da", ""},
		{"escaped for URLs", "", "q%75ery", ""},
		{"packed", "gzip", "words", ""},
		{"bytes that are no text", "", "\xff\xfe", ""},
		{"nothing", "", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := newSent(&m, &to, &route{}).excerpt(c.encoding, []byte(c.body)); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
	t.Run("at most 160 bytes, whole words of what was cut", func(t *testing.T) {
		long := strings.Repeat("wörter ", 100)[:keptOfBody]
		got := newSent(&m, &to, &route{}).excerpt("", []byte(long))
		if len(got) > mostWords || len(got) < mostWords-10 || !strings.HasSuffix(got, "…") {
			t.Errorf("%d bytes: %q", len(got), got)
		}
	})
	t.Run("a sent word that the cut halves is not shown", func(t *testing.T) {
		body := strings.Repeat(" ", keptOfBody-3) + "Gra"
		if got := newSent(&m, &to, &route{}).excerpt("", []byte(body)); got != "" {
			t.Errorf("%q", got)
		}
	})
}

// FuzzExcerpt: no word of three letters or more that was sent is ever quoted.
func FuzzExcerpt(f *testing.F) {
	f.Add("topsecret", "the topsecret is")
	f.Fuzz(func(t *testing.T, word, around string) {
		for _, r := range word {
			if r < 'a' || r > 'z' {
				return
			}
		}
		if len(word) < shortWord {
			return
		}
		m := channels.Message{Content: notice.Content{Webhook: []byte(`{"v":"` + word + `"}`)}}
		s := newSent(&m, &endpoint{path: "/"}, &route{})
		got := s.excerpt("", []byte(around+" "+word+" "+around))
		for _, shown := range strings.FieldsFunc(got, func(r rune) bool { return r < 'a' || r > 'z' }) {
			if shown == word {
				t.Errorf("%q shows %q", got, word)
			}
		}
		if len(got) > mostWords {
			t.Errorf("%d bytes", len(got))
		}
	})
}
