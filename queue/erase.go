package queue

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/redis/go-redis/v9"

	"github.com/carillonhq/carillon/notice"
)

// Erased stands in a record in place of a person who was erased.
const Erased = "erased"

const (
	eraseScan     = 1000                 // keys looked at by one SCAN, and records by one script at most
	erasePause    = 2 * time.Millisecond // between two: others are served meanwhile
	eraseInline   = time.Second          // how long Erase works before the rest is left to the background
	eraseLease    = time.Minute          // how long an erasure is its worker's; then another takes it up
	eraseLater    = time.Minute          // when a record of which something is still on its way is looked at again
	eraseEvery    = 5 * time.Second      // how often the background looks for erasures that are due
	erasuresAtOne = 50                   // people looked for in one pass over a partition
)

// person is somebody to be erased, as the set of erasures spells them:
// "<tenant>\t<user>", like a record's head.
type person string

func personOf(tenant, user string) person {
	return person(appendField(appendField(nil, tenant), user)[1:])
}

func (p person) split() (tenant, user string) {
	tenant, user, _ = strings.Cut(string(p), "\t")
	return tenant, user
}

// Erase makes the records of a person's notifications forget them. What is
// parked for them is canceled and their dead letters are deleted; what is on a
// stream is on its way and goes out, and its record is erased after that. Once
// Erase returns nil the erasure is kept until it is complete, whoever dies:
// most are complete at once, the rest is RunErasures'.
func (q *Queue) Erase(ctx context.Context, tenant, user string) error {
	if user == "" {
		return errors.New("erasing: the user is empty")
	}
	who, homes := personOf(tenant, user), q.homes(tenant, user)
	for _, p := range homes {
		if err := q.scheduleErasure(ctx, p, string(who), q.now().Add(eraseLease)); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, eraseInline)
	defer cancel()
	for _, p := range homes {
		if err := q.erase(ctx, p, []person{who}); err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}

func (q *Queue) scheduleErasure(ctx context.Context, p int, member string, due time.Time) error {
	if err := q.rdb.ZAdd(ctx, q.keys.erasures(p), redis.Z{Score: float64(due.UnixMilli()), Member: member}).Err(); err != nil {
		return unavailable(err)
	}
	return nil
}

// RunErasures completes erasures until ctx ends. Several processes may run it:
// an erasure that two of them work is done twice, to the same end.
func (q *Queue) RunErasures(ctx context.Context) {
	for pause(ctx, eraseEvery) {
		if q.Ready() == nil {
			_ = q.EraseDue(ctx) // the erasures stay due, and are tried again
		}
	}
}

// EraseDue works the erasures that are due now.
func (q *Queue) EraseDue(ctx context.Context) error {
	for p := range q.cfg.Partitions {
		due, err := q.rdb.ZRangeByScore(ctx, q.keys.erasures(p), &redis.ZRangeBy{
			Min: "-inf", Max: strconv.FormatInt(q.now().UnixMilli(), 10), Count: erasuresAtOne}).Result()
		if err != nil {
			return unavailable(err)
		}
		if len(due) == 0 {
			continue
		}
		if err := q.workErasures(ctx, p, due); err != nil {
			return err
		}
	}
	return nil
}

// workErasures takes due erasures of one partition up. Until they are done, or
// their worker is dead for long enough, they are due to nobody else.
func (q *Queue) workErasures(ctx context.Context, p int, due []string) error {
	var people []person
	for _, member := range due {
		if err := q.scheduleErasure(ctx, p, member, q.now().Add(eraseLease)); err != nil {
			return err
		}
		if !strings.HasPrefix(member, "\t") {
			people = append(people, person(member))
		} else if err := q.eraseAgain(ctx, p, member); err != nil {
			return err
		}
	}
	if len(people) == 0 {
		return nil
	}
	return q.erase(ctx, p, people)
}

// erase erases people of one partition, and forgets their erasures. A record
// of which something is still on its way gets an erasure of its own.
func (q *Queue) erase(ctx context.Context, p int, people []person) error {
	for _, who := range people {
		if err := q.eraseDead(ctx, who); err != nil {
			return fmt.Errorf("erasing dead letters: %w", err)
		}
	}
	if err := q.eraseRecords(ctx, p, people); err != nil {
		return fmt.Errorf("erasing records: %w", err)
	}
	done := make([]any, len(people))
	for i, who := range people {
		done[i] = string(who)
	}
	return unavailableIf(q.rdb.ZRem(ctx, q.keys.erasures(p), done...).Err())
}

// openErasure stands among the erasures for a record that was erased while it
// was open: "\t<id without its partition>\t<tenant>", which is no person.
func openErasure(r Record) string {
	_, tail, _ := strings.Cut(r.ID, "-")
	return "\t" + tail + "\t" + string(appendField(nil, r.Tenant)[1:])
}

// eraseAgain erases from a record what was appended since it was erased first,
// and forgets about it once it has closed or gone.
func (q *Queue) eraseAgain(ctx context.Context, p int, member string) error {
	tail, tenant, _ := strings.Cut(member[1:], "\t")
	key := q.keys.tag(p) + "n:" + tail
	open, err := q.erasePage(ctx, p, []string{key}, []person{personOf(tenant, Erased)})
	if err != nil {
		return err
	}
	if len(open) > 0 {
		return q.scheduleErasure(ctx, p, member, q.now().Add(eraseLater))
	}
	return unavailableIf(q.rdb.ZRem(ctx, q.keys.erasures(p), member).Err())
}

// eraseRecords goes through every record of a partition in bounded steps. No
// index leads from a person to their records: it would cost memory for each of
// millions a day, where an erasure is rare.
func (q *Queue) eraseRecords(ctx context.Context, p int, people []person) error {
	server, err := q.serverOf(ctx, p)
	if err != nil {
		return err
	}
	for cursor := uint64(0); ; {
		var keys []string
		keys, cursor, err = server.Scan(ctx, cursor, q.keys.tag(p)+"n:*", eraseScan).Result()
		if err != nil {
			return unavailable(err)
		}
		open, err := q.erasePage(ctx, p, keys, people)
		if err != nil {
			return err
		}
		for _, r := range open {
			if err := q.scheduleErasure(ctx, p, openErasure(r), q.now().Add(eraseLater)); err != nil {
				return err
			}
		}
		if cursor == 0 {
			return nil
		}
		if !pause(ctx, erasePause) {
			return ctx.Err()
		}
	}
}

// serverOf is the server that holds a partition: on a cluster a scan is one
// master's.
func (q *Queue) serverOf(ctx context.Context, p int) (redis.Cmdable, error) {
	cluster, ok := q.rdb.(*redis.ClusterClient)
	if !ok {
		return q.rdb, nil
	}
	master, err := cluster.MasterForKey(ctx, q.keys.tag(p))
	if err != nil {
		return nil, unavailable(err)
	}
	return master, nil
}

// erasePage erases people from some records, cancels what is parked of them,
// and returns those of which something is on its way still.
func (q *Queue) erasePage(ctx context.Context, p int, keys []string, people []person) (open []Record, err error) {
	if len(keys) == 0 {
		return nil, nil
	}
	c := &call{script: q.scripts.erase, keys: keys}
	for _, who := range people {
		c.args = append(c.args, string(who))
	}
	if err := q.run(ctx, c); err != nil {
		return nil, err
	}
	found, err := c.reply.Slice()
	if err != nil {
		return nil, unavailable(err)
	}
	for _, row := range found {
		r, err := erasedRecord(p, keys, row)
		if err != nil {
			return nil, err
		}
		left, err := q.cancelErased(ctx, r)
		if err != nil {
			return nil, err
		}
		if left {
			open = append(open, r)
		}
	}
	return open, nil
}

// erasedRecord reads one row of the script's answer.
func erasedRecord(p int, keys []string, row any) (Record, error) {
	cells, _ := row.([]any)
	if len(cells) != 3 {
		return Record{}, fmt.Errorf("%w: a script answered %d cells", ErrUnavailable, len(cells))
	}
	i, _ := cells[0].(int64)
	text, _ := cells[1].(string)
	who, _ := cells[2].(string)
	key := keys[i-1]
	r, err := parseRecord(strconv.Itoa(p)+"-"+key[strings.LastIndexByte(key, ':')+1:], text)
	_, r.was = person(who).split()
	return r, err
}

// cancelErased cancels what nobody holds of an erased person's notification, and
// reports whether something of it is on its way still.
func (q *Queue) cancelErased(ctx context.Context, r Record) (left bool, err error) {
	if !r.Open() {
		return false, nil
	}
	parts, err := q.cancel(ctx, r, "its recipient was erased")
	return len(parts.TooLate) > 0, err
}

// eraseDead deletes a person's dead letters: to redrive one would be to write
// to somebody who asked to be forgotten.
func (q *Queue) eraseDead(ctx context.Context, who person) error {
	tenant, user := who.split()
	_, err := q.drainDead(ctx, DeadFilter{Tenant: tenant}, func(ctx context.Context, page []Dead) (int, error) {
		var theirs []Dead
		for _, d := range page {
			if d.isTo(user) {
				theirs = append(theirs, d)
			}
		}
		return q.purgePage(ctx, theirs)
	})
	return err
}

// isTo reports whether a letter is of a person's delivery, or of an inbox entry
// that can be read far enough to see that it is for them.
func (d *Dead) isTo(user string) bool {
	var seen struct {
		Event string        `json:"event"`
		To    notice.Person `json:"to"`
	}
	if err := json.Unmarshal([]byte(d.Payload), &seen); err != nil {
		return false
	}
	if d.Channel == notice.ChannelInbox {
		if err := json.Unmarshal([]byte(seen.Event), &seen); err != nil {
			return false
		}
	}
	return string(appendField(nil, seen.To.User)[1:]) == user
}
