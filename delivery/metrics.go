package delivery

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/templates"
)

// metrics are what the pipeline counts.
type metrics struct {
	deliveries *prometheus.CounterVec   // channel, outcome
	send       *prometheus.HistogramVec // channel
	age        *prometheus.HistogramVec // channel, lane
	throttled  *prometheus.CounterVec   // scope, action
	retries    *prometheus.CounterVec   // channel
	unknown    *prometheus.CounterVec   // channel, action
	templates  *prometheus.CounterVec   // result
	reclaimed  prometheus.Counter
}

// seconds are the buckets of everything that is timed: from a local receiver's
// answer to a provider that is down for the night.
func seconds() []float64 {
	return []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200, 43200}
}

func newMetrics(r prometheus.Registerer, served []Channel) *metrics {
	m := &metrics{
		deliveries: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "carillon_deliveries_total",
			Help: "Deliveries that ended, by channel and final status."}, []string{"channel", "outcome"}),
		send: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "carillon_send_seconds",
			Help: "How long a provider took to answer one attempt.", Buckets: seconds()}, []string{"channel"}),
		age: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "carillon_delivery_age_seconds",
			Help: "From acceptance to the provider's taking it.", Buckets: seconds()}, []string{"channel", "lane"}),
		throttled: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "carillon_throttled_total",
			Help: "Deliveries that were held back, by what held them back and what followed."}, []string{"scope", "action"}),
		retries: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "carillon_retries_total",
			Help: "Attempts that failed and will be made again."}, []string{"channel"}),
		unknown: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "carillon_unknown_total",
			Help: "Attempts of which it is not known whether they arrived, by what followed: resend, hold, or give_up when there were no attempts left, or no time."}, []string{"channel", "action"}),
		templates: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "carillon_template_cache_total",
			Help: "Renderings, by what became of what readers share: all of it came from the content cache (hit), some did (partial), it was rendered and kept (miss), or rendered and not kept, being asked for the first time (unseen), or there is nothing to share (none). Or the version that the delivery pins was no longer held (fallback)."}, []string{"result"}),
		reclaimed: prometheus.NewCounter(prometheus.CounterOpts{Name: "carillon_reclaimed_total",
			Help: "Entries taken over from consumers that were not heard of any more."}),
	}
	r.MustRegister(m.deliveries, m.send, m.age, m.throttled, m.retries, m.unknown, m.templates, m.reclaimed)
	for _, c := range served {
		m.registerSlots(r, c)
	}
	return m
}

func (m *metrics) registerSlots(r prometheus.Registerer, c Channel) {
	labels := prometheus.Labels{"channel": string(c.Adapter.Channel())}
	r.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "carillon_inflight", Help: "Sends in flight.", ConstLabels: labels},
			func() float64 { return float64(c.Slots.InUse()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "carillon_inflight_limit", Help: "The most sends in flight that there may be now: what the provider, or its hosts that are called, are found to bear; 0 while the channel is paused.", ConstLabels: labels},
			func() float64 { return float64(c.Slots.Present()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "carillon_channel_broken", ConstLabels: labels,
			Help: "1 while the provider refuses our credential or set-up, and one message at a time is tried; 0 otherwise."},
			func() float64 { return brokenGauge(c.Slots) }),
	)
}

func (m *metrics) rendered(r templates.Rendering) {
	result := r.Cache.Result()
	if r.Fallback != "" {
		result = "fallback"
	}
	m.templates.WithLabelValues(result).Inc()
}

func (m *metrics) ended(c notice.Channel, s notice.Status) {
	m.deliveries.WithLabelValues(string(c), string(s)).Inc()
}
