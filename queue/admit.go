package queue

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/notice"
)

const (
	admitters  = 2    // group commits under way at once: one gathers while one waits for its reply
	admitBatch = 256  // the most admissions in one commit
	admitQueue = 1024 // admissions waiting for a commit; past it Admit blocks, for as long as a command may take
	admitTries = 3    // commits of one admission before its caller is told
	admitPause = 50 * time.Millisecond
)

// admission is an Admission on its way through a group commit.
type admission struct {
	Admission
	id        string
	event     []byte // encoded
	head      []byte // of its record
	due       time.Time
	lane      notice.Lane
	turn      int  // its tenant's
	claimed   bool // the key is ours: id is the first
	done      *sync.WaitGroup
	result    *Admitted
	duplicate bool
	err       error // of the last try
}

// Admit stores a notification and returns its id once it is as durable as
// configured. It joins whatever other admissions are waiting into one round
// trip. A Result.Err that is ErrUnavailable means that it may or may not have
// been stored; with a Key it is safe to try again.
func (q *Queue) Admit(ctx context.Context, a Admission) (Admitted, error) {
	out := q.AdmitAll(ctx, []Admission{a})
	return out[0], out[0].Err
}

// AdmitAll is Admit for many at once; each has its own result, in order.
func (q *Queue) AdmitAll(ctx context.Context, as []Admission) []Admitted {
	out := make([]Admitted, len(as))
	var done sync.WaitGroup
	for i := range as {
		adm := q.prepare(as[i])
		adm.done, adm.result = &done, &out[i]
		done.Add(1)
		if err := q.handOver(ctx, adm); err != nil {
			adm.answer(Admitted{Err: fmt.Errorf("%w: %w", ErrUnavailable, err)})
		}
	}
	// Each commit is bounded in time, so this wait is too; leaving early would
	// leave the caller not knowing what was stored.
	done.Wait()
	return out
}

var errClosed = errors.New("this process is stopping")

// handOver gives an admission to the next commit, as long as there will be one.
func (q *Queue) handOver(ctx context.Context, a *admission) error {
	q.gate.RLock()
	defer q.gate.RUnlock()
	if q.closed {
		return errClosed
	}
	select {
	case q.admits <- a:
		return nil
	default:
	}
	// Full: commits are slow, or stand still. Who waits holds memory.
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	select {
	case q.admits <- a:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting for a commit: %w", ctx.Err())
	}
}

func (a *admission) answer(r Admitted) {
	*a.result = r
	a.done.Done()
}

// prepare gives an admission its id and encodes it, outside of the commit.
func (q *Queue) prepare(a Admission) *admission {
	n := &a.Notification
	now := q.now().UTC().Truncate(time.Millisecond) // what the record keeps
	p := q.keys.partition(a.Tenant, recipientKey(n))
	id := notice.NewID(p, now)
	if a.Identity != "" {
		id = notice.DerivedID(p, a.ReadAt, a.Identity)
	}
	adm := &admission{Admission: a, id: id, lane: n.Priority, due: n.SendAt}
	if adm.lane == "" {
		adm.lane = notice.LaneNormal
	}
	adm.encode(id, now)
	return adm
}

func (a *admission) encode(id string, now time.Time) {
	a.id = id
	ev := notice.Event{ID: id, Tenant: a.Tenant, AcceptedAt: now, Keyed: a.Key != "", Notification: a.Notification}
	a.event, _ = ev.AppendBinary(make([]byte, 0, 256+len(a.Notification.Data))) // there is nothing that it fails at
	a.head = appendHead(make([]byte, 0, 96), &ev)                               // one allocation, not four
}

// recipientKey is what a notification is partitioned by: its user, or, for an
// anonymous recipient, the first of its addresses.
func recipientKey(n *notice.Notification) string {
	switch to := &n.To; {
	case to.User != "":
		return to.User
	case to.Email != "":
		return to.Email
	case len(to.Devices) > 0:
		return to.Devices[0].Token
	case len(to.Webhooks) > 0:
		return to.Webhooks[0].URL
	}
	return ""
}

// admitLoop commits whatever is waiting, one entry or many: nothing waits for
// a batch to fill.
func (q *Queue) admitLoop(ctx context.Context) {
	batch := make([]*admission, 0, admitBatch)
	for {
		select {
		case a := <-q.admits:
			batch = append(batch[:0], a)
		case <-ctx.Done():
			if batch = gather(batch[:0], q.admits, admitBatch); len(batch) == 0 {
				return
			}
		}
		batch = gather(batch, q.admits, admitBatch)
		q.commit(batch)
	}
}

// gather adds what is ready to batch, without waiting, up to most.
func gather[T any](batch []T, from <-chan T, most int) []T {
	for len(batch) < most {
		select {
		case v := <-from:
			batch = append(batch, v)
		default:
			return batch
		}
	}
	return batch
}

// commit claims the batch's keys, admits it, and answers each. What fails is
// tried again a few times: both steps may be repeated without harm. Each
// admission has the answer of its own slots, for one that is away says nothing
// of the others.
func (q *Queue) commit(batch []*admission) {
	ctx, cancel := context.WithTimeout(context.Background(), commandTimeout)
	defer cancel()
	if err := q.Ready(); err != nil {
		answerAll(batch, unavailable(err))
		return
	}
	for try := range admitTries {
		if try > 0 && !pause(ctx, admitPause<<try) {
			break
		}
		if batch = q.try(ctx, batch); len(batch) == 0 {
			return
		}
	}
	for _, a := range batch {
		a.answer(Admitted{Err: a.err})
	}
}

// try does the steps once, answers the admissions that are settled by it, and
// returns those that are to be tried again, each with its error.
func (q *Queue) try(ctx context.Context, batch []*admission) (again []*admission) {
	for _, a := range batch {
		a.err = nil
	}
	q.claimKeys(ctx, batch)
	if err := q.assignTurns(ctx, batch); err != nil {
		failAll(batch, err)
	}
	q.admit(ctx, batch)
	stored, bytes := 0, 0
	defer func() { q.backlog.admitted(stored, bytes) }()
	for _, a := range batch {
		switch {
		case a.err == nil:
			stored++
			bytes += len(a.event) + len(a.head)
			a.answer(Admitted{ID: a.id, Duplicate: a.duplicate})
		case errors.Is(a.err, ErrUnavailable) && !errors.Is(a.err, errNotDurable):
			again = append(again, a)
		default:
			a.answer(Admitted{Err: a.err})
		}
	}
	return again
}

func answerAll(batch []*admission, err error) {
	for _, a := range batch {
		a.answer(Admitted{Err: err})
	}
}

// failAll gives the admissions that have no error yet one.
func failAll(batch []*admission, err error) {
	for _, a := range batch {
		if a.err == nil {
			a.err = err
		}
	}
}

// claimKeys settles, for each admission with a key, whose id the key stands
// for. An admission whose key was claimed before takes the first one's id and
// is admitted under it again, which heals a crash between the two steps.
func (q *Queue) claimKeys(ctx context.Context, batch []*admission) {
	var calls []*call
	var keyed []*admission
	for _, a := range batch {
		if a.Key == "" || a.claimed {
			continue
		}
		keyed = append(keyed, a)
		calls = append(calls, &call{script: q.scripts.claim, keys: []string{q.keys.claim(a.Tenant, a.Key)},
			args: []any{claimValue(a), keyLife.Milliseconds()}})
	}
	if len(calls) == 0 {
		return
	}
	send := q.runAll
	if q.cluster {
		send = q.runDurably // a wait for the admission's master says nothing of the claim's
	}
	_ = send(ctx, calls) // each call has its own error
	for i, a := range keyed {
		if a.err = calls[i].err; a.err == nil {
			a.err = a.learn(calls[i].reply)
		}
	}
}

func claimValue(a *admission) string {
	return strconv.FormatUint(a.Digest, 36) + ":" + a.id
}

// learn takes the claim's answer in.
func (a *admission) learn(reply *redis.Cmd) error {
	stored, err := reply.Text()
	if err != nil {
		return unavailable(err)
	}
	a.claimed = true
	if stored == claimValue(a) {
		return nil
	}
	digest, id, _ := strings.Cut(stored, ":")
	a.duplicate = true
	if digest != strconv.FormatUint(a.Digest, 36) {
		return ErrKeyReused
	}
	var ev notice.Event
	if err := ev.UnmarshalBinary(a.event); err != nil {
		return fmt.Errorf("%w: reading an admission back: %w", ErrFault, err)
	}
	a.encode(id, ev.AcceptedAt)
	return nil
}

// admit runs one script for each slot of what has no error yet, in one
// pipeline.
func (q *Queue) admit(ctx context.Context, batch []*admission) {
	now := q.now()
	calls := newBatchCalls(q, q.scripts.admit, openLife.Milliseconds())
	calls.send = q.runDurably
	for i, a := range batch {
		if a.err != nil {
			continue
		}
		p, _, _, err := notice.SplitID(a.id)
		if err != nil {
			a.err = fmt.Errorf("%w: admitting: %w", ErrFault, err)
			continue
		}
		q.addAdmission(calls.of(p, i), p, a, now)
	}
	// An id of our own making can only be there because an earlier try's reply
	// was lost; an inbox entry's was admitted by whoever read it before.
	err := calls.run(ctx, func(i int, admitted bool) {
		if !admitted && batch[i].Identity != "" {
			batch[i].duplicate = true
		}
	})
	var part *PartError
	if errors.As(err, &part) {
		for _, i := range part.Members {
			batch[i].err = part.Err
		}
	}
}

func (q *Queue) addAdmission(c *batchCall, p int, a *admission, now time.Time) {
	wait := max(0, a.due.Sub(now).Milliseconds())
	c.add(c.own(q.keys.record(p, a.id)), a.event, a.head, wait, c.key(q.keys.stream(p, stageEvents, a.lane, a.turn)))
	if wait > 0 {
		c.add(a.due.UnixMilli(), a.id, streamSuffix(stageEvents, a.lane, a.turn), c.key(q.keys.later(p)), c.key(q.keys.parked(p)))
	}
}

// errNotDurable is an admission that is stored, but not as safely as promised.
// Trying again at once would find what it waited for no sooner.
var errNotDurable = errors.New("stored, but not as durably as queue.durability asks")

// runDurably is runAll, and then, for each master that took part, the wait that
// the configured durability asks for, on the connection of its calls and in the
// same round trip.
func (q *Queue) runDurably(ctx context.Context, calls []*call) error {
	if q.cfg.Durability == "" || q.cfg.Durability == config.DurabilityMemory {
		return q.runAll(ctx, calls)
	}
	byNode, err := q.nodes(ctx, calls)
	if err != nil {
		for _, c := range calls {
			c.err = unavailable(err)
		}
		return firstError(calls)
	}
	var sending sync.WaitGroup
	for node, part := range byNode {
		sending.Go(func() { q.runAndWait(ctx, node, part) })
	}
	sending.Wait()
	return firstError(calls)
}

// runAndWait runs the calls of one master and waits for its replica or disk.
//
// The server waits for what the connection wrote last, and for nothing at all
// after a script that found its work done: so there is a write of our own in
// front. It is behind everything that the master ever took, which is why a
// repetition, or a duplicate, is answered only once the first one is safe.
func (q *Queue) runAndWait(ctx context.Context, node redis.UniversalClient, calls []*call) {
	pipe := node.Pipeline()
	for _, c := range calls {
		c.reply = c.script.Eval(ctx, pipe, c.keys, c.args...)
	}
	written := pipe.Set(ctx, barrierBeside(calls[0].keys[0]), "", 0)
	timeout := (commandTimeout / 2).Milliseconds()
	var waited *redis.Cmd
	if q.cfg.Durability == config.DurabilityReplica {
		waited = pipe.Do(ctx, "WAIT", 1, timeout)
	} else {
		waited = pipe.Do(ctx, "WAITAOF", 1, 0, timeout)
	}
	exec(ctx, pipe, calls)
	err := classify(written.Err())
	if err == nil {
		err = enough(waited)
	}
	for _, c := range calls {
		if c.err == nil {
			c.err = err
		}
	}
	if err := firstError(calls); err != nil && !errors.Is(err, errNotDurable) {
		q.forgetMap(ctx) // the slot may be another master's by now
	}
}

// enough reads the answer of WAIT (a number) or WAITAOF (a pair: local, replicas).
func enough(waited *redis.Cmd) error {
	n, err := waited.Int64()
	if err != nil {
		var both []int64
		if both, err = waited.Int64Slice(); err == nil && len(both) == 2 {
			n = both[0]
		}
	}
	if err != nil {
		return unavailable(err)
	}
	if n < 1 {
		return fmt.Errorf("%w: %w", ErrUnavailable, errNotDurable)
	}
	return nil
}

// pause waits for d, or reports false when ctx ends first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
