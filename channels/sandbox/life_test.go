package sandbox_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/carillonhq/carillon/channels/sandbox"
	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/notice"
)

func TestSectionPassesTheConfigurationsOwnRules(t *testing.T) {
	for name, o := range map[string]sandbox.Options{"as it is": {}, "with STARTTLS": {StartTLS: true}} {
		t.Run(name, func(t *testing.T) {
			cfg := config.Default()
			cfg.Channels = start(t, o).Section()
			if faults := cfg.Validate(); len(faults) != 0 {
				t.Errorf("faults: %v", faults)
			}
		})
	}
}

func TestCloseEndsWaitingRequestsAndKeepsWhatArrived(t *testing.T) {
	box := start(t, sandbox.Options{})
	for _, c := range notice.Channels() {
		if _, err := send(t, box, c); err != nil {
			t.Fatal(err)
		}
		misbehave(t, box, c, sandbox.Behaviour{Delay: time.Hour, Status: 500})
	}
	stream := openStream(t, mount(t, box), "", nil)
	stream.until(t, "state")
	var waiting sync.WaitGroup
	for _, c := range notice.Channels() {
		waiting.Go(func() { _, _ = send(t, box, c) })
	}
	if err := box.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	waiting.Wait()
	if err := box.Close(); err != nil {
		t.Errorf("closing twice: %v", err)
	}
	if n := len(box.Messages(sandbox.Filter{})); n != 5 {
		t.Errorf("%d messages can be read after Close, want 5", n)
	}
	if _, err := os.Stat(box.CAFile); !os.IsNotExist(err) {
		t.Errorf("CAFile is left behind: %v", err)
	}
}

func TestSandboxEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	box, err := sandbox.Start(ctx, sandbox.Options{})
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := box.Wait(t.Context(), 1, sandbox.Filter{}); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("Wait: %v", err)
	}
	if err := box.Close(); err != nil { // waits for the other Close
		t.Error(err)
	}
	if _, err := http.Get(box.WebhookURL); err == nil {
		t.Error("the webhook's port still answers")
	}
}

func TestHostThatCannotBeListenedOnIsNamed(t *testing.T) {
	_, err := sandbox.Start(t.Context(), sandbox.Options{Host: "192.0.2.1"}) // TEST-NET-1, RFC 5737
	if err == nil || !strings.Contains(err.Error(), "192.0.2.1") {
		t.Errorf("got %v", err)
	}
}

func TestManySendersAtOnceAreCountedExactly(t *testing.T) {
	const senders, each = 16, 20
	box := start(t, sandbox.Options{Keep: senders * each})
	base := mount(t, box)
	c := client(t, box, false)
	var sending sync.WaitGroup
	for i := range senders {
		sending.Go(func() {
			for j := range each {
				if _, err := do(c, "POST", fmt.Sprintf("%s/%d/%d", box.WebhookURL, i, j), "{}", nil); err != nil {
					t.Error(err)
				}
				if i == 0 {
					listed(t, base, "?limit=5") // readers do not disturb
				}
			}
		})
	}
	got := wait(t, box, senders*each, sandbox.Filter{Channel: notice.ChannelWebhook})
	sending.Wait()
	seen := map[string]bool{}
	for i, m := range got {
		seen[m.To] = true
		if m.Seq != senders*each-i {
			t.Fatalf("message %d has number %d", i, m.Seq)
		}
	}
	if len(seen) != senders*each || box.Counts()[notice.ChannelWebhook] != senders*each {
		t.Errorf("%d different of %d, counted %v", len(seen), senders*each, box.Counts())
	}
}
