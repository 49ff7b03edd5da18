package archive_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/carillonhq/carillon/archive"
	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/queue"
	"github.com/carillonhq/carillon/queue/queuetest"
)

// The variables that make this program the archive which the test kills.
const (
	victimDir   = "CARILLON_TEST_ARCHIVE"
	victimRedis = "CARILLON_TEST_REDIS"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(victimDir); dir != "" {
		if err := archiveUntilKilled(dir, os.Getenv(victimRedis)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func queueConfig() config.Queue {
	return config.Queue{Namespace: "t", Partitions: 3, Visibility: config.Duration(time.Minute), Retention: config.Duration(time.Hour),
		MaxBacklog: 1 << 30, Finals: 1_000_000}
}

func archiveUntilKilled(dir, addr string) error {
	rdb := redis.NewClient(&redis.Options{Addr: addr})
	defer rdb.Close()
	a, q, err := openArchive(context.Background(), dir, rdb)
	if err != nil {
		return err
	}
	defer q.Close()
	defer a.Close()
	fmt.Println("ready")
	return a.Run(context.Background(), false)
}

func openArchive(ctx context.Context, dir string, rdb *redis.Client) (*archive.Archive, *queue.Queue, error) {
	cfg := queueConfig()
	q, err := queue.Open(ctx, rdb, rdb, cfg)
	if err != nil {
		return nil, nil, err
	}
	a, err := archive.Open(archive.Options{Dir: dir, Namespace: cfg.Namespace, Partitions: cfg.Partitions, Source: q,
		Every: time.Millisecond, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		q.Close()
		return nil, nil, err
	}
	return a, q, nil
}

// TestEachFinalStateIsArchivedOnceHoweverOftenTheArchiveIsKilled kills the
// archive at any moment while notifications end, then counts lines by id.
func TestEachFinalStateIsArchivedOnceHoweverOftenTheArchiveIsKilled(t *testing.T) {
	const kills = 25
	server, dir := queuetest.Start(t), t.TempDir()
	rdb := server.Client()
	var flow sync.WaitGroup
	stop := make(chan struct{})
	var ids []string
	flow.Go(func() { ids = endUntil(t, rdb, stop) })
	seed := uint64(time.Now().UnixNano())
	random := rand.New(rand.NewPCG(seed, 1))
	for i := range kills {
		// Later ones live longer: on a loaded machine the first do not get far.
		victim(t, dir, server.Addr, time.Duration(random.IntN(100_000+30_000*i))*time.Microsecond)
	}
	close(stop)
	flow.Wait()
	a, q, err := openArchive(t.Context(), dir, rdb)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	defer a.Close()
	found := archived(t, dir)
	t.Logf("seed %d: %d of %d were archived by the %d that were killed", seed, len(found), len(ids), kills)
	if len(found) == 0 {
		t.Error("none of the killed archived anything: they prove nothing")
	}
	if err := a.Run(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	found = archived(t, dir)
	for _, id := range ids {
		if found[id] != 1 {
			t.Errorf("%s stands there %d times", id, found[id])
		}
	}
	if len(found) != len(ids) || a.Totals() != (archive.Totals{Written: int64(len(ids))}) {
		t.Errorf("%d archived, totals %+v, want %d and no gap", len(found), a.Totals(), len(ids))
	}
}

// victim archives for a while, from when it has opened its folder, and is
// killed. It must not have ended by itself.
func victim(t *testing.T, dir, addr string, life time.Duration) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), victimDir+"="+dir, victimRedis+"="+addr)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	ready, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// A read that fails is an archive that ended: its exit code says so.
	_, _ = ready.Read(make([]byte, 1))
	kill := time.AfterFunc(life, func() { cmd.Process.Kill() })
	defer kill.Stop()
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != -1 {
		t.Fatalf("the archive ended by itself: %v", err)
	}
}

// endUntil admits notifications and ends them while they are planned, and
// returns their ids.
func endUntil(t *testing.T, rdb *redis.Client, stop <-chan struct{}) (ids []string) {
	q, err := queue.Open(t.Context(), rdb, rdb, queueConfig())
	if err != nil {
		t.Error(err)
		return nil
	}
	defer q.Close()
	reader := q.EventReader("c", notice.LaneNormal)
	for round := 0; ; round++ {
		select {
		case <-stop:
			return ids
		default:
		}
		batch := make([]queue.Admission, 1+round%40)
		for i := range batch {
			batch[i] = queue.Admission{Tenant: "acme", Notification: notice.Notification{Template: "ping", Priority: notice.LaneNormal,
				To: notice.Recipient{User: "u" + strconv.Itoa(i)}}}
		}
		q.AdmitAll(t.Context(), batch)
		for ended := 0; ended < len(batch); {
			some, err := endSome(t.Context(), q, reader)
			if err != nil {
				t.Error(err)
				return ids
			}
			ids, ended = append(ids, some...), ended+len(some)
		}
	}
}

func endSome(ctx context.Context, q *queue.Queue, r *queue.Reader) (ids []string, err error) {
	leases, err := r.Read(ctx, 100)
	if err != nil {
		return nil, err
	}
	var planned []*queue.Planned
	for _, l := range leases {
		var ev notice.Event
		if err := ev.UnmarshalBinary(l.Payload); err != nil {
			return nil, err
		}
		ids = append(ids, ev.ID)
		planned = append(planned, &queue.Planned{Lease: l, Event: &ev, Note: queue.Entry{At: time.Now(), Status: notice.StatusFailed}})
	}
	return ids, q.Plan(ctx, planned)
}
