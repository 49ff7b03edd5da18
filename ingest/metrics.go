package ingest

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// The results that carillon_ingest_notifications_total counts.
const (
	resultAccepted    = "accepted"
	resultDuplicate   = "duplicate"
	resultIgnored     = "ignored"     // an event without a route
	resultInvalid     = "invalid"     // 4xx
	resultLimited     = "limited"     // 429
	resultUnavailable = "unavailable" // 503
	resultError       = "error"       // 500
)

// metrics counts what comes in.
type metrics struct {
	results map[string]prometheus.Counter
	seconds prometheus.Histogram
}

// newMetrics makes the metrics and, unless registry is nil, registers them.
func newMetrics(registry prometheus.Registerer) *metrics {
	total := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "carillon_ingest_notifications_total",
		Help: "Notifications and events that came in over HTTP, by what became of them.",
	}, []string{"result"})
	m := &metrics{
		results: make(map[string]prometheus.Counter),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "carillon_ingest_seconds",
			Help:    "Time from a request's header to its answer, for calls that accept notifications.",
			Buckets: prometheus.ExponentialBuckets(0.00025, 2, 15),
		}),
	}
	for _, r := range []string{resultAccepted, resultDuplicate, resultIgnored, resultInvalid, resultLimited, resultUnavailable, resultError} {
		m.results[r] = total.WithLabelValues(r)
	}
	if registry != nil {
		registry.MustRegister(total, m.seconds)
	}
	return m
}

// took records how long a call took that began at start.
func (m *metrics) took(start, now time.Time) { m.seconds.Observe(now.Sub(start).Seconds()) }

// accepted counts one admission.
func (m *metrics) accepted(duplicate bool) {
	if duplicate {
		m.results[resultDuplicate].Inc()
		return
	}
	m.results[resultAccepted].Inc()
}

// failed counts one refusal.
func (m *metrics) failed(err error) {
	m.results[resultOf(problemOf(err).Status)].Inc()
}

func resultOf(status int) string {
	switch {
	case status == 429:
		return resultLimited
	case status == 503:
		return resultUnavailable
	case status >= 500:
		return resultError
	}
	return resultInvalid
}
