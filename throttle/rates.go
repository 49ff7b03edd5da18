package throttle

import (
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/notice"
)

// maxRates is how many keys one process keeps a pace for.
const maxRates = 4096

// Rates are rates that hold for all consumers together, whoever of them sends:
// one for each key, which may be a channel, a tenant, a host. A consumer has
// permits of a rate only while it wants them, so whatever one does not use is
// the others' within a frame or two; they are handed out by Redis a tenth of a
// second ahead (one by one where the rate is lower than ten a second), and void
// when their time is over. A consumer that dies takes no more with it than it
// was given.
//
// While Redis cannot be reached nothing is given, and what waits waits.
type Rates struct {
	rdb      redis.UniversalClient
	keys     keys
	consumer string
	eval     func(ctx context.Context, key string, args ...any) ([]int64, error) // runs share.lua
	most     int

	mu     sync.Mutex
	paces  map[string]*shared
	made   int             // paces so far
	ctx    context.Context // while Run runs
	asking sync.WaitGroup
}

// shared is a pace and when it was last asked for.
type shared struct {
	pace *Pace
	used time.Time
}

// NewRates makes the rates of one consumer, whose name no other live consumer
// may have.
func NewRates(rdb redis.UniversalClient, namespace, consumer string) *Rates {
	script := redis.NewScript(shareLua)
	eval := func(ctx context.Context, key string, args ...any) ([]int64, error) {
		return script.Run(ctx, rdb, []string{key}, args...).Int64Slice()
	}
	return &Rates{rdb: rdb, keys: keys{namespace}, consumer: consumer, eval: eval, most: maxRates, paces: map[string]*shared{}}
}

// ChannelRate is the key of a channel's rate.
func ChannelRate(c notice.Channel) string { return "channel:" + string(c) }

// Pace is the consumer's part of a key's rate, the same for the same key, and
// with the rate that was asked for last. Its permits come while Run runs. The
// zero Rate is no limit, and costs nothing.
//
// Of more than 4,096 keys those that are not in use are forgotten, which loses
// nothing; a pace in use that must make room goes on working.
func (r *Rates) Pace(key string, rate config.Rate) *Pace {
	p := r.pace(key, rate, false)
	p.Replace(rate)
	return p
}

// Strict is Pace, of a rate that whoever is sent to holds us to: what was lost
// of it is made up for only as far as no second has more than the rate, but for
// what is used late.
func (r *Rates) Strict(key string, rate config.Rate) *Pace {
	p := r.pace(key, rate, true)
	p.Replace(rate)
	return p
}

func (r *Rates) pace(key string, rate config.Rate, strict bool) *Pace {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := r.paces[key]; s != nil {
		s.used = time.Now()
		return s.pace
	}
	if len(r.paces) >= r.most {
		r.makeRoom()
	}
	p := newPace(rate)
	p.source = &share{rates: r, key: r.keys.rate(key), name: r.name(), strict: strict, pace: p, kick: make(chan struct{}, 1), reloaded: make(chan struct{}, 1)}
	r.paces[key] = &shared{pace: p, used: time.Now()}
	return p
}

// name is the consumer's name in one key's state. A second pace for a key, made
// after the first was forgotten, must not be taken for it.
func (r *Rates) name() string {
	r.made++
	return strconv.QuoteToASCII(r.consumer) + "#" + strconv.Itoa(r.made)
}

// makeRoom forgets every pace that nobody waits at, or else the one that was
// asked for longest ago.
func (r *Rates) makeRoom() {
	oldest := ""
	for key, s := range r.paces {
		if !s.pace.source.running.Load() {
			delete(r.paces, key)
			continue
		}
		if oldest == "" || s.used.Before(r.paces[oldest].used) {
			oldest = key
		}
	}
	if len(r.paces) >= r.most {
		delete(r.paces, oldest)
	}
}

// Run hands out permits until ctx ends, and then gives up what the consumer has
// coming.
func (r *Rates) Run(ctx context.Context) {
	for _, s := range r.open(ctx) {
		s.start() // somebody may wait already
	}
	<-ctx.Done()
	r.mu.Lock()
	r.ctx = nil
	r.mu.Unlock()
	r.asking.Wait()
}

func (r *Rates) open(ctx context.Context) (shares []*share) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ctx = ctx
	for _, s := range r.paces {
		shares = append(shares, s.pace.source)
	}
	return shares
}

// begin runs a share; not before Run, nor after it.
func (r *Rates) begin(s *share) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ctx == nil || r.ctx.Err() != nil {
		return false
	}
	ctx := r.ctx
	r.asking.Go(func() { s.run(ctx) })
	return true
}
