package queue_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/queue"
	"github.com/carillonhq/carillon/queue/queuetest"
)

// clusterWorld is a queue of partitions on every master.
func clusterWorld(t *testing.T, cfg config.Queue) (*world, *queuetest.Cluster) {
	t.Helper()
	c := sharedCluster.Cluster(t)
	cfg.Partitions = 8
	return open(t, connectTo(t, c), cfg), c
}

// userOf is a user whose partition is on a master, or on any other.
func userOf(w *world, c *queuetest.Cluster, master *queuetest.Server, on bool) string {
	for i := range 1000 {
		user := fmt.Sprint("u", i)
		if (c.MasterOf(fmt.Sprintf("{t:%d}", w.Partition("acme", user))) == master) == on {
			return user
		}
	}
	w.t.Fatal("every partition is on one side")
	return ""
}

// One master that was away answered every admission with 503 that happened to
// be committed together with one of its own, those that were stored included.
func TestAMasterThatIsAwayRefusesOnlyItsOwn(t *testing.T) {
	w, c := clusterWorld(t, testConfig())
	dead := c.MasterOf("{t:0}")
	theirs, others := userOf(w, c, dead, true), userOf(w, c, dead, false)
	// The tenant has a turn from here on, and the client knows where both live: a
	// test before this one may have moved them.
	for _, user := range []string{theirs, others} {
		w.admit(queue.Admission{Tenant: "acme", Notification: notification(user)})
	}
	dead.Freeze()
	got := w.AdmitAll(t.Context(), []queue.Admission{
		{Tenant: "acme", Notification: notification(theirs)}, {Tenant: "acme", Notification: notification(others)}})
	dead.Thaw()
	if !errors.Is(got[0].Err, queue.ErrUnavailable) || got[1].Err != nil || got[1].ID == "" {
		t.Errorf("admitted %+v", got)
	}
}

func TestAReaderGoesOnWithThePartitionsThatAnswer(t *testing.T) {
	w, c := clusterWorld(t, testConfig())
	dead := c.MasterOf("{t:0}")
	theirs, others := userOf(w, c, dead, true), userOf(w, c, dead, false)
	for _, user := range []string{theirs, others} {
		w.admit(queue.Admission{Tenant: "acme", Notification: notification(user)})
	}
	r := w.EventReader("c1", notice.LaneNormal)
	c.KillMaster("{t:0}") // its replica is in its place, which nobody here knows yet
	var leased int
	waitFor(t, "both events", func() bool {
		got, err := r.Read(t.Context(), 10)
		if err != nil && !errors.Is(err, queue.ErrPartly) {
			t.Fatalf("all of it failed: %v", err)
		}
		own, _ := r.Own(t.Context())
		w.clock.Advance(time.Second)
		leased += len(got)
		return leased >= 2 || len(own) >= 2
	})
}

// What a connection cost that failed in the middle of a read: the client sent
// the read again, and what was leased the first time was nobody's.
func TestALostReplyIsAnErrorOnAClusterToo(t *testing.T) {
	c := sharedCluster.Cluster(t)
	rdb := connectTo(t, c)
	key := "{t:0}:s"
	master := c.MasterOf(key).Client()
	master.XGroupCreateMkStream(t.Context(), key, "g", "0")
	read := make(chan error, 1)
	go func() {
		read <- rdb.XReadGroup(context.Background(), &redis.XReadGroupArgs{Group: "g", Consumer: "c", Streams: []string{key, ">"}, Count: 1, Block: 2 * time.Second}).Err()
	}()
	waitFor(t, "blocked reader", func() bool {
		return !strings.Contains(master.Info(t.Context(), "clients").Val(), "blocked_clients:0")
	})
	master.ClientKillByFilter(t.Context(), "TYPE", "normal", "SKIPME", "yes")
	select {
	case err := <-read:
		if !errors.Is(err, queue.ErrUnavailable) {
			t.Errorf("the read says %v, want ErrUnavailable", err)
		}
	case <-time.After(1500 * time.Millisecond):
		t.Error("the read was sent again by the client itself")
	}
}

func TestTheWaitForAReplicaIsOnTheMasterOfEachSlot(t *testing.T) {
	cfg := testConfig()
	cfg.Durability = config.DurabilityReplica
	w, c := clusterWorld(t, cfg)
	var as []queue.Admission
	for i := range 40 {
		as = append(as, queue.Admission{Tenant: "acme", Key: fmt.Sprint(i), Digest: 1, Notification: notification(fmt.Sprint("u", i))})
	}
	for i, got := range w.AdmitAll(t.Context(), as) {
		if got.Err != nil {
			t.Fatalf("%d: %v", i, got.Err)
		}
		p, _, _ := strings.Cut(got.ID, "-")
		tag := "{t:" + p + "}"
		replica := c.ReplicaOf(c.MasterOf(tag)).Client()
		conn := replica.Conn()
		conn.ReadOnly(t.Context())
		if n := conn.Exists(t.Context(), tag+":n:"+got.ID[len(p)+1:]).Val(); n != 1 { // it was waited for: no poll
			t.Errorf("the replica does not have %s", got.ID)
		}
		conn.Close()
	}
}

// A repetition finds its work done and writes nothing; the server waited for
// nothing then, and said that all was well.
func TestADuplicateIsAnsweredOnlyOnceTheFirstIsSafe(t *testing.T) {
	master := queuetest.Start(t)
	host, port, _ := net.SplitHostPort(master.Addr)
	replica := queuetest.Start(t, "--replicaof", host+" "+port)
	waitFor(t, "link to the master", func() bool {
		return strings.Contains(replica.Client().Info(t.Context(), "replication").Val(), "master_link_status:up")
	})
	cfg := testConfig()
	cfg.Durability = config.DurabilityReplica
	w := open(t, master.Client(), cfg)
	a := queue.Admission{Tenant: "acme", Key: "k", Digest: 1, Notification: notification("ada")}
	w.admit(queue.Admission{Tenant: "acme", Notification: notification("bob")}) // a connection whose wait is over
	replica.Freeze()
	for _, what := range []string{"the first", "the second"} {
		if got, err := w.Admit(t.Context(), a); !errors.Is(err, queue.ErrUnavailable) {
			t.Errorf("%s is answered with %+v, %v while the replica stands still", what, got, err)
		}
	}
	replica.Thaw()
	waitFor(t, "an acceptance", func() bool {
		got, err := w.Admit(t.Context(), a)
		return err == nil && got.Duplicate
	})
}

// A stream that had gone ahead to another master failed the promotion after
// others of its batch were on their streams: they were promoted, and sent, at
// every look.
func TestAPromotionInTheMiddleOfAMigrationPutsNothingBackTwice(t *testing.T) {
	w, c := clusterWorld(t, testConfig())
	user := "ada"
	tag := fmt.Sprintf("{t:%d}", w.Partition("acme", user))
	for range 5 {
		n := notification(user)
		n.SendAt = w.clock.Now().Add(time.Minute)
		w.admit(queue.Admission{Tenant: "acme", Notification: n})
	}
	w.clock.Advance(time.Hour)
	c.MigrateSlot(tag, func() { // some of the keys are away
		for range 3 {
			_, _, err := w.Promote(t.Context())
			t.Logf("in the middle: %v", err)
		}
	})
	waitFor(t, "the rest promoted", func() bool {
		n, next, err := w.Promote(t.Context())
		return err == nil && n == 0 && next.IsZero()
	})
	seen := map[string]bool{}
	r := w.EventReader("c1", notice.LaneNormal)
	waitFor(t, "five events", func() bool {
		got, err := r.Read(t.Context(), 10)
		if err != nil && !errors.Is(err, queue.ErrPartly) {
			t.Fatal(err)
		}
		w.clock.Advance(time.Second)
		for _, l := range got {
			var ev notice.Event
			if err := ev.UnmarshalBinary(l.Payload); err != nil || seen[ev.ID] {
				t.Fatalf("%s twice, %v", ev.ID, err)
			}
			seen[ev.ID] = true
		}
		return len(seen) == 5
	})
	c.MigrateSlot(tag, nil) // and back, or on
}
