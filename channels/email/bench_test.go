package email

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"strings"
	"testing"
	"time"

	"github.com/carillonhq/carillon/channels"
	"github.com/carillonhq/carillon/config"
)

func benchMail() channels.Message {
	m := mailFor("1-aaaaaaaaaaaaaaaaaaaa-0")
	m.Content.Email.HTML = strings.Repeat("<p>Hello Ada, grüße and <b>thanks</b> for the order.</p>\n", 40)
	m.Content.Email.Text = strings.Repeat("Hello Ada, grüße and thanks for the order.\n", 20)
	return m
}

// BenchmarkRender is composing and writing one mail of 3 KB.
func BenchmarkRender(b *testing.B) {
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		b.Fatal(err)
	}
	plain := config.Email{From: "no-reply@acme.example"}
	for _, c := range []struct {
		name     string
		key      any
		eightBit bool
	}{{"8bit", nil, true}, {"quoted-printable", nil, false}, {"8bit, Ed25519", edKey, true}, {"8bit, RSA-2048", rsaKey, true}} {
		b.Run(c.name, func(b *testing.B) {
			cfg := plain
			if c.key != nil {
				cfg.DKIM = &config.DKIM{Domain: "acme.example", Selector: "s1", Key: keyPEM(b, c.key)}
			}
			composer, err := newComposer(cfg, settings{now: time.Now})
			if err != nil {
				b.Fatal(err)
			}
			m := benchMail()
			b.ReportAllocs()
			for b.Loop() {
				l, err := composer.compose(m)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := l.render(c.eightBit); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkSend is whole mails of 3 KB over 16 connections to a relay in the
// same process, which costs about as much as the sender.
func BenchmarkSend(b *testing.B) {
	relay := startScripted(b, nil)
	cfg := settingsFor(b, relay.listener.Addr())
	cfg.SMTP.Connections, cfg.Timeout = 16, config.Duration(30*time.Second)
	a := newAdapter(b, cfg)
	m := benchMail()
	b.ReportAllocs()
	b.SetParallelism(16)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if r := a.Send(b.Context(), m); r.Verdict != channels.Sent {
				b.Errorf("%v: %v", r.Verdict, r.Err)
				return
			}
		}
	})
}
