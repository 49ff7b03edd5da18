package throttle_test

import (
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/queue/queuetest"
	"github.com/carillonhq/carillon/throttle"
)

// A server that refuses the connection itself fails a pipeline and no command
// in it: giving back looked at the commands alone and took it for done.
func TestARefusedConnectionIsNoSuccess(t *testing.T) {
	s := queuetest.Start(t)
	if err := s.Client().ConfigSet(t.Context(), "requirepass", "right").Err(); err != nil {
		t.Fatal(err)
	}
	rdb := redis.NewClient(&redis.Options{Addr: s.Addr, Password: "wrong", MaxRetries: -1})
	defer rdb.Close()
	caps := newCaps(t, rdb, atMost(1, time.Hour, config.OverDrop))
	if err := caps.Release(t.Context(), []throttle.Ask{push("d1", base)}); err == nil || !strings.Contains(err.Error(), "WRONGPASS") {
		t.Errorf("release: %v, want what the server said", err)
	}
	if _, err := caps.Decide(t.Context(), []throttle.Ask{push("d1", base)}); err == nil || !strings.Contains(err.Error(), "WRONGPASS") {
		t.Errorf("decide: %v, want what the server said", err)
	}
}
