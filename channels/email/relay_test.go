package email

import (
	"bufio"
	"context"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/carillonhq/carillon/channels"
	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/notice"
)

// What a scripted relay may do in place of a reply.
const (
	cutOff = "<cut>"    // close the connection without a word
	silent = "<silent>" // say nothing until the test ends
	vanish = "<vanish>" // give the usual reply, then close the connection
	babble = "<babble>" // begin a reply that never ends
	drip   = "<drip>"   // the same, a byte at a time
)

// scripted is an SMTP relay that does at each step what its script says. A
// step is a command's verb, "greeting", "content" for the first line of a mail,
// or "dot" for its end.
type scripted struct {
	listener net.Listener
	ended    chan struct{}
	conns    sync.WaitGroup

	mu       sync.Mutex
	script   map[string][]string // what to do, each used up in turn; the usual reply afterwards
	offers   []string            // EHLO keywords
	said     []string            // every command
	mails    []string            // every mail that was accepted
	opened   int                 // connections
	open     int                 // connections that are open now
	mostOpen int
	babbled  int64 // bytes of replies that never end
}

func startScripted(t testing.TB, script map[string][]string) *scripted {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &scripted{listener: l, ended: make(chan struct{}), script: script, offers: []string{"8BITMIME", "ENHANCEDSTATUSCODES"}}
	var accepting sync.WaitGroup
	accepting.Go(s.accept)
	t.Cleanup(func() {
		close(s.ended)
		l.Close()
		accepting.Wait()
		s.conns.Wait()
	})
	return s
}

func (s *scripted) accept() {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.conns.Go(func() { s.serve(conn) })
	}
}

// serve holds one conversation, and ends it when the test does.
func (s *scripted) serve(conn net.Conn) {
	s.count(1)
	defer s.count(-1)
	defer conn.Close()
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		select {
		case <-s.ended:
			conn.Close()
		case <-stop:
		}
	}()
	in := bufio.NewReader(conn)
	if !s.act(conn, "greeting", "220 relay.example ESMTP") {
		return
	}
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		if !s.answer(conn, in, line) {
			return
		}
	}
}

func (s *scripted) answer(conn net.Conn, in *bufio.Reader, line string) bool {
	s.mu.Lock()
	s.said = append(s.said, line)
	s.mu.Unlock()
	verb, _, _ := strings.Cut(line, " ")
	switch verb = strings.ToUpper(verb); verb {
	case "EHLO":
		return s.act(conn, verb, s.hello())
	case "DATA":
		return s.act(conn, verb, "354 go on") && s.content(conn, in)
	case "QUIT":
		s.act(conn, verb, "221 2.0.0 bye")
		return false
	}
	return s.act(conn, verb, "250 2.0.0 fine")
}

// content reads a mail, unless the script's reply to DATA was no 354.
func (s *scripted) content(conn net.Conn, in *bufio.Reader) bool {
	if s.refusedData() {
		return true
	}
	var mail strings.Builder
	for first := true; ; first = false {
		line, err := in.ReadString('\n')
		if err != nil || first && s.next("content") == cutOff {
			return false
		}
		if line == ".\r\n" {
			break
		}
		mail.WriteString(strings.TrimPrefix(line, "."))
	}
	s.mu.Lock()
	s.mails = append(s.mails, mail.String())
	s.mu.Unlock()
	return s.act(conn, "dot", "250 2.0.0 Ok: queued as 4F3B2A1C")
}

func (s *scripted) refusedData() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := s.said[len(s.said)-1]
	return strings.HasPrefix(last, "refused ")
}

func (s *scripted) hello() string {
	lines := append([]string{"relay.example"}, s.offers...)
	for i := range lines {
		sep := "-"
		if i == len(lines)-1 {
			sep = " "
		}
		lines[i] = "250" + sep + lines[i]
	}
	return strings.Join(lines, "\r\n")
}

// act does what the script has for step, else says usual; false ends the
// conversation.
func (s *scripted) act(conn net.Conn, step, usual string) bool {
	todo := s.next(step)
	switch todo {
	case cutOff:
		return false
	case silent:
		// Go on reading, so that the sender's hanging up is seen.
		_, _ = io.Copy(io.Discard, conn)
		return false
	case babble:
		return s.talk(conn, strings.Repeat("250-and so on\r\n", 1000), 0)
	case drip:
		return s.talk(conn, "2", 20*time.Millisecond)
	case "", vanish:
	default:
		usual = todo
		if step == "DATA" && !strings.HasPrefix(todo, "354") {
			s.mu.Lock()
			s.said = append(s.said, "refused DATA")
			s.mu.Unlock()
		}
	}
	_, err := io.WriteString(conn, strings.ReplaceAll(usual, "\r\n", "\n")+"\n")
	return err == nil && todo != vanish
}

// talk repeats words until nobody listens or the test ends.
func (s *scripted) talk(conn net.Conn, words string, pause time.Duration) bool {
	for {
		n, err := io.WriteString(conn, words)
		s.mu.Lock()
		s.babbled += int64(n)
		s.mu.Unlock()
		if err != nil {
			return false
		}
		select {
		case <-s.ended:
			return false
		case <-time.After(pause):
		}
	}
}

func (s *scripted) next(step string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	todo := s.script[step]
	if len(todo) == 0 {
		return ""
	}
	s.script[step] = todo[1:]
	return todo[0]
}

func (s *scripted) count(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open += n
	s.opened += max(0, n)
	s.mostOpen = max(s.mostOpen, s.open)
}

// look reads the relay's state under its lock.
func (s *scripted) look(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

// settings of an adapter for the relay at addr.
func settingsFor(t testing.TB, addr net.Addr) config.Email {
	t.Helper()
	tcp := addr.(*net.TCPAddr)
	return config.Email{
		SMTP:    config.SMTP{Host: "127.0.0.1", Port: tcp.Port, TLS: config.TLSNone, Connections: 4},
		From:    "Acme Läden <no-reply@acme.example>",
		Timeout: config.Duration(500 * time.Millisecond),
	}
}

func newAdapter(t testing.TB, cfg config.Email, opts ...Option) *Adapter {
	t.Helper()
	a, err := New(cfg, append([]Option{WithHelo("gateway.acme.example")}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	return a
}

const adaAddress = "ada.lovelace@example.com"

func mailFor(id string) channels.Message {
	return channels.Message{
		ID:         id,
		Attempt:    1,
		Lane:       notice.LaneNormal,
		To:         notice.Person{Name: "Ada Lovelace"},
		Address:    notice.Address{Channel: notice.ChannelEmail, To: adaAddress},
		AcceptedAt: time.Date(2026, 11, 3, 9, 30, 0, 0, time.UTC),
		Content: notice.Content{Email: &notice.EmailContent{
			Subject: "Grüße",
			HTML:    `<p>Hello <b>Ada</b>, <a href="https://acme.example/o/1">your order</a></p>`,
		}},
	}
}

func send(t *testing.T, a *Adapter, m channels.Message) channels.Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r := a.Send(ctx, m)
	if ctx.Err() != nil {
		t.Error("the send did not end by itself")
	}
	return r
}
