package throttle

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/redis/go-redis/v9"

	"github.com/carillonhq/carillon/notice"
)

// Report is how one consumer stands on one channel, as it published it last: at
// most ten seconds ago.
type Report struct {
	Consumer string
	InFlight int             // sends
	Limit    int             // the most that there may be now
	Bound    int             // the channel's concurrency
	Rests    int64           // ms until the next probe of a credential that is refused; 0: it is taken
	Hosts    []Standing      // of which there is something to say, at most 100
	Waits    []QuotaStanding // for rates by name, at most 100
}

// Lasting is a pause that lasts, or a host that is down, as all consumers know
// it.
type Lasting struct {
	Kind    Kind
	Name    string // of the host; of an address a digest; empty for the channel
	Until   time.Time
	Because string
	Probed  string // the consumer that is finding out whether it is over; empty: none
}

// Overview is how a channel stands: what was asked for, which holds for every
// consumer, and what each of them makes of it.
type Overview struct {
	At        time.Time // by Redis's clock, as every moment here
	Lasting   []Lasting // the latest end first, at most 1000
	Rates     []HostLimit
	Consumers []Report // those that had work lately
}

// mostLasting is how many pauses an Overview has.
const mostLasting = 1000

// HostLimit is how many a second a host was found to take from all consumers
// together.
type HostLimit struct {
	Name    string
	Rate    float64   // a second
	Ceiling float64   // a second, which was found to be too much; 0: it is still sought
	Since   time.Time // it was set after a refusal
	Episode int       // which refusal that was: a part of its key, see LearnedRate
}

// publish writes a report, and returns how many consumers wrote one lately.
// Failing is no matter: the next one follows.
func (b *Board) publish(ctx context.Context, r Report) (consumers int) {
	ctx, cancel := context.WithTimeout(ctx, boardWait)
	defer cancel()
	r.Consumer = b.consumer
	text, err := json.Marshal(r)
	if err != nil {
		return 1
	}
	pipe := b.rdb.Pipeline()
	pipe.Set(ctx, b.keys.report(b.consumer), text, reportLife)
	pipe.ZAdd(ctx, b.keys.seen, redis.Z{Score: float64(time.Now().UnixMilli()), Member: b.consumer})
	pipe.ZRemRangeByScore(ctx, b.keys.seen, "-inf", strconv.FormatInt(time.Now().Add(-time.Hour).UnixMilli(), 10))
	pipe.PExpire(ctx, b.keys.seen, time.Hour)
	lately := pipe.ZCount(ctx, b.keys.seen, strconv.FormatInt(time.Now().Add(-reportLife).UnixMilli(), 10), "+inf")
	_, _ = pipe.Exec(ctx)
	return max(int(lately.Val()), 1)
}

// Look reads how a channel stands. It changes nothing.
func Look(ctx context.Context, rdb redis.UniversalClient, namespace string, channel notice.Channel) (o Overview, err error) {
	k := keys{namespace}.board(channel)
	if o.At, err = rdb.Time(ctx).Result(); err != nil {
		return o, fmt.Errorf("look at channel %s: %w", channel, err)
	}
	if o.Lasting, err = lasting(ctx, rdb, k, o.At); err == nil {
		o.sort()
		o.Lasting = o.Lasting[:min(len(o.Lasting), mostLasting)]
		o.Consumers, err = reports(ctx, rdb, k)
	}
	if err != nil {
		return o, fmt.Errorf("look at channel %s: %w", channel, err)
	}
	return o, nil
}

// sort tells what was learned from what lasts.
func (o *Overview) sort() {
	o.Lasting = slices.DeleteFunc(o.Lasting, func(l Lasting) bool {
		if k, ok := readKnown(l.Because, l.Until.Add(-rateLife)); l.Kind == HostRate && ok && k.perSecond > 0 {
			o.Rates = append(o.Rates, HostLimit{l.Name, k.perSecond, k.ceiling, k.since, k.episode})
		}
		return l.Kind == HostRate || l.Kind == HostTook
	})
}

func lasting(ctx context.Context, rdb redis.UniversalClient, k boardKeys, now time.Time) (out []Lasting, err error) {
	found, err := rdb.ZRevRangeByScoreWithScores(ctx, k.ends, &redis.ZRangeBy{Min: "(" + strconv.FormatInt(now.UnixMilli(), 10), Max: "+inf", Count: maxPauses}).Result()
	if err != nil || len(found) == 0 {
		return nil, err
	}
	pipe := rdb.Pipeline()
	words, probes := make([]*redis.StringCmd, len(found)), make([]*redis.StringCmd, len(found))
	for i, f := range found {
		words[i], probes[i] = pipe.HGet(ctx, k.because, f.Member.(string)), pipe.Get(ctx, k.probe(f.Member.(string)))
	}
	_, _ = pipe.Exec(ctx) // what is absent is an error too
	for i, f := range found {
		what := f.Member.(string)
		out = append(out, Lasting{Kind: Kind(what[0]), Name: what[1:], Until: time.UnixMilli(int64(f.Score)), Because: strings.TrimPrefix(words[i].Val(), "="), Probed: probes[i].Val()})
	}
	return out, nil
}

func reports(ctx context.Context, rdb redis.UniversalClient, k boardKeys) (out []Report, err error) {
	names, err := rdb.ZRange(ctx, k.seen, 0, -1).Result()
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		text, err := rdb.Get(ctx, k.report(name)).Result()
		if err != nil {
			continue // it has had nothing to do for a while
		}
		var r Report
		if err := json.Unmarshal([]byte(text), &r); err != nil {
			return nil, fmt.Errorf("the report of consumer %s: %w", name, err)
		}
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b Report) int { return cmp.Compare(a.Consumer, b.Consumer) })
	return out, nil
}

// Host is what of an Overview is about one host, by its name alone or with its
// scheme: whether it is paused or down, and what each consumer makes of it.
func (o Overview) Host(name string) Overview {
	is := func(other string) bool {
		_, bare, _ := strings.Cut(other, "://")
		return other == name || bare == name
	}
	o.Lasting = slices.DeleteFunc(slices.Clone(o.Lasting), func(l Lasting) bool {
		return l.Kind != HostPaused && l.Kind != HostDown || !is(l.Name)
	})
	o.Rates = slices.DeleteFunc(slices.Clone(o.Rates), func(r HostLimit) bool { return !is(r.Name) })
	o.Consumers = slices.Clone(o.Consumers)
	for i := range o.Consumers {
		o.Consumers[i].Hosts = slices.DeleteFunc(slices.Clone(o.Consumers[i].Hosts), func(s Standing) bool { return !is(s.Name) })
	}
	return o
}
