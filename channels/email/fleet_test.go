package email

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/textproto"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/carillonhq/carillon/channels"
	"github.com/carillonhq/carillon/config"
)

// several is the settings of an adapter for some relays, of the weight each.
func several(t *testing.T, relays ...*scripted) config.Email {
	t.Helper()
	cfg := settingsFor(t, relays[0].listener.Addr())
	for _, r := range relays {
		one := settingsFor(t, r.listener.Addr()).SMTP
		cfg.Relays = append(cfg.Relays, config.Relay{SMTP: one, Weight: 1})
	}
	cfg.SMTP = config.SMTP{}
	cfg.Timeout = config.Duration(2 * time.Second)
	return cfg
}

func mailsAt(r *scripted) (n int) {
	r.look(func() { n = len(r.mails) })
	return n
}

func TestMailsAreSharedOutByWeight(t *testing.T) {
	a, b, c := startScripted(t, nil), startScripted(t, nil), startScripted(t, nil)
	cfg := several(t, a, b, c)
	cfg.Relays[0].Weight, cfg.Relays[1].Weight, cfg.Relays[2].Weight = 5, 2, 1
	adapter := newAdapter(t, cfg)
	for i := range 16 {
		r := send(t, adapter, mailFor(fmt.Sprintf("1-a-%d", i)))
		if r.Verdict != channels.Sent || !strings.HasSuffix(r.ProviderID, " 4F3B2A1C") || !strings.HasPrefix(r.ProviderID, "127.0.0.1:") {
			t.Fatalf("mail %d: %+v", i, r)
		}
	}
	if x, y, z := mailsAt(a), mailsAt(b), mailsAt(c); x != 10 || y != 4 || z != 2 {
		t.Errorf("of 16 mails the relays have %d, %d and %d: want 10, 4 and 2", x, y, z)
	}
}

func TestAMailGoesToAnotherRelayAsLongAsNothingOfItWasAccepted(t *testing.T) {
	for _, c := range []struct {
		name, step, does string
		moves            bool
		verdict          channels.Verdict
	}{
		{"a relay that hangs up", "greeting", cutOff, true, channels.Sent},
		{"a relay that is out of service", "greeting", "421 4.3.2 shutting down", true, channels.Sent},
		{"a relay that does not serve us", "greeting", "554 5.7.1 go away", true, channels.Sent},
		{"a relay that never greets", "greeting", silent, true, channels.Sent},
		{"a relay that closes at MAIL", "MAIL", "421 4.3.2 closing", true, channels.Sent},
		{"a relay that closes at RCPT", "RCPT", "421 4.3.2 closing", true, channels.Sent},
		{"a connection that breaks at DATA", "DATA", cutOff, true, channels.Sent},
		{"a relay that wants a login at MAIL", "MAIL", "530 5.7.0 authentication required", true, channels.Sent},
		{"a relay that finds the login wrong at MAIL", "MAIL", "550 5.7.8 bad credentials", true, channels.Sent},
		{"a relay that wants a login at RCPT", "RCPT", "530 authentication required", true, channels.Sent},
		{"a refused recipient stays refused", "RCPT", "550 5.1.1 no such user", false, channels.Gone},
		{"a busy mailbox is busy everywhere", "RCPT", "450 4.2.1 busy", false, channels.Retry},
		{"a refused sender is said", "MAIL", "553 5.7.1 not yours", false, channels.Broken},
		{"a cut after the dot may have been accepted", "dot", cutOff, false, channels.Unknown},
		{"a relay that asks for less at MAIL", "MAIL", "454 Throttling failure: Maximum sending rate exceeded.", true, channels.Sent},
		{"a relay that asks for less at RCPT", "RCPT", "450 4.7.1 too much mail from 192.0.2.1", true, channels.Sent},
		{"a relay that asks for less after the dot", "dot", "454 Throttling failure: Maximum sending rate exceeded.", true, channels.Sent},
		{"closing after the dot is the mail's answer", "dot", "421 4.3.2 closing", false, channels.Retry},
	} {
		for _, pipelining := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, pipelining: %v", c.name, pipelining), func(t *testing.T) {
				noLeak(t)
				first, second := startScripted(t, map[string][]string{c.step: {c.does}}), startScripted(t, nil)
				if pipelining {
					first.offers = append(first.offers, "PIPELINING")
				}
				r := send(t, newAdapter(t, several(t, first, second)), mailFor("1-a-0"))
				if r.Verdict != c.verdict {
					t.Errorf("got %v, %v; want %v", r.Verdict, r.Err, c.verdict)
				}
				if moved := mailsAt(second) == 1; moved != c.moves {
					t.Errorf("the second relay has the mail: %v, want %v", moved, c.moves)
				}
			})
		}
	}
}

func TestARelayThatFailsIsPassedOverUntilItsRestIsOver(t *testing.T) {
	clock := &testClock{at: time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)}
	bad, good := startScripted(t, map[string][]string{"greeting": {cutOff, cutOff}}), startScripted(t, nil)
	a := newAdapter(t, several(t, bad, good), WithClock(clock.now))
	tried := func() (n int) { bad.look(func() { n = bad.opened }); return n }
	burst := func(n int) {
		t.Helper()
		for range n {
			if r := send(t, a, mailFor("1-a-0")); r.Verdict != channels.Sent {
				t.Fatalf("%v, %v", r.Verdict, r.Err)
			}
		}
	}
	for _, step := range []struct {
		passes time.Duration
		tries  int
	}{{0, 1}, {shortestRest - time.Millisecond, 1}, {time.Millisecond, 2}, {shortestRest, 2}, {shortestRest, 3}} {
		clock.pass(step.passes)
		burst(6)
		if got := tried(); got != step.tries {
			t.Fatalf("after %v more it was tried %d times, want %d", step.passes, got, step.tries)
		}
	}
	if mailsAt(bad) != 3 {
		t.Errorf("back in service it got %d of 6 mails, want its share", mailsAt(bad))
	}
}

// TestARelayThatAsksForLessIsLeftToRestAndNotTheChannel has one of two relays
// refuse by its rate for a while: the other takes every mail, and the first is
// asked again only when its rest is over.
func TestARelayThatAsksForLessIsLeftToRestAndNotTheChannel(t *testing.T) {
	clock := &testClock{at: time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)}
	less := "454 Throttling failure: Maximum sending rate exceeded."
	full, other := startScripted(t, map[string][]string{"dot": {less, less}}), startScripted(t, nil)
	a := newAdapter(t, several(t, full, other), WithClock(clock.now))
	asked := func() (n int) {
		full.look(func() { n = strings.Count(strings.Join(full.said, "\n"), "MAIL FROM") })
		return n
	}
	for i, want := range []int{1, 2, 5} { // by the end of each burst; the last time it takes its share
		for range 6 {
			if r := send(t, a, mailFor("1-a-0")); r.Verdict != channels.Sent {
				t.Fatalf("%v, %v", r.Verdict, r.Err)
			}
		}
		if got := asked(); got != want {
			t.Errorf("after burst %d it was asked %d times, want %d", i+1, got, want)
		}
		clock.pass(shortestRest << i)
	}
	if x, y := mailsAt(full), mailsAt(other); x != 2+3 || y != 15 {
		t.Errorf("the relays were given %d and %d of 18 mails, want the two that the first refused, and 3 and 15", x, y)
	}
}

func TestARelaysTroubleIsToldOnceAndItsEndToo(t *testing.T) {
	clock := &testClock{at: time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)}
	words := "554 5.7.1 go away, " + adaAddress
	bad, good := startScripted(t, map[string][]string{"greeting": {words, words, words}}), startScripted(t, nil)
	var told bytes.Buffer
	log := slog.New(slog.NewTextHandler(&told, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
	a := newAdapter(t, several(t, bad, good), WithClock(clock.now), WithLogger(log))
	for range 5 {
		for range 4 {
			if r := send(t, a, mailFor("1-a-0")); r.Verdict != channels.Sent {
				t.Fatalf("%v, %v", r.Verdict, r.Err)
			}
		}
		clock.pass(longestRest)
	}
	want := `level=WARN msg="a relay is left alone: mails go to the others" relay=relays[0] code=5.7.1
level=INFO msg="a relay takes mails again" relay=relays[0] failures=3
`
	if told.String() != want {
		t.Errorf("told:\n%s\nwant:\n%s", told.String(), want)
	}
}

func TestWhenEveryRelayFailsTheMailIsTriedAgainUnlessNoneCanBeUsed(t *testing.T) {
	refuses := func(words string) *scripted {
		return startScripted(t, map[string][]string{"greeting": {words, words, words}})
	}
	for _, c := range []struct {
		name          string
		first, second string // at the greeting
		want          channels.Verdict
	}{
		{"both are away", cutOff, "421 4.3.2 closing", channels.Retry},
		{"one is away and one will not have us", cutOff, "554 5.7.1 go away", channels.Retry},
		{"the same the other way round", "554 5.7.1 go away", cutOff, channels.Retry},
		{"one asks for less and one is away", "450 4.7.28 unusual rate of mail", cutOff, channels.Throttled},
		{"the same the other way round", cutOff, "450 4.7.28 unusual rate of mail", channels.Throttled},
		{"one asks for less and one will not have us", "554 5.7.1 go away", "450 4.7.28 unusual rate of mail", channels.Throttled},
		{"neither will have us", "554 5.7.1 go away", "554 5.7.1 go away", channels.Broken},
	} {
		t.Run(c.name, func(t *testing.T) {
			if r := send(t, newAdapter(t, several(t, refuses(c.first), refuses(c.second))), mailFor("1-a-0")); r.Verdict != c.want {
				t.Errorf("got %v, %v; want %v", r.Verdict, r.Err, c.want)
			}
		})
	}
}

func TestAnInternationalAddressGoesToTheRelayThatTakesIt(t *testing.T) {
	plain, utf8 := startScripted(t, nil), startScripted(t, nil)
	utf8.offers = append(utf8.offers, "SMTPUTF8")
	a := newAdapter(t, several(t, plain, utf8))
	m := mailFor("1-a-0")
	m.Address.To = "grüße@example.com"
	for range 4 {
		if r := send(t, a, m); r.Verdict != channels.Sent {
			t.Fatalf("%v, %v", r.Verdict, r.Err)
		}
	}
	if mailsAt(plain) != 0 || mailsAt(utf8) != 4 {
		t.Errorf("the relays have %d and %d mails, want 0 and 4", mailsAt(plain), mailsAt(utf8))
	}
	if r := send(t, a, mailFor("1-a-1")); r.Verdict != channels.Sent || mailsAt(plain)+mailsAt(utf8) != 5 {
		t.Errorf("an ordinary mail after it: %v, %v", r.Verdict, r.Err)
	}
}

func TestManyFailuresAtOnceAreOne(t *testing.T) {
	clock := &testClock{at: time.Now()}
	f := &fleet{now: clock.now, log: slog.New(slog.DiscardHandler), servers: []*server{{weight: 1}, {weight: 1}}}
	var failing sync.WaitGroup
	for range 64 {
		failing.Go(func() { f.note(f.servers[0], &failure{stageConnect, errors.New("refused")}) })
	}
	failing.Wait()
	if s := f.servers[0]; s.failures != 1 || s.until.Sub(clock.at) != shortestRest {
		t.Errorf("%d failures, a rest of %v", s.failures, s.until.Sub(clock.at))
	}
	for range 20 {
		clock.pass(longestRest)
		f.note(f.servers[0], &failure{stageConnect, errors.New("refused")})
	}
	if rest := f.servers[0].until.Sub(clock.now()); rest != longestRest {
		t.Errorf("after many failures it rests %v, want %v", rest, longestRest)
	}
	f.note(f.servers[0], &failure{stageRcpt, &textproto.Error{Code: 550}})
	if s := f.servers[0]; s.failures != 0 || !s.until.IsZero() {
		t.Error("a relay that refuses a recipient is well")
	}
	f.note(f.servers[0], &failure{stageConnect, errors.New("refused")})
	f.note(f.servers[0], &failure{stageConnect, context.Canceled})
	if f.servers[0].failures != 1 {
		t.Error("a send that was canceled says nothing of the relay, good or bad")
	}
}

func TestAConnectionIsClosedAfterItsNumberOfMails(t *testing.T) {
	relay := startScripted(t, nil)
	cfg := settingsFor(t, relay.listener.Addr())
	cfg.SMTP.MailsPerConnection = 3
	a := newAdapter(t, cfg)
	for range 7 {
		if r := send(t, a, mailFor("1-a-0")); r.Verdict != channels.Sent {
			t.Fatalf("%v, %v", r.Verdict, r.Err)
		}
	}
	relay.look(func() {
		quits := strings.Count(strings.Join(relay.said, "\n"), "QUIT")
		if relay.opened != 3 || quits != 2 {
			t.Errorf("7 mails took %d connections, %d of which took leave; want 3 and 2", relay.opened, quits)
		}
	})
}

func TestCommandsInOneGoTakeTwoRoundTrips(t *testing.T) {
	relay := startScripted(t, nil)
	relay.offers = append(relay.offers, "PIPELINING", "SIZE 100000")
	var writes int
	var mu sync.Mutex
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
		return &countedConn{Conn: conn, count: func() { mu.Lock(); writes++; mu.Unlock() }}, err
	}
	a := newAdapter(t, settingsFor(t, relay.listener.Addr()), WithDialer(dial))
	for i := range 3 {
		if r := send(t, a, mailFor("1-a-0")); r.Verdict != channels.Sent {
			t.Fatalf("%v, %v", r.Verdict, r.Err)
		}
		mu.Lock()
		if want := 1 + 2*(i+1); writes != want { // EHLO, and two a mail
			t.Errorf("after mail %d there were %d writes, want %d", i, writes, want)
		}
		mu.Unlock()
	}
	m := mailFor("1-a-1")
	m.Content.Email.Text = strings.Repeat("x", 200000)
	if r := send(t, a, m); r.Verdict != channels.Rejected || !strings.Contains(r.Err.Error(), "the relay takes 100000") {
		t.Errorf("a mail beyond SIZE: %v, %v", r.Verdict, r.Err)
	}
}

type countedConn struct {
	net.Conn
	count func()
}

func (c *countedConn) Write(p []byte) (int, error) {
	c.count()
	return c.Conn.Write(p)
}

func TestDotsAreStuffedAndLineEndsMended(t *testing.T) {
	for in, want := range map[string]string{
		"a\r\n":                     "a\r\n.\r\n",
		"a":                         "a\r\n.\r\n",
		"":                          ".\r\n",
		".\r\n..\r\n.a\r\n":         "..\r\n...\r\n..a\r\n.\r\n",
		"a\n.\nMAIL FROM:<b@c>\r\n": "a\r\n..\r\nMAIL FROM:<b@c>\r\n.\r\n",
		"\r\n\r\n":                  "\r\n\r\n.\r\n",
	} {
		if got := string(stuff(nil, []byte(in))); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}

func FuzzStuff(f *testing.F) {
	f.Add("a\r\n.\r\nb")
	f.Add("\n.\n")
	f.Fuzz(func(t *testing.T, in string) {
		got := string(stuff(nil, []byte(in)))
		if strings.Count(got, "\r\n.\r\n") > 1 || !strings.HasSuffix("\r\n"+got, "\r\n.\r\n") {
			t.Errorf("%q ends before its end: %q", in, got)
		}
		if strings.Count(got, "\n") != strings.Count(got, "\r\n") {
			t.Errorf("%q keeps a bare line feed: %q", in, got)
		}
	})
}

// testClock stands still until it is told otherwise.
type testClock struct {
	mu sync.Mutex
	at time.Time
}

func (c *testClock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *testClock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}
