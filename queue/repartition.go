package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/carillonhq/carillon/config"
)

// The fields of the meta key that a repartition writes.
const (
	metaPartitions = "partitions" // that what is new is spread over
	metaReach      = "reach"      // partitions that may hold anything; absent: as many
	metaWas        = "was"        // earlier numbers of partitions, separated by commas
	metaMoving     = "moving"     // a repartition is under way: to how many
)

const (
	attendEvery = 5 * time.Second
	attendLife  = 15 // seconds that a silent process counts as alive
)

// ErrAlive says that processes of the gateway are at work which must not be.
var ErrAlive = errors.New("processes of the gateway are at work")

// Attend tells until ctx ends that a process works on the queue, which keeps
// Repartition from moving things under its feet.
func (q *Queue) Attend(ctx context.Context, name string) {
	for {
		if q.Ready() == nil {
			_, _ = attend(ctx, q.rdb, q.keys, name) // tried again in a moment
		}
		if !pause(ctx, attendEvery) {
			break
		}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = q.rdb.ZRem(ctx, q.keys.processes(), name).Err() // it is forgotten by itself soon after
}

func attend(ctx context.Context, rdb redis.UniversalClient, k keys, name string) ([]string, error) {
	alive, err := redis.NewScript(attendLua).Run(ctx, rdb, []string{k.processes()}, name, attendLife).StringSlice()
	if err != nil && !errors.Is(err, redis.Nil) {
		return nil, unavailable(err)
	}
	return alive, nil
}

// Owner reads from a key, without its partition's tag, whose it is: the two
// words that its partition was chosen by. It is false for every other key.
type Owner func(suffix string) (tenant, subject string, ok bool)

// Repartitioned is what a Repartition has done.
type Repartitioned struct {
	From, To int
	Reach    int // partitions that hold anything; past To they are only emptied
	Moved    int // keys that have another home now
}

// Repartition spreads a namespace over another number of partitions. What
// belongs to a person for good (profiles, suppressions, caps, idempotency keys)
// moves to its new home; what is on its way, parked, dead or on record stays
// where its id says, and is worked there to its end. Nobody may be at work:
// ErrAlive says who is. It may be repeated after an error, and must be: until
// it has succeeded no process opens the queue. Repeated later with the same
// number, it gives up partitions that have become empty.
func Repartition(ctx context.Context, rdb redis.UniversalClient, cfg config.Queue, to int, owners ...Owner) (Repartitioned, error) {
	r := repartition{rdb: rdb, old: keys{namespace: cfg.Namespace}, owners: append(owners, ownerOfClaim)}
	r.new = keys{namespace: cfg.Namespace, partitions: to}
	if err := r.begin(ctx, to); err != nil {
		return r.done, err
	}
	for p := range r.done.Reach {
		if err := r.movePartition(ctx, p); err != nil {
			return r.done, fmt.Errorf("moving what is in partition %d: %w", p, err)
		}
	}
	if err := r.shrink(ctx); err != nil {
		return r.done, err
	}
	return r.done, r.finish(ctx)
}

type repartition struct {
	rdb      redis.UniversalClient
	old, new keys
	owners   []Owner
	done     Repartitioned
	was      []string
}

// begin closes the queue to every process that starts from now on, then looks
// whether any is there already.
func (r *repartition) begin(ctx context.Context, to int) error {
	meta := r.old.meta()
	stored, err := r.rdb.HMGet(ctx, meta, metaPartitions, metaReach, metaWas, metaMoving).Result()
	if err != nil {
		return unavailable(err)
	}
	r.done = Repartitioned{From: number(stored[0]), To: to}
	if r.done.From == 0 {
		return fmt.Errorf("namespace %q holds no queue: %w", r.old.namespace, ErrNotFound)
	}
	r.done.Reach = max(r.done.From, number(stored[1]), to)
	if text, ok := stored[2].(string); ok {
		r.was = strings.Split(text, ",")
	}
	before := number(stored[3])
	if before != 0 && before != to {
		return fmt.Errorf("a repartition to %d was begun and not finished: finish that one first", before)
	}
	if err := r.rdb.HSet(ctx, meta, metaMoving, to).Err(); err != nil {
		return unavailable(err)
	}
	alive, err := attend(ctx, r.rdb, r.old, "")
	if err == nil && len(alive) > 0 {
		err = fmt.Errorf("%w: %s: stop them all; one that was killed counts for %d s more", ErrAlive, strings.Join(alive, ", "), attendLife)
	}
	if err != nil && before == 0 {
		err = errors.Join(err, unavailableIf(r.rdb.HDel(ctx, meta, metaMoving).Err()))
	}
	return err
}

func number(v any) int {
	text, _ := v.(string)
	n, _ := strconv.Atoi(text) // absent: 0
	return n
}

// movePartition moves every key that has another home now.
func (r *repartition) movePartition(ctx context.Context, p int) error {
	tag := r.old.tag(p)
	return scanPartition(ctx, r.rdb, tag, "*", func(found []string) error {
		for _, key := range found {
			home, ok := r.home(key[len(tag):])
			if !ok || home == p {
				continue
			}
			if err := r.move(ctx, key, r.new.tag(home)+key[len(tag):]); err != nil {
				return err
			}
		}
		return nil
	})
}

func (r *repartition) home(suffix string) (int, bool) {
	for _, owner := range r.owners {
		if tenant, subject, ok := owner(suffix); ok {
			return r.new.partition(tenant, subject), true
		}
	}
	return 0, false
}

// move copies a key with its remaining life, then deletes it: dying in between
// copies it again.
func (r *repartition) move(ctx context.Context, from, to string) error {
	pipe := r.rdb.Pipeline()
	dump, life := pipe.Dump(ctx, from), pipe.PTTL(ctx, from)
	if _, err := pipe.Exec(ctx); err != nil {
		if errors.Is(dump.Err(), redis.Nil) {
			return nil // it has expired
		}
		return unavailable(err)
	}
	if err := r.rdb.RestoreReplace(ctx, to, max(life.Val(), 0), dump.Val()).Err(); err != nil {
		return unavailable(err)
	}
	if err := r.rdb.Del(ctx, from).Err(); err != nil {
		return unavailable(err)
	}
	r.done.Moved++
	return nil
}

// shrink gives up the last partitions as far as they are empty.
func (r *repartition) shrink(ctx context.Context) error {
	for r.done.Reach > r.done.To {
		empty, err := r.empty(ctx, r.done.Reach-1)
		if err != nil || !empty {
			return err
		}
		r.done.Reach--
	}
	return nil
}

// empty reports whether a partition holds nothing but streams without entries.
func (r *repartition) empty(ctx context.Context, p int) (bool, error) {
	empty := true
	tag := r.old.tag(p)
	err := scanPartition(ctx, r.rdb, tag, "*", func(found []string) error {
		pipe := r.rdb.Pipeline()
		var lengths []*redis.IntCmd
		for _, key := range found {
			switch suffix := key[len(tag):]; {
			case suffix == "finals": // an archive that wants them has had its time
			case suffix == "canceled", suffix == "cancels": // of what is on the streams
			case isStream(suffix):
				lengths = append(lengths, pipe.XLen(ctx, key))
			default:
				empty = false
			}
		}
		if len(lengths) == 0 {
			return nil
		}
		if _, err := pipe.Exec(ctx); err != nil {
			return unavailable(err)
		}
		empty = empty && countOnes(lengths) == 0
		return nil
	})
	return empty, err
}

// isStream reports whether a key without its tag is one of a stage's streams.
func isStream(suffix string) bool {
	stage, _, ok := strings.Cut(suffix, ":")
	return ok && slices.Contains(stages(), stage)
}

// finish opens the queue again, laid out anew, in one command.
func (r *repartition) finish(ctx context.Context) error {
	was := r.was
	if from := strconv.Itoa(r.done.From); !slices.Contains(was, from) {
		was = append(was, from)
	}
	pipe := r.rdb.TxPipeline()
	pipe.HSet(ctx, r.old.meta(), metaPartitions, r.done.To, metaReach, r.done.Reach, metaWas, strings.Join(was, ","))
	pipe.HDel(ctx, r.old.meta(), metaMoving)
	if _, err := pipe.Exec(ctx); err != nil {
		return unavailable(err)
	}
	return nil
}

// scanPartition visits the keys of one partition in bounded steps.
func scanPartition(ctx context.Context, rdb redis.UniversalClient, tag, pattern string, visit func([]string) error) error {
	var server redis.Cmdable = rdb
	if cluster, ok := rdb.(*redis.ClusterClient); ok {
		master, err := cluster.MasterForKey(ctx, tag)
		if err != nil {
			return unavailable(err)
		}
		server = master
	}
	for cursor := uint64(0); ; {
		found, next, err := server.Scan(ctx, cursor, tag+pattern, eraseScan).Result()
		if err != nil {
			return unavailable(err)
		}
		if err := visit(found); err != nil || next == 0 {
			return err
		}
		cursor = next
	}
}

// ownerOfClaim is the Owner of idempotency keys. A tenant with a key holds no
// colon: see the configuration's auth.keys.
func ownerOfClaim(suffix string) (tenant, key string, ok bool) {
	rest, ok := strings.CutPrefix(suffix, "i:")
	if !ok {
		return "", "", false
	}
	return strings.Cut(rest, ":")
}

// MovingError says that a repartition has begun and not finished.
type MovingError struct{ To int }

// Error names the mend.
func (e *MovingError) Error() string {
	return fmt.Sprintf("the queue is being repartitioned to %d: wait until that has ended, or run `carillon queue repartition --to %d` again", e.To, e.To)
}

// learnLayout reads how far the data reaches, before the streams are named. A
// server that is out of reach is asked again by checkPartitions.
func (q *Queue) learnLayout(ctx context.Context) {
	stored, err := q.rdb.HMGet(ctx, q.keys.meta(), metaReach, metaWas).Result()
	if err != nil {
		return
	}
	q.cfg.Partitions = max(q.cfg.Partitions, number(stored[0]))
	if text, ok := stored[1].(string); ok {
		for _, n := range strings.Split(text, ",") {
			if n := number(n); n > 0 {
				q.was = append(q.was, keys{q.keys.namespace, n})
			}
		}
	}
}

// homes are the partitions that may hold records of a person: today's, and
// those of earlier layouts.
func (q *Queue) homes(tenant, user string) []int {
	homes := []int{q.keys.partition(tenant, user)}
	for _, k := range q.was {
		if p := k.partition(tenant, user); p < q.cfg.Partitions && !slices.Contains(homes, p) {
			homes = append(homes, p)
		}
	}
	return homes
}
