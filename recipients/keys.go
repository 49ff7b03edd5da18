package recipients

import (
	"strconv"
	"strings"

	"github.com/carillonhq/carillon/notice"
)

// Every key of this room is made here. The part in braces is the Redis Cluster
// hash tag, so that whatever one command or script touches lies in one slot:
//
//	{namespace:partition}:u:<tenant>:<user>              string: the profile as JSON
//	{namespace:partition}:s:<tenant>:<channel>:<address> string: the suppression as JSON
//	{namespace:partition}:o:<tenant>:<address>           string: the categories that the address left, as JSON
//	{namespace:partition}:b:<tenant>:<address>           zset: the address's soft bounces by the millisecond they happened
//	{namespace:0}:report:<digest>                        string: a provider's report was taken in
//	{namespace:0}:failing                                hash: endpoints that fail, by a digest: when first and last
//
// The partition of what is known of an address follows from its channel and
// address in place of a user, since it holds for whoever is reached there.

// Partitioner tells which partition holds what belongs to a user. The same
// function must serve every room, or a user's state falls apart.
type Partitioner func(tenant, user string) int

type keys struct {
	namespace string
	partition Partitioner
}

func (k keys) tag(partition int) string {
	return "{" + k.namespace + ":" + strconv.Itoa(partition) + "}:"
}

// profile is the key of a user's profile, and its partition.
func (k keys) profile(tenant, user string) (partition int, key string) {
	p := k.partition(tenant, user)
	return p, k.tag(p) + "u:" + escape(tenant) + ":" + user
}

// suppression is the key of an address's suppression, and its partition. The
// address is one that normalise has made.
func (k keys) suppression(tenant string, channel notice.Channel, address string) (partition int, key string) {
	subject := string(channel) + ":" + address
	p := k.partition(tenant, subject)
	return p, k.tag(p) + "s:" + escape(tenant) + ":" + subject
}

// optOuts is the key of what a mail address has left, and its partition: the
// one of its suppression. The address is one that normalise has made.
func (k keys) optOuts(tenant, address string) (partition int, key string) {
	p := k.partition(tenant, string(notice.ChannelEmail)+":"+address)
	return p, k.tag(p) + "o:" + escape(tenant) + ":" + address
}

// softBounces is the key of a mail address's soft bounces, in the slot of its
// suppression. The address is one that normalise has made.
func (k keys) softBounces(tenant, address string) string {
	p := k.partition(tenant, string(notice.ChannelEmail)+":"+address)
	return k.tag(p) + "b:" + escape(tenant) + ":" + address
}

func (k keys) report(digest string) string { return k.tag(0) + "report:" + digest }

// failing is the key of the endpoints that do nothing but fail. There are few
// of them and every consumer reads them all, so they are one hash in one place.
func (k keys) failing() string { return k.tag(0) + "failing" }

// escape keeps the colon that ends a tenant from being mistaken for one
// inside it: tenant "a:b" with user "c" is not tenant "a" with user "b:c".
func escape(tenant string) string {
	if !strings.ContainsAny(tenant, ":%") {
		return tenant
	}
	return strings.NewReplacer("%", "%25", ":", "%3A").Replace(tenant)
}

// Owner reads from a key, without its partition's tag, the two words that its
// partition was chosen by. It is false for keys of other rooms, and for what
// has its place in partition 0.
func Owner(suffix string) (tenant, subject string, ok bool) {
	kind, rest, _ := strings.Cut(suffix, ":")
	tenant, subject, ok = strings.Cut(rest, ":")
	tenant = strings.NewReplacer("%25", "%", "%3A", ":").Replace(tenant)
	switch kind {
	case "u", "s":
		return tenant, subject, ok
	case "o":
		return tenant, string(notice.ChannelEmail) + ":" + subject, ok
	}
	return "", "", false
}
