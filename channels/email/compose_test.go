package email

import (
	"net/mail"
	"strings"
	"testing"
	"time"

	"github.com/carillonhq/carillon/channels"
	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/notice"
)

func TestComposeWritesTheMailWithoutARelay(t *testing.T) {
	a, err := New(config.Email{From: "Acme <no-reply@acme.example>", Timeout: config.Duration(time.Second), MaxAttachment: 1024,
		SMTP: config.SMTP{Host: "127.0.0.1", Port: 9, TLS: config.TLSNone, Connections: 1}})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	m := channels.Message{ID: "0-abc", Template: "hello", Category: "news", To: notice.Person{Name: "Ada"},
		Address:     notice.Address{Channel: notice.ChannelEmail, To: "ada@example.com"},
		AcceptedAt:  time.Date(2027, 1, 1, 9, 0, 0, 0, time.UTC),
		Unsubscribe: "https://acme.example/u/token",
		Content:     notice.Content{Email: &notice.EmailContent{Subject: "Grüße", HTML: "<p>Hi</p>", Text: "Hi"}}}
	raw, err := a.Compose(m)
	if err != nil {
		t.Fatal(err)
	}
	got, err := mail.ReadMessage(strings.NewReader(string(raw)))
	if err != nil {
		t.Fatalf("%v in:\n%s", err, raw)
	}
	for name, want := range map[string]string{"Message-ID": "<0-abc@acme.example>", "Subject": "=?UTF-8?q?Gr=C3=BC=C3=9Fe?=",
		"List-Unsubscribe": "<https://acme.example/u/token>", "To": `"Ada" <ada@example.com>`} {
		if got.Header.Get(name) != want {
			t.Errorf("%s: %q, want %q", name, got.Header.Get(name), want)
		}
	}
	m.Address.To = "nobody"
	if _, err := a.Compose(m); err == nil || strings.Contains(err.Error(), "nobody") {
		t.Errorf("a mail to what is no mailbox: error %v", err)
	}
}
