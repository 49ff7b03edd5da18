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
}

// NewCollector makes the collector of carillon_queue_depth,
// carillon_queue_oldest_seconds, carillon_queue_parked and
// carillon_dead_letters.
func NewCollector(q *Queue) *Collector {
	labels := []string{"channel", "lane"}
	return &Collector{q: q,
		depth:  prometheus.NewDesc("carillon_queue_depth", "Entries on the streams of a channel and lane, in flight included; channel events is what is not planned yet.", labels, nil),
		oldest: prometheus.NewDesc("carillon_queue_oldest_seconds", "Age of the oldest entry on the streams of a channel and lane.", labels, nil),
		parked: prometheus.NewDesc("carillon_queue_parked", "Entries that wait for their time: scheduled, deferred, or between two attempts.", nil, nil),
		dead:   prometheus.NewDesc("carillon_dead_letters", "Dead letters that are kept.", []string{"channel"}, nil),
	}
}

// Describe implements prometheus.Collector.
func (c *Collector) Describe(out chan<- *prometheus.Desc) {
	out <- c.depth
	out <- c.oldest
	out <- c.parked
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
	out <- prometheus.MustNewConstMetric(c.parked, prometheus.GaugeValue, float64(parked))
	dead, err := c.q.DeadCounts(ctx)
	if err != nil {
		return
	}
	for channel, n := range dead {
		out <- prometheus.MustNewConstMetric(c.dead, prometheus.GaugeValue, float64(n), string(channel))
	}
}
