package e2e_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
)

// reader is a webhook that notes what it was told, by which id, and when.
type reader struct {
	*httptest.Server
	mu   sync.Mutex
	came []told
}

// told is one webhook: of notes by their numbers, and of more.
type told struct {
	id   string
	at   time.Time
	body string
	N    int   `json:"n"`
	All  []int `json:"all"`
	More int   `json:"more"`
}

func newReader(t *testing.T) *reader {
	r := &reader{}
	r.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, q *http.Request) {
		body, err := io.ReadAll(q.Body)
		if err != nil {
			return
		}
		got := told{id: q.Header.Get("webhook-id"), at: time.Now(), body: string(body)}
		_ = json.Unmarshal(body, &got) // it shows in what is missing
		r.mu.Lock()
		defer r.mu.Unlock()
		r.came = append(r.came, got)
	}))
	t.Cleanup(r.Close)
	return r
}

// messages are what came, the first of each id, and fails when an id came with two bodies.
func (r *reader) messages(t *testing.T) (out []told) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	bodies := map[string]string{}
	for _, m := range r.came {
		body, again := bodies[m.id]
		if again && body != m.body {
			t.Errorf("%s came as %s and as %s", m.id, body, m.body)
		}
		if !again {
			out = append(out, m)
		}
		bodies[m.id] = m.body
	}
	return out
}

// digesting is a gateway with a cap that digests what is too much for one person,
// and its configuration.
func digesting(t *testing.T, limit string, items int) (g *gateway, path string) {
	t.Helper()
	g = newGateway(t, sections{
		"queue":    "{partitions: 2, visibility: 2s}",
		"throttle": fmt.Sprintf("{per_user: [{name: few, limit: %s, over: digest, digest_max: {items: %d}}]}", limit, items),
		"channels": `{webhook: {timeout: 1s, allow_networks: ["127.0.0.0/8"], concurrency: 16}}`,
	})
	g.write("catalogue/note/template.yaml", "category: test\ndigest: notes\nschema: {type: object, required: [n], properties: {n: {type: integer}}}\nsamples: {default: {n: 1}}\n")
	g.write("catalogue/note/en/webhook.json", `{"n":{{json .data.n}}}`)
	g.write("catalogue/notes/template.yaml", "category: test\nschema: {type: object, required: [items, more], properties: {items: {type: array, items: {type: object, required: [n], properties: {n: {type: integer}}}}, more: {type: integer}}}\n"+
		"samples: {default: {items: [{n: 1}], count: 1, more: 0}}\n")
	g.write("catalogue/notes/en/webhook.json", `{"all":[{{range $i, $x := .data.items}}{{if $i}},{{end}}{{json $x.n}}{{end}}],"more":{{json .data.more}}}`)
	return g, g.config(nil)
}

// noteTo is a notification for ada, by her webhook.
func noteTo(inbox *reader, n int) object {
	return object{"template": "note", "to": object{"user": "ada", "webhooks": []object{{"url": inbox.URL + "/hook"}}}, "data": object{"n": n}}
}

// TestAFloodOnOnePersonComesAsDigestsThoughConsumersAreKilled is 3/3s over
// digest with 200 notifications at once, and kill -9 of two of three consumers on
// the way.
func TestAFloodOnOnePersonComesAsDigestsThoughConsumersAreKilled(t *testing.T) {
	t.Parallel()
	const flood, window = 200, 3 * time.Second
	g, _ := digesting(t, "3/"+window.String(), 150)
	inbox := newReader(t)
	api := newClient(t, g.ingest().api)
	first, second := g.consume("first"), g.consume("second")
	var notes []object
	for n := 1; n <= flood; n++ {
		notes = append(notes, noteTo(inbox, n))
	}
	ids := api.postBatch(notes[:flood/2])
	first.kill()
	g.consume("third")
	ids = append(ids, api.postBatch(notes[flood/2:])...)
	eventually(t, patience, "the first windows' places are used", func() bool { return len(inbox.messages(t)) >= 3 }, func() any { return inbox.messages(t) })
	second.kill()
	eventually(t, patience, "everything is told of", func() bool { return toldOf(inbox.messages(t)) >= flood }, func() any { return inbox.messages(t) })
	g.awaitEmptyStreams()
	checkTold(t, inbox.messages(t), flood, window)
	checkCollected(t, api, ids, inbox.messages(t))
}

// toldOf counts the notes that messages tell of.
func toldOf(messages []told) (n int) {
	for _, m := range messages {
		if m.N != 0 {
			n++
		}
		n += len(m.All) + m.More
	}
	return n
}

// checkTold fails when a note came in two messages, or more than three messages
// in a window.
func checkTold(t *testing.T, messages []told, flood int, window time.Duration) {
	t.Helper()
	seen, digests := map[int]string{}, 0
	for i, m := range messages {
		all := m.All
		if m.N != 0 {
			all = []int{m.N}
		} else {
			digests++
		}
		for _, n := range all {
			if seen[n] != "" {
				t.Errorf("note %d came in %s and in %s", n, seen[n], m.id)
			}
			seen[n] = m.id
		}
		// A place is counted when it is decided; what came late does not count against the next.
		if i >= 6 && m.at.Sub(messages[i-6].at) < window {
			t.Errorf("messages %d to %d came within %v", i-6, i, m.at.Sub(messages[i-6].at))
		}
	}
	if n := toldOf(messages); n != flood || digests == 0 {
		t.Errorf("%d messages tell of %d notes, of %d; %d digests", len(messages), n, flood, digests)
	}
	t.Logf("%d notes in %d messages, %d of them digests", flood, len(messages), digests)
}

// checkCollected fails unless each record says whether its notification went, or
// in which message that came.
func checkCollected(t *testing.T, api *client, ids []string, messages []told) {
	t.Helper()
	came := map[string]bool{}
	for _, m := range messages {
		came[m.id] = true
	}
	for _, id := range ids {
		r := api.record(id)
		d := r.Deliveries[0]
		end := d.Timeline[len(d.Timeline)-1]
		switch d.Status {
		case "delivered":
			if !came[d.ID] {
				t.Errorf("%s is delivered and did not come", d.ID)
			}
		case "capped":
			words := strings.Split(strings.TrimSuffix(end.Detail, ", which only counts it"), " ")
			if !came[words[len(words)-1]] {
				t.Errorf("%s: %q names nothing that came", d.ID, end.Detail)
			}
		default:
			t.Errorf("%s is %s", d.ID, d.Status)
		}
	}
}
