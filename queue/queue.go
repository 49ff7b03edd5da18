package queue

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/notice"
)

// openLife is how long the record of an unfinished notification outlives the
// moment it is next due: far beyond any backlog, so that only a record whose
// entry was lost with its server can meet its end this way.
const openLife = 30 * 24 * time.Hour

// prepareEvery is how often a server that was out of reach at the start is
// tried again.
const prepareEvery = 200 * time.Millisecond

// keyLife is how long an idempotency key answers.
const keyLife = 24 * time.Hour

// Queue is the queue of one namespace. It is safe for concurrent use.
type Queue struct {
	rdb       redis.UniversalClient // commands that answer at once
	readers   redis.UniversalClient // reads that block
	cluster   bool                  // a script's keys must be of one slot
	cfg       config.Queue
	keys      keys
	scripts   scripts
	now       func() time.Time
	streams   []stream
	was       []keys // earlier layouts: see Repartition
	closing   context.CancelFunc
	gate      sync.RWMutex // held for reading by what hands an admission over
	closed    bool         // behind gate: nobody commits any more
	running   sync.WaitGroup
	stopped   chan struct{} // closed when nobody commits any more
	admits    chan *admission
	spendings chan *spending
	backlog   backlog
	drained   drained
	turns     turns
	listed    listed
	bounds    atomic.Pointer[bounds] // that Pressure goes by
	random    func() float64         // in [0,1)
	canceled  *canceled
	unsent    func(context.Context, []Unsent) // nil: nobody wants to know
	state     atomic.Pointer[error]           // why the queue cannot be used; nil: it can
}

// stream is one stream of one partition.
type stream struct {
	partition int
	stage     string
	lane      notice.Lane
	turn      int
	key       string
}

// Option changes how a Queue is opened.
type Option func(*Queue)

// WithClock replaces time.Now.
func WithClock(now func() time.Time) Option { return func(q *Queue) { q.now = now } }

// WithRandom replaces the source of what spreads callers that are refused:
// numbers in [0,1).
func WithRandom(random func() float64) Option { return func(q *Queue) { q.random = random } }

// Open binds to the namespace's data, checks that its partitions are the
// configured ones (a *PartitionsError or *MovingError otherwise), and creates what is missing.
// A server that is out of reach is no error: Ready says so, nothing is admitted
// until it answers, and Open's work is done then. rdb answers at once, readers
// is for blocking reads and needs a connection for each Reader; neither is
// closed by the Queue.
func Open(ctx context.Context, rdb, readers redis.UniversalClient, cfg config.Queue, options ...Option) (*Queue, error) {
	q := &Queue{
		rdb: rdb, readers: readers, cluster: isCluster(rdb), cfg: cfg, now: time.Now,
		keys:    keys{namespace: cfg.Namespace, partitions: cfg.Partitions},
		scripts: newScripts(cfg.Finals),
		admits:  make(chan *admission, admitQueue),
		stopped: make(chan struct{}), spendings: make(chan *spending, spendQueue), random: rand.Float64,
	}
	q.ReplaceBounds(cfg)
	q.backlog.again = make(chan struct{}, 1)
	q.backlog.soon.entries.Store(1)
	for _, o := range options {
		o(q)
	}
	q.learnLayout(ctx)
	q.canceled = newCanceled(q.cfg.Partitions)
	for p := range q.cfg.Partitions {
		for _, stage := range stages() {
			for _, lane := range notice.Lanes() {
				for turn := range Turns {
					q.streams = append(q.streams, stream{p, stage, lane, turn, q.keys.stream(p, stage, lane, turn)})
				}
			}
		}
	}
	err := q.prepareStore(ctx)
	if otherLayout(err) {
		return nil, err
	}
	var background context.Context
	background, q.closing = context.WithCancel(context.Background())
	for range admitters {
		q.running.Go(func() { q.admitLoop(background) })
	}
	q.running.Go(func() { q.watchBacklog(background) })
	q.running.Go(func() { q.spendLoop(background) })
	if err != nil {
		q.running.Go(func() { q.keepPreparing(background) })
	}
	return q, nil
}

// prepareStore checks and creates what the queue needs of its server.
func (q *Queue) prepareStore(ctx context.Context) error {
	err := q.checkPartitions(ctx)
	if err == nil {
		err = q.createGroups(ctx)
	}
	if err != nil {
		q.state.Store(&err)
		return err
	}
	q.state.Store(nil)
	return nil
}

// keepPreparing tries until the server answers, or turns out to hold data of
// another layout.
func (q *Queue) keepPreparing(ctx context.Context) {
	for pause(ctx, prepareEvery) {
		if err := q.prepareStore(ctx); err == nil || otherLayout(err) {
			return
		}
	}
}

// Ready says why the queue cannot be used: ErrUnavailable, or a
// *PartitionsError. Nil once it can; that its server answers at this moment is
// for Ping to say.
func (q *Queue) Ready() error {
	if err := q.state.Load(); err != nil {
		return *err
	}
	return nil
}

// AwaitReady waits until the queue can be used. It returns a *PartitionsError
// or *MovingError at once, and otherwise ctx's error.
func (q *Queue) AwaitReady(ctx context.Context) error {
	for {
		err := q.Ready()
		if err == nil || otherLayout(err) {
			return err
		}
		if !pause(ctx, prepareEvery/4) {
			return ctx.Err()
		}
	}
}

// Close stops admitting; what was handed to Admit before is answered first, and
// what comes later has ErrUnavailable.
func (q *Queue) Close() {
	q.gate.Lock()
	if !q.closed {
		close(q.stopped)
	}
	q.closed = true
	q.gate.Unlock()
	q.closing()
	q.running.Wait()
}

// Partition is the partition of everything about one person of one tenant.
func (q *Queue) Partition(tenant, user string) int { return q.keys.partition(tenant, user) }

func isCluster(rdb redis.UniversalClient) bool {
	_, cluster := rdb.(*redis.ClusterClient)
	return cluster
}

func stages() []string {
	out := []string{stageEvents}
	for _, c := range notice.Channels() {
		out = append(out, string(c))
	}
	return out
}

// otherLayout reports whether err says that this process must not use the
// data, however long it waits.
func otherLayout(err error) bool {
	return errors.As(err, new(*PartitionsError)) || errors.As(err, new(*MovingError))
}

// PartitionsError says that the data was laid out for another number of
// partitions than is configured.
type PartitionsError struct {
	Stored, Configured int
	// Reach is how many partitions hold anything when that is more than this
	// process could know, since the server was away when it started.
	Reach int
}

// Error names both numbers and the mend.
func (e *PartitionsError) Error() string {
	if e.Stored == e.Configured {
		return fmt.Sprintf("the queue was repartitioned, and %d partitions hold something: start this process again now that Redis answers", e.Reach)
	}
	return fmt.Sprintf("queue.partitions: %d does not fit the data in Redis, which was laid out for %d: set queue.partitions to %d, or use another queue.namespace", e.Configured, e.Stored, e.Stored)
}

// checkPartitions refuses a number of partitions other than the data's: ids
// and keys would no longer be found.
func (q *Queue) checkPartitions(ctx context.Context) error {
	configured := q.keys.partitions
	if err := q.rdb.HSetNX(ctx, q.keys.meta(), metaPartitions, configured).Err(); err != nil {
		return unavailable(err)
	}
	stored, err := q.rdb.HMGet(ctx, q.keys.meta(), metaPartitions, metaReach, metaMoving).Result()
	if err != nil {
		return unavailable(err)
	}
	n, reach := number(stored[0]), number(stored[1])
	switch moving := number(stored[2]); {
	case moving != 0:
		return &MovingError{To: moving}
	case n != configured || reach > q.cfg.Partitions:
		return &PartitionsError{Stored: n, Configured: configured, Reach: reach}
	}
	return nil
}

// createGroups makes every stream and its group, from the stream's beginning,
// so that what was added before counts. Those that are there stay as they are.
func (q *Queue) createGroups(ctx context.Context) error {
	pipe := q.rdb.Pipeline()
	pipe.XGroupCreateMkStream(ctx, q.keys.inbox(), group, "0")
	for _, s := range q.streams {
		pipe.XGroupCreateMkStream(ctx, s.key, group, "0")
	}
	if q.cfg.Finals > 0 { // nobody reads them as a group, but a script may not make them: see finals.lua
		for p := range q.cfg.Partitions {
			pipe.XGroupCreateMkStream(ctx, q.keys.finals(p), group, "0")
		}
	}
	cmds, err := pipe.Exec(ctx)
	if err == nil {
		return nil
	}
	for _, c := range cmds {
		if err := c.Err(); err != nil && !redis.HasErrorPrefix(err, "BUSYGROUP") {
			return unavailable(err)
		}
	}
	if redis.HasErrorPrefix(err, "BUSYGROUP") {
		return nil
	}
	return unavailable(err) // of the connection: no command has it
}

// recover makes what a read found missing, after the server has lost its data
// or a group was destroyed.
func (q *Queue) recover(ctx context.Context, err error) error {
	if !redis.HasErrorPrefix(err, "NOGROUP") && !strings.Contains(err.Error(), "NOGROUP") {
		return err
	}
	if err := q.createGroups(ctx); err != nil {
		return err
	}
	err = q.checkPartitions(ctx)
	if otherLayout(err) {
		return err
	}
	return unavailableIf(err)
}

func unavailableIf(err error) error {
	if err == nil {
		return nil
	}
	return unavailable(err)
}
