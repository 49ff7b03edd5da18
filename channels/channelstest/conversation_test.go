package channelstest

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/carillonhq/carillon/channels"
	"github.com/carillonhq/carillon/notice"
)

// The smallest protocol that has every trouble: the provider says "hello", the
// adapter writes the message's id on a line, and the provider answers "yes" or
// "later".

// talker is the smallest adapter for it that keeps every promise, and one that
// breaks a single promise for each fault. It keeps its last connection.
type talker struct {
	address string
	timeout time.Duration
	fault   string

	mu   sync.Mutex
	kept []net.Conn
}

func (a *talker) Channel() notice.Channel { return notice.ChannelEmail }

func (a *talker) Close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, conn := range a.kept {
		if a.fault != "keeps its sockets" {
			conn.Close()
		}
	}
	return nil
}

func (a *talker) Send(ctx context.Context, m channels.Message) channels.Result {
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", a.address)
	if err != nil {
		return a.failed(err, false)
	}
	a.mu.Lock()
	a.kept = append(a.kept, conn)
	a.mu.Unlock()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	wrote, answer, err := a.converse(conn, m)
	switch {
	case err != nil:
		conn.Close()
		return a.failed(errors.Join(ctx.Err(), err), wrote)
	case answer == "yes\n" || a.fault == "takes everything for success":
		return channels.Result{Verdict: channels.Sent, Code: "yes"}
	case answer == "later\n":
		return channels.Result{Verdict: channels.Retry, Code: "later", Err: errors.New("later")}
	}
	conn.Close()
	return a.failed(errors.New("no answer of ours"), true)
}

func (a *talker) converse(conn net.Conn, m channels.Message) (wrote bool, answer string, err error) {
	in := bufio.NewReader(io.LimitReader(conn, 1<<10))
	if a.fault == "takes all there is" {
		in = bufio.NewReader(conn)
	}
	hello, err := in.ReadString('\n')
	if err == nil && hello != "hello\n" {
		err = errors.New("tls: it cannot encrypt")
	}
	if err != nil && a.fault != "trusts anybody" {
		return false, "", err
	}
	id := m.ID
	if a.fault == "changes the id" {
		id += strings.Repeat("!", m.Attempt)
	}
	times := 1
	if a.fault == "sends twice" {
		times = 2
	}
	if _, err := io.WriteString(conn, strings.Repeat(id+"\n", times)); err != nil {
		return true, "", err
	}
	answer, err = in.ReadString('\n')
	return true, answer, err
}

func (a *talker) failed(err error, wrote bool) channels.Result {
	if a.fault == "takes an unknown outcome for a failure" {
		wrote = false
	}
	r := channels.TransportFailure(err, wrote)
	if a.fault == "repeats the address" {
		r.Err = errors.New(token)
	}
	return r
}

// listener is the protocol's provider.
type listener struct {
	net.Listener
	ended chan struct{}

	mu     sync.Mutex
	script []Trouble
	ids    []string
	open   int
	talked int64
}

func (l *listener) Seen() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.ids)
}

func (l *listener) Connections() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.open
}

func (l *listener) Read() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.talked
}

// note changes what is known of l under its lock.
func (l *listener) note(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f()
}

func (l *listener) next() (trouble Trouble) {
	l.note(func() {
		trouble = Healthy
		if len(l.script) > 0 {
			trouble, l.script = l.script[0], l.script[1:]
		}
	})
	return trouble
}

func (l *listener) serve(conn net.Conn) {
	l.note(func() { l.open++ })
	defer l.note(func() { l.open-- })
	defer conn.Close()
	trouble := l.next()
	switch trouble {
	case CutBefore:
		return
	case NoTLS, OtherTrust:
		_, _ = io.WriteString(conn, "something else\n")
	default:
		_, _ = io.WriteString(conn, "hello\n")
	}
	in := bufio.NewReader(conn)
	for {
		id, err := in.ReadString('\n')
		if err != nil || trouble == CutIn {
			return
		}
		l.note(func() { l.ids = append(l.ids, strings.TrimSpace(id)) })
		if !l.answer(conn, trouble) {
			return
		}
	}
}

func (l *listener) answer(conn net.Conn, trouble Trouble) bool {
	switch trouble {
	case CutAfter:
		return false
	case Silent:
		_, _ = io.Copy(io.Discard, conn)
		return false
	case Endless:
		return l.talk(conn, strings.Repeat("yes and ", 1<<13), 0)
	case Dripping:
		return l.talk(conn, "y", AdapterTimeout/20)
	}
	words := map[Trouble]string{Garbage: "HTTP/1.1 200 OK\n", Fails: "later\n"}[trouble]
	if words == "" {
		words = "yes\n"
	}
	_, err := io.WriteString(conn, words)
	return err == nil
}

func (l *listener) talk(conn net.Conn, words string, pause time.Duration) bool {
	for {
		n, err := io.WriteString(conn, words)
		l.note(func() { l.talked += int64(n) })
		if err != nil {
			return false
		}
		select {
		case <-l.ended:
			return false
		case <-time.After(pause):
		}
	}
}

func startTalk(t *testing.T, fault string, timeout time.Duration, troubles []Trouble) (channels.Adapter, Provider) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &listener{Listener: inner, ended: make(chan struct{}), script: troubles}
	address := l.Addr().String()
	switch troubles[0] {
	case Refused:
		l.Close()
	case NoName:
		address = "no..name:1"
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer context.AfterFunc(t.Context(), func() { conn.Close() })()
				l.serve(conn)
			})
		}
	})
	if fault == "waits for ever" {
		timeout = time.Hour
	}
	a := &talker{address: address, timeout: timeout, fault: fault}
	t.Cleanup(func() { close(l.ended); l.Close(); serving.Wait() })
	t.Cleanup(func() { a.Close() })
	return a, l
}

func talk(fault string) Conversation {
	return Conversation{
		Start: func(t *testing.T, timeout time.Duration, troubles ...Trouble) (channels.Adapter, Provider) {
			return startTalk(t, fault, timeout, troubles)
		},
		Message: func(id string) channels.Message { return channels.Message{ID: id, Attempt: 1} },
		Private: []string{token},
	}
}

func TestAConversationThatKeepsEveryPromisePasses(t *testing.T) { RunConversation(t, talk("")) }

func TestTheFaultyConversation(t *testing.T) {
	fault := os.Getenv(faultVariable)
	if fault == "" {
		t.Skip("runs only inside TestTheSuiteCatchesInConversation")
	}
	RunConversation(t, talk(fault))
}

func TestTheSuiteCatchesInConversation(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ fault, part, in string }{
		{"waits for ever", "faults/no_answer_at_all", "had not ended by itself"},
		{"keeps its sockets", "a_closed_adapter", "waited in vain for every connection to be closed"},
		{"changes the id", "an_id_is", "want one id three times"},
		{"sends twice", "64_sends", "want 64 of both"},
		{"takes an unknown outcome for a failure", "faults/a_connection_cut_after", "want one of [unknown]"},
		{"takes everything for success", "faults/a_failure_for_now", "want one of [retry]"},
		{"repeats the address", "faults/a_refused", "the result repeats"},
		{"takes all there is", "faults/an_answer_that_never_ends", "MiB of an answer that never ends"},
		{"trusts anybody", "faults/a_provider_without_TLS", "want one of [retry broken]"},
	} {
		t.Run("an adapter that "+c.fault, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestTheFaultyConversation$/^"+c.part, "-test.timeout=60s")
			cmd.Env = append(os.Environ(), faultVariable+"="+c.fault)
			out, err := cmd.CombinedOutput()
			if err == nil || !strings.Contains(string(out), c.in) {
				t.Errorf("%v; want a failure that says %q in:\n%s", err, c.in, out)
			}
		})
	}
}
