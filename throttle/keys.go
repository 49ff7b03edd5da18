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
//	{namespace:rate:<key>}                           string: a rate that all consumers share, see share.lua; learned:<channel>:<refusal>:<host> is one that a host was found to take
//	{namespace:channel}:pauses                       ZSET of what of a channel is paused or down, or was learned → ms at which that ends, by Redis's clock
//	{namespace:channel}:pauses:turns                 ZSET of the same → µs at which something was said of it last
//	{namespace:channel}:pauses:words                 HASH of the same → in whose words
//	{namespace:channel}:probe:<what>                 string: the consumer that is finding out whether it is over
//	{namespace:channel}:seen                         ZSET of consumers that had work on a channel → ms at which they said so
//	{namespace:channel}:seen:<consumer>              string: how one of them stands, JSON
//	{namespace:issued}:<team>/<key>                  string: when a provider token was issued, unix seconds

// Partitioner tells which partition holds what belongs to a user. The same
// function must serve every room, or a user's state falls apart.
type Partitioner func(tenant, user string) int

type keys struct{ namespace string }

// caps is the key of one user's places under every cap.
func (k keys) caps(partition int, tenant, user string) string {
	return "{" + k.namespace + ":" + strconv.Itoa(partition) + "}:k:" + escape(tenant) + ":" + user
}

// rate is the key of a shared rate's state.
func (k keys) rate(key string) string { return "{" + k.namespace + ":rate:" + key + "}" }

// boardKeys are those of a channel's Board.
type boardKeys struct{ tag, ends, turns, because, seen string }

func (k keys) board(c notice.Channel) boardKeys {
	tag := "{" + k.namespace + ":" + string(c) + "}:"
	return boardKeys{tag, tag + "pauses", tag + "pauses:turns", tag + "pauses:words", tag + "seen"}
}

// words are the keys that say.lua and listen.lua take.
func (k boardKeys) words() []string { return []string{k.ends, k.turns, k.because} }

func (k boardKeys) probe(what string) string      { return k.tag + "probe:" + what }
func (k boardKeys) report(consumer string) string { return k.seen + ":" + consumer }

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
