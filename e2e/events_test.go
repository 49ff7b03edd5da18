package e2e_test

import (
	"net/http"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/redis/go-redis/v9"
)

// routes turns com.example.order.* into a ping of the webhook that the event
// names, and lets nothing else through.
const routes = `[{type: com.example.order.*, when: 'data.n > 0', template: ping, to: {user: "{{ .subject }}", webhooks: [{url: "{{ .data.hook }}"}]}, channels: [webhook]}]`

// order is an integration event.
func (g *gateway) order(id, kind string, n int) object {
	return object{"specversion": "1.0", "id": id, "source": "/orders", "type": kind, "subject": "u1", "data": g.orderData(n)}
}

func (g *gateway) orderData(n int) object { return object{"n": n, "hook": g.receiver.URL + "/hook"} }

// eventAnswer is what POST /v1/events answers.
type eventAnswer struct {
	Status    string `json:"status"`
	ID        string `json:"id"`
	Duplicate bool   `json:"duplicate"`
}

func TestCloudEventsAreRoutedOrIgnored(t *testing.T) {
	t.Parallel()
	g := newGateway(t, sections{"routes": routes})
	api := newClient(t, g.ingest().api)
	g.consume("a")
	const structured = "application/cloudevents+json"
	binary := []string{"Ce-Specversion", "1.0", "Ce-Id", "e-2", "Ce-Source", "/orders", "Ce-Type", "com.example.order.shipped", "Ce-Subject", "u1"}
	for _, w := range []struct {
		name      string
		body      object
		head      []string
		status    string
		duplicate bool
	}{
		{"structured mode", g.order("e-1", "com.example.order.shipped", 1), []string{"Content-Type", structured}, "accepted", false},
		{"the same event again", g.order("e-1", "com.example.order.shipped", 1), []string{"Content-Type", structured}, "accepted", true},
		{"binary mode", g.orderData(2), binary, "accepted", false},
		{"binary mode again", g.orderData(2), binary, "accepted", true},
		{"a type that no route takes", g.order("e-3", "com.example.invoice.paid", 3), []string{"Content-Type", structured}, "ignored", false},
		{"a condition that does not hold", g.order("e-4", "com.example.order.shipped", 0), []string{"Content-Type", structured}, "ignored", false},
	} {
		t.Run(w.name, func(t *testing.T) {
			a := api.call("POST", "/v1/events", w.body, w.head...)
			got := read[eventAnswer](t, a)
			if a.status != http.StatusAccepted || got.Status != w.status || got.Duplicate != w.duplicate {
				t.Fatalf("answered %d %s, want 202 %s, duplicate %t", a.status, a.body, w.status, w.duplicate)
			}
			if w.status == "accepted" {
				api.awaitStatus(got.ID, "delivered")
			}
		})
	}
	g.awaitEmptyStreams()
	g.receiver.checkOnceEach(t, 2)
	checkProblem(t, api.call("POST", "/v1/events", object{"id": "e-5"}, "Content-Type", structured), 422, "/type", "type")
}

// TestAnyProgramMayUseTheInbox puts notifications, events and nonsense on the
// inbox stream, before any consumer is there.
func TestAnyProgramMayUseTheInbox(t *testing.T) {
	t.Parallel()
	g := newGateway(t, sections{"routes": routes})
	g.addToInbox(text(t, g.ping(1)), "default")
	g.addToInbox(text(t, g.order("e-1", "com.example.order.shipped", 2)), "")
	g.addToInbox(text(t, g.order("e-1", "com.example.order.shipped", 2)), "")
	g.addToInbox(text(t, g.order("e-2", "com.example.invoice.paid", 9)), "")
	g.addToInbox(`{"template":`, "")
	g.addToInbox(`{"template":"no-such","to":{"user":"u1"}}`, "")
	g.addToInbox(text(t, g.ping(3)), "")
	g.consume("a")
	eventually(t, patience, "what makes sense is delivered", func() bool { return g.receiver.distinct() == 3 }, func() any { return g.receiver.ids() })
	g.awaitEmptyStreams()
	g.receiver.checkOnceEach(t, 3)
	config := g.config(nil)
	for reason, detail := range map[string]string{"malformed": "byte 12", "invalid": "no-such"} {
		checkListed(t, deadList(t, config, "--channel", "inbox", "--reason", reason), 1, "inbox", reason, detail)
	}
	if got := run(t, "dead", "purge", "--channel", "inbox", "--dry-run", "--config", config); got.stdout != "would be purged: 2\n" {
		t.Errorf("a dry run: %q %s", got.stdout, got.stderr)
	}
	if got := run(t, "dead", "purge", "--channel", "inbox", "--config", config); got.stdout != "purged: 2\n" {
		t.Errorf("purge: %q %s", got.stdout, got.stderr)
	}
	checkListed(t, deadList(t, config), 0, "", "", "")
}

// addToInbox is what any program in any language does.
func (g *gateway) addToInbox(event, tenant string) {
	g.t.Helper()
	values := []string{"event", event}
	if tenant != "" {
		values = append(values, "tenant", tenant)
	}
	if err := g.rdb.XAdd(g.t.Context(), &redis.XAddArgs{Stream: "carillon:inbox", Values: values}).Err(); err != nil {
		g.t.Fatalf("XADD: %v", err)
	}
}

func text(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
