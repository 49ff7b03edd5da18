package email

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/carillonhq/carillon/channels"
	"github.com/carillonhq/carillon/channels/channelstest"
	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/notice"
)

// fileServer answers by path: /200, /404, …; /endless without end, /away with
// a redirect, /cut with half of what it promised.
func fileServer(t *testing.T) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		status := 200
		switch r.URL.Path {
		case "/endless":
			for r.Context().Err() == nil {
				if _, err := w.Write(bytes.Repeat([]byte("x"), 4096)); err != nil {
					return
				}
			}
		case "/away":
			http.Redirect(w, r, "/200", http.StatusFound)
		case "/cut":
			w.Header().Set("Content-Length", "100")
			_, _ = w.Write([]byte("half"))
		default:
			_, _ = fmt.Sscanf(r.URL.Path, "/%d", &status)
			w.Header().Set("Content-Type", "application/pdf")
			w.WriteHeader(status)
			_, _ = w.Write([]byte("what is there"))
		}
	}))
	t.Cleanup(s.Close)
	return s
}

func TestAnAttachmentIsFetchedWhenItIsSent(t *testing.T) {
	server := fileServer(t)
	for _, c := range []struct {
		name, path string
		networks   []string
		want       channels.Verdict
		says       string
	}{
		{"what is there", "/200", []string{"127.0.0.1"}, channels.Sent, ""},
		{"what is not there", "/404", []string{"127.0.0.1"}, channels.Rejected, "attachment 1: its url answered 404"},
		{"what is elsewhere", "/away", []string{"127.0.0.1"}, channels.Rejected, "answered 302"},
		{"what may be there later", "/503", []string{"127.0.0.1"}, channels.Retry, "answered 503"},
		{"what is asked for too often", "/429", []string{"127.0.0.1"}, channels.Retry, "answered 429"},
		{"what breaks off", "/cut", []string{"127.0.0.1"}, channels.Retry, "broke off"},
		{"what has no end", "/endless", []string{"127.0.0.1"}, channels.Rejected, "hold more than 64KiB together"},
		{"what is inside our network", "/200", nil, channels.Rejected, "not on the public internet"},
	} {
		t.Run(c.name, func(t *testing.T) {
			relay := startScripted(t, nil)
			cfg := settingsFor(t, relay.listener.Addr())
			cfg.AllowNetworks, cfg.MaxAttachment = c.networks, 64<<10
			cfg.Timeout *= 10
			m := mailFor("1-a-0")
			m.Content.Email.Attachments = []notice.Attachment{{Filename: "a.pdf", URL: server.URL + c.path + "?token=secret-7"}}
			r := send(t, newAdapter(t, cfg), m)
			if r.Verdict != c.want || c.says != "" && (!strings.Contains(r.Err.Error(), c.says) || r.Code != "attachment") {
				t.Errorf("got %v, %q, %v; want %v saying %q", r.Verdict, r.Code, r.Err, c.want, c.says)
			}
			channelstest.CheckResult(t, r, "secret-7")
			relay.look(func() {
				encoded := base64.StdEncoding.EncodeToString([]byte("what is there"))
				if sent := len(relay.mails) == 1 && strings.Contains(relay.mails[0], encoded) && strings.Contains(relay.mails[0], "application/pdf"); sent != (c.want == channels.Sent) {
					t.Errorf("the relay has %q", relay.mails)
				}
			})
		})
	}
}

func TestAttachmentsAreBoundedTogether(t *testing.T) {
	relay := startScripted(t, nil)
	cfg := settingsFor(t, relay.listener.Addr())
	cfg.MaxAttachment = config.Size(2000)
	a := newAdapter(t, cfg)
	file := notice.Attachment{Filename: "a.bin", Content: base64.StdEncoding.EncodeToString(make([]byte, 1000))}
	for n, want := range map[int]channels.Verdict{1: channels.Sent, 2: channels.Sent, 3: channels.Rejected} {
		m := mailFor("1-a-0")
		for range n {
			m.Content.Email.Attachments = append(m.Content.Email.Attachments, file)
		}
		if r := send(t, a, m); r.Verdict != want {
			t.Errorf("%d files of 1000 bytes: %v, %v; want %v", n, r.Verdict, r.Err, want)
		}
	}
}

// TestHostileWordsEndInAMailOrARefusal sends what nobody sends on purpose.
func TestHostileWordsEndInAMailOrARefusal(t *testing.T) {
	const inject = "x\r\nBcc: evil@evil.example\r\n\r\nbody"
	for _, c := range []struct {
		name string
		set  func(*channels.Message)
		want channels.Verdict
	}{
		{"a header in the subject", func(m *channels.Message) { m.Content.Email.Subject = inject }, channels.Sent},
		{"a header in the name", func(m *channels.Message) { m.To.Name = inject }, channels.Sent},
		{"a header in the category", func(m *channels.Message) { m.Category = inject }, channels.Sent},
		{"a header in the tenant", func(m *channels.Message) { m.Category, m.Tenant = "c", inject }, channels.Sent},
		{"a header in a file's name", func(m *channels.Message) { attach(m, notice.Attachment{Filename: inject, Content: "aGk="}) }, channels.Sent},
		{"a header in a file's type", func(m *channels.Message) {
			attach(m, notice.Attachment{Filename: "a", ContentType: "a/b; c=\"" + inject + "\"", Content: "aGk="})
		}, channels.Sent},
		{"a header in the address", func(m *channels.Message) { m.Address.To = "ada@example.com" + inject }, channels.Rejected},
		{"a header in the link", func(m *channels.Message) { m.Unsubscribe = "https://x.example/" + inject }, channels.Rejected},
		{"a command in the text", func(m *channels.Message) {
			m.Content.Email.Text = "a\n.\nMAIL FROM:<evil@evil.example>\r\n.\r\nRCPT TO:<x@y.example>\r.\r"
		}, channels.Sent},
		{"a subject of a megabyte", func(m *channels.Message) { m.Content.Email.Subject = strings.Repeat("s", 1<<20) }, channels.Rejected},
		{"bytes that are no UTF-8", func(m *channels.Message) { m.To.Name, m.Content.Email.Subject = "\xff\xfe", "a\xc3(b" }, channels.Sent},
		{"half of a surrogate pair", func(m *channels.Message) { m.Content.Email.Subject = "a\xed\xa0\x80b" }, channels.Sent},
		{"a name that is read backwards", func(m *channels.Message) { m.To.Name = "Ada\u202emoc.live@" }, channels.Sent},
		{"a name of nothing that shows", func(m *channels.Message) { m.To.Name = "\u200b\u200d\ufeff" }, channels.Sent},
		{"a domain that only looks like one", func(m *channels.Message) { m.Address.To = "ada@еxample.com" }, channels.Sent}, // Cyrillic е: another domain, in its own letters
		{"NUL everywhere", func(m *channels.Message) {
			m.To.Name, m.Content.Email.Subject, m.Content.Email.Text = "a\x00b", "c\x00d", "e\x00f"
		}, channels.Sent},
	} {
		t.Run(c.name, func(t *testing.T) {
			relay := startScripted(t, nil)
			m := mailFor("1-a-0")
			c.set(&m)
			r := send(t, newAdapter(t, settingsFor(t, relay.listener.Addr())), m)
			if r.Verdict != c.want {
				t.Fatalf("got %v, %v; want %v", r.Verdict, r.Err, c.want)
			}
			relay.look(func() {
				if len(relay.said) > 4 { // EHLO, MAIL, RCPT, DATA
					t.Errorf("the relay heard %q", relay.said)
				}
				for _, mail := range relay.mails {
					checkHarmless(t, mail)
				}
			})
		})
	}
}

func attach(m *channels.Message, a notice.Attachment) {
	m.Content.Email.Attachments = append(m.Content.Email.Attachments, a)
}

func checkHarmless(t *testing.T, raw string) {
	t.Helper()
	head, _, _ := strings.Cut(raw, "\r\n\r\n")
	for line := range strings.SplitSeq(head, "\r\n") {
		name, _, ok := strings.Cut(line, ":")
		if strings.EqualFold(name, "Bcc") || !ok && !strings.HasPrefix(line, " ") && !strings.HasPrefix(line, "\t") {
			t.Errorf("a header line of its own: %q", line)
		}
	}
	if strings.Contains(raw, "\x00") || strings.Contains(head, "\u202e") || !isASCII(head) {
		t.Errorf("the header is %q", head)
	}
	for line := range strings.SplitSeq(raw, "\r\n") {
		if len(line) > mostLine || strings.ContainsAny(line, "\r\n") {
			t.Errorf("a line of %d bytes: %.80q", len(line), line)
		}
	}
}
