package queue

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

// Mark is how far a reader of final states has come in one partition. The zero
// Mark is before everything that is still kept.
type Mark struct {
	Number int64  `json:"number"` // how many final states the partition has had up to here
	Last   string `json:"last"`   // the last one's id, without its partition: tells another store's numbers apart
}

// Finals is a page of one partition's final states.
type Finals struct {
	// Records are closed, in the order in which they were. A notification that
	// was redriven closes once more, and stands here again.
	Records []Record
	// Expired are the ids of notifications whose records had gone before they
	// were read: queue.retention is shorter than the reader's delay.
	Expired []string
	// Missed is how many final states the stream had dropped before they were
	// read: queue.finals is smaller than what ended during the reader's delay.
	Missed int64
	// Restarted says that the store's numbers went back, as after a failover or
	// with its data lost: what is read next may have been read before.
	Restarted bool
	Next      Mark // where to go on
}

// Finals reads the final states of one partition after a mark, up to about
// most stream entries of up to a few hundred each.
func (q *Queue) Finals(ctx context.Context, partition int, after Mark, most int) (Finals, error) {
	// The entry that the mark stands at is read again, to see that it is the same.
	found, err := q.rdb.XRangeN(ctx, q.keys.finals(partition), streamNumber(after.Number), "+", int64(most)+1).Result()
	if err != nil {
		return Finals{Next: after}, unavailable(err)
	}
	if len(found) == 0 {
		return q.finalsBehind(ctx, partition, after)
	}
	page := Finals{Next: after}
	var ids []string
	for _, m := range found {
		if !page.add(m, &ids, after) {
			return Finals{Restarted: true}, nil
		}
	}
	return page, q.readFinals(ctx, partition, ids, &page)
}

// FinalsEnd is the mark behind everything that a partition has had.
func (q *Queue) FinalsEnd(ctx context.Context, partition int) (Mark, error) {
	newest, err := q.rdb.XRevRangeN(ctx, q.keys.finals(partition), "+", "-", 1).Result()
	if err != nil {
		return Mark{}, unavailable(err)
	}
	if len(newest) == 0 {
		return Mark{}, nil
	}
	number, ids := finalsEntry(newest[0])
	return Mark{number, ids[len(ids)-idTail:]}, nil
}

// finalsBehind tells a reader that is up to date from one that is ahead of its
// store.
func (q *Queue) finalsBehind(ctx context.Context, partition int, after Mark) (Finals, error) {
	end, err := q.FinalsEnd(ctx, partition)
	if err != nil || end.Number == 0 || end.Number >= after.Number {
		return Finals{Next: after}, err
	}
	return Finals{Restarted: true}, nil
}

const idTail = 20 // characters of an id behind its partition

func streamNumber(n int64) string { return strconv.FormatInt(n, 10) + "-0" }

// finalsEntry is an entry's number and its ids, one after the other.
func finalsEntry(m redis.XMessage) (number int64, ids string) {
	text, _, _ := strings.Cut(m.ID, "-")
	number, _ = strconv.ParseInt(text, 10, 64) // the script's own
	ids, _ = m.Values["r"].(string)
	return number, ids
}

// add takes one entry in. It is false when the entry that the reader's mark
// stands at is not the one that it has read.
func (f *Finals) add(m redis.XMessage, ids *[]string, after Mark) bool {
	number, packed := finalsEntry(m)
	if len(packed) < idTail {
		return true // not written by us
	}
	last := packed[len(packed)-idTail:]
	if number == after.Number {
		return last == after.Last
	}
	before := number - int64(len(packed)/idTail)
	if f.Next != (Mark{}) { // a new reader misses nothing
		f.Missed += max(0, before-f.Next.Number)
	}
	for ; len(packed) >= idTail; packed = packed[idTail:] {
		*ids = append(*ids, packed[:idTail])
	}
	f.Next = Mark{number, last}
	return true
}

// readFinals reads the records of a page's ids. One that was redriven since is
// open, and closes again later in the stream; one that stands twice is read
// once, for its first state has been overtaken.
func (q *Queue) readFinals(ctx context.Context, p int, ids []string, page *Finals) error {
	if ids = lastOfEach(ids); len(ids) == 0 {
		return nil
	}
	keys := make([]string, len(ids))
	for i, id := range ids {
		ids[i] = strconv.Itoa(p) + "-" + id
		keys[i] = q.keys.record(p, ids[i])
	}
	raw, err := q.rdb.MGet(ctx, keys...).Result()
	if err != nil {
		return unavailable(err)
	}
	var unread []error
	for i, v := range raw {
		text, ok := v.(string)
		if !ok {
			page.Expired = append(page.Expired, ids[i])
			continue
		}
		r, err := parseRecord(ids[i], text)
		if err != nil {
			unread = append(unread, err)
		} else if !r.Open() {
			page.Records = append(page.Records, r)
		}
	}
	if len(unread) > 0 {
		return fmt.Errorf("reading final states: %w", errors.Join(unread...))
	}
	return nil
}

// lastOfEach drops all but the last of each id.
func lastOfEach(ids []string) []string {
	last := make(map[string]int, len(ids))
	for i, id := range ids {
		last[id] = i
	}
	kept := ids[:0]
	for i, id := range ids {
		if last[id] == i {
			kept = append(kept, id)
		}
	}
	return kept
}
