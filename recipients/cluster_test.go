package recipients_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/queue/queuetest"
	"github.com/carillonhq/carillon/recipients"
)

// cluster is a Redis Cluster of one node, which refuses a command whose keys
// lie in several slots as one of many nodes does.
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

func TestOnARedisClusterEveryCommandKeepsToOneSlot(t *testing.T) {
	t.Parallel()
	s := recipients.New(cluster(t), "test", spread)
	var asked []recipients.Query
	for i := range 32 {
		user := fmt.Sprint("u", i)
		mustPut(t, s, "acme", user, fmt.Sprintf(`{"email":"%s@example.com"}`, user))
		if err := s.PutDevice(t.Context(), "acme", user, recipients.Device{Platform: notice.PlatformAndroid, Token: user}); err != nil {
			t.Fatal(err)
		}
		if err := s.Suppress(t.Context(), "acme", notice.ChannelEmail, user+"@example.com", "bounced"); err != nil {
			t.Fatal(err)
		}
		asked = append(asked, recipients.Query{Tenant: "acme", User: user})
	}
	for i, found := range lookup(t, s, asked...) {
		_, mail := found.Suppressed(mail(asked[i].User + "@example.com"))
		_, token := found.Suppressed(notice.Address{Channel: notice.ChannelFCM, To: asked[i].User})
		if found.Profile == nil || !mail || token {
			t.Errorf("%s: profile %v, mail suppressed %v, token suppressed %v", asked[i].User, found.Profile, mail, token)
		}
	}
}
