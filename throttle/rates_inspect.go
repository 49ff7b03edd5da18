package throttle

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// RateUse is what a shared rate comes to at one moment.
type RateUse struct {
	Rate       float64     // permits a second, the lowest that those who ask go by; 0 when nobody has asked for a minute
	LastSecond int         // permits given in the last whole second of Redis' clock
	Next       time.Time   // about when the next permit is, for whoever wants one now; by Redis' clock
	Consumers  []RateShare // those that asked lately
}

// RateShare is one consumer's part of a shared rate.
type RateShare struct {
	Consumer string  // its name and, after a #, which of its paces
	Wants    float64 // permits a second, at most twice the rate
	Has      float64 // permits a second, by what it took last
	Asks     bool    // it has asked when it was to ask; otherwise it is idle or gone
}

// Inspect reads what the rate of a key comes to. It changes nothing.
func (r *Rates) Inspect(ctx context.Context, key string) (RateUse, error) {
	state, err := r.rdb.Get(ctx, r.keys.rate(key)).Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		return RateUse{}, fmt.Errorf("read the state of the rate %q: %w", key, err)
	}
	now, err := r.rdb.Time(ctx).Result()
	if err != nil {
		return RateUse{}, fmt.Errorf("read the time of the rate %q: %w", key, err)
	}
	if state == "" {
		return RateUse{Next: now}, nil
	}
	use, err := readUse(state, now)
	if err != nil {
		return RateUse{}, fmt.Errorf("read the state of the rate %q: %w", key, err)
	}
	return use, nil
}

// readUse reads the state as share.lua writes it.
func readUse(state string, now time.Time) (use RateUse, err error) {
	lines := strings.Split(state, "\n")
	head, err := numbers(lines[0], 9)
	if err != nil {
		return use, err
	}
	switch now.Unix() - int64(head[6]) {
	case 0:
		use.LastSecond = int(head[8])
	case 1:
		use.LastSecond = int(head[7])
	}
	use.Next = nextPermit(head, now)
	for _, line := range lines[1:] {
		f, err := numbers(line, 7)
		if err != nil {
			return use, err
		}
		perSecond := 1e6 / f[1]
		share := RateShare{Wants: f[2] * perSecond, Has: f[6] * perSecond, Asks: float64(now.UnixMicro()) <= f[3]}
		fields := strings.SplitN(line, " ", 8)
		if share.Consumer, err = consumerName(fields[len(fields)-1]); err != nil {
			return use, err
		}
		if rate := f[0] * perSecond; use.Rate == 0 || rate < use.Rate {
			use.Rate = rate
		}
		use.Consumers = append(use.Consumers, share)
	}
	return use, nil
}

// nextPermit is when the next permit is that nobody has: in the frame, while it
// has any, each with its place, and then in the one behind it.
func nextPermit(head []float64, now time.Time) time.Time {
	start, span, size, taken := head[0], head[1], head[2], head[3]
	at := start + span
	if taken < size {
		at = start + span*taken/size
	}
	return time.UnixMicro(max(int64(at), now.UnixMicro()))
}

// numbers are the first n fields of a line.
func numbers(line string, n int) ([]float64, error) {
	fields := strings.SplitN(line, " ", n+1)
	if len(fields) < n {
		return nil, fmt.Errorf("%d fields in %q, want %d", len(fields), line, n)
	}
	out := make([]float64, n)
	for i := range out {
		var err error
		if out[i], err = strconv.ParseFloat(fields[i], 64); err != nil {
			return nil, fmt.Errorf("field %d of %q: %w", i, line, err)
		}
	}
	return out, nil
}

// consumerName undoes Rates.name.
func consumerName(s string) (string, error) {
	quoted, err := strconv.QuotedPrefix(s)
	if err != nil {
		return "", fmt.Errorf("the name %q: %w", s, err)
	}
	name, err := strconv.Unquote(quoted)
	return name + s[len(quoted):], err
}
