package delivery_test

import (
	"testing"

	"github.com/carillonhq/carillon/notice"
)

// A reader whose language a template does not speak gets the default one, and
// the record says so; a region that falls back to its language is served.
func TestTheRecordSaysWhichLanguageWasMissing(t *testing.T) {
	bothWays(t, setup{catalogue: map[string]string{
		"hello/template.yaml":        "category: news\nfrom: {en: Acme News, de: Acme Neues}\nreply_to: help@acme.example\n",
		"hello/en/email.subject.txt": "hello",
		"hello/en/email.txt":         "hello",
		"hello/de/email.subject.txt": "hallo",
		"hello/de/email.txt":         "hallo",
	}}, func(t *testing.T, s setup) {
		w := newWorld(t, s)
		w.start("c1")
		for _, c := range []struct{ locale, subject, from, detail string }{
			{"fr-CA", "hello", "Acme News", "rendered in en: no parts for fr-CA"},
			{"de-AT", "hallo", "Acme Neues", ""},
			{"", "hello", "Acme News", ""},
		} {
			n := toUser("", notice.MediumEmail)
			n.Template, n.To.Email, n.To.Locale = "hello", "ada@example.com", c.locale
			id := w.admit(n)
			d := w.became(id, 1, notice.StatusDelivered)
			if last := d.Timeline[len(d.Timeline)-1]; last.Detail != c.detail {
				t.Errorf("%q: the record says %q, want %q", c.locale, last.Detail, c.detail)
			}
			sent := w.email.sent(id)
			if len(sent) != 1 {
				t.Fatalf("%q: sent %d times", c.locale, len(sent))
			}
			if m := sent[0].Content.Email; m.Subject != c.subject || m.FromName != c.from || m.ReplyTo != "help@acme.example" {
				t.Errorf("%q: %+v", c.locale, m)
			}
		}
	})
}
