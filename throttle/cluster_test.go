package throttle_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/queue/queuetest"
	"github.com/carillonhq/carillon/throttle"
)

// cluster is a Redis Cluster of one node, which refuses a script whose keys lie
// in several slots as one of many nodes does.
func cluster(t *testing.T) *redis.ClusterClient {
	t.Helper()
	server := queuetest.Start(t, "--cluster-enabled", "yes")
	if err := server.Client().Do(t.Context(), "CLUSTER", "ADDSLOTSRANGE", 0, 16383).Err(); err != nil {
		t.Fatal(err)
	}
	rdb := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{server.Addr}, MaxRetries: -1})
	t.Cleanup(func() { rdb.Close() })
	deadline := time.Now().Add(20 * time.Second)
	for !strings.Contains(rdb.ClusterInfo(t.Context()).Val(), "cluster_state:ok") {
		if time.Now().After(deadline) {
			t.Fatal("the cluster of one node does not come up")
		}
		<-time.After(10 * time.Millisecond)
	}
	return rdb
}

// storeOrCluster runs a test on each store, and on a cluster.
func storeOrCluster(t *testing.T, run func(t *testing.T, rdb redis.UniversalClient)) {
	eachStore(t, run)
	t.Run("cluster", func(t *testing.T) { run(t, cluster(t)) })
}

func TestOnARedisClusterEveryScriptKeepsToOneSlot(t *testing.T) {
	t.Parallel()
	rdb := cluster(t)
	every, news := atMost(1, time.Hour, config.OverDefer), atMost(5, 24*time.Hour, config.OverDrop)
	news.Category = "news"
	caps, err := throttle.NewCaps(rdb, "test", func(_, user string) int { return int(user[0]) % 8 }, []config.Cap{every, news})
	if err != nil {
		t.Fatal(err)
	}
	var asks []throttle.Ask
	for i := range 64 {
		a := push(fmt.Sprint("d", i), at(0))
		a.User = fmt.Sprint(i % 32)
		asks = append(asks, a)
	}
	for i, got := range decide(t, caps, asks...) {
		if want := at(time.Duration(i/32) * time.Hour); !got.Until.Equal(want) {
			t.Errorf("ask %d: until %v, want %v", i, got.Until.UTC(), want)
		}
	}
	if err := caps.Release(t.Context(), asks); err != nil {
		t.Errorf("release: %v", err)
	}
	if left := rdb.Keys(t.Context(), "*").Val(); len(left) != 0 {
		t.Errorf("keys left after every place was given back: %q", left)
	}
	sharesARate(t, rdb)
}
