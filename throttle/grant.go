package throttle

import (
	"math"
	"time"

	"golang.org/x/time/rate"

	"github.com/carillonhq/carillon/config"
)

// grant is a number of permits for a time, evenly spread over it. Each may be
// used from its moment on and for a little longer, and is void then: whoever
// stood still finds no heap of permits to catch up with.
type grant struct {
	limit  *rate.Limiter // its tokens are the permits whose moments have come
	size   int           // permits; 0: without end
	left   int           // of them, neither used nor void
	used   int
	first  time.Time // the first permit's moment
	end    time.Time // of the last one, when everything is void; zero: never
	keep   time.Duration
	perSec float64
	frame  time.Duration // the end of the frame it is of, by Redis' clock
}

// endless are the permits of a rate that is nobody else's. The first may be
// used at once.
func endless(r config.Rate) *grant {
	perSec := r.PerSecond()
	burst := max(1, int(perSec*burstTime.Seconds()))
	return &grant{limit: rate.NewLimiter(rate.Limit(perSec), burst), perSec: perSec}
}

// newGrant spreads n permits over a time. phase is where in its stride the first
// one lies, from 0 to 1, so that those of several consumers lie beside each
// other and not upon each other.
func newGrant(n int, from, to time.Time, phase float64, keep time.Duration) *grant {
	stride := max(to.Sub(from)/time.Duration(n), 1)
	g := &grant{size: n, left: n, keep: keep, perSec: float64(time.Second) / float64(stride)}
	g.first = from.Add(time.Duration(phase * float64(stride)))
	g.end = to.Add(keep)
	// The burst has room for what is void, by whose number its age is told. The
	// bucket fills from nothing.
	burst := n + int(keep/stride) + 2
	g.limit = rate.NewLimiter(rate.Limit(g.perSec), burst)
	g.limit.ReserveN(g.first.Add(-stride), burst)
	return g
}

// span is the time that its permits lie in.
func (g *grant) span() time.Duration { return g.end.Sub(g.first) - g.keep }

// ended reports whether there is nothing more to be had.
func (g *grant) ended(now time.Time) bool {
	return g.size > 0 && (g.left == 0 || !now.Before(g.end))
}

// take takes a permit. If there is none yet, wait is until the next; 0: there
// will be none.
func (g *grant) take(now time.Time) (taken bool, wait time.Duration) {
	if g.size > 0 && now.Before(g.first) {
		return false, g.first.Sub(now)
	}
	g.drop(now)
	if g.size > 0 && g.left == 0 {
		return false, 0
	}
	if g.limit.AllowN(now, 1) {
		g.left, g.used = g.left-1, g.used+1
		return true, 0
	}
	missing := 1 - g.limit.TokensAt(now)
	return false, max(time.Duration(math.Ceil(missing/g.perSec*float64(time.Second))), time.Microsecond)
}

// drop makes void what should have been used longer ago than keep.
func (g *grant) drop(now time.Time) {
	if g.size == 0 {
		return // its burst is what bounds it
	}
	whole, part := math.Modf(g.limit.TokensAt(now))
	fresh := 0.0
	if room := g.keep.Seconds()*g.perSec - part; room >= 0 {
		fresh = math.Floor(room) + 1
	}
	if stale := min(int(whole-fresh), g.left); stale > 0 {
		g.limit.AllowN(now, stale)
		g.left -= stale
	}
}
