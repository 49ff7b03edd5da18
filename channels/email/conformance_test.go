package email

import (
	"net/mail"
	"strings"
	"testing"
	"time"

	"github.com/carillonhq/carillon/channels"
	"github.com/carillonhq/carillon/channels/channelstest"
	"github.com/carillonhq/carillon/config"
)

// TestConformance holds the adapter to what every other one keeps, in each of
// the ways that a relay may be spoken to.
func TestConformance(t *testing.T) {
	for name, offers := range map[string][]string{
		"in turn":   {"8BITMIME", "ENHANCEDSTATUSCODES"},
		"in one go": {"8BITMIME", "ENHANCEDSTATUSCODES", "PIPELINING", "SIZE 10000000"},
	} {
		t.Run(name, func(t *testing.T) { channelstest.RunConversation(t, conversation(offers)) })
	}
}

func conversation(offers []string) channelstest.Conversation {
	return channelstest.Conversation{
		Start: func(t *testing.T, timeout time.Duration, troubles ...channelstest.Trouble) (channels.Adapter, channelstest.Provider) {
			switch troubles[0] {
			case channelstest.NoTLS, channelstest.OtherTrust:
				return startUntrusted(t, timeout, troubles[0])
			}
			return startTroubled(t, timeout, offers, troubles)
		},
		Message: mailFor,
		Private: []string{adaAddress, "ada.lovelace", "Lovelace", "Hello", "Grüße", password, username},
	}
}

// startTroubled starts a scripted relay that gets into each trouble in turn.
func startTroubled(t *testing.T, timeout time.Duration, offers []string, troubles []channelstest.Trouble) (channels.Adapter, channelstest.Provider) {
	relay := startScripted(t, scriptOf(troubles))
	relay.offers = offers
	cfg := settingsFor(t, relay.listener.Addr())
	cfg.Timeout = config.Duration(timeout)
	switch troubles[0] {
	case channelstest.Refused:
		relay.listener.Close()
	case channelstest.NoName:
		// Resolvers refuse an empty label without asking anybody (RFC 1035 §2.3.1).
		cfg.SMTP.Host = "no..name"
	}
	return newAdapter(t, cfg), scriptedProvider{relay}
}

// scriptOf is what a relay does at the end of each mail, and before.
func scriptOf(troubles []channelstest.Trouble) map[string][]string {
	script := map[string][]string{}
	for _, trouble := range troubles {
		switch trouble {
		case channelstest.CutBefore:
			script["RCPT"] = append(script["RCPT"], cutOff)
		case channelstest.CutIn:
			script["content"] = append(script["content"], cutOff)
		default:
			script["dot"] = append(script["dot"], map[channelstest.Trouble]string{
				channelstest.CutAfter: cutOff, channelstest.Silent: silent, channelstest.Endless: babble, channelstest.Dripping: drip,
				channelstest.Garbage: "HTTP/1.1 400 Bad Request", channelstest.Fails: "451 4.3.0 <" + adaAddress + ">: later",
			}[trouble])
		}
	}
	return script
}

// startUntrusted starts a relay that cannot be trusted to be the one meant.
func startUntrusted(t *testing.T, timeout time.Duration, trouble channelstest.Trouble) (channels.Adapter, channelstest.Provider) {
	mode := config.TLSStartTLS
	if trouble == channelstest.NoTLS {
		mode = config.TLSNone
	}
	relay, cfg := startReal(t, mode)
	cfg.SMTP.TLS, cfg.Timeout = config.TLSStartTLS, config.Duration(timeout)
	if trouble == channelstest.OtherTrust {
		cfg.SMTP.CAFile = ""
	}
	return newAdapter(t, cfg), realProvider{relay}
}

// scriptedProvider is a scripted relay as the suite looks at it.
type scriptedProvider struct{ relay *scripted }

func (p scriptedProvider) Seen() (ids []string) {
	p.relay.look(func() {
		for _, mail := range p.relay.mails {
			ids = append(ids, messageID(mail))
		}
	})
	return ids
}

func (p scriptedProvider) Connections() (n int) {
	p.relay.look(func() { n = p.relay.open })
	return n
}

func (p scriptedProvider) Read() (n int64) {
	p.relay.look(func() { n = p.relay.babbled })
	return n
}

// realProvider is a relay by another hand, the same way. Its connections are
// its own affair.
type realProvider struct{ relay *realRelay }

func (p realProvider) Seen() (ids []string) {
	p.relay.mu.Lock()
	defer p.relay.mu.Unlock()
	for _, mail := range p.relay.mails {
		ids = append(ids, messageID(string(mail)))
	}
	return ids
}

func (realProvider) Connections() int { return 0 }
func (realProvider) Read() int64      { return 0 }

func messageID(raw string) string {
	msg, err := mail.ReadMessage(strings.NewReader(raw))
	if err != nil {
		return ""
	}
	return msg.Header.Get("Message-ID")
}

// A mail that does not fit into the buffers of the sockets between is still
// being written when the relay hangs up: the dot was not, and nothing was sent.
func TestAMailCutInTheMiddleWasNotSent(t *testing.T) {
	noLeak(t)
	relay := startScripted(t, map[string][]string{"content": {cutOff}})
	cfg := settingsFor(t, relay.listener.Addr())
	cfg.Timeout *= 40
	m := mailFor("1-a-0")
	m.Content.Email.Text = strings.Repeat(strings.Repeat("x", 70)+"\n", 1<<18)
	r := send(t, newAdapter(t, cfg), m)
	if r.Verdict != channels.Retry || r.Code != "connection" {
		t.Errorf("got %v, code %q, %v; want retry", r.Verdict, r.Code, r.Err)
	}
	if n := mailsAt(relay); n != 0 {
		t.Errorf("the relay has %d mails", n)
	}
}
