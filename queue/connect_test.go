package queue_test

import (
	"errors"
	"net"
	"testing"
	"time"

	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/queue"
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
	began := time.Now()
	if err := queue.Ping(t.Context(), rdb); !errors.Is(err, queue.ErrUnavailable) {
		t.Fatalf("ping: %v, want ErrUnavailable", err)
	}
	if took := time.Since(began); took > 300*time.Millisecond {
		t.Errorf("it took %v to find out", took)
	}
}
