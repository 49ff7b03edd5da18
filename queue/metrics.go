package queue

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Collector measures the queue whenever it is scraped.
type Collector struct {
	q             *Queue
	depth, oldest *prometheus.Desc
	parked, dead  *prometheus.Desc
	waiting       *prometheus.Desc
	memory        *prometheus.Desc
}

// NewCollector makes the collector of carillon_queue_depth,
// carillon_queue_oldest_seconds, carillon_queue_parked,
// carillon_queue_parked_by, carillon_store_memory_bytes and
// carillon_dead_letters.
func NewCollector(q *Queue) *Collector {
	labels := []string{"channel", "lane"}
	return &Collector{q: q,
		depth:   prometheus.NewDesc("carillon_queue_depth", "Entries on the streams of a channel and lane, in flight included; channel events is what is not planned yet.", labels, nil),
		oldest:  prometheus.NewDesc("carillon_queue_oldest_seconds", "Age of the oldest entry on the streams of a channel and lane.", labels, nil),
		parked:  prometheus.NewDesc("carillon_queue_parked", "Entries that wait for their time: scheduled, deferred, or between two attempts.", nil, nil),
		waiting: prometheus.NewDesc("carillon_queue_parked_by", "The same by what they wait for: scheduled, a moment that was chosen beforehand (send_at, quiet hours, a cap), or provider (the next attempt, the end of a pause).", []string{"for"}, nil),
		memory:  prometheus.NewDesc("carillon_store_memory_bytes", "Memory of the Redis server that has used the largest part of its maxmemory: used, most (maxmemory, 0 for none), and bound (queue.max_memory).", []string{"what"}, nil),
		dead:    prometheus.NewDesc("carillon_dead_letters", "Dead letters that are kept.", []string{"channel"}, nil),
	}
}

// Describe implements prometheus.Collector.
func (c *Collector) Describe(out chan<- *prometheus.Desc) {
	out <- c.depth
	out <- c.oldest
	out <- c.parked
	out <- c.waiting
	out <- c.memory
	out <- c.dead
}

// Collect implements prometheus.Collector. While the server does not answer
// there is nothing to report, which a dashboard shows as a gap.
func (c *Collector) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	depths, err := c.q.Depths(ctx)
	if err != nil {
		return
	}
	for _, d := range depths {
		out <- prometheus.MustNewConstMetric(c.depth, prometheus.GaugeValue, float64(d.Length), d.Stage, string(d.Lane))
		out <- prometheus.MustNewConstMetric(c.oldest, prometheus.GaugeValue, d.Oldest.Seconds(), d.Stage, string(d.Lane))
	}
	parked, err := c.q.Parked(ctx)
	if err != nil {
		return
	}
	out <- prometheus.MustNewConstMetric(c.parked, prometheus.GaugeValue, float64(parked.Total()))
	out <- prometheus.MustNewConstMetric(c.waiting, prometheus.GaugeValue, float64(parked.Scheduled), "scheduled")
	out <- prometheus.MustNewConstMetric(c.waiting, prometheus.GaugeValue, float64(parked.Waiting), "provider")
	c.collectMemory(out)
	dead, err := c.q.DeadCounts(ctx)
	if err != nil {
		return
	}
	for channel, n := range dead {
		out <- prometheus.MustNewConstMetric(c.dead, prometheus.GaugeValue, float64(n), string(channel))
	}
}

// collectMemory tells what Pressure goes by.
func (c *Collector) collectMemory(out chan<- prometheus.Metric) {
	s, ok := c.q.fullestStore()
	if !ok {
		return
	}
	for what, n := range map[string]int64{"used": s.used, "most": s.most, "bound": c.q.bounds.Load().MaxMemory.Of(s.most)} {
		out <- prometheus.MustNewConstMetric(c.memory, prometheus.GaugeValue, float64(n), what)
	}
}
