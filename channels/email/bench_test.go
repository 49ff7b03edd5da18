package email

import (
	"bufio"
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"net"
	"net/smtp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/carillonhq/carillon/channels"
	"github.com/carillonhq/carillon/config"
	"github.com/emersion/go-msgauth/dkim"
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
			var p paper
			b.ReportAllocs()
			for b.Loop() {
				l, err := composer.compose(m)
				if err != nil {
					b.Fatal(err)
				}
				if err := l.render(&p, c.eightBit); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkSign is one signature of a mail of 3 KB, beside go-msgauth's with the
// same key and headers, and beside the bare key.
func BenchmarkSign(b *testing.B) {
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		b.Fatal(err)
	}
	raw := plainMail(b)
	for name, key := range map[string]crypto.Signer{"Ed25519": edKey, "RSA-2048": rsaKey} {
		s, err := newSigner(config.Email{DKIM: &config.DKIM{Domain: "acme.example", Selector: "s1", Key: keyPEM(b, key)}}, time.Now)
		if err != nil {
			b.Fatal(err)
		}
		var p paper
		digest := make([]byte, 32)
		for _, way := range []struct {
			name string
			sign func() error
		}{
			{"the key alone", func() error { _, err := key.Sign(nil, digest, s.keys[0].hash); return err }},
			{"ours", func() error { return s.sign(&p, raw) }},
			{"go-msgauth", func() error { return theirs(key, raw) }},
		} {
			b.Run(name+"/"+way.name, func(b *testing.B) {
				b.ReportAllocs()
				before := processorTime(b)
				for b.Loop() {
					if err := way.sign(); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64((processorTime(b)-before).Nanoseconds())/float64(b.N), "cpu-ns/op")
			})
		}
	}
}

// theirs signs a mail with go-msgauth.
func theirs(key crypto.Signer, raw []byte) error {
	s, err := dkim.NewSigner(&dkim.SignOptions{
		Domain: "acme.example", Selector: "s1", Signer: key, HeaderKeys: signedHeaders(),
		HeaderCanonicalization: dkim.CanonicalizationRelaxed, BodyCanonicalization: dkim.CanonicalizationRelaxed,
	})
	if err != nil {
		return err
	}
	_, err = s.Write(raw)
	if err := errors.Join(err, s.Close()); err != nil {
		return err
	}
	_ = s.Signature()
	return nil
}

// BenchmarkSend is mails of 3 KB over 16 connections to a relay in the same
// process, beside a plain loop that has its mail written already: what is left
// between them is the composing, the signing and the pool. of-plain is the
// plain loop's processor time as a share of ours, measured in turns with it in
// the same run: 1 would be as cheap.
func BenchmarkSend(b *testing.B) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	for _, pipelining := range []bool{false, true} {
		for _, dkim := range []*config.DKIM{nil, {Domain: "acme.example", Selector: "s1", Key: keyPEM(b, key)}} {
			b.Run(fmt.Sprintf("pipelining=%v/dkim=%v", pipelining, dkim != nil), func(b *testing.B) { benchSend(b, pipelining, dkim) })
		}
	}
}

// benchSend sends b.N mails, and as many by the plain loop. They take turns, so
// that what else the machine does weighs on both.
func benchSend(b *testing.B, pipelining bool, dkim *config.DKIM) {
	const turns = 8
	ours, plain := ourSender(b, pipelining, dkim), plainSender(b)
	inTurns(b, 16*turns, ours) // both have their connections now
	inTurns(b, 16*turns, plain)
	var spentOurs, spentPlain time.Duration
	b.ReportAllocs()
	b.ResetTimer()
	for done, turn := 0, 1; turn <= turns; turn++ {
		mails := b.N*turn/turns - done
		done += mails
		spentOurs += inTurns(b, mails, ours)
		b.StopTimer()
		spentPlain += inTurns(b, mails, plain)
		b.StartTimer()
	}
	b.ReportMetric(float64(spentOurs.Nanoseconds())/float64(b.N), "cpu-ns/op")
	b.ReportMetric(float64(spentPlain.Nanoseconds())/float64(b.N), "plain-cpu-ns/op")
	b.ReportMetric(spentPlain.Seconds()/spentOurs.Seconds(), "of-plain")
}

// inTurns sends so many mails from 16 goroutines, and returns the processor
// time of it, the sink's included, which unlike the clock tells the same on a
// busy machine.
func inTurns(b *testing.B, mails int, send func(worker int) error) time.Duration {
	before := processorTime(b)
	var next atomic.Int64
	var wg sync.WaitGroup
	for worker := range 16 {
		wg.Go(func() {
			for next.Add(1) <= int64(mails) {
				if err := send(worker); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	return processorTime(b) - before
}

func processorTime(b *testing.B) time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		b.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

func ourSender(b *testing.B, pipelining bool, dkim *config.DKIM) func(int) error {
	cfg := settingsFor(b, startSink(b, pipelining))
	cfg.SMTP.Connections, cfg.Timeout, cfg.DKIM = 16, config.Duration(30*time.Second), dkim
	a, m := newAdapter(b, cfg), benchMail()
	return func(int) error { return a.Send(b.Context(), m).Err }
}

// plainSender is the fastest that a sender could be which asks for each reply:
// net/smtp, a kept connection for each worker, the same bytes each time.
func plainSender(b *testing.B) func(int) error {
	sink := startSink(b, false)
	raw := plainMail(b)
	clients := make([]*smtp.Client, 16)
	for i := range clients {
		c, err := smtp.Dial(sink.String())
		if err != nil {
			b.Fatal(err)
		}
		clients[i] = c
		b.Cleanup(func() { c.Close() })
	}
	return func(worker int) error { return plainSend(clients[worker], raw) }
}

func plainMail(b *testing.B) []byte {
	composer, err := newComposer(config.Email{From: "no-reply@acme.example"}, settings{now: time.Now})
	if err != nil {
		b.Fatal(err)
	}
	l, err := composer.compose(benchMail())
	if err != nil {
		b.Fatal(err)
	}
	var p paper
	if err := l.render(&p, true); err != nil {
		b.Fatal(err)
	}
	return p.plain.Bytes()
}

func plainSend(c *smtp.Client, raw []byte) error {
	if err := errors.Join(c.Mail("no-reply@acme.example"), c.Rcpt(adaAddress)); err != nil {
		return err
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	if _, err := w.Write(raw); err != nil {
		return err
	}
	return w.Close()
}

// startSink is a relay that takes everything and keeps nothing.
func startSink(b *testing.B, pipelining bool) net.Addr {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	hello := "250-sink\r\n250-8BITMIME\r\n250 ENHANCEDSTATUSCODES\r\n"
	if pipelining {
		hello = "250-sink\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 ENHANCEDSTATUSCODES\r\n"
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { swallow(conn, hello) })
		}
	})
	b.Cleanup(func() { l.Close() })
	return l.Addr()
}

func swallow(conn net.Conn, hello string) {
	defer conn.Close()
	in, out := bufio.NewReaderSize(conn, 16<<10), bufio.NewWriter(conn)
	reply := "220 sink\r\n"
	content := false
	for {
		if reply != "" {
			_, _ = out.WriteString(reply)
		}
		if in.Buffered() == 0 && out.Flush() != nil {
			return
		}
		line, err := in.ReadSlice('\n')
		if err != nil {
			return
		}
		switch reply = "250 2.0.0 fine\r\n"; {
		case content && string(line) == ".\r\n":
			content = false
		case content:
			reply = ""
		case bytes.HasPrefix(line, []byte("EHLO")):
			reply = hello
		case bytes.HasPrefix(line, []byte("DATA")):
			content, reply = true, "354 go on\r\n"
		}
	}
}
