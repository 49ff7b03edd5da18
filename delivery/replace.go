package delivery

import (
	"context"
	"sync"

	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/queue"
)

// settings are those Options that may change while a Pipeline runs.
type settings struct {
	quietHours *config.QuietHours
	tenant     string
}

// Replace takes other quiet hours (nil: none but a recipient's own) and another
// tenant of inbox entries that name none. What was planned before keeps the
// quiet hours that it was planned with.
func (p *Pipeline) Replace(quiet *config.QuietHours, tenant string) {
	p.settings.Store(&settings{quiet, tenant})
}

// Resize has a channel that is served have so many in flight, at least one, of
// which so many are kept for what is critical. More may begin at once; of fewer
// nothing begins until less is in flight. What is in flight is never cut off.
func (p *Pipeline) Resize(c notice.Channel, slots, critical int) {
	for _, s := range p.senders {
		if s.channel == c {
			s.resize(max(slots, 1), critical)
		}
	}
}

func (s *sender) resize(slots, critical int) {
	s.lanes.resize(roomFor(slots), slots, critical)
	s.Slots.Resize(slots)
	s.crew.need(slots)
}

// Recall has what was put off for rates that are higher now come back sooner, so
// many of each a second; rates are named by Quota.Key. What one consumer calls
// back comes back for all.
func (p *Pipeline) Recall(ctx context.Context, perSecond map[string]float64) error {
	labels := make(map[queue.Label]float64, len(perSecond))
	for key, n := range perSecond {
		label := queue.LabelOf(key)
		if other, known := labels[label]; !known || n < other {
			labels[label] = n
		}
	}
	return p.Queue.Recall(ctx, labels)
}

// crew are a channel's workers, one a slot. They may become more; when there
// are fewer slots the rest wait.
type crew struct {
	mu   sync.Mutex
	n    int
	hire func() // starts one; nil: not yet, or no more
}

// open starts n workers, and has more started when they are needed.
func (c *crew) open(n int, hire func()) {
	c.mu.Lock()
	c.hire = hire
	c.mu.Unlock()
	c.need(n)
}

// need makes sure that there are n workers.
func (c *crew) need(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for ; c.hire != nil && c.n < n; c.n++ {
		c.hire()
	}
}

// close has nobody started any more.
func (c *crew) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hire = nil
}
