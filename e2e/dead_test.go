package e2e_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
)

// deadRow is a row of `carillon dead list --format json`.
type deadRow struct {
	ID      string `json:"id"`
	Channel string `json:"channel"`
	Reason  string `json:"reason"`
	Detail  string `json:"detail"`
}

// deadList lists dead letters by the command line.
func deadList(t *testing.T, config string, filter ...string) []deadRow {
	t.Helper()
	got := run(t, append([]string{"dead", "list", "--format", "json", "--config", config}, filter...)...)
	var page struct {
		Dead []deadRow `json:"dead"`
	}
	if err := json.Unmarshal([]byte(got.stdout), &page); got.code != 0 || err != nil {
		t.Fatalf("dead list ended with %d (%v): %s%s", got.code, err, got.stdout, got.stderr)
	}
	return page.Dead
}

// checkListed fails unless there are n rows, each of a channel and reason and
// with words in its detail.
func checkListed(t *testing.T, rows []deadRow, n int, channel, reason, words string) {
	t.Helper()
	if len(rows) != n {
		t.Errorf("%d dead letters, want %d: %+v", len(rows), n, rows)
	}
	for _, r := range rows {
		if r.Channel != channel || r.Reason != reason || !strings.Contains(r.Detail, words) {
			t.Errorf("%+v, want channel %s, reason %s, detail with %q", r, channel, reason, words)
		}
	}
}

// TestADeadLetterIsRedriven uses the schedule up, looks at what is left of it,
// and sends it again once the receiver is well.
func TestADeadLetterIsRedriven(t *testing.T) {
	t.Parallel()
	g := newGateway(t, nil)
	g.receiver.answer(status(http.StatusInternalServerError))
	api := newClient(t, g.ingest().api)
	g.consume("a")
	ids := []string{api.post(g.ping(1)), api.post(g.ping(2)), api.post(g.ping(3))}
	const attempts = 3 // one, and one after each wait of the schedule
	for _, id := range ids {
		r := api.awaitStatus(id, "dead")
		if d := r.Deliveries[0]; d.Attempt != attempts {
			t.Errorf("%s died after %d attempts, want %d", id, d.Attempt, attempts)
		}
		last := r.Deliveries[0].Timeline[len(r.Deliveries[0].Timeline)-1]
		if last.Code != "500" {
			t.Errorf("%s: the last word is %+v, want code 500", id, last)
		}
	}
	config := g.config(nil)
	rows := deadList(t, config)
	checkListed(t, rows, 3, "webhook", "attempts", "500")
	show := run(t, "dead", "show", rows[0].ID, "--config", config)
	if show.code != 0 || !strings.Contains(show.stdout, rows[0].ID) || strings.Count(show.stdout, "attempt 3") != 1 || !strings.Contains(show.stdout, "retrying") {
		t.Errorf("dead show ended with %d, want the timeline:\n%s%s", show.code, show.stdout, show.stderr)
	}

	g.receiver.answer(nil)
	if got := run(t, "dead", "redrive", rows[0].ID, "--config", config); got.code != 0 || got.stdout != "redriven: 1\n" {
		t.Errorf("redrive of one: %+v", got)
	}
	eventually(t, patience, "the redriven one is delivered", func() bool { return g.receiver.ids()[rows[0].ID] == attempts+1 }, func() any { return g.receiver.ids() })
	checkListed(t, deadList(t, config), 2, "webhook", "attempts", "500")
	if got := run(t, "dead", "redrive", rows[0].ID, "--config", config); got.code != 1 || !strings.Contains(got.stderr, rows[0].ID) {
		t.Errorf("redrive of what is not dead: %+v, want exit code 1", got)
	}
	if got := run(t, "dead", "redrive", "--all", "--channel", "webhook", "--config", config); got.code != 0 || got.stdout != "redriven: 2\n" {
		t.Errorf("redrive of all: %+v", got)
	}
	for _, id := range ids {
		if r := api.awaitStatus(id, "delivered"); !slices.ContainsFunc(r.Deliveries[0].Timeline, func(e timelineEntry) bool { return e.Detail == "redriven" }) {
			t.Errorf("%s: nothing in the timeline says that it was redriven: %+v", id, r)
		}
	}
	g.awaitEmptyStreams()
	g.receiver.checkOneIDEach(t, 3)
	checkListed(t, deadList(t, config), 0, "", "", "")
}
