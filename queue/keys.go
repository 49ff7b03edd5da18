package queue

import (
	"strconv"
	"strings"

	"github.com/cespare/xxhash/v2"

	"github.com/carillonhq/carillon/notice"
)

// Every key of this room is named here. "{namespace:p}" is the hash tag of
// every key of partition p, so that each transition is one script over one
// slot of a Redis Cluster.
//
//	{ns}:inbox                  stream   what other programs put on the queue
//	{ns}:meta                   hash     partitions, fixed once data exists; turn:{tenant}; tenants, how many have a turn; drained:{turn}:{lane}, see drain.go
//	{ns}:processes              zset     who works on the queue by the second it was last heard of
//	{ns:p}:events:{lane}        stream   accepted, not yet planned
//	{ns:p}:{channel}:{lane}     stream   deliveries
//	…:{lane}:{turn}             stream   the same, of tenants of another turn than 0
//	{ns:p}:later                zset     parked ids by the millisecond they are due, that was chosen beforehand: send_at, quiet hours, a cap
//	{ns:p}:waiting              zset     the same of those that wait for their provider: the next attempt, the end of a pause; a fraction is a Label
//	{ns:p}:waits                hash     turn → how many of the latter it has
//	{ns:p}:parked               hash     parked id → stream it goes back to, and its payload
//	{ns:p}:n:{id}               string   a notification's record, see record.go
//	{ns:p}:digest:{delivery}    list     what is collected for a delivery, see digest.go
//	{ns:p}:digesting:{name}     string   the delivery that an open digest is collected for
//	{ns:p}:digests:{person}     set      the deliveries that carry a person's open digests, see digest.go
//	{ns:p}:finals               stream   the ids of closed records, see finals.lua
//	{ns:p}:rate:{tenant}:{name} string   a quota, see spend.lua
//	{ns:p}:i:{tenant}:{hash}    string   an idempotency key → id and digest
//	{ns:p}:dead:{channel}      zset     dead letters' ids by the millisecond they died; its length is their number
//	{ns:p}:erasures            zset     people to be erased by the millisecond they are looked at next
//	{ns:p}:deadletters          hash     id → the dead letter
//	{ns:p}:canceled             zset     notifications that were canceled with something on a stream, by the number of their cancel
//	{ns:p}:cancels              string   how many cancels that was
//	{ns:p}:barrier              string   empty; written so that there is something to WAIT for
type keys struct {
	namespace  string
	partitions int
}

// group is the consumer group of every stream.
const group = "carillon"

// stageEvents is the stage of accepted, not yet planned events; every other
// stage is a channel.
const stageEvents = "events"

func (k keys) inbox() string { return k.namespace + ":inbox" }
func (k keys) meta() string  { return k.namespace + ":meta" }

func (k keys) processes() string { return k.namespace + ":processes" }

func (k keys) tag(p int) string {
	return "{" + k.namespace + ":" + strconv.Itoa(p) + "}:"
}

func (k keys) stream(p int, stage string, lane notice.Lane, turn int) string {
	return k.tag(p) + streamSuffix(stage, lane, turn)
}

// streamSuffix is a stream's key without its partition, which is how a parked
// entry remembers where it goes back to.
func streamSuffix(stage string, lane notice.Lane, turn int) string {
	if turn == 0 {
		return stage + ":" + string(lane)
	}
	return stage + ":" + string(lane) + ":" + strconv.Itoa(turn)
}

func (k keys) later(p int) string    { return k.tag(p) + "later" }
func (k keys) parked(p int) string   { return k.tag(p) + "parked" }
func (k keys) waiting(p int) string  { return k.tag(p) + "waiting" }
func (k keys) waits(p int) string    { return k.tag(p) + "waits" }
func (k keys) erasures(p int) string { return k.tag(p) + "erasures" }
func (k keys) canceled(p int) string { return k.tag(p) + "canceled" }
func (k keys) cancels(p int) string  { return k.tag(p) + "cancels" }
func (k keys) finals(p int) string   { return k.tag(p) + "finals" }

// digest takes the id of a delivery.
func (k keys) digest(p int, carrier string) string { return k.tag(p) + "digest:" + carrier }

func (k keys) digestPointer(p int, name string) string { return k.tag(p) + "digesting:" + name }

// digests takes what digestPerson makes of a person. The scripts make the same
// key of a digest's pointer.
func (k keys) digests(p int, person string) string { return k.tag(p) + "digests:" + person }

func (k keys) dead(p int, c notice.Channel) string {
	return k.tag(p) + "dead:" + string(c)
}
func (k keys) deadLetters(p int) string { return k.tag(p) + "deadletters" }

// quota is in a partition of its tenant's, where all of the tenant's quotas are.
func (k keys) quota(tenant, name string) (p int, key string) {
	p = k.partition(tenant, "")
	return p, k.tag(p) + "rate:" + tenant + ":" + name
}

// record takes the id of a notification, "<p>-<20 characters>".
func (k keys) record(p int, id string) string {
	return k.tag(p) + "n:" + id[strings.IndexByte(id, '-')+1:]
}

// claim is the idempotency entry of a tenant's key, in a partition of its own
// choosing: the same key may come with another recipient, and must be found.
func (k keys) claim(tenant, key string) string {
	h := xxhash.New()
	h.WriteString(tenant)
	h.WriteString("\x00")
	h.WriteString(key)
	// The partition is taken from one hash, the name from the key itself: two
	// keys that collide must not answer for each other.
	p := int(h.Sum64() % uint64(k.partitions))
	return k.tag(p) + "i:" + tenant + ":" + key
}

// partition is the partition of everything about one person of one tenant.
func (k keys) partition(tenant, user string) int {
	h := xxhash.New()
	h.WriteString(tenant)
	h.WriteString("\x00")
	h.WriteString(user)
	return int(h.Sum64() % uint64(k.partitions))
}

// barrierBeside is a key in the slot of another one of this room, or, beside
// one without a partition, a key of its own.
func barrierBeside(key string) string {
	if end := strings.Index(key, "}:"); end >= 0 {
		return key[:end+2] + "barrier"
	}
	return "{" + key + "}:barrier"
}
