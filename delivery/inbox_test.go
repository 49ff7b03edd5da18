package delivery_test

import (
	"context"
	"encoding/base64"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/queue"
)

// put adds an entry to the inbox as any program may.
func (w *world) put(fields ...string) (id string) {
	w.t.Helper()
	id, err := w.rdb.XAdd(w.t.Context(), &redis.XAddArgs{Stream: "t:inbox", Values: fields}).Result()
	if err != nil {
		w.t.Fatal(err)
	}
	return id
}

// inboxEmpty waits until the inbox has been worked.
func (w *world) inboxEmpty() {
	w.t.Helper()
	w.await("an empty inbox", func() bool {
		return w.rdb.XLen(context.Background(), "t:inbox").Val() == 0 && pending(w.rdb, "t:inbox") == 0
	})
}

// buried returns the dead letters of the inbox.
func (w *world) buried() []queue.Dead {
	w.t.Helper()
	found, _, err := w.queue.DeadList(w.t.Context(), queue.DeadFilter{Channel: notice.ChannelInbox})
	if err != nil {
		w.t.Fatal(err)
	}
	return found
}

const hookEvent = `{"template":"ping","category":"news","to":{"webhooks":[{"url":"https://inbox.example/%"}]},"channels":["webhook"],"data":{"n":1}}`

// hook is an event to a path of its own.
func hook(path string) string { return strings.ReplaceAll(hookEvent, "%", path) }

// sentTo counts the sends to a path.
func (w *world) sentTo(path string) (n int) {
	w.webhook.mu.Lock()
	defer w.webhook.mu.Unlock()
	for _, m := range w.webhook.got {
		if m.Address.To == "https://inbox.example/"+path {
			n++
		}
	}
	return n
}

func TestTheInbox(t *testing.T) {
	t.Parallel()
	route := func(kind, path string) config.Route {
		return config.Route{Type: kind, Template: "ping", Category: "news", Channels: []string{"webhook"},
			To: config.RouteTo{Webhooks: []config.RouteWebhook{{URL: "https://inbox.example/" + path}}}}
	}
	w := newWorld(t, setup{routes: []config.Route{route("order.shipped", "{{ .data.path }}"), route("order.literal", "never")}})
	w.start("c1")
	cloudEvent := func(kind, id, path string) string {
		return `{"specversion":"1.0","id":"` + id + `","source":"/shop","type":"` + kind + `","data":{"n":1,"path":"` + path + `"}}`
	}

	t.Run("a notification is sent", func(t *testing.T) {
		w := w.in(t)
		w.put("event", hook("plain"))
		w.await("the delivery", func() bool { return w.sentTo("plain") == 1 })
	})
	t.Run("an entry with a tenant belongs to that tenant", func(t *testing.T) {
		w := w.in(t)
		w.put("event", hook("tenant"), "tenant", "other")
		w.await("the delivery", func() bool { return w.sentTo("tenant") == 1 })
		w.webhook.mu.Lock()
		defer w.webhook.mu.Unlock()
		for _, m := range w.webhook.got {
			if strings.HasSuffix(m.Address.To, "/tenant") && m.Tenant != "other" {
				t.Errorf("sent for the tenant %q", m.Tenant)
			}
		}
	})
	t.Run("a CloudEvent with a route is sent", func(t *testing.T) {
		w := w.in(t)
		w.put("event", cloudEvent("order.shipped", "1", "routed"))
		w.await("the delivery", func() bool { return w.sentTo("routed") == 1 })
	})
	t.Run("the same CloudEvent in two entries is sent once", func(t *testing.T) {
		w := w.in(t)
		w.put("event", cloudEvent("order.shipped", "2", "twice"))
		w.put("event", cloudEvent("order.shipped", "2", "twice"))
		w.put("event", cloudEvent("order.shipped", "3", "after"))
		w.await("the deliveries", func() bool { return w.sentTo("after") == 1 })
		w.nothingLeft()
		if n := w.sentTo("twice"); n != 1 {
			t.Errorf("sent %d times", n)
		}
	})
	t.Run("a CloudEvent without a route is ignored", func(t *testing.T) {
		w := w.in(t)
		w.put("event", cloudEvent("order.paid", "4", "ignored"))
		w.inboxEmpty()
		if n := len(w.buried()); n != 0 || w.sentTo("ignored") != 0 {
			t.Errorf("%d buried", n)
		}
	})
	for _, tt := range []struct {
		name, reason, says string
		fields             []string
	}{
		{"what is no JSON is buried as malformed", "malformed", "malformed JSON at byte", []string{"event", "{not json"}},
		{"an entry without an event is buried as malformed", "malformed", `no field "event"`, []string{"payload", "{}"}},
		{"an unknown member is buried as invalid", "invalid", "tempalte", []string{"event", `{"tempalte":"ping"}`}},
		{"a notification without a template is buried as invalid", "invalid", "/template", []string{"event", `{"to":{"user":"u"}}`}},
		{"a CloudEvent without an id is buried as invalid", "invalid", "/id", []string{"event", `{"specversion":"1.0","source":"/s","type":"order.shipped"}`}},
		{"a CloudEvent that its route cannot fill in is buried as invalid", "invalid", "routes[0]", []string{"event", `{"specversion":"1.0","id":"9","source":"/s","type":"order.shipped","data":{}}`}},
		{"bytes that are no text are buried as malformed", "malformed", "malformed JSON", []string{"event", "{\"template\":\"\xff\"}"}},
		{"a tenant that is no text is buried as invalid", "invalid", "tenant", []string{"event", hook("never"), "tenant", "\xff"}},
		{"a tenant on two lines is buried as invalid", "invalid", "tenant", []string{"event", hook("never"), "tenant", "a\nb"}},
		{"data that cannot be stored is buried as invalid", "invalid", "duplicate", []string{"event",
			`{"specversion":"1.0","id":"10","source":"/s","type":"order.literal","data_base64":"` + base64.StdEncoding.EncodeToString([]byte(`{"n":1,"n":2}`)) + `"}`}},
	} {
		t.Run(tt.name, func(t *testing.T) { w.in(t).buries(tt.reason, tt.says, tt.fields...) })
	}
	t.Run("after all that the inbox goes on", func(t *testing.T) {
		w := w.in(t)
		w.put("event", hook("last"))
		w.await("the delivery", func() bool { return w.sentTo("last") == 1 && w.sentTo("never") == 0 })
	})
}

// buries puts one entry on the inbox, and expects a dead letter and that the
// inbox goes on.
func (w *world) buries(reason, says string, fields ...string) {
	w.t.Helper()
	before := len(w.buried())
	w.put(fields...)
	w.inboxEmpty()
	all := w.buried()
	if len(all) != before+1 {
		w.t.Fatalf("%d dead letters more, want 1", len(all)-before)
	}
	i := slices.IndexFunc(all, func(d queue.Dead) bool { return d.Reason == reason && strings.Contains(d.Detail, says) })
	if i < 0 {
		w.t.Errorf("buried as %+v, want the reason %q and the words %q", all[len(all)-1], reason, says)
	}
}

func TestAnInboxEntryWhoseReaderDiedIsAdmittedOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{visibility: 300 * time.Millisecond})
	w.put("event", hook("again"))
	dead := w.queue.InboxReader("dead")
	entries, err := dead.Read(t.Context(), 10)
	if err != nil || len(entries) != 1 {
		t.Fatalf("read %v, %v", entries, err)
	}
	// It admitted the entry and died before it finished it.
	n, err := notice.DecodeNotification([]byte(entries[0].Event))
	if err != nil {
		t.Fatal(err)
	}
	n.Priority = notice.LaneNormal
	first, err := w.queue.Admit(t.Context(), queue.Admission{Tenant: "acme", Notification: n, Identity: entries[0].Identity, ReadAt: entries[0].At})
	if err != nil {
		t.Fatal(err)
	}
	w.start("c1")
	w.ended(first.ID)
	w.inboxEmpty()
	w.nothingLeft()
	if n := w.sentTo("again"); n != 1 {
		t.Errorf("sent %d times", n)
	}
}

// Redriving everything redrove again what came back while it was at it, and
// never ended.
func TestRedrivingEverythingEndsThoughItComesBackAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{})
	w.start("c1")
	const letters = 100
	for range letters {
		w.put("event", "{not json")
	}
	w.await("the dead letters", func() bool { return len(w.buried()) == letters })
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if n, err := w.queue.RedriveAll(ctx, queue.DeadFilter{Channel: notice.ChannelInbox}); n != letters || err != nil {
		t.Errorf("redriven %d, %v; want each once", n, err)
	}
	w.await("them back", func() bool { return len(w.buried()) == letters })
}
