package e2e_test

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// series are samples by name and labels: `carillon_inflight{channel="webhook"}`.
// A histogram is its count.
type series map[string]float64

// scrape reads /metrics, which must be in the exposition format and pass
// Prometheus' own lint.
func scrape(t *testing.T, p *process) series {
	t.Helper()
	a := newClient(t, p.admin).call("GET", "/metrics", nil)
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(a.body))
	if err != nil || a.status != http.StatusOK {
		t.Fatalf("/metrics answers %d: %v", a.status, err)
	}
	problems, err := promlint.New(bytes.NewReader(a.body)).Lint()
	if err != nil {
		t.Fatalf("lint: %v", err)
	}
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "carillon_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
	out := series{}
	for name, family := range families {
		for _, m := range family.GetMetric() {
			out[name+labels(m)] = value(m)
		}
	}
	return out
}

func labels(m *dto.Metric) string {
	var pairs []string
	for _, l := range m.GetLabel() {
		pairs = append(pairs, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
	}
	slices.Sort(pairs)
	return "{" + strings.Join(pairs, ",") + "}"
}

func value(m *dto.Metric) float64 {
	return m.GetCounter().GetValue() + m.GetGauge().GetValue() + m.GetUntyped().GetValue() + float64(m.GetHistogram().GetSampleCount())
}

// check fails unless every sample is there with its value.
func (s series) check(t *testing.T, what string, want series) {
	t.Helper()
	for name, v := range want {
		if got, ok := s[name]; !ok || got != v {
			t.Errorf("%s: %s is %v (there: %t), want %v", what, name, got, ok, v)
		}
	}
}

// sum is that of the samples whose names begin with prefix.
func (s series) sum(prefix string) (total float64) {
	for name, v := range s {
		if strings.HasPrefix(name, prefix) {
			total += v
		}
	}
	return total
}

// names are those of the gateway's own metrics.
func (s series) names() []string {
	names := map[string]bool{}
	for sample := range s {
		if name, _, _ := strings.Cut(sample, "{"); strings.HasPrefix(name, "carillon_") {
			names[name] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// TestEveryPromisedMetricTellsWhatHappened sends one notification that is
// delivered, one that dies, one whose receiver asks for less first, and one
// that is refused at the door.
func TestEveryPromisedMetricTellsWhatHappened(t *testing.T) {
	t.Parallel()
	g := newGateway(t, sections{"retry": "{schedule: [50ms]}"})
	var throttled atomic.Bool
	g.receiver.answer(func(n int, w http.ResponseWriter) {
		switch {
		case n == 2:
			w.WriteHeader(http.StatusInternalServerError)
		case n == 3 && throttled.CompareAndSwap(false, true):
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusTooManyRequests)
		}
	})
	ingest := g.ingest()
	api := newClient(t, ingest.api)
	ids := api.postBatch(g.pings(1, 2))
	api.call("POST", "/v1/notifications", object{"template": "none", "to": object{"user": "u1"}})

	waiting := scrape(t, ingest)
	waiting.check(t, "ingest before there is a consumer", series{
		`carillon_ingest_notifications_total{result="accepted"}`:  2,
		`carillon_ingest_notifications_total{result="invalid"}`:   1,
		`carillon_ingest_seconds{}`:                               2,
		`carillon_queue_depth{channel="events",lane="normal"}`:    2,
		`carillon_queue_depth{channel="webhook",lane="critical"}`: 0,
	})
	if age := waiting[`carillon_queue_oldest_seconds{channel="events",lane="normal"}`]; age <= 0 {
		t.Errorf("the oldest entry is %v seconds old", age)
	}
	consumer := g.consume("a")
	api.awaitStatus(ids[0], "delivered")
	api.awaitStatus(ids[1], "dead")
	api.awaitStatus(api.post(g.ping(3)), "delivered")
	g.awaitEmptyStreams()

	queue := series{
		`carillon_queue_depth{channel="events",lane="normal"}`:           0,
		`carillon_queue_depth{channel="webhook",lane="normal"}`:          0,
		`carillon_queue_oldest_seconds{channel="webhook",lane="normal"}`: 0,
		`carillon_dead_letters{channel="webhook"}`:                       1,
	}
	scrape(t, ingest).check(t, "ingest", queue)
	limit := `carillon_inflight_limit{channel="webhook"}` // which is reckoned ten times a second
	eventually(t, patience, "nothing is held back any more", func() bool { return scrape(t, consumer)[limit] == concurrency }, func() any { return scrape(t, consumer)[limit] })
	scraped := scrape(t, consumer)
	scraped.check(t, "consume", queue)
	scraped.check(t, "consume", series{
		`carillon_deliveries_total{channel="webhook",outcome="delivered"}`: 2,
		`carillon_deliveries_total{channel="webhook",outcome="dead"}`:      1,
		`carillon_retries_total{channel="webhook"}`:                        1,
		`carillon_throttled_total{action="pause",scope="host"}`:            1,
		`carillon_send_seconds{channel="webhook"}`:                         5, // 1, 2 twice, 3 twice
		`carillon_delivery_age_seconds{channel="webhook",lane="normal"}`:   2, // what a provider took
		`carillon_inflight{channel="webhook"}`:                             0,
		`carillon_reclaimed_total{}`:                                       0,
	})
	if got := scraped.sum("carillon_template_cache_total{"); got != 5 { // every attempt is rendered
		t.Errorf("%v renderings, want 5", got)
	}
	t.Logf("consume has %v", scraped.names())
}
