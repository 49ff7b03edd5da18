package queue_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/queue"
	"github.com/carillonhq/carillon/queue/queuetest"
)

// Admit waited for ever for a commit that nobody would make.
func TestAfterCloseAnAdmissionIsRefused(t *testing.T) {
	w := open(t, queuetest.Redis(t), testConfig())
	w.Close()
	got, err := w.Admit(t.Context(), queue.Admission{Tenant: "acme", Notification: notification("ada")})
	if !errors.Is(err, queue.ErrUnavailable) || !strings.Contains(err.Error(), "stopping") || got.ID != "" {
		t.Errorf("admitted %+v, %v", got, err)
	}
}

// A record that had been evicted came back as its last lines alone, without the
// head that says whose it is, and without an end.
func TestALostRecordIsNotMadeAnew(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		lose := func() {
			for _, key := range w.keys("*:n:*") {
				w.rdb.Del(t.Context(), key)
			}
		}
		w.admit(queue.Admission{Tenant: "acme", Notification: notification("ada")})
		leases, events := w.leaseEvents(1)
		lose()
		if err := w.Plan(t.Context(), []*queue.Planned{{Lease: leases[0], Event: events[0], Deliveries: []queue.PlannedDelivery{
			{Delivery: deliveryOf(events[0], 1)}, {Delivery: deliveryOf(events[0], 2)}}}}); err != nil {
			t.Fatal(err)
		}
		w.nothingLikeARecord("planning")
		for i, l := range w.lease(w.DeliveryReader("c1", notice.ChannelWebhook, notice.LaneNormal), 2) {
			d := deliveryOf(events[0], i+1)
			s := &queue.Settlement{Lease: l, Delivery: &d, Entry: queue.Entry{At: w.clock.Now(), Status: notice.StatusDelivered, Attempt: 1}}
			if i == 0 {
				s.Kind, s.Due, s.Entry.Status = queue.Later, w.clock.Now(), notice.StatusRetrying
			}
			if !w.settle(s) {
				t.Error("not settled")
			}
			w.nothingLikeARecord("settling")
		}
		w.clock.Advance(time.Second)
		if n, _, err := w.Promote(t.Context()); n != 1 || err != nil {
			t.Errorf("promoted %d, %v: the delivery itself must go on", n, err)
		}
	})
}

func (w *world) nothingLikeARecord(after string) {
	w.t.Helper()
	if left := w.keys("*:n:*"); len(left) != 0 {
		w.t.Errorf("%s made %q anew", after, left)
	}
}

// What holds data of another shape fails however often it is asked: that is
// told apart from a server that is away.
func TestWhatCanNeverSucceedIsAFault(t *testing.T) {
	w := open(t, queuetest.Redis(t), testConfig())
	_, l, d := w.planned("ada")
	for _, key := range w.keys("*:waiting") {
		w.rdb.Del(t.Context(), key)
	}
	for _, p := range []string{"{t:0}", "{t:1}"} {
		w.rdb.Set(t.Context(), p+":waiting", "no sorted set", 0)
	}
	later := &queue.Settlement{Kind: queue.Later, Lease: l, Delivery: d, Due: w.clock.Now(), Entry: queue.Entry{At: w.clock.Now(), Status: notice.StatusRetrying}}
	_, err := w.Settle(t.Context(), "c1", []*queue.Settlement{later})
	var part *queue.PartError
	if !errors.As(err, &part) || !errors.Is(err, queue.ErrFault) || errors.Is(err, queue.ErrUnavailable) {
		t.Errorf("settling says %v, want a *PartError that is ErrFault", err)
	}
}

func TestOneSettlementThatMakesNoSenseHoldsUpNoOther(t *testing.T) {
	w := open(t, queuetest.Redis(t), testConfig())
	_, l, d := w.planned("ada")
	_, other, od := w.planned("bob")
	d.ID = "no id"
	delivered := queue.Entry{At: w.clock.Now(), Status: notice.StatusDelivered, Attempt: 1}
	settled, err := w.Settle(t.Context(), "c1", []*queue.Settlement{{Lease: l, Delivery: d, Entry: delivered}, {Lease: other, Delivery: od, Entry: delivered}})
	var part *queue.PartError
	if !errors.As(err, &part) || len(part.Members) != 1 || part.Members[0] != 0 || !errors.Is(err, queue.ErrFault) {
		t.Errorf("settling says %v, want the first alone at fault", err)
	}
	if settled[0] || !settled[1] {
		t.Errorf("settled %v", settled)
	}
}

// Whatever a server answers that passes by itself: nothing is accepted while it
// lasts, and everything works again once it is over.
func TestEachRefusalOfTheServerPasses(t *testing.T) {
	cases := []struct {
		name       string
		begin, end []any
	}{
		{"a master that became a replica", []any{"REPLICAOF", "127.0.0.1", "1"}, []any{"REPLICAOF", "NO", "ONE"}},
		{"no replica to write to (NOREPLICAS)", []any{"CONFIG", "SET", "min-replicas-to-write", "1"}, []any{"CONFIG", "SET", "min-replicas-to-write", "0"}},
		{"out of memory", []any{"CONFIG", "SET", "maxmemory", "1"}, []any{"CONFIG", "SET", "maxmemory", "0"}},
		{"a password that was not there", []any{"CONFIG", "SET", "requirepass", "x"}, []any{"CONFIG", "SET", "requirepass", ""}},
		{"a command that is not allowed (NOPERM)", []any{"ACL", "SETUSER", "default", "-evalsha", "-eval"}, []any{"ACL", "SETUSER", "default", "+@all"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := queuetest.Start(t)
			rdb, err := queue.Connect(config.Redis{URL: config.NewURL(s.URL())}, 8)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { rdb.Close() })
			w := open(t, rdb, testConfig())
			w.planned("eve")
			admin := s.Client().Conn() // one connection, which stays whatever is set
			defer admin.Close()
			if err := admin.Do(t.Context(), c.begin...).Err(); err != nil {
				t.Fatal(err)
			}
			admin.ClientKillByFilter(t.Context(), "TYPE", "normal", "SKIPME", "yes")
			for range 2 { // a cut connection first, then the server's word
				if got, err := w.Admit(t.Context(), queue.Admission{Tenant: "acme", Notification: notification("ada")}); !errors.Is(err, queue.ErrUnavailable) {
					t.Errorf("admitted %+v, %v", got, err)
				}
			}
			if err := admin.Do(t.Context(), c.end...).Err(); err != nil {
				t.Fatal(err)
			}
			waitFor(t, "an acceptance", func() bool {
				_, err := w.Admit(t.Context(), queue.Admission{Tenant: "acme", Notification: notification("bob")})
				return err == nil
			})
			if got := w.lease(w.EventReader("c2", notice.LaneNormal), 1); len(got) != 1 {
				t.Errorf("%d events are there, want what was accepted and nothing else", len(got))
			}
		})
	}
}

func TestAServerThatWouldLoseDataIsNamed(t *testing.T) {
	cases := []struct {
		name string
		args []string
		want []string
	}{
		{"nothing on disk", nil, []string{"redis persistence"}},
		{"an append-only file", []string{"--appendonly", "yes"}, nil},
		{"snapshots", []string{"--save", "60 1000"}, nil},
		{"a policy that evicts", []string{"--appendonly", "yes", "--maxmemory-policy", "allkeys-lru"}, []string{"redis eviction"}},
		{"a managed server that refuses CONFIG", []string{"--rename-command", "CONFIG", "", "--maxmemory-policy", "volatile-ttl"}, []string{"redis eviction"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got, err := queue.Warnings(t.Context(), queuetest.Redis(t, c.args...), config.Queue{Durability: config.DurabilityMemory})
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range c.want {
				if got[name] == "" {
					t.Errorf("no word of %s", name)
				}
			}
			if len(got) != len(c.want) {
				t.Errorf("warned of %v, want %v", got, c.want)
			}
		})
	}
	t.Run("every master of a cluster", func(t *testing.T) {
		got, err := queue.Warnings(t.Context(), connectTo(t, sharedCluster.Cluster(t)), config.Queue{Durability: config.DurabilityReplica})
		if said := got["redis persistence"]; err != nil || strings.Count(said, " too") != 2 || !strings.Contains(said, "replica") {
			t.Errorf("warned of %v, %v; want all three masters", got, err)
		}
	})
}
