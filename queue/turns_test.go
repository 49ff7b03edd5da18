package queue_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/queue"
	"github.com/carillonhq/carillon/queue/queuetest"
)

// admitMany admits n notifications of a tenant, each to another user.
func (w *world) admitMany(tenant string, lane notice.Lane, n int) {
	w.t.Helper()
	as := make([]queue.Admission, n)
	for i := range as {
		as[i] = queue.Admission{Tenant: tenant, Notification: notification("u" + strconv.Itoa(i))}
		as[i].Notification.Priority = lane
	}
	for _, got := range w.AdmitAll(w.t.Context(), as) {
		if got.Err != nil {
			w.t.Fatal(got.Err)
		}
	}
}

// tenantOf is whose event was leased.
func tenantOf(t *testing.T, l *queue.Lease) string {
	t.Helper()
	var ev notice.Event
	if err := ev.UnmarshalBinary(l.Payload); err != nil {
		t.Fatal(err)
	}
	return ev.Tenant
}

// byTenant counts events by whose they are.
func byTenant(t *testing.T, leases []*queue.Lease) map[string]int {
	t.Helper()
	out := map[string]int{}
	for _, l := range leases {
		out[tenantOf(t, l)]++
	}
	return out
}

// turns admits one notification of each tenant and says which turn it stands in.
func (w *world) turns(tenants ...string) map[string]int {
	w.t.Helper()
	for _, tenant := range tenants {
		w.admit(queue.Admission{Tenant: tenant, Notification: notification("ada")})
	}
	out := map[string]int{}
	for _, l := range w.lease(w.EventReader("turns", notice.LaneNormal), len(tenants)) {
		out[tenantOf(w.t, l)] = l.Turn()
	}
	return out
}

func TestEightTenantsNeverShareATurnAndTheNinthSharesTheFirst(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		var tenants []string
		for i := range 9 {
			tenants = append(tenants, fmt.Sprint("tenant-", i))
		}
		for tenant, turn := range w.turns(tenants...) {
			if want := fmt.Sprint("tenant-", turn); tenant != want && (tenant != "tenant-8" || turn != 0) {
				t.Errorf("%s has turn %d", tenant, turn)
			}
		}
	})
}

func TestTwoProcessesGiveATenantTheSameTurn(t *testing.T) {
	rdb := queuetest.Redis(t)
	one, two := open(t, rdb, testConfig()), open(t, rdb, testConfig())
	var racing sync.WaitGroup
	for i := range queue.Turns {
		racing.Go(func() { one.admitMany(fmt.Sprint("tenant-", i), notice.LaneNormal, 1) })
		racing.Go(func() { two.admitMany(fmt.Sprint("tenant-", queue.Turns-1-i), notice.LaneNormal, 1) })
	}
	racing.Wait()
	of := map[string]int{}
	taken := map[int]string{}
	for _, l := range one.lease(one.EventReader("c1", notice.LaneNormal), 2*queue.Turns) {
		tenant := tenantOf(t, l)
		if turn, known := of[tenant]; known && turn != l.Turn() {
			t.Errorf("%s is in turn %d by one process and %d by the other", tenant, turn, l.Turn())
		}
		if other, known := taken[l.Turn()]; known && other != tenant {
			t.Errorf("turn %d is both %s's and %s's", l.Turn(), other, tenant)
		}
		of[tenant], taken[l.Turn()] = l.Turn(), tenant
	}
}

func TestARestartKeepsTheTurns(t *testing.T) {
	rdb := queuetest.Redis(t)
	before := open(t, rdb, testConfig()).turns("acme", "beta", "corp")
	after := open(t, rdb, testConfig()).turns("corp", "acme", "beta")
	for tenant, turn := range before {
		if after[tenant] != turn {
			t.Errorf("%s had turn %d before the restart and %d after it", tenant, turn, after[tenant])
		}
	}
}

func TestAServerThatLostItsDataGivesTheTurnsOutAgain(t *testing.T) {
	w := open(t, queuetest.Redis(t), testConfig())
	waitFor(t, "a look at two tenants", func() bool { // it must know what there was to lose
		w.turns("acme", "beta")
		return w.rdb.HGet(t.Context(), "t:meta", "tenants").Val() == "2" && len(w.Backlog().Lanes) > 0
	})
	if err := w.rdb.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "beta to be the first of the new data", func() bool {
		w.admit(queue.Admission{Tenant: "beta", Notification: notification("ada")})
		return w.rdb.HGet(t.Context(), "t:meta", "turn:beta").Val() == "0"
	})
}

func TestTenantsBeyondThoseThatAreRememberedCostNoMemory(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.rdb.HSet(t.Context(), "t:meta", "tenants", 4096, "turn:old", 5)
		got := w.turns("old", "new-1", "new-2", "new-3")
		if got["old"] != 5 {
			t.Errorf("a tenant that is remembered has turn %d, want 5", got["old"])
		}
		for _, tenant := range []string{"new-1", "new-2", "new-3"} {
			if again := w.turns(tenant)[tenant]; again != got[tenant] {
				t.Errorf("%s has turn %d and then %d", tenant, got[tenant], again)
			}
		}
		if fields := w.rdb.HKeys(t.Context(), "t:meta").Val(); len(fields) != 3 {
			t.Errorf("the queue remembers %v", fields)
		}
	})
}

// second makes acme the first tenant, so that what follows stands in another
// turn than 0, and plans one delivery of beta's.
func (w *world) second() (*queue.Lease, *notice.Delivery) {
	w.t.Helper()
	w.turns("acme")
	w.admit(queue.Admission{Tenant: "beta", Notification: notification("bob")})
	leases, events := w.leaseEvents(1)
	if err := w.Plan(w.t.Context(), []*queue.Planned{{Lease: leases[0], Event: events[0],
		Deliveries: []queue.PlannedDelivery{{Delivery: deliveryOf(events[0], 1)}}}}); err != nil {
		w.t.Fatal(err)
	}
	l := w.lease(w.DeliveryReader("c1", notice.ChannelWebhook, notice.LaneNormal), 1)[0]
	var d notice.Delivery
	if err := d.UnmarshalBinary(l.Payload); err != nil {
		w.t.Fatal(err)
	}
	return l, &d
}

func TestADeliveryStaysInItsTenantsTurn(t *testing.T) {
	tests := []struct {
		name string
		to   notice.Channel
		step func(w *world, l *queue.Lease, d *notice.Delivery)
	}{
		{"when it is planned and handed back", notice.ChannelWebhook, func(w *world, l *queue.Lease, _ *notice.Delivery) {
			w.settle(&queue.Settlement{Kind: queue.Requeue, Lease: l})
		}},
		{"when it is parked and comes back", notice.ChannelWebhook, func(w *world, l *queue.Lease, d *notice.Delivery) {
			w.settle(&queue.Settlement{Kind: queue.Later, Lease: l, Delivery: d, Due: w.clock.Now().Add(time.Minute), Entry: entry(w, notice.StatusRetrying)})
			w.clock.Advance(2 * time.Minute)
			if n, _, err := w.Promote(w.t.Context()); n != 1 || err != nil {
				w.t.Fatal(n, err)
			}
		}},
		{"when it is redriven", notice.ChannelWebhook, func(w *world, l *queue.Lease, d *notice.Delivery) {
			w.settle(&queue.Settlement{Kind: queue.Bury, Lease: l, Delivery: d, Reason: "attempts", Entry: entry(w, notice.StatusDead)})
			if n, err := w.Redrive(w.t.Context(), "beta", d.ID); n != 1 || err != nil {
				w.t.Fatal(n, err)
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, w *world) {
				l, d := w.second()
				if l.Turn() != 1 {
					t.Fatalf("the second tenant's delivery is in turn %d", l.Turn())
				}
				tt.step(w, l, d)
				if again := w.lease(w.DeliveryReader("c1", tt.to, notice.LaneNormal), 1)[0]; again.Turn() != 1 {
					t.Errorf("it is in turn %d, want 1", again.Turn())
				}
			})
		})
	}
}

func TestAScheduledNotificationComesBackInItsTenantsTurn(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.turns("acme")
		n := notification("bob")
		n.SendAt = w.clock.Now().Add(time.Hour)
		w.admit(queue.Admission{Tenant: "beta", Notification: n})
		if parked, err := w.Parked(t.Context()); parked.Scheduled != 1 || parked.Total() != 1 || err != nil {
			t.Errorf("%+v parked, %v; want the one that is scheduled", parked, err)
		}
		w.clock.Advance(2 * time.Hour)
		if _, _, err := w.Promote(t.Context()); err != nil {
			t.Fatal(err)
		}
		if l := w.lease(w.EventReader("c1", notice.LaneNormal), 1)[0]; l.Turn() != 1 {
			t.Errorf("it is in turn %d, want 1", l.Turn())
		}
	})
}

func TestWhatADeadConsumerHeldIsReclaimedInEveryTurn(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		for i := range queue.Turns {
			w.admitMany(fmt.Sprint("tenant-", i), notice.LaneNormal, 6)
		}
		w.lease(w.EventReader("dead", notice.LaneNormal), 6*queue.Turns)
		r, found := w.EventReader("alive", notice.LaneNormal), map[int]int{}
		waitFor(t, "all of every turn", func() bool {
			got, err := r.Reclaim(t.Context(), 10)
			if err != nil {
				t.Fatal(err)
			}
			for _, l := range got {
				if l.Lost == 1 {
					found[l.Turn()]++
				}
			}
			total := 0
			for _, n := range found {
				total += n
			}
			return total >= 6*queue.Turns
		})
	})
}

func TestAFloodedTenantHoldsUpNoOthersEvents(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.admitMany("acme", notice.LaneNormal, 500)
		r := w.EventReader("c1", notice.LaneNormal)
		if _, err := r.Read(t.Context(), 32); err != nil { // the reader knows now where there is more
			t.Fatal(err)
		}
		w.admitMany("beta", notice.LaneNormal, 3)
		var read []*queue.Lease
		for range 4 {
			got, err := r.Read(t.Context(), 32)
			if err != nil {
				t.Fatal(err)
			}
			read = append(read, got...)
		}
		if got := byTenant(t, read); got["beta"] != 3 {
			t.Errorf("four reads of 32 gave %v: beta's three stand behind acme's flood", got)
		}
	})
}

func TestTenantsShareARoomByTurnsAndNotByPartitions(t *testing.T) {
	cfg := testConfig()
	cfg.Partitions = 8
	w := open(t, queuetest.Redis(t), cfg)
	w.admitMany("wide", notice.LaneNormal, 1000)
	narrow := make([]queue.Admission, 400) // one user: all of one partition
	for i := range narrow {
		narrow[i] = queue.Admission{Tenant: "narrow", Notification: notification("ada")}
	}
	for _, got := range w.AdmitAll(t.Context(), narrow) {
		if got.Err != nil {
			t.Fatal(got.Err)
		}
	}
	r := w.EventReader("c1", notice.LaneNormal)
	total := map[string]int{}
	for range 9 {
		got, err := r.Read(t.Context(), 64)
		if err != nil {
			t.Fatal(err)
		}
		for tenant, n := range byTenant(t, got) {
			total[tenant] += n
		}
	}
	if total["narrow"] < total["wide"]/2 {
		t.Errorf("read %v: a tenant whose users are in one partition gets less than half of another's share", total)
	}
}

func TestAReadIsLargeThoughOnePartitionHasEverything(t *testing.T) {
	cfg := testConfig()
	cfg.Partitions = 8
	w := open(t, queuetest.Redis(t), cfg)
	as := make([]queue.Admission, 300)
	for i := range as {
		as[i] = queue.Admission{Tenant: "acme", Notification: notification("ada")}
	}
	w.AdmitAll(t.Context(), as)
	r := w.EventReader("c1", notice.LaneNormal)
	var sizes []int
	for range 3 {
		got, err := r.Read(t.Context(), 64)
		if err != nil {
			t.Fatal(err)
		}
		sizes = append(sizes, len(got))
	}
	if sizes[1] != 64 || sizes[2] != 64 {
		t.Errorf("reads of %v with room for 64, of 300 in one of eight partitions", sizes)
	}
}

func TestATurnWithoutRoomIsNotReadAndTheOthersAre(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.admitMany("acme", notice.LaneNormal, 50)
		w.admitMany("beta", notice.LaneNormal, 2)
		r := w.EventReader("c1", notice.LaneNormal)
		room := queue.Room{}
		for turn := range room {
			room[turn] = 10
		}
		room[0] = 0
		quickest := time.Hour // a busy machine may keep one of them waiting, and not all
		for _, want := range []int{2, 0, 0, 0, 0} {
			began := time.Now()
			got, err := r.ReadTurns(t.Context(), room)
			if err != nil || byTenant(t, got)["beta"] != want || byTenant(t, got)["acme"] != 0 {
				t.Errorf("read %v, %v; want %d of beta's", byTenant(t, got), err, want)
			}
			if want == 0 {
				quickest = min(quickest, time.Since(began))
			}
		}
		if quickest > 500*time.Millisecond {
			t.Errorf("a read beside a full turn waited %s: it may have room again at any moment", quickest)
		}
	})
}

func TestAWaitingReaderGetsANewTenantsFirstAtOnce(t *testing.T) {
	w := open(t, queuetest.Redis(t), testConfig())
	w.turns("acme")
	r := w.EventReader("c1", notice.LaneNormal)
	for i := range 3 {
		type answer struct {
			got []*queue.Lease
			at  time.Time
		}
		read := make(chan answer, 1)
		go func() {
			for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
				if got, err := r.Read(t.Context(), 16); err != nil || len(got) > 0 {
					read <- answer{got, time.Now()}
					return
				}
			}
			close(read)
		}()
		waitFor(t, "a blocked reader", func() bool {
			return strings.Contains(w.rdb.ClientList(t.Context()).Val(), "cmd=xreadgroup")
		})
		began := time.Now()
		w.admitMany(fmt.Sprint("new-", i), notice.LaneNormal, 1)
		got := <-read
		if len(got.got) != 1 || got.at.Sub(began) > 400*time.Millisecond {
			t.Errorf("a new tenant's first came after %s", got.at.Sub(began))
		}
	}
}

func TestTurnsWorkOnACluster(t *testing.T) {
	server := queuetest.Start(t, "--cluster-enabled", "yes")
	if err := server.Client().Do(t.Context(), "CLUSTER", "ADDSLOTSRANGE", 0, 16383).Err(); err != nil {
		t.Fatal(err)
	}
	rdb := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{server.Addr}, MaxRetries: -1})
	t.Cleanup(func() { rdb.Close() })
	waitFor(t, "cluster", func() bool { return strings.Contains(rdb.ClusterInfo(t.Context()).Val(), "cluster_state:ok") })
	cfg := testConfig()
	cfg.Partitions = 4
	q, err := queue.Open(t.Context(), rdb, rdb, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(q.Close)
	w := &world{Queue: q, t: t, rdb: server.Client(), clock: newClock()}
	for i := range 3 {
		w.admitMany(fmt.Sprint("tenant-", i), notice.LaneNormal, 40)
	}
	r, got := w.EventReader("c1", notice.LaneNormal), map[string]int{}
	var leased []*queue.Lease
	waitFor(t, "everything of every tenant", func() bool {
		found, err := r.Read(t.Context(), 24)
		if err != nil {
			t.Fatal(err)
		}
		for tenant, n := range byTenant(t, found) {
			got[tenant] += n
		}
		leased = append(leased, found...)
		return len(leased) == 120
	})
	if got["tenant-0"] != 40 || got["tenant-1"] != 40 || got["tenant-2"] != 40 {
		t.Errorf("read %v, want 40 of each", got)
	}
	other, reclaimed := w.EventReader("c2", notice.LaneNormal), map[queue.Place]bool{}
	waitFor(t, "the reclaim of all", func() bool {
		again, err := other.Reclaim(t.Context(), 200)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range again {
			reclaimed[l.Place()] = true
		}
		return len(reclaimed) == 120
	})
}

func TestDepthsAreOfAllTurns(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		for i := range 3 {
			w.admitMany(fmt.Sprint("tenant-", i), notice.LaneBulk, 4)
		}
		depths, err := w.Depths(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range depths {
			if want := d.Stage == "events" && d.Lane == notice.LaneBulk; want && d.Length != 12 || !want && d.Length != 0 {
				t.Errorf("%s %s holds %d", d.Stage, d.Lane, d.Length)
			}
		}
		waitFor(t, "the backlog by turn and lane", func() bool {
			b := w.Backlog()
			return b.Total == 12 && b.Lanes[notice.LaneBulk] == 12 && b.Turns == [queue.Turns]int{4, 4, 4}
		})
	})
}

func TestAFloodIsRefusedBeforeAnybodyElse(t *testing.T) {
	cfg := testConfig()
	cfg.MaxBacklog = 80
	w := open(t, queuetest.Redis(t), cfg)
	full := func(tenant string, lane notice.Lane) bool {
		_, full := w.Pressure(tenant, &notice.Notification{Priority: lane})
		return full
	}
	w.admitMany("acme", notice.LaneBulk, 70)
	waitFor(t, "a refusal of acme's bulk", func() bool { return full("acme", notice.LaneBulk) })
	if full("acme", notice.LaneNormal) {
		t.Error("acme's bulk is full at 70 of 80 and so is its normal lane")
	}
	w.admitMany("acme", notice.LaneNormal, 12)
	waitFor(t, "a refusal of acme's normal", func() bool { return full("acme", notice.LaneNormal) })
	if full("acme", notice.LaneCritical) || full("beta", notice.LaneNormal) {
		t.Error("past max_backlog by one tenant's flood, its critical ones or another tenant's are refused")
	}
	w.admitMany("beta", notice.LaneNormal, 10)
	waitFor(t, "a refusal of everybody's normal", func() bool { return full("beta", notice.LaneNormal) })
	if full("beta", notice.LaneCritical) {
		t.Error("critical ones are refused at 92 of 80, before a quarter more than all")
	}
	w.admitMany("beta", notice.LaneCritical, 10)
	waitFor(t, "a refusal of everything", func() bool { return full("beta", notice.LaneCritical) })
}

// redisTime is the processor time that a server has spent so far, in
// microseconds, and how often it was asked for entries. (The server's own times
// by command are by the wall's clock, which a loaded machine falsifies.)
func redisTime(b *testing.B, rdb *redis.Client) (micros, reads float64) {
	b.Helper()
	for line := range strings.Lines(rdb.Info(b.Context(), "cpu").Val()) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		if name == "used_cpu_user" || name == "used_cpu_sys" {
			seconds, err := strconv.ParseFloat(value, 64)
			if err != nil {
				b.Fatal(err)
			}
			micros += seconds * 1e6
		}
	}
	_, rest, _ := strings.Cut(rdb.Info(b.Context(), "commandstats").Val(), "cmdstat_xreadgroup:calls=")
	fmt.Sscanf(rest, "%f,", &reads) // none yet: 0
	return micros, reads
}

// BenchmarkReadManyTurns leases b.N events of one tenant: by a Reader, which has
// eight turns to look after, and by the plain way, one command over the
// partitions' streams of that tenant's turn alone.
func BenchmarkReadManyTurns(b *testing.B) {
	const partitions, room = 8, 128
	cfg := config.Queue{Namespace: "b", Partitions: partitions, Visibility: config.Duration(time.Minute),
		Retention: config.Duration(time.Hour), MaxBacklog: 1 << 30}
	fill := func(b *testing.B) (*queue.Queue, *redis.Client) {
		rdb := queuetest.Redis(b)
		q, err := queue.Open(b.Context(), rdb, rdb, cfg)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(q.Close)
		for done := 0; done < b.N; done += 1000 {
			as := make([]queue.Admission, min(1000, b.N-done))
			for i := range as {
				as[i] = queue.Admission{Tenant: "acme", Notification: notification("u" + strconv.Itoa(done+i))}
			}
			q.AdmitAll(b.Context(), as)
		}
		return q, rdb
	}
	measure := func(b *testing.B, rdb *redis.Client, read func(ctx context.Context) (int, error)) {
		micros, reads := redisTime(b, rdb)
		b.ResetTimer()
		for n := 0; n < b.N; {
			got, err := read(b.Context())
			if err != nil || got == 0 {
				b.Fatalf("%d of %d, then %d: %v", n, b.N, got, err)
			}
			n += got
		}
		b.StopTimer()
		microsNow, readsNow := redisTime(b, rdb)
		b.ReportMetric((microsNow-micros)/float64(b.N), "redis-µs/op")
		b.ReportMetric(float64(b.N)/(readsNow-reads), "entries/read")
	}
	b.Run("reader", func(b *testing.B) {
		q, rdb := fill(b)
		r := q.EventReader("c", notice.LaneNormal)
		measure(b, rdb, func(ctx context.Context) (int, error) {
			got, err := r.Read(ctx, room)
			return len(got), err
		})
	})
	b.Run("plain", func(b *testing.B) {
		_, rdb := fill(b)
		var streams []string
		for p := range partitions {
			streams = append(streams, fmt.Sprintf("{b:%d}:events:normal", p))
		}
		for range partitions {
			streams = append(streams, ">")
		}
		measure(b, rdb, func(ctx context.Context) (n int, err error) {
			found, err := rdb.XReadGroup(ctx, &redis.XReadGroupArgs{Group: "carillon", Consumer: "c", Streams: streams, Count: room / partitions}).Result()
			for _, s := range found {
				n += len(s.Messages)
			}
			return n, err
		})
	})
}
