package apns

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/carillonhq/carillon/channels"
	"github.com/carillonhq/carillon/notice"
	"github.com/google/uuid"
)

func TestAPushGoesOutAsAppleDocumentsIt(t *testing.T) {
	srv := newApple(t, 100, nil)
	a := adapterFor(t, srv)
	m := message()
	m.ExpiresAt = time.Unix(1_900_000_000, 0)
	m.CollapseKey = "order-A-1"
	got := send(t, a, m)
	wants(t, got, channels.Sent, "200")

	req := srv.all()[0]
	if want := "/3/device/" + deviceToken; req.path != want {
		t.Errorf("path %s, want %s", req.path, want)
	}
	id := req.header.Get("apns-id")
	if u, err := uuid.Parse(id); err != nil || u.Version() != 5 || got.ProviderID != id {
		t.Errorf("apns-id %q (version 5 wanted), provider id %q", id, got.ProviderID)
	}
	for name, want := range map[string]string{
		"apns-topic": "com.acme.app", "apns-push-type": "alert", "apns-priority": "10",
		"apns-expiration": "1900000000", "apns-collapse-id": "order-A-1",
	} {
		if have := req.header.Get(name); have != want {
			t.Errorf("%s is %q, want %q", name, have, want)
		}
	}
	want := `{"aps":{"alert":{"title":"Shipped","body":"Order A-1 is on its way"},"sound":"default"}}`
	if string(req.body) != want {
		t.Errorf("payload\n%s, want\n%s", req.body, want)
	}
}

func TestTheSameDeliveryHasTheSameIDOnEveryAttempt(t *testing.T) {
	srv := newApple(t, 100, nil)
	first, second := adapterFor(t, srv), adapterFor(t, srv)
	m := message()
	send(t, first, m)
	m.Attempt = 2
	send(t, second, m)
	m.ID = "3-0123456789abcdefghij-1"
	send(t, first, m)
	reqs := srv.all()
	if reqs[0].header.Get("apns-id") != reqs[1].header.Get("apns-id") {
		t.Error("two attempts of one delivery have two ids")
	}
	if reqs[0].header.Get("apns-id") == reqs[2].header.Get("apns-id") {
		t.Error("two deliveries have one id")
	}
}

func TestLanesAppsAndSilenceChooseTheHeaders(t *testing.T) {
	srv := newApple(t, 100, nil)
	a := adapterFor(t, srv)
	for name, tc := range map[string]struct {
		change                func(*channels.Message)
		topic, kind, priority string
	}{
		"a critical push is urgent":         {func(m *channels.Message) { m.Lane = notice.LaneCritical }, "com.acme.app", "alert", "10"},
		"a bulk push may wait":              {func(m *channels.Message) { m.Lane = notice.LaneBulk }, "com.acme.app", "alert", "5"},
		"the address's app is the topic":    {func(m *channels.Message) { m.Address.App = "com.acme.other" }, "com.acme.other", "alert", "10"},
		"a push that shows nothing is mute": {func(m *channels.Message) { m.Content.Push = &notice.PushContent{Data: []byte(`{"sync":1}`)} }, "com.acme.app", "background", "5"},
	} {
		t.Run(name, func(t *testing.T) {
			m := message()
			tc.change(&m)
			wants(t, send(t, a, m), channels.Sent, "200")
			all := srv.all()
			h := all[len(all)-1].header
			if h.Get("apns-topic") != tc.topic || h.Get("apns-push-type") != tc.kind || h.Get("apns-priority") != tc.priority {
				t.Errorf("topic %q, type %q, priority %q", h.Get("apns-topic"), h.Get("apns-push-type"), h.Get("apns-priority"))
			}
			if h.Get("apns-expiration") != "" || h.Get("apns-collapse-id") != "" {
				t.Error("an expiration or collapse id that nobody asked for")
			}
		})
	}
}

func TestCollapseIDsFitTheirHeader(t *testing.T) {
	for name, tc := range map[string]struct {
		key  string
		same bool
	}{
		"none stays none":               {"", true},
		"64 bytes stand as they are":    {strings.Repeat("k", 64), true},
		"65 bytes are hashed":           {strings.Repeat("k", 65), false},
		"a line break is hashed":        {"a\r\nb", false},
		"letters beyond ASCII, as well": {"für-dich", false},
	} {
		t.Run(name, func(t *testing.T) {
			got := collapseID(tc.key)
			if (got == tc.key) != tc.same || len(got) > maxCollapseID || !printable(got) {
				t.Errorf("%q became %q", tc.key, got)
			}
		})
	}
}

func TestATokenThatIsNoneNeverReachesThePath(t *testing.T) {
	srv := newApple(t, 100, nil)
	a := adapterFor(t, srv)
	for name, token := range map[string]string{
		"empty":                 "",
		"too short":             deviceToken[:62],
		"odd":                   deviceToken + "0",
		"too long":              strings.Repeat("ab", 101),
		"a way out of the path": "../../" + deviceToken[:58],
		"a query":               deviceToken[:62] + "?a",
		"not hexadecimal":       strings.Repeat("zz", 32),
	} {
		t.Run(name, func(t *testing.T) {
			m := message()
			m.Address.To = token
			wants(t, send(t, a, m), channels.Rejected, "BadDeviceToken")
		})
	}
	if n := len(srv.all()); n != 0 {
		t.Errorf("%d requests were made", n)
	}
}

func TestEveryDocumentedAnswerHasItsVerdict(t *testing.T) {
	var now answer
	srv := newApple(t, 100, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(now.status)
		if now.reason != "" {
			fmt.Fprintf(w, `{"reason":%q,"timestamp":1700000000123}`, now.reason)
		}
	})
	a := adapterFor(t, srv)
	for _, r := range table() {
		t.Run(fmt.Sprintf("%d %s", r.status, r.reason), func(t *testing.T) {
			now = answer{r.status, r.reason}
			got := send(t, a, message())
			wants(t, got, r.verdict, now.code())
			if got.Scope != r.scope {
				t.Errorf("scope %v, want %v", got.Scope, r.scope)
			}
			later := r.verdict == channels.Retry || r.verdict == channels.Throttled
			if (got.RetryAfter == 7*time.Second) != later {
				t.Errorf("RetryAfter %v of a %v result", got.RetryAfter, got.Verdict)
			}
			if gone := r.verdict == channels.Gone; gone != got.GoneSince.Equal(time.Unix(1700000000, 0)) {
				t.Errorf("gone since %v", got.GoneSince)
			}
		})
	}
}

// The verdicts that cost somebody something are written out once more: the
// walk over the table would follow a mistake in it.
func TestTheVerdictsThatCostSomebodySomething(t *testing.T) {
	rows := index(table())
	for name, tc := range map[string]struct {
		at   answer
		want channels.Verdict
	}{
		"an unregistered device is gone":                 {answer{410, "Unregistered"}, channels.Gone},
		"an expired device token is gone":                {answer{410, "ExpiredToken"}, channels.Gone},
		"somebody else's 410 removes nobody":             {answer{410, ""}, channels.Rejected},
		"a token of the other environment removes none":  {answer{400, "BadDeviceToken"}, channels.Rejected},
		"another app's token removes nobody":             {answer{400, "DeviceTokenNotForTopic"}, channels.Rejected},
		"a refused key stops the channel":                {answer{403, "InvalidProviderToken"}, channels.Broken},
		"a forbidden topic stops the channel":            {answer{400, "TopicDisallowed"}, channels.Broken},
		"a missing topic stops the channel":              {answer{400, "MissingTopic"}, channels.Broken},
		"a proxy's 403 stops the channel":                {answer{403, ""}, channels.Broken},
		"a redirect is not Apple's":                      {answer{302, ""}, channels.Broken},
		"a busy device slows itself":                     {answer{429, "TooManyRequests"}, channels.Throttled},
		"a shutdown is tried again":                      {answer{503, "Shutdown"}, channels.Retry},
		"a failure nobody documented is tried again":     {answer{502, ""}, channels.Retry},
		"a new reason of a 400 refuses the message":      {answer{400, "BrandNew"}, channels.Rejected},
		"a new reason of a 403 stops the channel":        {answer{403, "BrandNew"}, channels.Broken},
		"a new reason of a 410 does not remove a device": {answer{410, "BrandNew"}, channels.Rejected},
		"a 4xx nobody documented refuses the message":    {answer{418, ""}, channels.Rejected},
	} {
		t.Run(name, func(t *testing.T) {
			if got := lookUp(rows, tc.at).verdict; got != tc.want {
				t.Errorf("%v, want %v", got, tc.want)
			}
		})
	}
}

func TestAnAnswerThatIsNotJSONIsJudgedByItsStatus(t *testing.T) {
	srv := newApple(t, 100, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "30")
		w.WriteHeader(http.StatusServiceUnavailable)
		w.Write([]byte("<html>down for " + r.URL.Path + "</html>"))
	})
	got := send(t, adapterFor(t, srv), message())
	wants(t, got, channels.Retry, "503")
	if got.RetryAfter != 30*time.Second {
		t.Errorf("RetryAfter %v, want 30s", got.RetryAfter)
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	srv := newApple(t, 100, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
	})
	wants(t, send(t, adapterFor(t, srv), message()), channels.Broken, "307")
	if n := len(srv.all()); n != 1 {
		t.Errorf("%d requests, want 1", n)
	}
}

func TestAWordOfAProxysIsNotReportedAsApples(t *testing.T) {
	srv := newApple(t, 100, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprintf(w, `{"reason":"token %s is bad"}`, deviceToken)
	})
	r := send(t, adapterFor(t, srv), message())
	if wants(t, r, channels.Rejected, "400"); r.Unsent {
		t.Error("Apple's answer is taken for one that was decided here")
	}
}

func TestASlowAnswerIsUnknownAndAFullConnectionIsNot(t *testing.T) {
	release := make(chan struct{})
	var entered atomic.Int32
	srv := newApple(t, 1, func(w http.ResponseWriter, r *http.Request) {
		entered.Add(1)
		<-release
	})
	defer close(release)
	cfg := section(t, srv.URL, srv.Certificate())
	cfg.Connections = 1
	a := newAdapter(t, cfg)
	ctx, cancel := context.WithCancel(context.Background())
	first := make(chan channels.Result, 1)
	go func() { first <- a.Send(ctx, message()) }()
	waitFor(t, func() bool { return entered.Load() == 1 })

	short, stop := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer stop()
	wants(t, a.Send(short, message()), channels.Retry, "timeout")
	cancel()
	wants(t, <-first, channels.Unknown, "canceled")
}

func TestAServiceThatIsDownIsTriedLater(t *testing.T) {
	srv := newApple(t, 100, nil)
	a := newAdapter(t, section(t, unreachable(t), srv.Certificate()))
	wants(t, send(t, a, message()), channels.Retry, "connect")
}

func TestAServerOfAnotherAuthorityIsNotSpokenTo(t *testing.T) {
	srv := newApple(t, 100, nil)
	cfg := section(t, srv.URL, srv.Certificate())
	cfg.CAFile = ""
	a := newAdapter(t, cfg)
	wants(t, send(t, a, message()), channels.Retry, "tls")
	if n := len(srv.all()); n != 0 {
		t.Errorf("%d requests reached it", n)
	}
}

func TestLoadSpreadsOverTheConnectionsAndOpensNoMore(t *testing.T) {
	const streams, callers, each = 10, 100, 3
	var now, most atomic.Int32
	srv := newApple(t, streams, func(w http.ResponseWriter, r *http.Request) {
		n := now.Add(1)
		defer now.Add(-1)
		for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
		}
	})
	a := adapterFor(t, srv)
	var failed atomic.Int32
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for range each {
				if send(t, a, message()).Verdict != channels.Sent {
					failed.Add(1)
				}
			}
		})
	}
	wg.Wait()
	srv.mu.Lock()
	conns := len(srv.conns)
	srv.mu.Unlock()
	if failed.Load() != 0 || conns != 2 || most.Load() > 2*streams {
		t.Errorf("%d failed, %d connections, %d streams at once", failed.Load(), conns, most.Load())
	}
}

func TestAFreshConnectionCarriesOnePushUntilItsFirstAnswer(t *testing.T) {
	srv := newApple(t, 100, nil)
	cfg := section(t, srv.URL, srv.Certificate())
	cfg.Connections = 1
	p := poolOf(newAdapter(t, cfg))
	first, err := p.take(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if second, _, err := p.try(); second.conn != nil || err != nil {
		t.Fatalf("a second stream before the first answer (%v)", err)
	}
	first.conn.Release()
	p.give(first, true, false)
	for range 3 {
		if l, err := p.take(t.Context()); err != nil || l.conn != first.conn {
			t.Fatalf("no further stream after the first answer: %v", err)
		}
	}
}

func TestCloseEndsEverythingAndLaterSendsSayRetry(t *testing.T) {
	srv := newApple(t, 100, nil)
	a := adapterFor(t, srv)
	wants(t, send(t, a, message()), channels.Sent, "200")
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	wants(t, send(t, a, message()), channels.Retry, "closed")
	a.Close() // twice is no fault
}

// waitFor polls until the condition holds.
func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(5 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatal("it did not come to pass within 5 s")
		}
		time.Sleep(time.Millisecond)
	}
}
