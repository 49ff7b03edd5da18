package queue

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/redis/go-redis/v9"

	"github.com/carillonhq/carillon/notice"
)

// deadLetter is a Dead as it is kept under its id.
type deadLetter struct {
	Tenant  string         `json:"t,omitzero"`
	Channel notice.Channel `json:"c"`
	Lane    notice.Lane    `json:"l,omitzero"`
	Reason  string         `json:"r"`
	Detail  string         `json:"d,omitzero"`
	At      time.Time      `json:"at"`
	Payload string         `json:"p"`
}

// encode writes the letter as it is kept. Whatever is no UTF-8 in it, and may
// come from a provider or from any program, is replaced: a letter that could
// not be written would be tried for ever, and with it all that is settled
// beside it.
func (l *deadLetter) encode(id string) ([]byte, error) {
	b, err := json.Marshal(l, jsontext.AllowInvalidUTF8(true))
	if err != nil {
		return nil, fmt.Errorf("encoding dead letter %s: %w", id, err)
	}
	return b, nil
}

func (l *deadLetter) dead(id string) Dead {
	return Dead{ID: id, Tenant: l.Tenant, Channel: l.Channel, Reason: l.Reason, Detail: l.Detail, At: l.At, Payload: l.Payload}
}

// webhookSecret matches the value of a member "secret", also inside JSON that
// is a string itself, as an inbox entry's event is.
var webhookSecret = regexp.MustCompile(`(\\*"secret\\*"\s*:\s*\\*")(?:[^"\\]|\\+/|\\+u[0-9a-fA-F]{4})+`)

// Shown is the payload for people: without the secrets that its webhooks are
// signed with.
func (d Dead) Shown() string { return webhookSecret.ReplaceAllString(d.Payload, "${1}[redacted]") }

const deadPage = 200 // dead letters looked at in one round trip

// errEnough ends a walk early.
var errEnough = errors.New("enough")

// DeadList returns dead letters, by partition and channel and in each the
// oldest first, and the id to go on after; empty at the end.
func (q *Queue) DeadList(ctx context.Context, f DeadFilter) (found []Dead, after string, err error) {
	limit := f.Limit
	if limit <= 0 {
		limit = 100
	}
	err = q.walkDead(ctx, f, func(page []Dead) (int, error) {
		for _, d := range page {
			if len(found) == limit {
				after = found[limit-1].ID
				return 0, errEnough
			}
			found = append(found, d)
		}
		return 0, nil
	})
	return found, after, err
}

// DeadCounts is the number of dead letters by channel, of every channel that
// can have any: the lengths of the sets that they are found by.
func (q *Queue) DeadCounts(ctx context.Context) (map[notice.Channel]int, error) {
	pipe := q.rdb.Pipeline()
	lengths := map[notice.Channel][]*redis.IntCmd{}
	for p := range q.cfg.Partitions {
		for _, c := range deadChannels() {
			lengths[c] = append(lengths[c], pipe.ZCard(ctx, q.keys.dead(p, c)))
		}
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, unavailable(err)
	}
	out := map[notice.Channel]int{}
	for c, cmds := range lengths {
		out[c] = countOnes(cmds)
	}
	return out, nil
}

// deadChannels are the channels that a dead letter may be of: those of
// deliveries, the inbox, and the events that could not be read.
func deadChannels() []notice.Channel {
	return append(notice.Channels(), notice.ChannelInbox, stageEvents)
}

// visitor gets the matching letters of one page, and says how many of them it
// has removed.
type visitor func([]Dead) (removed int, err error)

// walkDead calls visit with one page after the other, until it returns
// errEnough.
func (q *Queue) walkDead(ctx context.Context, f DeadFilter, visit visitor) error {
	from, err := q.deadPlace(ctx, f.After)
	if err != nil {
		return err
	}
	for p := from.partition; p < q.cfg.Partitions; p++ {
		for i, c := range deadChannels() {
			if p == from.partition && i < from.channel || f.Channel != "" && c != f.Channel {
				continue
			}
			start := int64(0)
			if p == from.partition && i == from.channel {
				start = from.rank
			}
			err := q.walkChannel(ctx, p, c, start, f, visit)
			if errors.Is(err, errEnough) {
				return nil
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// deadPlace is a place in the order of dead letters.
type deadPlace struct {
	partition, channel int // channel as an index of deadChannels
	rank               int64
}

// deadPlace is the place behind a letter; the beginning of its partition when
// the letter is gone.
func (q *Queue) deadPlace(ctx context.Context, after string) (at deadPlace, err error) {
	if after == "" {
		return at, nil
	}
	p, _, _, err := notice.SplitID(after)
	if err != nil || p >= q.cfg.Partitions {
		return at, fmt.Errorf("after: %w", notice.ErrBadID)
	}
	at.partition = p
	for i, c := range deadChannels() {
		rank, err := q.rdb.ZRank(ctx, q.keys.dead(p, c), after).Result()
		if err == nil {
			at.channel, at.rank = i, rank+1
			return at, nil
		}
		if !errors.Is(err, redis.Nil) {
			return at, unavailable(err)
		}
	}
	return at, nil
}

func (q *Queue) walkChannel(ctx context.Context, p int, c notice.Channel, start int64, f DeadFilter, visit visitor) error {
	key := q.keys.dead(p, c)
	if !f.Since.IsZero() {
		earlier, err := q.rdb.ZCount(ctx, key, "-inf", "("+strconv.FormatInt(f.Since.UnixMilli(), 10)).Result()
		if err != nil {
			return unavailable(err)
		}
		start = max(start, earlier)
	}
	for {
		page, read, err := q.deadPage(ctx, p, key, start, &f)
		if err != nil || read == 0 {
			return err
		}
		removed, err := visit(page)
		if err != nil {
			return err
		}
		start += int64(read - removed) // what follows has moved up by what was removed
	}
}

// deadPage reads a page by rank and returns what the filter leaves of it, and
// how many letters it looked at: none at the end.
func (q *Queue) deadPage(ctx context.Context, p int, key string, start int64, f *DeadFilter) (page []Dead, read int, err error) {
	found, err := q.rdb.ZRangeWithScores(ctx, key, start, start+f.pageSize()-1).Result()
	if err != nil {
		return nil, 0, unavailable(err)
	}
	ids := make([]string, 0, len(found))
	for _, z := range found {
		if id, ok := z.Member.(string); ok && (f.Until.IsZero() || int64(z.Score) <= f.Until.UnixMilli()) {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		return nil, 0, nil
	}
	letters, err := q.letters(ctx, p, ids)
	return slices.DeleteFunc(letters, func(d Dead) bool { return !f.matches(d) }), len(ids), err
}

// pageSize is how many letters are looked at in one round trip: at a rate, no
// more than go in a fifth of a second.
func (f *DeadFilter) pageSize() int64 {
	if f.Rate <= 0 {
		return deadPage
	}
	return min(max(int64(f.Rate/5), 1), deadPage)
}

func (f *DeadFilter) matches(d Dead) bool {
	return (f.Tenant == "" || f.Tenant == d.Tenant) && (f.Channel == "" || f.Channel == d.Channel) && (f.Reason == "" || f.Reason == d.Reason)
}

func (q *Queue) letters(ctx context.Context, p int, ids []string) ([]Dead, error) {
	raw, err := q.rdb.HMGet(ctx, q.keys.deadLetters(p), ids...).Result()
	if err != nil {
		return nil, unavailable(err)
	}
	out := make([]Dead, 0, len(ids))
	for i, v := range raw {
		text, ok := v.(string)
		if !ok {
			continue // redriven or purged since
		}
		var l deadLetter
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			return nil, fmt.Errorf("dead letter %s: %w", ids[i], err)
		}
		out = append(out, l.dead(ids[i]))
	}
	return out, nil
}

// DeadShow returns one dead letter. An empty tenant sees every tenant's.
func (q *Queue) DeadShow(ctx context.Context, tenant, id string) (Dead, error) {
	p, _, _, err := notice.SplitID(id)
	if err != nil || p >= q.cfg.Partitions {
		return Dead{}, ErrNotFound
	}
	found, err := q.letters(ctx, p, []string{id})
	if err != nil {
		return Dead{}, err
	}
	if len(found) == 0 || tenant != "" && found[0].Tenant != tenant {
		return Dead{}, ErrNotFound
	}
	return found[0], nil
}

// Redrive puts dead letters back on the queue with their attempts forgiven and
// returns how many. An id that is no dead letter of the tenant's is
// ErrNotFound, and nothing after it is redriven. An empty tenant may redrive
// every tenant's.
func (q *Queue) Redrive(ctx context.Context, tenant string, ids ...string) (int, error) {
	n := 0
	for _, id := range ids {
		d, err := q.DeadShow(ctx, tenant, id)
		if err != nil {
			return n, fmt.Errorf("%s: %w", id, err)
		}
		done, err := q.redrivePage(ctx, []Dead{d})
		if err != nil {
			return n, err
		}
		n += done
	}
	return n, nil
}

// RedriveAll redrives every dead letter that the filter matches, no more than
// f.Rate in a second. What it redrives is sent under the limits of its channel
// like everything else.
func (q *Queue) RedriveAll(ctx context.Context, f DeadFilter) (int, error) {
	return q.drainDead(ctx, f, func(ctx context.Context, page []Dead) (int, error) {
		n, err := q.redrivePage(ctx, page)
		if f.Rate > 0 && n > 0 && err == nil {
			pause(ctx, time.Duration(float64(n)/f.Rate*float64(time.Second)))
		}
		return n, err
	})
}

// Purge deletes every dead letter that the filter matches, for good.
func (q *Queue) Purge(ctx context.Context, f DeadFilter) (int, error) {
	return q.drainDead(ctx, f, q.purgePage)
}

// drainDead works what matches, pass after pass until nothing more is done.
// What died since it began is left alone: a letter that is redriven in vain
// comes back at once, and would be redriven for ever. A letter that cannot be
// worked holds up no other; the first such error is returned at the end.
func (q *Queue) drainDead(ctx context.Context, f DeadFilter, work func(context.Context, []Dead) (int, error)) (int, error) {
	if began := q.now(); f.Until.IsZero() || f.Until.After(began) {
		f.Until = began
	}
	for n := 0; ; {
		done, unfit := 0, error(nil)
		err := q.walkDead(ctx, f, func(page []Dead) (int, error) {
			if ctx.Err() != nil {
				return 0, ctx.Err()
			}
			removed, err := work(ctx, page)
			done += removed
			if errors.Is(err, ErrUnavailable) {
				return removed, err
			}
			unfit = cmp.Or(unfit, err)
			return removed, nil
		})
		n += done
		if err != nil || done == 0 {
			return n, cmp.Or(err, unfit)
		}
	}
}

func (q *Queue) purgePage(ctx context.Context, page []Dead) (int, error) {
	calls, byKey := []*call{}, map[string]*call{}
	for _, d := range page {
		p, _, _, err := notice.SplitID(d.ID)
		if err != nil {
			return 0, fmt.Errorf("purging: %w", err)
		}
		key := q.keys.dead(p, d.Channel)
		if byKey[key] == nil {
			byKey[key] = &call{script: q.scripts.purge, keys: []string{key, q.keys.deadLetters(p)}}
			calls = append(calls, byKey[key])
		}
		byKey[key].args = append(byKey[key].args, d.ID)
	}
	if len(calls) == 0 {
		return 0, nil
	}
	if err := q.runAll(ctx, calls); err != nil {
		return 0, err
	}
	n := 0
	for _, c := range calls {
		one, _ := c.reply.Int() // runAll has looked at the error
		n += one
	}
	return n, nil
}

func countOnes(cmds []*redis.IntCmd) int {
	n := 0
	for _, c := range cmds {
		n += int(c.Val())
	}
	return n
}

// redrivePage puts each letter back where it came from. One that cannot be put
// back stays, and is the error when all others are.
func (q *Queue) redrivePage(ctx context.Context, page []Dead) (n int, err error) {
	byKey := map[string]*call{}
	var calls []*call
	var unfit error
	turns, err := q.turnsOfDead(ctx, page)
	if err != nil {
		return 0, err
	}
	for i, d := range page {
		if d.Channel == notice.ChannelInbox {
			done, err := q.redriveInbox(ctx, d)
			if errors.Is(err, ErrUnavailable) {
				return n, err
			}
			n, unfit = n+done, cmp.Or(unfit, err)
			continue
		}
		p, _, _, err := notice.SplitID(d.ID)
		if err != nil {
			return n, fmt.Errorf("redriving: %w", err)
		}
		key := q.keys.dead(p, d.Channel)
		c := byKey[key]
		if c == nil {
			c = &call{script: q.scripts.redrive, keys: []string{key, q.keys.deadLetters(p)}, args: []any{openLife.Milliseconds()}}
			byKey[key] = c
			calls = append(calls, c)
		}
		unfit = cmp.Or(unfit, q.addRedrive(c, p, d, turns[i]))
	}
	if err := q.runAll(ctx, calls); err != nil {
		return n, err
	}
	return n + redriven(calls), unfit
}

func redriven(calls []*call) int {
	n := 0
	for _, c := range calls {
		done, _ := c.reply.Int64Slice() // runAll has looked at the error
		for _, one := range done {
			n += int(one)
		}
	}
	return n
}

// turnsOfDead are the turns that letters go back to: their tenants'.
func (q *Queue) turnsOfDead(ctx context.Context, page []Dead) ([]int, error) {
	out := make([]int, len(page))
	tenants := func(yield func(int, string) bool) {
		for i, d := range page {
			if d.Channel != notice.ChannelInbox && !yield(i, d.Tenant) {
				return
			}
		}
	}
	return out, q.turnsOf(ctx, tenants, func(i, turn int) { out[i] = turn })
}

func (q *Queue) addRedrive(c *call, p int, d Dead, turn int) error {
	var delivery notice.Delivery
	if err := json.Unmarshal([]byte(d.Payload), &delivery); err != nil {
		return fmt.Errorf("dead letter %s: %w", d.ID, err)
	}
	delivery.Attempt = 0
	payload := encode(&delivery)
	_, notification, ordinal, err := notice.SplitID(d.ID)
	if err != nil {
		return fmt.Errorf("redriving: %w", err)
	}
	now := q.now()
	line := appendEntry(nil, ordinal, delivery.AcceptedAt, Entry{At: now, Status: notice.StatusQueued, Detail: "redriven"})
	c.keys = append(c.keys, q.keys.record(p, notification), q.keys.stream(p, string(delivery.Address.Channel), delivery.Lane, turn))
	c.args = append(c.args, d.ID, payload, line, headOfDelivery(&delivery, ordinal))
	return nil
}

// headOfDelivery begins the record of a delivery whose own record's retention
// has passed.
func headOfDelivery(d *notice.Delivery, ordinal int) []byte {
	head := appendHead(nil, &notice.Event{Tenant: d.Tenant, AcceptedAt: d.AcceptedAt, Notification: notice.Notification{
		Template: d.Template, Category: d.Category, Priority: d.Lane, ExpiresAt: d.ExpiresAt, To: notice.Recipient{User: d.To.User}}})
	return appendPlanned(head, ordinal, 0, d.Address)
}

// redriveInbox puts an entry back on the inbox under its dead letter's id,
// then drops the letter. Dying in between puts it back twice, which the
// identity turns into one admission.
func (q *Queue) redriveInbox(ctx context.Context, d Dead) (int, error) {
	values := map[string]string{}
	if err := json.Unmarshal([]byte(d.Payload), &values); err != nil {
		return 0, fmt.Errorf("dead letter %s: %w", d.ID, err)
	}
	values["redrive"], values["died"] = d.ID, strconv.FormatInt(d.At.UnixMilli(), 10)
	if err := q.rdb.XAdd(ctx, &redis.XAddArgs{Stream: q.keys.inbox(), Values: values}).Err(); err != nil {
		return 0, unavailable(err)
	}
	return q.purgePage(ctx, []Dead{d})
}
