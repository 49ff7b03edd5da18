package throttle

import (
	"strconv"
	"strings"

	"github.com/carillonhq/carillon/notice"
)

// Every key of this room is made here. The part in braces is the Redis Cluster
// hash tag, so that whatever one script touches lies in one slot:
//
//	{namespace:partition}:k:<tenant>:<user>          string: a user's places under every cap, see places.lua
//	{namespace:channel}:consumers                    ZSET of a channel's consumers: name → ms of the last beat, by Redis's clock
//	{namespace:channel}:heard                        ZSET of the same: name → ms of the beat whose answer it goes by
//	{namespace:issued}:<team>/<key>                  string: when a provider token was issued, unix seconds

// Partitioner tells which partition holds what belongs to a user. The same
// function must serve every room, or a user's state falls apart.
type Partitioner func(tenant, user string) int

type keys struct{ namespace string }

// caps is the key of one user's places under every cap.
func (k keys) caps(partition int, tenant, user string) string {
	return "{" + k.namespace + ":" + strconv.Itoa(partition) + "}:k:" + escape(tenant) + ":" + user
}

// consumers are the keys under which a channel's consumers are counted, as
// share.lua takes them.
func (k keys) consumers(c notice.Channel) []string {
	tag := "{" + k.namespace + ":" + string(c) + "}:"
	return []string{tag + "consumers", tag + "heard"}
}

// issued is the key of the moment at which a signing key's token was issued.
func (k keys) issued(key string) string { return "{" + k.namespace + ":issued}:" + key }

// escape keeps the colon that ends a tenant from being mistaken for one
// inside it: tenant "a:b" with user "c" is not tenant "a" with user "b:c".
func escape(tenant string) string {
	if !strings.ContainsAny(tenant, ":%") {
		return tenant
	}
	return strings.NewReplacer("%", "%25", ":", "%3A").Replace(tenant)
}

// Owner reads from a key, without its partition's tag, the tenant and user that
// its partition was chosen by. It is false for keys of other rooms.
func Owner(suffix string) (tenant, user string, ok bool) {
	rest, ok := strings.CutPrefix(suffix, "k:")
	if !ok {
		return "", "", false
	}
	tenant, user, ok = strings.Cut(rest, ":")
	return strings.NewReplacer("%25", "%", "%3A", ":").Replace(tenant), user, ok
}
