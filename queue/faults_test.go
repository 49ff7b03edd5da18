package queue_test

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/carillonhq/carillon/queue"
	"github.com/carillonhq/carillon/queue/queuetest"
)

// An entry's time was our own clock's when the server's was ahead of it, even
// by a millisecond. Its identity changed from one reading to the next with it,
// and the notification was admitted twice.
func TestAnInboxEntryIsAdmittedOnceWhenTheServersClockIsAhead(t *testing.T) {
	w := open(t, queuetest.Redis(t), testConfig())
	w.clock.Advance(-time.Minute)
	ctx := t.Context()
	for _, id := range []string{"*", "7-1", "18446744073709551615-1"} {
		w.rdb.Del(ctx, "t:inbox")
		w.rdb.XGroupCreateMkStream(ctx, "t:inbox", "carillon", "0")
		w.rdb.XAdd(ctx, &redis.XAddArgs{Stream: "t:inbox", ID: id, Values: []string{"event", "{}"}})
		var admitted []queue.Admitted
		for _, consumer := range []string{"c1", "c2"} {
			var entries []*queue.InboxEntry
			waitFor(t, "entry to read", func() (found bool) {
				var err error
				r := w.InboxReader(consumer)
				if entries, err = r.Read(ctx, 1); len(entries) == 0 && err == nil {
					entries, err = r.Reclaim(ctx, 1)
				}
				return err == nil && len(entries) == 1
			})
			admitted = append(admitted, w.admit(queue.Admission{Tenant: "acme", Identity: entries[0].Identity, ReadAt: entries[0].At, Notification: notification("ada")}))
			w.clock.Advance(2 * time.Minute)
		}
		if admitted[0].ID != admitted[1].ID || admitted[0].Duplicate || !admitted[1].Duplicate {
			t.Errorf("entry %s: admitted as %+v, then as %+v", id, admitted[0], admitted[1])
		}
	}
}
