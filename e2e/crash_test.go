package e2e_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/carillonhq/carillon/notice"
)

// inTheMiddle is how many of a test's 3,000 webhooks have come when something
// happens to a consumer, and answerTime what each of them takes: with it, the
// rest is a second's work at least.
const (
	all         = 3000
	inTheMiddle = 1000
	answerTime  = 10 * time.Millisecond
	concurrency = 16 // of the gateway's configuration
)

// TestKilledConsumerLosesNothing is kill -9 in the middle: what the consumer
// held is taken over, and what it had sent goes again under the same id.
func TestKilledConsumerLosesNothing(t *testing.T) {
	t.Parallel()
	g := newGateway(t, sections{
		// So that nobody who lives is taken for dead, for want of a processor.
		"queue":    "{partitions: 4, visibility: 8s}",
		"channels": `{webhook: {timeout: 4s, allow_networks: ["127.0.0.0/8"], concurrency: 16}}`,
	})
	g.receiver.take(answerTime)
	api := newClient(t, g.ingest().api)
	victim := g.consume("victim")
	heir := g.consume("heir")
	middle := g.receiver.after(inTheMiddle)
	for n := 1; n < all; n += 500 {
		api.postBatch(g.pings(n, n+499))
	}
	g.receiver.await(t, middle)
	victim.kill()
	held := g.leasedBy("victim")
	if done := g.receiver.distinct(); done == all || len(held) == 0 {
		t.Fatalf("the kill came too late: %d of %d were sent, %d leased by the victim", done, all, len(held))
	}
	eventually(t, patience, "every notification is delivered", func() bool { return g.receiver.distinct() == all }, func() any { return g.receiver.distinct() })
	g.awaitEmptyStreams()
	g.receiver.checkOneIDEach(t, all)
	twice := g.checkDuplicates(api, held)
	if n := scrape(t, heir)["carillon_reclaimed_total{}"]; n < float64(twice) {
		t.Errorf("the heir counts %v as taken over, and sent %d again", n, twice)
	}
}

// checkDuplicates fails when anything came twice but what the victim held and
// had on its way, which is no more than it has slots, and a commit beside. What
// the receiver answered too late, by its record, is the receiver's doing, and
// not in the number that it returns.
func (g *gateway) checkDuplicates(api *client, held map[string]bool) int {
	g.t.Helper()
	twice := slices.DeleteFunc(g.receiver.duplicates(), func(id string) bool { return api.triedAgain(id) })
	for _, id := range twice {
		if !held[id] || g.receiver.ids()[id] > 2 {
			g.t.Errorf("%s came %d times, leased by the victim: %t", id, g.receiver.ids()[id], held[id])
		}
	}
	if len(twice) > 2*concurrency {
		g.t.Errorf("%d came twice; the victim had %d slots", len(twice), concurrency)
	}
	g.t.Logf("%d leased by the victim, %d came twice", len(held), len(twice))
	return len(twice)
}

// triedAgain reports whether a delivery had an attempt that failed.
func (c *client) triedAgain(delivery string) bool {
	c.t.Helper()
	for _, d := range c.record(delivery[:strings.LastIndex(delivery, "-")]).Deliveries {
		if d.ID == delivery {
			return slices.ContainsFunc(d.Timeline, func(e timelineEntry) bool { return e.Status == "retrying" })
		}
	}
	return false
}

// leases lists what a consumer (ARGV[2]) of a group (ARGV[1]) holds of the
// streams KEYS: stream and payload in turn. It is one script, so that nobody
// takes anything over meanwhile.
var leases = redis.NewScript(`
local out = {}
for _, stream in ipairs(KEYS) do
  for _, held in ipairs(redis.call('XPENDING', stream, ARGV[1], '-', '+', 10000, ARGV[2])) do
    local found = redis.call('XRANGE', stream, held[1], held[1])[1]
    for i = 1, found and #found[2] or 0, 2 do
      if found[2][i] == 'd' then
        out[#out + 1] = stream
        out[#out + 1] = found[2][i + 1]
      end
    end
  end
end
return out`)

// leasedBy lists the ids of the deliveries that a consumer holds, those that
// it was handed under their events' leases included.
func (g *gateway) leasedBy(consumer string) map[string]bool {
	g.t.Helper()
	found, err := leases.Run(g.t.Context(), g.rdb, g.streams(), "carillon", consumer).StringSlice()
	if err != nil {
		g.t.Fatalf("asking what %s holds: %v", consumer, err)
	}
	ids := map[string]bool{}
	for i := 0; i < len(found); i += 2 {
		ids[g.idOf(found[i], found[i+1])] = true
	}
	return ids
}

// idOf is the id in an entry's payload.
func (g *gateway) idOf(stream, text string) string {
	g.t.Helper()
	if strings.Contains(stream, ":events:") {
		var ev notice.Event
		if err := ev.UnmarshalBinary([]byte(text)); err != nil {
			g.t.Fatalf("an entry of %s: %v", stream, err)
		}
		return notice.DeliveryID(ev.ID, 1)
	}
	var d notice.Delivery
	if err := d.UnmarshalBinary([]byte(text)); err != nil {
		g.t.Fatalf("an entry of %s: %v", stream, err)
	}
	return d.ID
}

// TestKilledIngestKeepsItsWord is kill -9 of the API under load: what it
// answered with 202 is delivered.
func TestKilledIngestKeepsItsWord(t *testing.T) {
	t.Parallel()
	g := newGateway(t, nil)
	ingest := g.ingest()
	g.consume("a")
	api := newClient(t, ingest.api)
	api.mayFail = true
	flow := startFlow(g, api)
	flow.await("notifications are accepted", func(accepted, _ int) bool { return accepted >= 500 })
	ingest.kill()
	ids := flow.stop()
	g.awaitEmptyStreams()
	newClient(t, g.ingest().api).checkDelivered(ids)
	for n, id := range flow.ids {
		if came := g.receiver.idsFor(n); len(came) != 1 {
			t.Errorf("notification %d was accepted as %s and came under %v", n, id, came)
		}
	}
	if twice := g.receiver.duplicates(); len(twice) > 0 {
		t.Errorf("%d came twice, such as %s", len(twice), twice[0])
	}
}

// TestStoppedConsumerHandsOver is SIGTERM in the middle: the consumer finishes
// what it sends and hands back the rest, which nobody waits a minute for.
func TestStoppedConsumerHandsOver(t *testing.T) {
	t.Parallel()
	const visibility = time.Minute
	g := newGateway(t, sections{"queue": "{partitions: 4, visibility: 1m}"})
	g.receiver.take(answerTime)
	api := newClient(t, g.ingest().api)
	leaving := g.consume("leaving")
	g.consume("staying")
	middle := g.receiver.after(inTheMiddle)
	for n := 1; n < all; n += 500 {
		api.postBatch(g.pings(n, n+499))
	}
	g.receiver.await(t, middle)
	stopped := time.Now()
	if code := leaving.stop(); code != 0 {
		t.Errorf("exit code %d, want 0:\n%s", code, leaving.log)
	}
	if g.receiver.distinct() == all {
		t.Fatal("the stop came too late to show anything")
	}
	eventually(t, visibility/2, "every notification is delivered", func() bool { return g.receiver.distinct() == all }, func() any { return g.receiver.distinct() })
	g.awaitEmptyStreams()
	g.receiver.checkOnceEach(t, all)
	g.checkRetired("leaving")
	t.Logf("the rest was delivered %v after the stop", time.Since(stopped))
}

// checkRetired fails when a consumer's name is left in any group.
func (g *gateway) checkRetired(name string) {
	g.t.Helper()
	for _, stream := range g.streams() {
		consumers, err := g.rdb.XInfoConsumers(g.t.Context(), stream, "carillon").Result()
		if err != nil {
			g.t.Fatalf("listing the consumers of %s: %v", stream, err)
		}
		for _, c := range consumers {
			if c.Name == name {
				g.t.Errorf("%s still knows %s", stream, name)
			}
		}
	}
}
