package queue_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/redis/go-redis/v9"

	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/queue"
	"github.com/carillonhq/carillon/queue/queuetest"
)

// usedMemory is what the server has allocated.
func usedMemory(t *testing.T, rdb redis.UniversalClient) (bytes int) {
	t.Helper()
	for line := range strings.Lines(rdb.Info(t.Context(), "memory").Val()) {
		if text, ok := strings.CutPrefix(strings.TrimSpace(line), "used_memory:"); ok {
			bytes, _ = strconv.Atoi(text)
		}
	}
	if bytes == 0 {
		t.Fatal("the server does not say what it uses")
	}
	return bytes
}

// deliverMany brings n notifications with a kilobyte of data to their end.
func deliverMany(w *world, n int) (ids []string) {
	w.t.Helper()
	admissions := make([]queue.Admission, n)
	for i := range admissions {
		admissions[i] = queue.Admission{Tenant: "acme", Notification: notice.Notification{Template: "order-shipped", Category: "shipping",
			Priority: notice.LaneNormal, To: notice.Recipient{User: fmt.Sprint("u", 4_821_000+i)},
			Data: jsontext.Value(`{"order":"` + strings.Repeat("x", 1000) + `"}`)}}
	}
	for _, a := range w.AdmitAll(w.t.Context(), admissions) {
		ids = append(ids, a.ID)
	}
	for done := 0; done < n; {
		leases, err := w.EventReader("c1", notice.LaneNormal).Read(w.t.Context(), 500)
		if err != nil {
			w.t.Fatal(err)
		}
		for _, l := range leases {
			w.planOne(l)
		}
		done += len(leases)
	}
	var batch []*queue.Settlement
	for len(batch) < n {
		leases, err := w.DeliveryReader("c1", notice.ChannelWebhook, notice.LaneNormal).Read(w.t.Context(), 500)
		if err != nil {
			w.t.Fatal(err)
		}
		for _, l := range leases {
			var d notice.Delivery
			if err := d.UnmarshalBinary(l.Payload); err != nil {
				w.t.Fatal(err)
			}
			batch = append(batch, &queue.Settlement{Kind: queue.Done, Lease: l, Delivery: &d, Entry: queue.Entry{
				At: w.clock.Now().Add(137 * time.Millisecond), Status: notice.StatusDelivered, Attempt: 1, Code: "200", ProviderID: "0100018f3c2a9b7e-6f1d"}})
		}
	}
	if _, err := w.Settle(w.t.Context(), "c1", batch); err != nil {
		w.t.Fatal(err)
	}
	return ids
}

func TestAFinishedRecordTakes250BytesAtMost(t *testing.T) {
	w := open(t, queuetest.Redis(t), testConfig())
	const n, most = 300, 250
	before := usedMemory(t, w.rdb)
	ids := deliverMany(w, n)
	total := 0
	for _, id := range ids {
		total += int(w.rdb.MemoryUsage(t.Context(), "{t:"+id[:1]+"}:n:"+id[2:]).Val())
	}
	t.Logf("%d bytes a record by MEMORY USAGE, key included; the server grew by %d a notification", total/n, (usedMemory(t, w.rdb)-before)/n)
	if total/n > most {
		t.Errorf("a finished record takes %d bytes, want %d at most; one says %q", total/n, most, w.rdb.Get(t.Context(), "{t:"+ids[0][:1]+"}:n:"+ids[0][2:]).Val())
	}
}

func TestMemoryFallsBackOnceRecordsHaveExpired(t *testing.T) {
	cfg := testConfig()
	cfg.Retention, cfg.Finals, cfg.MaxBacklog = config.Duration(300*time.Millisecond), 1000, 1<<30
	w := open(t, queuetest.Redis(t, "--hz", "100"), cfg)
	// What stays whatever comes: the streams themselves, the scripts, the turns.
	deliverMany(w, 500)
	keys := func() int64 { return w.rdb.DBSize(t.Context()).Val() }
	waitUntil(t, func() bool { return len(w.rdb.Keys(t.Context(), "*:n:*").Val()) == 0 })
	few, before := keys(), usedMemory(t, w.rdb)
	deliverMany(w, 5000)
	peak := usedMemory(t, w.rdb)
	waitUntil(t, func() bool { return keys() <= few && usedMemory(t, w.rdb)-before < 600_000 })
	after := usedMemory(t, w.rdb)
	t.Logf("%d bytes before, %d with 5000 records, %d after they had expired", before, peak, after)
	if peak-before < 500_000 {
		t.Errorf("5000 records took %d bytes: nothing has been proven", peak-before)
	}
}

// waitUntil polls until something is so, for ten seconds at most.
func waitUntil(t *testing.T, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !so(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it has not come to that")
		}
	}
}
