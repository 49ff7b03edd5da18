package email

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/carillonhq/carillon/channels"
	"github.com/carillonhq/carillon/channels/channelstest"
	"go.uber.org/goleak"
)

func TestAMailTakesFourRoundTripsAndKeepsItsConnection(t *testing.T) {
	relay := startScripted(t, nil)
	a := newAdapter(t, settingsFor(t, relay.listener.Addr()))
	for i := range 2 {
		r := send(t, a, mailFor(fmt.Sprintf("1-aaaaaaaaaaaaaaaaaaaa-%d", i)))
		if r.Verdict != channels.Sent || r.ProviderID != "4F3B2A1C" || r.Code != "250" {
			t.Fatalf("mail %d: %+v", i, r)
		}
	}
	one := []string{"MAIL FROM:<no-reply@acme.example> BODY=8BITMIME", "RCPT TO:<" + adaAddress + ">", "DATA"}
	want := slices.Concat([]string{"EHLO gateway.acme.example"}, one, one)
	relay.look(func() {
		if !slices.Equal(relay.said, want) {
			t.Errorf("the relay heard %q, want %q", relay.said, want)
		}
	})
}

// TestWhatAReplyMeans walks the steps of a conversation and the replies there.
func TestWhatAReplyMeans(t *testing.T) {
	for _, c := range []struct {
		name, step, does string
		verdict          channels.Verdict
		code             string
	}{
		{"a relay that is out of service is tried again", "greeting", "421 4.3.2 shutting down", channels.Retry, "4.3.2"},
		{"a relay that does not serve us is broken", "greeting", "554 5.7.1 no service for 192.0.2.7", channels.Broken, "5.7.1"},
		{"a relay that hangs up instead of greeting is tried again", "greeting", cutOff, channels.Retry, "connection"},
		{"a relay that does not greet is tried again", "greeting", silent, channels.Retry, "timeout"},
		{"a greeting that is not SMTP is tried again", "greeting", "HTTP/1.1 400 Bad Request", channels.Retry, "connection"},
		{"a relay that hangs up on EHLO is tried again", "EHLO", cutOff, channels.Retry, "connection"},

		{"a refused sender is our own fault", "MAIL", "553 5.7.1 sender not owned by user", channels.Broken, "5.7.1"},
		{"a wanted login is our own fault", "MAIL", "530 5.7.0 must issue STARTTLS", channels.Broken, "5.7.0"},
		{"a relay that is busy at MAIL is tried again", "MAIL", "451 4.3.0 try later", channels.Retry, "4.3.0"},
		{"a cut at MAIL is tried again", "MAIL", cutOff, channels.Retry, "connection"},
		{"silence at MAIL is tried again", "MAIL", silent, channels.Retry, "timeout"},

		{"a mail whose size is refused pauses nobody else", "MAIL", "552 message size exceeds fixed limit", channels.Rejected, "552"},
		{"an unknown mailbox is gone", "RCPT", "550 5.1.1 <" + adaAddress + ">: no such user", channels.Gone, "5.1.1"},
		{"an unknown domain is gone", "RCPT", "550 5.1.2 host not found", channels.Gone, "5.1.2"},
		{"a domain that takes no mail is gone", "RCPT", "556 5.1.10 null MX", channels.Gone, "5.1.10"},
		{"an enhanced code in many lines is read", "RCPT", "550-5.1.1 no such user\n550 5.1.1 really", channels.Gone, "5.1.1"},
		{"a bad address is refused, not gone", "RCPT", "501 5.1.3 bad syntax", channels.Rejected, "5.1.3"},
		{"a bare 550 is refused, not gone", "RCPT", "550 mailbox unavailable", channels.Rejected, "550"},
		{"a code that only begins alike is not gone", "RCPT", "550 5.1.11 odd", channels.Rejected, "5.1.11"},
		{"a disabled mailbox is refused, not gone", "RCPT", "550 5.2.1 disabled", channels.Rejected, "5.2.1"},
		{"a mailbox full for good is refused, not gone", "RCPT", "552 5.2.2 over quota", channels.Rejected, "5.2.2"},
		{"a mailbox full for now is tried again", "RCPT", "452 4.2.2 over quota", channels.Retry, "4.2.2"},
		{"policy is refused, not gone", "RCPT", "550 5.7.1 relaying denied", channels.Rejected, "5.7.1"},
		{"a failed login check at RCPT is broken", "RCPT", "535 5.7.8 who are you", channels.Broken, "5.7.8"},
		{"greylisting is tried again", "RCPT", "450 4.7.1 greylisted, come back later", channels.Retry, "4.7.1"},
		{"a rate that Gmail names is throttled", "RCPT", "421 4.7.28 unusual rate", channels.Throttled, "4.7.28"},
		{"a rate in words is throttled", "RCPT", "454 Throttling failure: Maximum sending rate exceeded", channels.Throttled, "454"},
		{"a congested relay is throttled", "RCPT", "451 4.4.5 congestion", channels.Throttled, "4.4.5"},
		{"a relay that hangs up politely is tried again", "RCPT", "421 4.3.2 bye", channels.Retry, "4.3.2"},
		{"a cut at RCPT is tried again", "RCPT", cutOff, channels.Retry, "connection"},

		{"a relay that wants no mail now is tried again", "DATA", "451 4.3.0 queue is full", channels.Retry, "4.3.0"},
		{"a refusal at DATA is refused", "DATA", "554 5.5.1 no valid recipients", channels.Rejected, "5.5.1"},
		{"an unknown mailbox at DATA is not taken for the address", "DATA", "554 5.1.1 odd", channels.Rejected, "5.1.1"},
		{"a cut at DATA is tried again: nothing was sent", "DATA", cutOff, channels.Retry, "connection"},
		{"silence at DATA is tried again: nothing was sent", "DATA", silent, channels.Retry, "timeout"},

		{"a cut at the final dot is unknown", "dot", cutOff, channels.Unknown, "connection"},
		{"silence at the final dot is unknown", "dot", silent, channels.Unknown, "timeout"},
		{"a reply that is none at the final dot is unknown", "dot", "what?", channels.Unknown, "connection"},
		{"a reply out of step at the final dot is unknown", "dot", "354 go on", channels.Unknown, "354"},
		{"a content filter is refused", "dot", "550 5.7.1 looks like spam", channels.Rejected, "5.7.1"},
		{"an unknown mailbox at the final dot is gone", "dot", "550 5.1.1 no such user", channels.Gone, "5.1.1"},
		{"a mail that is too big is refused", "dot", "552 5.3.4 too big", channels.Rejected, "5.3.4"},
		{"a full disk is tried again", "dot", "452 4.3.1 insufficient storage", channels.Retry, "4.3.1"},
		{"a hang-up after acceptance is sent", "dot", vanish, channels.Sent, "250"},
	} {
		t.Run(c.name, func(t *testing.T) { checkReply(t, c.step, c.does, c.verdict, c.code, false) })
		t.Run(c.name+", in one go", func(t *testing.T) { checkReply(t, c.step, c.does, c.verdict, c.code, true) })
	}
}

// checkReply has a relay do one thing at a step, and checks what is made of it.
func checkReply(t *testing.T, step, does string, verdict channels.Verdict, code string, pipelining bool) {
	t.Helper()
	noLeak(t)
	relay := startScripted(t, map[string][]string{step: {does}})
	if pipelining {
		relay.offers = append(relay.offers, "PIPELINING")
	}
	a := newAdapter(t, settingsFor(t, relay.listener.Addr()))
	r := send(t, a, mailFor("1-aaaaaaaaaaaaaaaaaaaa-0"))
	if r.Verdict != verdict || r.Code != code {
		t.Errorf("got %v, code %q (%v); want %v, code %q", r.Verdict, r.Code, r.Err, verdict, code)
	}
	channelstest.CheckResult(t, r, adaAddress, "ada.lovelace", "Hello")
	a.Close()
	waitFor(t, "every socket to be closed", func() bool {
		closed := false
		relay.look(func() { closed = relay.open == 0 && relay.opened > 0 })
		return closed
	})
	relay.look(func() {
		if arrived := len(relay.mails) > 0; arrived != (step == "dot") {
			t.Errorf("the relay has %d mails after %q at %s", len(relay.mails), does, step)
		}
	})
}

// noLeak fails the test when, after all of its clean-up, a goroutine is left.
func noLeak(t *testing.T) {
	t.Helper()
	current := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, current) })
}

// waitFor polls until ok, or fails the test.
func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(5 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

func TestAfterARefusalTheConnectionIsUsedAgainOrNot(t *testing.T) {
	for _, c := range []struct {
		name, step, does string
		connections      int
	}{
		{"a refused recipient costs a RSET and no connection", "RCPT", "550 5.1.1 no such user", 1},
		{"a refusal at DATA costs the connection", "DATA", "451 4.3.0 queue is full", 2},
		{"a refusal at the final dot costs the connection", "dot", "550 5.7.1 spam", 2},
		{"a polite hang-up costs the connection", "RCPT", "421 4.3.2 bye", 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			relay := startScripted(t, map[string][]string{c.step: {c.does}})
			a := newAdapter(t, settingsFor(t, relay.listener.Addr()))
			if r := send(t, a, mailFor("1-a-0")); r.Verdict == channels.Sent {
				t.Fatal("the first mail was sent")
			}
			if r := send(t, a, mailFor("1-a-1")); r.Verdict != channels.Sent {
				t.Fatalf("the second mail: %v, %v", r.Verdict, r.Err)
			}
			relay.look(func() {
				if relay.opened != c.connections {
					t.Errorf("%d connections, want %d; the relay heard %q", relay.opened, c.connections, relay.said)
				}
			})
		})
	}
}

// The relay's word on the recipient stands, and nobody waits for the RSET.
func TestASilentResetIsNotWaitedForForEver(t *testing.T) {
	relay := startScripted(t, map[string][]string{"RCPT": {"550 5.1.1 no such user"}, "RSET": {silent}})
	a := newAdapter(t, settingsFor(t, relay.listener.Addr()))
	if r := send(t, a, mailFor("1-a-0")); r.Verdict != channels.Gone || r.Code != "5.1.1" {
		t.Errorf("got %v, code %q, %v; want gone", r.Verdict, r.Code, r.Err)
	}
	if r := send(t, a, mailFor("1-a-1")); r.Verdict != channels.Sent {
		t.Errorf("the next mail: %v, %v", r.Verdict, r.Err)
	}
}

func TestAConnectionThatWentStaleIsReplacedWithinTheSend(t *testing.T) {
	for _, c := range []struct {
		name   string
		script map[string][]string
	}{
		{"closed behind our back", map[string][]string{"dot": {vanish}}},
		{"told to go at MAIL", map[string][]string{"MAIL": {"250 fine", "421 4.4.2 idle for too long"}}},
		{"cut at MAIL", map[string][]string{"MAIL": {"250 fine", cutOff}}},
		{"cut at RCPT", map[string][]string{"RCPT": {"250 fine", cutOff}}},
		{"cut at DATA", map[string][]string{"DATA": {"354 go on", cutOff}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			relay := startScripted(t, c.script)
			a := newAdapter(t, settingsFor(t, relay.listener.Addr()))
			for i := range 2 {
				if r := send(t, a, mailFor(fmt.Sprintf("1-a-%d", i))); r.Verdict != channels.Sent {
					t.Fatalf("mail %d: %v, %v", i, r.Verdict, r.Err)
				}
			}
			relay.look(func() {
				if relay.opened != 2 || len(relay.mails) != 2 {
					t.Errorf("%d connections and %d mails, want 2 and 2", relay.opened, len(relay.mails))
				}
			})
		})
	}
}

func TestAReplacementIsMadeOnlyOnceAndNotAfterTheDot(t *testing.T) {
	for _, c := range []struct {
		name    string
		script  map[string][]string
		verdict channels.Verdict
		opened  int
	}{
		{"the replacement fails too", map[string][]string{"MAIL": {"250 fine", cutOff, cutOff}}, channels.Retry, 2},
		{"the cut comes at the final dot", map[string][]string{"dot": {"250 fine", cutOff}}, channels.Unknown, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			relay := startScripted(t, c.script)
			a := newAdapter(t, settingsFor(t, relay.listener.Addr()))
			send(t, a, mailFor("1-a-0"))
			if r := send(t, a, mailFor("1-a-1")); r.Verdict != c.verdict {
				t.Errorf("got %v, %v; want %v", r.Verdict, r.Err, c.verdict)
			}
			relay.look(func() {
				if relay.opened != c.opened {
					t.Errorf("%d connections, want %d", relay.opened, c.opened)
				}
			})
		})
	}
}

func TestNoMoreConnectionsThanConfigured(t *testing.T) {
	const sends = 64
	relay := startScripted(t, nil)
	cfg := settingsFor(t, relay.listener.Addr())
	cfg.Timeout *= 20
	a := newAdapter(t, cfg)
	results := make([]channels.Result, sends)
	var wg sync.WaitGroup
	for i := range sends {
		wg.Go(func() { results[i] = a.Send(t.Context(), mailFor(fmt.Sprintf("1-many-%d", i))) })
	}
	wg.Wait()
	for i, r := range results {
		if r.Verdict != channels.Sent {
			t.Errorf("mail %d: %v, %v", i, r.Verdict, r.Err)
		}
	}
	relay.look(func() {
		if relay.mostOpen > 4 {
			t.Errorf("%d connections at once, want 4 at most", relay.mostOpen)
		}
		ids := map[string]bool{}
		for _, mail := range relay.mails {
			ids[headerOf(t, mail, "Message-ID")] = true
		}
		if len(relay.mails) != sends || len(ids) != sends {
			t.Errorf("%d mails with %d ids, want %d of both", len(relay.mails), len(ids), sends)
		}
	})
}

func TestTheIDIsTheSameOnEveryAttempt(t *testing.T) {
	relay := startScripted(t, map[string][]string{"dot": {"451 4.3.0 later", cutOff}})
	a := newAdapter(t, settingsFor(t, relay.listener.Addr()))
	m := mailFor("1-aaaaaaaaaaaaaaaaaaaa-0")
	for m.Attempt = 1; m.Attempt <= 3; m.Attempt++ {
		send(t, a, m)
	}
	relay.look(func() {
		for _, mail := range relay.mails {
			if id := headerOf(t, mail, "Message-ID"); id != "<1-aaaaaaaaaaaaaaaaaaaa-0@acme.example>" {
				t.Errorf("Message-ID %s", id)
			}
			if date := headerOf(t, mail, "Date"); date != "Tue, 03 Nov 2026 09:30:00 +0000" {
				t.Errorf("Date %s, want the time of acceptance", date)
			}
		}
		if len(relay.mails) != 3 {
			t.Errorf("%d mails", len(relay.mails))
		}
	})
}

func TestAContextThatEnds(t *testing.T) {
	for _, c := range []struct {
		name, step string
		verdict    channels.Verdict
	}{
		{"while connecting is tried again", "greeting", channels.Retry},
		{"at RCPT is tried again", "RCPT", channels.Retry},
		{"at the final dot is unknown", "dot", channels.Unknown},
	} {
		t.Run(c.name, func(t *testing.T) {
			noLeak(t)
			relay := startScripted(t, map[string][]string{c.step: {silent}})
			cfg := settingsFor(t, relay.listener.Addr())
			cfg.Timeout *= 100
			a := newAdapter(t, cfg)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			done := make(chan channels.Result, 1)
			go func() { done <- a.Send(ctx, mailFor("1-a-0")) }()
			waitFor(t, "the relay to fall silent", func() bool {
				quiet := false
				relay.look(func() { quiet = relay.opened == 1 && len(relay.script[c.step]) == 0 })
				return quiet
			})
			cancel()
			r := <-done
			if r.Verdict != c.verdict || r.Code != "canceled" {
				t.Errorf("got %v, code %q, %v; want %v, canceled", r.Verdict, r.Code, r.Err, c.verdict)
			}
			relayForgets(t, relay)
		})
	}
	t.Run("before the send says nothing to the relay", func(t *testing.T) {
		relay := startScripted(t, nil)
		a := newAdapter(t, settingsFor(t, relay.listener.Addr()))
		send(t, a, mailFor("1-a-0")) // so that a connection is idle
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if r := a.Send(ctx, mailFor("1-a-1")); r.Verdict != channels.Retry {
			t.Errorf("got %v", r.Verdict)
		}
		relay.look(func() {
			if len(relay.mails) != 1 {
				t.Errorf("%d mails, want one", len(relay.mails))
			}
		})
	})
}

// relayForgets waits until the adapter has closed what it hung up.
func relayForgets(t *testing.T, relay *scripted) {
	t.Helper()
	waitFor(t, "the socket to be closed", func() bool {
		closed := false
		relay.look(func() { closed = relay.open == 0 })
		return closed
	})
}

func TestWaitingForAConnectionEndsWithTheTimeout(t *testing.T) {
	relay := startScripted(t, map[string][]string{"dot": {silent}})
	cfg := settingsFor(t, relay.listener.Addr())
	cfg.SMTP.Connections = 1
	a := newAdapter(t, cfg)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan channels.Result, 1)
	go func() { done <- a.Send(ctx, mailFor("1-a-0")) }()
	waitFor(t, "the first mail to hold the connection", func() bool {
		held := false
		relay.look(func() { held = len(relay.mails) == 1 })
		return held
	})
	short, cancelShort := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancelShort()
	if r := a.Send(short, mailFor("1-a-1")); r.Verdict != channels.Retry || r.Code != "timeout" {
		t.Errorf("got %v, code %q; want a retry for the timeout", r.Verdict, r.Code)
	}
	cancel()
	<-done
}

func headerOf(t *testing.T, mail, name string) string {
	t.Helper()
	head, _, _ := strings.Cut(mail, "\r\n\r\n")
	for line := range strings.SplitSeq(strings.ReplaceAll(head, "\r\n ", " "), "\r\n") {
		if key, value, _ := strings.Cut(line, ": "); strings.EqualFold(key, name) {
			return value
		}
	}
	return ""
}
