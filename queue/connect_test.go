package queue_test

import (
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/queue"
	"github.com/carillonhq/carillon/queue/queuetest"
)

// The client would dial five times for one command, a tenth of a second apart;
// every 503 of the API waited for that three times over.
func TestAServerThatRefusesIsDialedOnce(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	rdb, err := queue.Connect(config.Redis{URL: config.NewURL("redis://" + address)}, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer rdb.Close()
	quickest := time.Hour // a busy machine may keep one of them waiting, and not all
	for range 10 {
		began := time.Now()
		if err := queue.Ping(t.Context(), rdb); !errors.Is(err, queue.ErrUnavailable) {
			t.Fatalf("ping: %v, want ErrUnavailable", err)
		}
		quickest = min(quickest, time.Since(began))
	}
	if quickest > 300*time.Millisecond {
		t.Errorf("it took %v to find out", quickest)
	}
}

// Such a server fails a pipeline and no command in it: what only looked at the
// commands took it for done.
func TestARefusedConnectionIsNoSuccess(t *testing.T) {
	s := queuetest.Start(t)
	admin := s.Client()
	if err := admin.ConfigSet(t.Context(), "requirepass", "first").Err(); err != nil {
		t.Fatal(err)
	}
	rdb, err := queue.Connect(config.Redis{URL: config.NewURL("redis://:first@" + s.Addr)}, 4)
	if err != nil {
		t.Fatal(err)
	}
	defer rdb.Close()
	w := open(t, rdb, testConfig())
	if err := w.Retire(t.Context(), "c1"); err != nil {
		t.Fatalf("before the password changes: %v", err)
	}
	if err := admin.ConfigSet(t.Context(), "requirepass", "second").Err(); err != nil {
		t.Fatal(err)
	}
	if err := admin.ClientKillByFilter(t.Context(), "TYPE", "normal", "SKIPME", "yes").Err(); err != nil {
		t.Fatal(err)
	}
	if err := w.Retire(t.Context(), "c1"); err == nil || !errors.Is(err, queue.ErrUnavailable) {
		t.Errorf("the first command after it: %v, want ErrUnavailable", err) // the connection is found cut
	}
	if err := w.Retire(t.Context(), "c1"); !errors.Is(err, queue.ErrUnavailable) || !strings.Contains(err.Error(), "WRONGPASS") {
		t.Errorf("the next: %v, want ErrUnavailable and what the server said", err)
	}
}
