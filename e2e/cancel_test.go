package e2e_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// shipped is a notification of another category than pings, to the receiver.
func (g *gateway) shipped(user string, more object) object {
	n := object{"template": "order-shipped", "to": object{"user": user, "webhooks": g.hooks()}, "data": object{"order": "A-1"}, "channels": []string{"webhook"}}
	for key, value := range more {
		n[key] = value
	}
	return n
}

// cancel calls DELETE on a notification, and fails unless it answers so.
func (c *client) cancel(id string, want int) {
	c.t.Helper()
	if a := c.call("DELETE", "/v1/notifications/"+id, nil); a.status != want {
		c.t.Errorf("DELETE %s: %d %s, want %d", id, a.status, a.body, want)
	}
}

// end is the last entry of a notification's only delivery.
func (r record) end() timelineEntry {
	if len(r.Deliveries) != 1 {
		return timelineEntry{}
	}
	timeline := r.Deliveries[0].Timeline
	return timeline[len(timeline)-1]
}

// TestWhatWaitsIsCanceledForGoodWhateverItWaitsFor cancels what waits for its
// time, for a cap and for its provider; nothing of it comes.
func TestWhatWaitsIsCanceledForGoodWhateverItWaitsFor(t *testing.T) {
	t.Parallel()
	g := newGateway(t, sections{"throttle": "{per_user: [{name: ships, category: shipping, limit: 1/1h}]}"})
	api := newClient(t, g.ingest().api)
	g.consume("a")
	delivered := api.post(g.shipped("ada", nil))
	api.awaitStatus(delivered, "delivered")
	capped := api.post(g.shipped("ada", nil))
	if r := api.awaitStatus(capped, "deferred"); r.end().Code != "ships" {
		t.Errorf("what waits for the cap says %+v", r.end())
	}
	scheduled := api.post(g.shipped("bob", object{"send_at": time.Now().Add(time.Hour).Format(time.RFC3339)}))
	g.receiver.answer(func(_ int, w http.ResponseWriter) {
		w.Header().Set("Retry-After", "60")
		w.WriteHeader(http.StatusTooManyRequests)
	})
	asked := api.post(g.shipped("eve", nil))
	api.awaitStatus(asked, "deferred")
	paused := api.post(g.shipped("kim", nil))
	if r := api.awaitStatus(paused, "deferred"); r.end().Code != "paused" {
		t.Errorf("what waits for its host says %+v", r.end())
	}
	came := g.receiver.received()
	for _, id := range []string{capped, asked, paused} {
		api.cancel(id, http.StatusOK)
		if r := api.record(id); r.end().Status != "canceled" || r.Status != "done" {
			t.Errorf("%s is %s with %+v, want it done and canceled", id, r.Status, r.end())
		}
		api.cancel(id, http.StatusConflict)
	}
	api.cancel(scheduled, http.StatusOK)
	api.cancel(scheduled, http.StatusConflict)
	api.cancel(delivered, http.StatusConflict)
	g.awaitEmptyStreams()
	if keys := g.scan("zset"); containsSuffix(keys, ":later", ":waiting") {
		t.Errorf("something waits still: %v", keys)
	}
	if n := g.receiver.received(); n != came {
		t.Errorf("%d came after that", n-came)
	}
}

// containsSuffix reports whether any key ends so.
func containsSuffix(keys []string, suffixes ...string) bool {
	for _, key := range keys {
		for _, s := range suffixes {
			if strings.HasSuffix(key, s) {
				return true
			}
		}
	}
	return false
}

// TestADigestGoesWithoutItsCanceledCarrier cancels the delivery that carries a
// digest; what was collected comes, at its moment, and cannot be canceled.
func TestADigestGoesWithoutItsCanceledCarrier(t *testing.T) {
	t.Parallel()
	g, path := digesting(t, "1/4s", 10)
	inbox := newReader(t)
	api := newClient(t, g.ingest().api)
	start(t, "consume", "--config", path, "--name", "a")
	var ids []string
	for n := 1; n <= 4; n++ {
		ids = append(ids, api.post(noteTo(inbox, n)))
		api.awaitStatus(ids[n-1], []string{"", "delivered", "deferred", "capped", "capped"}[n])
	}
	api.cancel(ids[2], http.StatusConflict)
	api.cancel(ids[1], http.StatusOK)
	if r := api.record(ids[1]); r.end().Status != "canceled" {
		t.Errorf("the carrier is %+v", r.end())
	}
	api.awaitStatus(ids[2], "delivered")
	messages := inbox.messages(t)
	if len(messages) != 2 || fmt.Sprint(messages[1].All) != "[3 4]" || messages[1].id != ids[2]+"-1" {
		t.Errorf("what came is %+v, want the first note, and a digest of 3 and 4", messages)
	}
	g.awaitEmptyStreams()
}

// TestWhatIsCappedExpiresOrIsErasedWithItsPerson has what waits end without its
// sender.
func TestWhatIsCappedExpiresOrIsErasedWithItsPerson(t *testing.T) {
	t.Parallel()
	g, path := digesting(t, "1/1h", 10)
	inbox := newReader(t)
	api := newClient(t, g.ingest().api)
	start(t, "consume", "--config", path, "--name", "a")
	if a := api.call("PUT", "/v1/recipients/ada", object{"name": "Ada"}); a.status >= 300 {
		t.Fatalf("PUT: %d %s", a.status, a.body)
	}
	api.awaitStatus(api.post(noteTo(inbox, 1)), "delivered")
	order := func() object {
		n := g.shipped("ada", object{"expires_at": time.Now().Add(time.Minute).Format(time.RFC3339)})
		n["to"] = noteTo(inbox, 0)["to"]
		return n
	}
	expired := api.awaitStatus(api.post(order()), "expired")
	if expired.end().Code != "few" {
		t.Errorf("what expires before its place says %+v", expired.end())
	}
	carrier, collected := api.post(noteTo(inbox, 2)), ""
	api.awaitStatus(carrier, "deferred")
	collected = api.post(noteTo(inbox, 3))
	api.awaitStatus(collected, "capped")
	if a := api.call("DELETE", "/v1/recipients/ada", nil); a.status >= 300 {
		t.Fatalf("DELETE: %d %s", a.status, a.body)
	}
	api.awaitStatus(carrier, "canceled")
	eventually(t, patience, "nothing of the digest is left", func() bool {
		return g.rdb.Eval(t.Context(), "return #redis.call('KEYS', '*:digest*')", nil).Val() == int64(0)
	}, func() any { return g.scan("") })
	if got := run(t, "throttle", "show", "user", "ada", "--config", path); got.code == 0 && strings.Contains(got.stdout, "OPEN DIGEST") {
		t.Errorf("a digest of who was erased is shown: %s", got.stdout)
	}
	if n := len(inbox.messages(t)); n != 1 {
		t.Errorf("%d messages came, want the first", n)
	}
}

// TestAChainGoesOnWhenItsFirstLinkFailsAndNotWhenItIsCanceled sends by a mail
// server that is not there, then by webhook.
func TestAChainGoesOnWhenItsFirstLinkFailsAndNotWhenItIsCanceled(t *testing.T) {
	t.Parallel()
	channels := `{webhook: {timeout: 10s, allow_networks: ["127.0.0.0/8"]}, email: {smtp: {host: 127.0.0.1, port: 1, tls: none}, from: "Acme <no-reply@acme.example>"}}`
	chain := func(g *gateway) object {
		return object{"template": "order-shipped", "to": object{"user": "ada", "email": "ada@example.com", "webhooks": g.hooks()},
			"data": object{"order": "A-1"}, "channels": []string{"email", "webhook"}, "route": "first"}
	}
	t.Run("it fails", func(t *testing.T) {
		t.Parallel()
		g := newGateway(t, sections{"channels": channels})
		api := newClient(t, g.ingest().api)
		g.consume("a")
		id := api.post(chain(g))
		var got record
		eventually(t, patience, "the webhook is delivered", func() bool {
			got = api.record(id)
			return len(got.Deliveries) == 2 && got.Deliveries[1].Status == "delivered"
		}, func() any { return got })
		if got.Deliveries[0].Status != "failed" || g.receiver.received() != 1 {
			t.Errorf("the chain ended as %v, with %d webhooks; want the mail failed and one webhook", got.statuses(), g.receiver.received())
		}
		api.cancel(id, http.StatusConflict)
	})
	t.Run("it is canceled", func(t *testing.T) {
		t.Parallel()
		g := newGateway(t, sections{"channels": channels, "retry": "{schedule: [1h]}"})
		api := newClient(t, g.ingest().api)
		g.consume("a")
		id := api.post(chain(g))
		api.awaitStatus(id, "retrying")
		api.cancel(id, http.StatusOK)
		if r := api.record(id); r.end().Status != "canceled" || r.Status != "done" {
			t.Errorf("it is %s with %+v", r.Status, r.Deliveries)
		}
		g.awaitEmptyStreams()
		if n := g.receiver.received(); n != 0 {
			t.Errorf("%d webhooks came of a chain that was canceled", n)
		}
	})
}
