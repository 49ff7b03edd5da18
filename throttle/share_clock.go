package throttle

import "time"

// slew is how much a clock may gain on another while it is corrected: 500
// millionths, the most by which NTP corrects one.
const slew = 2000

// redisClock tells Redis' time by the local monotonic clock. It knows the
// difference from answers: Redis' moment lies between the question and the
// answer. Of many the one that came quickest counts, and it is taken to have
// been read as the answer came: the local view is late, never early.
type redisClock struct {
	base  time.Time
	ahead time.Duration // Redis' time less what has passed since base
	seen  time.Time     // when an answer came last
}

// observe takes an answer into account. Two that contradict each other mean that
// Redis' clock was set, or that another server answers: the last one counts.
func (c *redisClock) observe(redis time.Duration, asked, came time.Time) {
	if c.base.IsZero() {
		c.base = asked
	}
	least, most := redis-came.Sub(c.base), redis-asked.Sub(c.base)
	c.ahead -= came.Sub(c.seen) / slew
	if c.seen.IsZero() || least > c.ahead || most < c.ahead {
		c.ahead = least
	}
	c.seen = came
}

// local is a moment of Redis' clock on the local one.
func (c *redisClock) local(redis time.Duration) time.Time { return c.base.Add(redis - c.ahead) }
