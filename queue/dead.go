package queue

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
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

// DeadList returns dead letters, by partition and in each the oldest first,
// and the id to go on after; empty at the end.
func (q *Queue) DeadList(ctx context.Context, f DeadFilter) (found []Dead, after string, err error) {
	limit := f.Limit
	if limit <= 0 {
		limit = 100
	}
	err = q.walkDead(ctx, f, func(page []Dead) error {
		for _, d := range page {
			if len(found) == limit {
				after = found[limit-1].ID
				return errEnough
			}
			found = append(found, d)
		}
		return nil
	})
	return found, after, err
}

// walkDead calls visit with the matching letters of one page after the other,
// until it returns errEnough.
func (q *Queue) walkDead(ctx context.Context, f DeadFilter, visit func([]Dead) error) error {
	first := 0
	if f.After != "" {
		p, _, _, err := notice.SplitID(f.After)
		if err != nil || p >= q.cfg.Partitions {
			return fmt.Errorf("after: %w", notice.ErrBadID)
		}
		first = p
	}
	for p := first; p < q.cfg.Partitions; p++ {
		after := ""
		if p == first {
			after = f.After
		}
		err := q.walkPartition(ctx, p, after, f, visit)
		if errors.Is(err, errEnough) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (q *Queue) walkPartition(ctx context.Context, p int, after string, f DeadFilter, visit func([]Dead) error) error {
	start, err := q.deadRank(ctx, p, after)
	if err != nil {
		return err
	}
	for {
		ids, err := q.rdb.ZRange(ctx, q.keys.dead(p), start, start+deadPage-1).Result()
		if err != nil {
			return unavailable(err)
		}
		if len(ids) == 0 {
			return nil
		}
		letters, err := q.letters(ctx, p, ids)
		if err != nil {
			return err
		}
		kept := letters[:0]
		for _, d := range letters {
			if f.matches(d) {
				kept = append(kept, d)
			}
		}
		if err := visit(kept); err != nil {
			return err
		}
		start += int64(len(ids))
	}
}

// deadRank is the place after an id; the beginning when the id is gone.
func (q *Queue) deadRank(ctx context.Context, p int, after string) (int64, error) {
	if after == "" {
		return 0, nil
	}
	rank, err := q.rdb.ZRank(ctx, q.keys.dead(p), after).Result()
	if errors.Is(err, redis.Nil) {
		return 0, nil
	}
	if err != nil {
		return 0, unavailable(err)
	}
	return rank + 1, nil
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

// RedriveAll redrives every dead letter that the filter matches.
func (q *Queue) RedriveAll(ctx context.Context, f DeadFilter) (int, error) {
	return q.drainDead(ctx, f, q.redrivePage)
}

// Purge deletes every dead letter that the filter matches, for good.
func (q *Queue) Purge(ctx context.Context, f DeadFilter) (int, error) {
	return q.drainDead(ctx, f, q.purgePage)
}

// drainDead collects what matches first and works it then: a walk by rank
// would skip over what moves up while it deletes. What died since it began is
// left alone: a letter that is redriven in vain comes back at once, and would
// be redriven for ever. A letter that cannot be worked holds up no other; the
// first such error is returned at the end.
func (q *Queue) drainDead(ctx context.Context, f DeadFilter, work func(context.Context, []Dead) (int, error)) (int, error) {
	began, n := q.now(), 0
	for {
		var page []Dead
		err := q.walkDead(ctx, f, func(found []Dead) error {
			page = append(page, slices.DeleteFunc(found, func(d Dead) bool { return d.At.After(began) })...)
			if len(page) >= deadPage {
				return errEnough
			}
			return nil
		})
		if err != nil {
			return n, err
		}
		done, err := work(ctx, page)
		n += done
		if done == 0 {
			return n, err
		}
	}
}

func (q *Queue) purgePage(ctx context.Context, page []Dead) (int, error) {
	pipe := q.rdb.Pipeline()
	var deleted []*redis.IntCmd
	for _, d := range page {
		p, _, _, err := notice.SplitID(d.ID)
		if err != nil {
			return 0, fmt.Errorf("purging: %w", err)
		}
		// The letter goes last: what dies in between is seen again by the walk
		// only while it is in the index.
		deleted = append(deleted, pipe.HDel(ctx, q.keys.deadLetters(p), d.ID))
		pipe.ZRem(ctx, q.keys.dead(p), d.ID)
	}
	if len(deleted) == 0 {
		return 0, nil
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return 0, unavailable(err)
	}
	return countOnes(deleted), nil
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
	byPartition := map[int]*call{}
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
		c := byPartition[p]
		if c == nil {
			c = &call{script: q.scripts.redrive, keys: []string{q.keys.dead(p), q.keys.deadLetters(p)}, args: []any{openLife.Milliseconds()}}
			byPartition[p] = c
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
	values["redrive"] = d.ID
	if err := q.rdb.XAdd(ctx, &redis.XAddArgs{Stream: q.keys.inbox(), Values: values}).Err(); err != nil {
		return 0, unavailable(err)
	}
	return q.purgePage(ctx, []Dead{d})
}
