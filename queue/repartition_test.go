package queue_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/queue"
	"github.com/carillonhq/carillon/queue/queuetest"
)

func partitioned(n int) config.Queue {
	cfg := testConfig()
	cfg.Partitions, cfg.Finals = n, 100
	return cfg
}

// profileOwner stands for the rooms that keep something of a person's.
func profileOwner(suffix string) (tenant, subject string, ok bool) {
	rest, ok := strings.CutPrefix(suffix, "u:")
	tenant, subject, _ = strings.Cut(rest, ":")
	return tenant, subject, ok
}

func repartition(t *testing.T, rdb *redis.Client, to int) queue.Repartitioned {
	t.Helper()
	done, err := queue.Repartition(t.Context(), rdb, partitioned(1), to, profileOwner)
	if err != nil {
		t.Fatalf("to %d: %v", to, err)
	}
	return done
}

// people is how many persons each kind of data is made for: enough to be in
// every partition.
const people = 24

// everyKind makes data of every kind for many people and returns the ids of
// their notifications, by kind.
func everyKind(w *world) map[string][]string {
	ids := map[string][]string{}
	for i := range people {
		user := fmt.Sprintf("%s-u%d", w.t.Name(), i)
		ids["ended"] = append(ids["ended"], w.finish(user))
		dead := w.die(user, "attempts")
		ids["dead"] = append(ids["dead"], dead[:strings.LastIndexByte(dead, '-')])
		ev, l, d := w.planned(user)
		w.settle(&queue.Settlement{Kind: queue.Later, Lease: l, Delivery: d, Due: w.clock.Now().Add(time.Hour),
			Entry: queue.Entry{At: w.clock.Now(), Status: notice.StatusRetrying, Attempt: 1, Until: w.clock.Now().Add(time.Hour)}})
		ids["parked"] = append(ids["parked"], ev.ID)
		w.rdb.Set(w.t.Context(), fmt.Sprintf("{t:%d}:u:acme:%s", w.Partition("acme", user), user), "profile of "+user, time.Hour)
	}
	for i := range people {
		user := fmt.Sprintf("%s-u%d", w.t.Name(), i)
		ids["events"] = append(ids["events"], w.admit(queue.Admission{Tenant: "acme", Notification: notification(user), Key: "key-" + user, Digest: 7}).ID)
	}
	return ids
}

func TestRepartitioningLosesNothing(t *testing.T) {
	rdb := queuetest.Redis(t)
	w := open(t, rdb, partitioned(4))
	ids := everyKind(w)
	w.Close()
	if got := repartition(t, rdb, 8); got.From != 4 || got.Reach != 8 || got.Moved == 0 {
		t.Errorf("to eight: %+v", got)
	}
	w8 := open(t, rdb, partitioned(8))
	checkAll(w8, ids)
	w8.Close()
	if got := repartition(t, rdb, 2); got.From != 8 || got.Reach != 4 {
		t.Errorf("to two: %+v", got)
	}
	if _, err := queue.Open(t.Context(), rdb, rdb, partitioned(8)); !errors.As(err, new(*queue.PartitionsError)) {
		t.Errorf("the old number opens it: %v", err)
	}
	w2 := open(t, rdb, partitioned(2))
	checkAll(w2, ids)
	workAll(w2, ids)
}

// checkAll fails unless every id is found, and every person's own things are
// where they are looked for now.
func checkAll(w *world, ids map[string][]string) {
	w.t.Helper()
	for kind, some := range ids {
		for _, id := range some {
			if r := w.record(id); r.Open() != (kind == "parked" || kind == "events") {
				w.t.Errorf("%s %s is on record as %+v", kind, id, r)
			}
		}
	}
	for i := range people {
		user := fmt.Sprintf("%s-u%d", w.t.Name(), i)
		key := fmt.Sprintf("{t:%d}:u:acme:%s", w.Partition("acme", user), user)
		if got, life := w.rdb.Get(w.t.Context(), key).Val(), w.rdb.PTTL(w.t.Context(), key).Val(); got != "profile of "+user || life < 50*time.Minute {
			w.t.Errorf("%s is %q for %v more", key, got, life)
		}
		again := w.admit(queue.Admission{Tenant: "acme", Notification: notification(user), Key: "key-" + user, Digest: 7})
		if !again.Duplicate || again.ID != ids["events"][i] {
			w.t.Errorf("the key of %s answers %+v, want the first id %s", user, again, ids["events"][i])
		}
	}
	if n := w.deadCount(notice.ChannelWebhook); n != people {
		w.t.Errorf("%d dead letters, want %d", n, people)
	}
}

// workAll works everything that waits to its end, and fails unless that was
// each id once.
func workAll(w *world, ids map[string][]string) {
	w.t.Helper()
	ctx := w.t.Context()
	if n, err := w.RedriveAll(ctx, queue.DeadFilter{}); n != people || err != nil {
		w.t.Fatalf("redrove %d: %v", n, err)
	}
	w.clock.Advance(2 * time.Hour)
	if n, _, err := w.Promote(ctx); n != people || err != nil {
		w.t.Fatalf("promoted %d: %v", n, err)
	}
	leases, _ := w.leaseEvents(people)
	for _, l := range leases {
		w.planOne(l)
	}
	var worked []string
	for _, l := range w.lease(w.DeliveryReader("c1", notice.ChannelWebhook, notice.LaneNormal), 3*people) {
		var d notice.Delivery
		if err := d.UnmarshalBinary(l.Payload); err != nil {
			w.t.Fatal(err)
		}
		w.settle(&queue.Settlement{Kind: queue.Done, Lease: l, Delivery: &d, Entry: queue.Entry{At: w.clock.Now(), Status: notice.StatusDelivered}})
		worked = append(worked, d.ID[:strings.LastIndexByte(d.ID, '-')])
	}
	want := slices.Concat(ids["dead"], ids["parked"], ids["events"])
	slices.Sort(worked)
	slices.Sort(want)
	if !slices.Equal(worked, want) {
		w.t.Errorf("worked %d ids, want each of %d once", len(worked), len(want))
	}
	for _, id := range want {
		if w.record(id).Open() {
			w.t.Errorf("%s is open still", id)
		}
	}
}

func TestARepartitionIsRefusedWhileAnybodyIsAtWork(t *testing.T) {
	rdb := queuetest.Redis(t)
	w := open(t, rdb, partitioned(4))
	ctx, cancel := context.WithCancel(t.Context())
	gone := make(chan struct{})
	go func() { defer close(gone); w.Attend(ctx, "consumer-7") }()
	for rdb.ZCard(t.Context(), "t:processes").Val() == 0 {
		time.Sleep(time.Millisecond)
	}
	_, err := queue.Repartition(t.Context(), rdb, partitioned(4), 8)
	if !errors.Is(err, queue.ErrAlive) || !strings.Contains(err.Error(), "consumer-7") {
		t.Errorf("refused with %v", err)
	}
	open(t, rdb, partitioned(4)).Close() // a refusal leaves the queue open
	cancel()
	<-gone
	if _, err := queue.Repartition(t.Context(), rdb, partitioned(4), 8); err != nil {
		t.Errorf("with everybody gone: %v", err)
	}
}

// TestAnInterruptedRepartitionIsFinishedByTheNext stops one in the middle of
// its moves.
func TestAnInterruptedRepartitionIsFinishedByTheNext(t *testing.T) {
	rdb := queuetest.Redis(t)
	w := open(t, rdb, partitioned(4))
	ids := everyKind(w)
	w.Close()
	ctx, cancel := context.WithCancel(t.Context())
	seen := 0
	_, err := queue.Repartition(ctx, rdb, partitioned(4), 8, func(suffix string) (string, string, bool) {
		if seen++; seen == 60 {
			cancel()
		}
		return profileOwner(suffix)
	})
	if err == nil {
		t.Fatal("it was not interrupted")
	}
	if _, err := queue.Open(t.Context(), rdb, rdb, partitioned(4)); !errors.As(err, new(*queue.MovingError)) {
		t.Errorf("a queue in pieces opens: %v", err)
	}
	if _, err := queue.Repartition(t.Context(), rdb, partitioned(4), 16, profileOwner); err == nil || !strings.Contains(err.Error(), "finish that one first") {
		t.Errorf("another number takes over: %v", err)
	}
	repartition(t, rdb, 8)
	w8 := open(t, rdb, partitioned(8))
	checkAll(w8, ids)
	workAll(w8, ids)
}

func TestPartitionsThatHaveBecomeEmptyAreGivenUp(t *testing.T) {
	rdb := queuetest.Redis(t)
	w := open(t, rdb, partitioned(4))
	user := "a"
	for w.Partition("acme", user) != 2 {
		user += "a"
	}
	id := w.finish(user)
	w.Close()
	if got := repartition(t, rdb, 1); got.Reach != 3 {
		t.Errorf("%+v, want to reach as far as the record of %s", got, id)
	}
	rdb.Del(t.Context(), "{t:"+id[:1]+"}:n:"+id[2:])
	if got := repartition(t, rdb, 1); got.Reach != 1 {
		t.Errorf("with the record gone: %+v, want to reach 1", got)
	}
}

func TestErasingReachesTheRecordsOfAnEarlierLayout(t *testing.T) {
	rdb := queuetest.Redis(t)
	w := open(t, rdb, partitioned(4))
	var ids []string
	for i := range 8 {
		ids = append(ids, w.finish(fmt.Sprint("u", i)))
	}
	w.Close()
	repartition(t, rdb, 7)
	w7 := open(t, rdb, partitioned(7))
	for i, id := range ids {
		if err := w7.Erase(t.Context(), "acme", fmt.Sprint("u", i)); err != nil {
			t.Fatal(err)
		}
		if r := w7.record(id); r.User != queue.Erased {
			t.Errorf("the record of u%d names %q", i, r.User)
		}
	}
}

func TestPartitionsAreSpreadEvenlyOverNodes(t *testing.T) {
	at := func(node string, waiting ...int) (places []queue.PartitionPlace) {
		for i, w := range waiting {
			places = append(places, queue.PartitionPlace{Partition: i, Slot: 100 + i, Node: node, Waiting: w})
		}
		return places
	}
	for _, w := range []struct {
		name   string
		places []queue.PartitionPlace
		nodes  []string
		want   []queue.Move
	}{
		{"a single server has nothing to move", at("", 1, 2), nil, nil},
		{"what is even stays", slices.Concat(at("a", 1), at("b", 1)), []string{"a", "b"}, nil},
		{"one more does no harm", slices.Concat(at("a", 1, 1), at("b", 1)), []string{"a", "b"}, nil},
		{"a new node gets the busiest", at("a", 1, 9, 5, 2), []string{"a", "b"},
			[]queue.Move{{Partition: 1, Slot: 101, From: "a", To: "b"}, {Partition: 2, Slot: 102, From: "a", To: "b"}}},
	} {
		t.Run(w.name, func(t *testing.T) {
			if got := queue.Rebalanced(w.places, w.nodes); !slices.Equal(got, w.want) {
				t.Errorf("moves %v, want %v", got, w.want)
			}
		})
	}
}
