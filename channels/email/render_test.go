package email

import (
	"strings"
	"testing"

	"github.com/carillonhq/carillon/config"
)

// The mails of a connection are written on the same buffers, one after the
// other.
func TestAMailHoldsNothingOfTheOneBeforeIt(t *testing.T) {
	signer, records := signingPair(t)
	c := testComposer(t, config.Email{From: "no-reply@acme.example"})
	var p paper
	for _, m := range []struct {
		word   string
		times  int
		signed bool
	}{{"first", 900, true}, {"second", 3, true}, {"third", 40, false}, {"fourth", 9000, true}, {"fifth", 1, true}} {
		message := mailFor("1-a-0")
		message.Content.Email.HTML, message.Content.Email.Text = "", strings.Repeat(m.word+"\n", m.times)
		l, err := c.compose(message)
		if err != nil {
			t.Fatal(err)
		}
		if c.signer = nil; m.signed {
			c.signer = signer
		}
		if err := l.render(&p, true); err != nil {
			t.Fatal(err)
		}
		wire := string(p.sealed())
		if got := strings.Count(wire, m.word+"\r\n"); got != m.times {
			t.Errorf("the %s mail has %d of its %d lines", m.word, got, m.times)
		}
		_, body, _ := strings.Cut(unstuffed(wire), "\r\n\r\n")
		if strings.Trim(strings.ReplaceAll(body, m.word, ""), "\r\n") != "" {
			t.Errorf("the %s mail holds something else", m.word)
		}
		if errs := doubts(t, unstuffed(wire), records); holds(errs) != m.signed || len(errs) > 2 {
			t.Errorf("the %s mail's signatures: %v", m.word, errs)
		}
		if want := len(wire) - len(".\r\n"); p.size() != want {
			t.Errorf("the %s mail has %d bytes, and %d are announced", m.word, want, p.size())
		}
	}
}

func TestABigMailsBuffersAreNotKept(t *testing.T) {
	signer, _ := signingPair(t)
	c := testComposer(t, config.Email{From: "no-reply@acme.example"})
	c.signer = signer
	var p paper
	kept := func() int { return max(p.plain.Cap(), cap(p.wire), cap(p.scratch), cap(p.signatures)) }
	write := func(text string) {
		m := mailFor("1-a-0")
		m.Content.Email.Text = text
		l, err := c.compose(m)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.render(&p, true); err != nil {
			t.Fatal(err)
		}
		p.sealed()
	}
	write(strings.Repeat("word\n", 1<<18))
	if kept() < 1<<20 {
		t.Fatalf("a mail of a megabyte was written on %d bytes", kept())
	}
	if p.clear(); kept() > mostKept {
		t.Errorf("%d bytes are kept, want %d at most", kept(), mostKept)
	}
	write("small")
	before := kept()
	p.clear()
	write("small")
	if kept() != before {
		t.Errorf("a mail of the same size made the buffers %d, and they were %d", kept(), before)
	}
}
