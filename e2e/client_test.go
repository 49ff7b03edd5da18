package e2e_test

import (
	"bytes"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/go-json-experiment/json"
)

// object is a JSON object.
type object = map[string]any

// client talks to one process over HTTP.
type client struct {
	t       testing.TB
	base    string
	http    *http.Client
	mayFail bool // the process may be gone: an answer of status 0 is no fault then
}

func newClient(t testing.TB, address string) *client {
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	t.Cleanup(transport.CloseIdleConnections)
	return &client{t: t, base: "http://" + address, http: &http.Client{Transport: transport, Timeout: patience}}
}

// answer is an HTTP answer, read to its end.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// call makes one request; head is pairs of header names and values. A body
// that is not bytes is sent as JSON.
func (c *client) call(method, path string, body any, head ...string) answer {
	c.t.Helper()
	raw, ok := body.([]byte)
	if !ok && body != nil {
		var err error
		if raw, err = json.Marshal(body); err != nil {
			c.t.Fatal(err)
		}
	}
	req, err := http.NewRequestWithContext(c.t.Context(), method, c.base+path, bytes.NewReader(raw))
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(head); i += 2 {
		req.Header.Set(head[i], head[i+1])
	}
	res, err := c.http.Do(req)
	if err != nil {
		return c.failed(method, path, err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return c.failed(method, path, err)
	}
	return answer{res.StatusCode, res.Header, text}
}

// failed is the answer of a call that got none. It does not end the test: it
// may be called beside the test's own goroutine.
func (c *client) failed(method, path string, err error) answer {
	c.t.Helper()
	if !c.mayFail {
		c.t.Errorf("%s %s: %v", method, path, err)
	}
	return answer{header: http.Header{}}
}

// read decodes an answer's body.
func read[T any](t testing.TB, a answer) (out T) {
	t.Helper()
	if err := json.Unmarshal(a.body, &out); err != nil {
		t.Errorf("%d %s: %v", a.status, a.body, err)
	}
	return out
}

// post sends one notification and returns its id.
func (c *client) post(notification object) string {
	c.t.Helper()
	a := c.call("POST", "/v1/notifications", notification)
	if a.status != http.StatusAccepted {
		c.t.Errorf("POST: %d %s, want 202", a.status, a.body)
		return ""
	}
	return read[struct {
		ID string `json:"id"`
	}](c.t, a).ID
}

// postBatch sends a batch, all of which must be accepted, and returns the ids.
func (c *client) postBatch(notifications []object) (ids []string) {
	c.t.Helper()
	a := c.call("POST", "/v1/notifications/batch", notifications)
	got := read[struct {
		Accepted int `json:"accepted"`
		Results  []struct {
			ID string `json:"id"`
		} `json:"results"`
	}](c.t, a)
	if a.status != http.StatusAccepted || got.Accepted != len(notifications) {
		c.t.Errorf("batch: %d, %d of %d accepted: %.300s", a.status, got.Accepted, len(notifications), a.body)
	}
	for _, r := range got.Results {
		ids = append(ids, r.ID)
	}
	return ids
}

// postSingly sends notifications one by one, from several senders at once.
func (c *client) postSingly(notifications []object) []string {
	c.t.Helper()
	ids := make([]string, len(notifications))
	each(len(notifications), func(i int) { ids[i] = c.post(notifications[i]) })
	return ids
}

// each calls do for 0 to n-1, from several goroutines.
func each(n int, do func(i int)) {
	const senders = 24
	var next atomic.Int64
	var all sync.WaitGroup
	for range senders {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				do(i)
			}
		})
	}
	all.Wait()
}

// record is what GET /v1/notifications/{id} says.
type record struct {
	Status     string `json:"status"`
	Deliveries []struct {
		ID       string          `json:"id"`
		Status   string          `json:"status"`
		Attempt  int             `json:"attempt"`
		Timeline []timelineEntry `json:"timeline"`
	} `json:"deliveries"`
}

// timelineEntry is one decision about a delivery.
type timelineEntry struct {
	Status string `json:"status"`
	Code   string `json:"code"`
	Detail string `json:"detail"`
}

// statuses are those of the deliveries.
func (r record) statuses() (out []string) {
	for _, d := range r.Deliveries {
		out = append(out, d.Status)
	}
	return out
}

// record looks a notification up.
func (c *client) record(id string) record {
	c.t.Helper()
	a := c.call("GET", "/v1/notifications/"+id, nil)
	if a.status != http.StatusOK {
		c.t.Errorf("GET %s: %d %s", id, a.status, a.body)
		return record{}
	}
	return read[record](c.t, a)
}

// awaitStatus waits until the notification's only delivery has a status.
func (c *client) awaitStatus(id, status string) record {
	c.t.Helper()
	var last record
	eventually(c.t, patience, id+" is "+status, func() bool {
		last = c.record(id)
		return len(last.Deliveries) == 1 && last.Deliveries[0].Status == status
	}, func() any { return last })
	return last
}

// checkDelivered fails unless each notification has one delivery, delivered.
func (c *client) checkDelivered(ids []string) {
	c.t.Helper()
	each(len(ids), func(i int) {
		if got := c.record(ids[i]).statuses(); len(got) != 1 || got[0] != "delivered" {
			c.t.Errorf("%s: deliveries %v, want one, delivered", ids[i], got)
		}
	})
}
