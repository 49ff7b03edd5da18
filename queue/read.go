package queue

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/carillonhq/carillon/notice"
)

const (
	// allEvery is at which read every stream is asked, though some are known
	// to have more: what a new tenant has waits for so many reads at most.
	allEvery = 2
	// activeReads is for how many reads after its last entry a turn counts
	// when a reader's room is shared out.
	activeReads = 64
	// fullBlock is how long a read waits for the other turns while one has no
	// room, and may have it again at any moment.
	fullBlock = 10 * time.Millisecond
	// slotRest is for how long a slot that could not be read is left alone. Its
	// master may be away for a while, and the others go on.
	slotRest = time.Second
	// clusterBlock is how long a read waits in one slot of a cluster for work
	// that may come to any.
	clusterBlock = 100 * time.Millisecond
	// leastAsk is how many entries a slot of a cluster is asked for while more
	// slots have some than there is room for: what was read together is planned
	// and settled together, and a script call for a slot costs as much as ten of
	// the entries that it is about.
	leastAsk = 16
	// ownMost bounds one answer of Own for each stream; a consumer holds fewer.
	ownMost = 2048
)

// Room is how many entries of each turn may be leased. A turn without room is
// not read.
type Room [Turns]int

// Most is the room of the turn that has the most.
func (r Room) Most() int { return slices.Max(r[:]) }

// ErrPartly is an error of reading some slots of a cluster, when others could
// be read.
var ErrPartly = errors.New("a part of the queue cannot be read")

// source is one stream of a Reader.
type source struct {
	*stream
	slot *slot
	hot  bool // it gave all that it was asked for, and may have more
}

// slot is what one command may read: everything on a single server, a partition
// on a cluster.
type slot struct {
	sources []*source
	failed  time.Time // when it could not be read last
	err     error     // why; nil once it can
}

// away reports whether the slot is to be left alone for now.
func (s *slot) away(now time.Time) bool { return s.err != nil && now.Sub(s.failed) < slotRest }

// Reader reads one stage and lane, in every partition and turn, under one
// consumer's name. It is for one goroutine.
//
// The number of entries that a command asks for goes for each of its streams,
// so asking all of them for their part would take little from the only one that
// has something. A Reader therefore asks those that are known to have more, by
// turns, the others beside them at every second read, and all of them when none
// is known.
type Reader struct {
	q        *Queue
	consumer string
	sources  []*source        // of every turn, in each of every partition
	turns    [Turns][]*source // the same
	slots    []*slot
	byKey    map[string]*source
	reads    int
	gave     [Turns]int // the read at which a turn gave something last; 0: never
	made     time.Time  // when, by the clock that Redis measures by
	// inherited is what a process of the same name left behind, and how often
	// it was leased by then.
	inherited map[Place]int
	next      int // whose turn it is: the slot, and for Reclaim the turn
}

// EventReader reads accepted events of one lane.
func (q *Queue) EventReader(consumer string, lane notice.Lane) *Reader {
	return q.newReader(consumer, stageEvents, lane)
}

// DeliveryReader reads deliveries of one channel and lane.
func (q *Queue) DeliveryReader(consumer string, c notice.Channel, lane notice.Lane) *Reader {
	return q.newReader(consumer, string(c), lane)
}

func (q *Queue) newReader(consumer, stage string, lane notice.Lane) *Reader {
	r := &Reader{q: q, consumer: consumer, made: time.Now(), inherited: map[Place]int{}, byKey: map[string]*source{}}
	for i := range q.streams {
		s := &source{stream: &q.streams[i]}
		if s.stage != stage || s.lane != lane {
			continue
		}
		r.sources = append(r.sources, s)
		r.turns[s.turn] = append(r.turns[s.turn], s)
		r.byKey[s.key] = s
		if len(r.slots) == 0 || q.cluster && s.partition != r.slots[len(r.slots)-1].sources[0].partition {
			r.slots = append(r.slots, &slot{})
		}
		s.slot = r.slots[len(r.slots)-1]
		s.slot.sources = append(s.slot.sources, s)
	}
	return r
}

// ask is what one command asks for: up to count entries of each stream.
type ask struct {
	sources []*source
	count   int
}

// Read leases up to about room entries, shared out among the turns that have
// something, waiting a second at most for the first. Missing streams and groups
// are made again. What was leased before an error is returned with it; with
// ErrPartly there is more to be had at once.
func (r *Reader) Read(ctx context.Context, room int) ([]*Lease, error) {
	active := 0
	for _, at := range r.gave {
		if at > 0 && r.reads-at < activeReads {
			active++
		}
	}
	var each Room
	for turn := range each {
		each[turn] = max(1, room/max(active, 1))
	}
	return r.ReadTurns(ctx, each)
}

// ReadTurns is Read with room for each turn by itself.
func (r *Reader) ReadTurns(ctx context.Context, room Room) ([]*Lease, error) {
	r.reads++
	if asks := r.hotAsks(room); len(asks) > 0 {
		if r.reads%allEvery == 0 {
			asks = append(asks, r.coldAsks(room)...)
		}
		if out := r.read(ctx, asks, ">", -1); len(out) > 0 {
			return out, r.fault(ctx)
		}
	}
	return r.readAll(ctx, room)
}

// hotAsks asks the streams that have more: a turn's room is shared out among
// its partitions.
func (r *Reader) hotAsks(room Room) (asks []ask) {
	for turn, sources := range r.turns {
		if room[turn] <= 0 {
			continue
		}
		var hot []*source
		for _, s := range sources {
			if s.hot {
				hot = append(hot, s)
			}
		}
		if len(hot) == 0 {
			continue
		}
		if !r.q.cluster {
			asks = append(asks, ask{hot, max(1, room[turn]/len(hot))})
			continue
		}
		hot = r.inTurn(hot, max(1, room[turn]/leastAsk))
		count := max(1, room[turn]/len(hot))
		for i := range hot {
			asks = append(asks, ask{hot[i : i+1], count})
		}
	}
	return asks
}

// inTurn is at most so many of some sources, others at every read.
func (r *Reader) inTurn(sources []*source, most int) []*source {
	if len(sources) <= most {
		return sources
	}
	from := r.reads * most % len(sources)
	return slices.Concat(sources[from:], sources[:from])[:most]
}

// coldAsks asks the other streams that there is room for.
func (r *Reader) coldAsks(room Room) []ask {
	return r.slotAsks(room, func(s *source) bool { return !s.hot })
}

// readAll asks every stream that there is room for. On a cluster all slots are
// asked together; only when none has anything does it wait, in one slot and
// briefly, since what comes to the others meanwhile waits with it.
func (r *Reader) readAll(ctx context.Context, room Room) ([]*Lease, error) {
	every := func(*source) bool { return true }
	_, wait := leastRoom(room)
	asks := r.slotAsks(room, every)
	if len(r.slots) > 1 {
		if out := r.read(ctx, asks, ">", -1); len(out) > 0 {
			return out, r.fault(ctx)
		}
		if asks = r.slotAsks(room, every); len(asks) > 1 { // without those that just failed
			r.next++
			asks = asks[r.next%len(asks):][:1]
		}
		wait = min(wait, clusterBlock)
	}
	if len(asks) == 0 {
		return nil, r.fault(ctx)
	}
	out := r.read(ctx, asks, ">", wait)
	return out, r.fault(ctx)
}

// slotAsks asks each slot for those of its streams that are wanted and that
// there is room for. Slots that are left alone are not asked.
func (r *Reader) slotAsks(room Room, wanted func(*source) bool) (asks []ask) {
	least, _ := leastRoom(room)
	count := max(1, least/r.q.cfg.Partitions)
	for _, slot := range r.slots {
		if slot.away(r.q.now()) && len(r.slots) > 1 {
			continue
		}
		var asked []*source
		for _, s := range slot.sources {
			if room[s.turn] > 0 && wanted(s) {
				asked = append(asked, s)
			}
		}
		if len(asked) > 0 {
			asks = append(asks, ask{asked, count})
		}
	}
	return asks
}

// fault is why some slots cannot be read: ErrPartly when others can. Groups
// that are missing are made again.
func (r *Reader) fault(ctx context.Context) error {
	var first error
	failed := 0
	for _, s := range r.slots {
		if s.err != nil && strings.Contains(s.err.Error(), "NOGROUP") {
			s.err = r.q.recover(ctx, s.err)
		}
		if s.err != nil {
			failed++
			first = cmp.Or(first, s.err)
		}
	}
	if failed > 0 && failed < len(r.slots) {
		return fmt.Errorf("%w: %w", ErrPartly, first)
	}
	return first
}

// leastRoom is the least room that a turn has which has any, and how long a
// read may wait.
func leastRoom(room Room) (least int, wait time.Duration) {
	wait = blockTime
	for _, n := range room {
		switch {
		case n <= 0:
			wait = fullBlock
		case least == 0 || n < least:
			least = n
		}
	}
	return least, wait
}

// Own returns everything that this consumer holds by the server's account. It
// may be more than the consumer knows of: when the reply to a Read is lost, the
// entries are leased all the same.
//
// A process before this one may have had the same name: what it held, it may
// have sent. What this one leased, and never saw, it cannot have.
func (r *Reader) Own(ctx context.Context) ([]*Lease, error) {
	var out []*Lease
	for _, slot := range r.slots {
		if slot.away(r.q.now()) && len(r.slots) > 1 {
			continue
		}
		if err := r.findInherited(ctx, slot.sources); err != nil {
			slot.failed, slot.err = r.q.now(), fmt.Errorf("looking for leases of %s: %w", r.consumer, err)
			continue
		}
		for _, l := range r.read(ctx, []ask{{slot.sources, ownMost}}, "0", -1) {
			l.Lost = r.inherited[l.Place()]
			delete(r.inherited, l.Place())
			out = append(out, l)
		}
	}
	return out, r.fault(ctx)
}

// findInherited notes what was leased in this consumer's name before this
// Reader was made, and how often. Reading it makes it look as if it were leased
// then, so it is noted first, and until it has been handed out.
func (r *Reader) findInherited(ctx context.Context, sources []*source) error {
	pipe := r.q.rdb.Pipeline()
	asked := make([]*redis.XPendingExtCmd, len(sources))
	for i, s := range sources {
		asked[i] = pipe.XPendingExt(ctx, &redis.XPendingExtArgs{Stream: s.key, Group: group, Start: "-", End: "+", Count: ownMost, Consumer: r.consumer})
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return err
	}
	age := time.Since(r.made)
	for i, s := range sources {
		for _, held := range asked[i].Val() {
			if held.Idle > age+time.Millisecond { // which Redis counts in
				r.inherited[Place{s.key, held.ID}] = max(1, int(held.RetryCount))
			}
		}
	}
	return nil
}

// read reads entries that nobody holds (from ">"), or those that this consumer
// holds (from "0"). Only a single ask may block. Each slot keeps the error of
// its own.
func (r *Reader) read(ctx context.Context, asks []ask, from string, block time.Duration) (out []*Lease) {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout+max(block, 0))
	defer cancel()
	replies, err := r.exchange(ctx, asks, from, block)
	now := r.q.now()
	for i, a := range asks {
		found, failed := replies[i].Result()
		failed = cmp.Or(failed, err)
		slot := a.sources[0].slot
		if slot.err = nil; failed != nil && !errors.Is(failed, redis.Nil) {
			slot.failed, slot.err = now, fmt.Errorf("reading %s: %w", a.sources[0].key, failed)
			found = nil
		}
		out = append(out, r.leases(a, found, now)...)
	}
	return out
}

// exchange sends the reads, and learns of the cancels that came before them.
// Without the latter nothing of what was read may be worked: the error is of
// all reads, and what they leased is for Own to find.
func (r *Reader) exchange(ctx context.Context, asks []ask, from string, block time.Duration) (replies []*redis.XStreamSliceCmd, err error) {
	pipe, scratch := r.q.readers.Pipeline(), r.q.readers.Pipeline()
	replies = make([]*redis.XStreamSliceCmd, len(asks))
	for i, a := range asks {
		replies[i] = scratch.XReadGroup(ctx, r.args(a, from, block))
		_ = pipe.Process(ctx, once{replies[i]}) // queued; Exec has the error
	}
	if r.q.cluster {
		cmds, failed := pipe.Exec(ctx)
		if err = unattributed(failed, cmds); err == nil && slices.ContainsFunc(replies, hasEntries) {
			err = r.learnCancelsOf(ctx, asks)
		}
		return replies, err
	}
	numbers := r.q.cancelNumbers(ctx, pipe)
	cmds, failed := pipe.Exec(ctx)
	if err = unattributed(failed, cmds); err == nil && slices.ContainsFunc(replies, hasEntries) {
		err = r.q.learnNumbers(ctx, numbers)
	}
	return replies, err
}

func hasEntries(reply *redis.XStreamSliceCmd) bool { return len(reply.Val()) > 0 }

// learnCancelsOf learns of the cancels in the partitions of what was asked.
func (r *Reader) learnCancelsOf(ctx context.Context, asks []ask) error {
	known := map[int]bool{}
	for _, a := range asks {
		p := a.sources[0].partition
		if known[p] {
			continue
		}
		known[p] = true
		number, err := r.q.rdb.Get(ctx, r.q.keys.cancels(p)).Result()
		if err != nil && !errors.Is(err, redis.Nil) {
			return err
		}
		if err := r.q.learnCancels(ctx, p, number); err != nil {
			return err
		}
	}
	return nil
}

// once is a command that is not sent again by itself when its connection fails,
// in a pipeline on a cluster: entries that it leased the first time would be
// nobody's.
type once struct{ redis.Cmder }

// NoRetry implements redis.Cmder.
func (once) NoRetry() bool { return true }

func (r *Reader) args(a ask, from string, block time.Duration) *redis.XReadGroupArgs {
	streams := make([]string, 0, 2*len(a.sources))
	for _, s := range a.sources {
		streams = append(streams, s.key)
	}
	for range a.sources {
		streams = append(streams, from)
	}
	return &redis.XReadGroupArgs{Group: group, Consumer: r.consumer, Streams: streams, Count: int64(a.count), Block: block}
}

// leases takes an answer in, and notes which streams may have more.
func (r *Reader) leases(a ask, found []redis.XStream, now time.Time) (out []*Lease) {
	for _, s := range a.sources {
		s.hot = false
	}
	for _, f := range found {
		s := r.byKey[f.Stream]
		if len(f.Messages) > 0 {
			s.hot, r.gave[s.turn] = len(f.Messages) >= a.count, r.reads
		}
		for _, m := range f.Messages {
			if m.Values != nil { // nil: deleted while it was held
				out = append(out, leaseOf(s.stream, m, now))
			}
		}
	}
	return out
}

// Reclaim leases up to about room entries whose consumers have not been heard
// of for queue.visibility, of one turn after the other. They may be this
// consumer's own, when it could not renew them in time. A slot that was away is
// left out until its consumers have had the time to renew what they hold.
func (r *Reader) Reclaim(ctx context.Context, room int) ([]*Lease, error) {
	var out []*Lease
	recent := r.q.now().Add(-r.q.cfg.Visibility.Std() / 2)
	for range r.turns {
		var sources []*source
		for _, s := range r.turns[r.next%Turns] {
			if s.slot.failed.Before(recent) {
				sources = append(sources, s)
			}
		}
		r.next++
		out = append(out, r.reclaimTurn(ctx, sources, room-len(out))...)
		if len(out) >= room {
			break
		}
	}
	if len(out) > 0 {
		if _, err := r.q.LearnCancels(ctx); err != nil {
			return nil, err // Own finds what is leased now
		}
	}
	return out, r.fault(ctx)
}

// reclaimTurn asks a turn's partitions together, each for its part of the room,
// and those that gave it for more as long as there is room.
func (r *Reader) reclaimTurn(ctx context.Context, sources []*source, room int) (out []*Lease) {
	for len(sources) > 0 && len(out) < room {
		count := max(1, (room-len(out))/len(sources))
		pipe, scratch := r.q.rdb.Pipeline(), r.q.rdb.Pipeline()
		asked := make([]*redis.XAutoClaimCmd, len(sources))
		for i, s := range sources {
			asked[i] = scratch.XAutoClaim(ctx, &redis.XAutoClaimArgs{
				Stream: s.key, Group: group, Consumer: r.consumer, MinIdle: r.q.cfg.Visibility.Std(), Start: "0", Count: int64(count),
			})
			_ = pipe.Process(ctx, once{asked[i]}) // queued; Exec has the error
		}
		cmds, err := pipe.Exec(ctx)
		err = unattributed(err, cmds)
		var more []*source
		for i, s := range sources {
			found, _, failed := asked[i].Result()
			got, uncounted := r.reclaimed(ctx, s.stream, found)
			out = append(out, got...)
			if failed = cmp.Or(failed, err, uncounted); failed != nil {
				s.slot.failed, s.slot.err = r.q.now(), fmt.Errorf("reclaiming from %s: %w", s.key, failed)
			} else if len(found) >= count {
				more = append(more, s)
			}
		}
		sources = more
	}
	return out
}

// unattributed is a pipeline's error when none of its commands has one: the
// server refused the connection itself (a wrong password, too many clients).
func unattributed(err error, cmds []redis.Cmder) error {
	if slices.ContainsFunc(cmds, func(c redis.Cmder) bool { return c.Err() != nil }) {
		return nil
	}
	return err
}

func (r *Reader) reclaimed(ctx context.Context, s *stream, found []redis.XMessage) ([]*Lease, error) {
	now := r.q.now()
	var out []*Lease
	for _, m := range found {
		if m.Values != nil { // nil: settled while it was pending
			l := leaseOf(s, m, now)
			l.Lost = 1
			out = append(out, l)
		}
	}
	return out, r.countLost(ctx, s, out)
}
