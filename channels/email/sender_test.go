package email

import (
	"mime"
	"net/mail"
	"strings"
	"testing"

	"github.com/carillonhq/carillon/channels"
	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/notice"
)

func TestTheContentNamesItsSenderButNeverItsAddress(t *testing.T) {
	c := testComposer(t, config.Email{})
	for _, k := range []struct{ name, replyTo, wantName, wantReply string }{
		{"", "", "Acme Läden", ""},
		{"Acme Bestellungen", "Hilfe <help@acme.example>", "Acme Bestellungen", "help@acme.example"},
		{"Ünï \"x\" <evil@x.example>\r\nBcc: a@b.example", "", `Ünï "x" <evil@x.example> Bcc: a@b.example`, ""},
	} {
		m := channels.Message{ID: "d1", Address: notice.Address{To: "ada@example.com"},
			Content: notice.Content{Email: &notice.EmailContent{Subject: "s", Text: "t", FromName: k.name, ReplyTo: k.replyTo}}}
		got := parse(t, rendered(t, c, m, true))
		from, err := mail.ParseAddress(got.Header.Get("From"))
		if err != nil || from.Name != k.wantName || from.Address != "no-reply@acme.example" {
			t.Errorf("%q: From is %v, %v", k.name, got.Header["From"], err)
		}
		reply, _ := new(mime.WordDecoder).DecodeHeader(got.Header.Get("Reply-To"))
		if !strings.Contains(reply, k.wantReply) || len(got.Header["Bcc"]) > 0 {
			t.Errorf("%q: Reply-To %q, want %q", k.replyTo, reply, k.wantReply)
		}
	}
	for _, bad := range []string{"nobody", "a@b.example, c@d.example", "a@b.example\r\nBcc: x@y.example"} {
		m := channels.Message{ID: "d1", Address: notice.Address{To: "ada@example.com"},
			Content: notice.Content{Email: &notice.EmailContent{Subject: "s", Text: "t", ReplyTo: bad}}}
		if _, err := c.compose(m); err == nil || strings.Contains(err.Error(), bad) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
