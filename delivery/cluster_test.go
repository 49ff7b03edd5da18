package delivery_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/queue"
	"github.com/carillonhq/carillon/queue/queuetest"
)

const (
	drained     = 3000 // deliveries that go through each disturbance
	acceptBatch = 100  // of them that are accepted together
)

// Every acceptance waits for a replica here: replication is asynchronous
// otherwise, and what a master took last may go with it, in a failover by
// Sentinels too.
func TestNothingIsLostOnAClusterWhateverHappensToItsMasters(t *testing.T) {
	t.Parallel()
	c := queuetest.StartCluster(t)
	s := &store{partitions: 8}
	for _, a := range c.Addrs() {
		s.redis.URLs = append(s.redis.URLs, config.NewURL("redis://"+a))
	}
	const key = "{t:0}"
	disturbances := []struct {
		name   string
		do     func()
		strays int
	}{
		{"a master hands over to its replica", func() { c.Failover(key) }, 0},
		{"a slot moves to another master and on", func() { c.MigrateSlot(key, nil); c.MigrateSlot(key, nil) }, 0},
		// Its slots accept nothing until their new master has a replica again. What
		// it took last, and answered with an error for want of a replica, may have
		// been sent before it died, and its key died with it: one batch at most.
		{"a master is killed, and comes back as a replica", func() { c.KillMaster(key); c.Heal() }, acceptBatch},
	}
	for _, d := range disturbances {
		went := t.Run(d.name, func(t *testing.T) {
			twice, strays := drainThrough(t, s, d.do)
			if twice > drained/10 {
				t.Errorf("%d sends too many: more than can have been in flight", twice)
			}
			if strays > d.strays {
				t.Errorf("%d sends of what nobody was told is accepted, more than %d", strays, d.strays)
			}
		})
		if !went {
			return // what it left undone would be the next one's strays
		}
		c.Heal()
	}
}

func TestNothingIsLostWhenSentinelsPutAReplicaInTheMastersPlace(t *testing.T) {
	t.Parallel()
	s := queuetest.StartSentinels(t)
	cfg := config.Redis{URL: config.NewURL("redis://127.0.0.1"), Sentinel: &config.Sentinel{Master: s.Name(), Addresses: s.Addrs()}}
	// The old master takes what it is given until it is told, and all of it goes
	// with it. What was sent in that time is sent again, and what was admitted in
	// it, and answered with 503, may have been sent.
	drainThrough(t, &store{redis: cfg, partitions: 2}, s.Failover)
}

// drainThrough accepts and sends thousands of notifications, and disturbs the
// store in the middle. It returns how many sends there were too many, and how
// many of what was not accepted.
func drainThrough(t *testing.T, s *store, disturb func()) (twice, strays int) {
	t.Helper()
	w := newWorld(t, setup{store: s, durability: config.DurabilityReplica, retry: quick(), jitter: soon, visibility: 8 * time.Second, slots: 32})
	w.webhook.script(takes(2 * time.Millisecond))
	w.start("c1")
	w.start("c2")
	run := fmt.Sprint(time.Now().UnixNano()) // keys of this run alone: the cluster serves several
	disturbed := make(chan struct{})
	ids := map[string]bool{}
	for i := 0; i < drained; i += acceptBatch {
		if i == drained/3 {
			go func() { defer close(disturbed); disturb() }()
		}
		for _, id := range w.acceptAll(run, i, acceptBatch) {
			ids[id] = true
		}
	}
	<-disturbed
	return w.allDelivered(ids)
}

// acceptAll admits n notifications as a careful sender does: each is tried
// under its key until it is accepted.
func (w *world) acceptAll(run string, first, n int) (ids []string) {
	w.t.Helper()
	as := make([]queue.Admission, n)
	for i := range as {
		as[i] = queue.Admission{Tenant: "acme", Key: fmt.Sprint(run, "/", first+i), Digest: 1,
			Notification: to(fmt.Sprintf("https://h%d.example/hook", (first+i)%97))}
	}
	w.await("acceptances", func() bool {
		var left []queue.Admission
		for i, got := range w.queue.AdmitAll(context.Background(), as) {
			if got.Err != nil {
				left = append(left, as[i])
				continue
			}
			ids = append(ids, got.ID)
		}
		as = left
		return len(as) == 0
	})
	return ids
}

// allDelivered waits until all that was accepted is delivered. It returns how
// many sends there were too many, and how many of anything else.
func (w *world) allDelivered(ids map[string]bool) (twice, strays int) {
	w.t.Helper()
	if len(ids) != drained {
		w.t.Errorf("%d ids for %d keys", len(ids), drained)
	}
	for id := range ids {
		w.await("the delivery of "+id, func() bool {
			r := w.record(id)
			return len(r.Deliveries) == 1 && r.Deliveries[0].Status == notice.StatusDelivered
		})
	}
	for id, n := range w.webhook.all() {
		if !ids[id[:len(id)-2]] {
			strays++
		}
		twice += n - 1
	}
	w.await("empty streams", func() bool {
		depths, err := w.queue.Depths(context.Background())
		return err == nil && !slices.ContainsFunc(depths, func(d queue.Depth) bool { return d.Length > 0 })
	})
	w.t.Logf("%d deliveries, %d sends too many under ids of their own, %d of what was not accepted", len(ids), twice, strays)
	return twice, strays
}
