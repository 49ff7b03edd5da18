package ingest_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"

	"github.com/carillonhq/carillon/ingest"
	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/queue"
)

// issueRouter tells the users that data.users names of com.example.issue, and
// takes nothing else.
type issueRouter struct{}

func (issueRouter) Route(e notice.CloudEvent) ([]notice.Notification, error) {
	switch e.Type {
	case "com.example.broken":
		return nil, errors.New("routes[0].to.user: is empty")
	case "com.example.issue":
	default:
		return nil, nil
	}
	var data struct {
		Users []string `json:"users"`
	}
	if err := json.Unmarshal(e.Data, &data); err != nil {
		return nil, err
	}
	var out []notice.Notification
	for _, u := range data.Users {
		out = append(out, notice.Notification{Template: "welcome", To: notice.Recipient{User: u}})
	}
	return out, nil
}

func startRouted(t *testing.T) *fixture {
	return start(t, func(o *ingest.Options) { o.Router = issueRouter{} })
}

const (
	structured   = "application/cloudevents+json"
	batchedTypes = "application/cloudevents-batch+json"
)

func issue(id, users string) string {
	return `{"specversion":"1.0","id":"` + id + `","source":"/repo","type":"com.example.issue","data":{"users":[` + users + `]}}`
}

type eventReply struct {
	ID, Status    string
	Duplicate     *bool
	Notifications []accepted
}

func TestTheThreeModesOfCloudEventsMeanTheSame(t *testing.T) {
	f := startRouted(t)
	binary := []string{"Content-Type", "application/json", "Ce-Specversion", "1.0", "Ce-Id", "1", "Ce-Source", "/repo", "Ce-Type", "com.example.issue"}
	var first, second, third eventReply
	f.call("POST", "/v1/events", `{"users":["u1"]}`, binary...).into(t, 202, &first)
	f.call("POST", "/v1/events", issue("1", `"u1"`), "Content-Type", structured+"; charset=utf-8").into(t, 202, &second)
	f.call("POST", "/v1/events", issue("1", `"u1"`), "Content-Type", "application/json").into(t, 202, &third)
	var batch batchReply
	f.call("POST", "/v1/events", `[`+issue("1", `"u1"`)+`]`, "Content-Type", batchedTypes).into(t, 202, &batch)
	if first.Status != "accepted" || first.Duplicate == nil || *first.Duplicate || first.ID == "" {
		t.Fatalf("binary: %+v", first)
	}
	for _, again := range []eventReply{second, third} {
		if again.ID != first.ID || again.Duplicate == nil || !*again.Duplicate {
			t.Errorf("sent again in another mode: %+v, want a duplicate of %s", again, first.ID)
		}
	}
	if got := batch.Results[0].Notifications; len(got) != 1 || got[0].ID != first.ID || !got[0].Duplicate {
		t.Errorf("sent again in a batch: %+v", batch)
	}
	if n := f.queue.last().Notification; n.To.User != "u1" || n.Category != "account" || n.Priority != notice.LaneCritical || n.CollapseKey != "hello" {
		t.Errorf("admitted %+v: want it completed from the template", n)
	}
}

func TestAnEventIsKnownBySourceAndIDWhateverElseChanges(t *testing.T) {
	f := startRouted(t)
	var first, again, other eventReply
	f.call("POST", "/v1/events", issue("1", `"u1"`), "Content-Type", structured).into(t, 202, &first)
	f.call("POST", "/v1/events", strings.Replace(issue("1", `"u1"`), `"type"`, `"time":"2026-11-20T00:00:00Z","type"`, 1), "Content-Type", structured).into(t, 202, &again)
	f.call("POST", "/v1/events", strings.Replace(issue("1", `"u1"`), `"/repo"`, `"/repo2"`, 1), "Content-Type", structured).into(t, 202, &other)
	if again.ID != first.ID || other.ID == first.ID {
		t.Errorf("first %s, again %s, of another source %s", first.ID, again.ID, other.ID)
	}
}

func TestAnEventWithoutARouteIsIgnored(t *testing.T) {
	f := startRouted(t)
	body := strings.Replace(issue("1", ``), "com.example.issue", "com.example.other", 1)
	r := f.call("POST", "/v1/events", body, "Content-Type", structured)
	if r.status != 202 || strings.TrimSpace(r.body) != `{"status":"ignored"}` || f.queue.count() != 0 {
		t.Errorf("got %d %s, %d admitted", r.status, r.body, f.queue.count())
	}
	if r := start(t, nil).call("POST", "/v1/events", issue("1", `"u"`), "Content-Type", structured); r.status != 202 || !strings.Contains(r.body, "ignored") {
		t.Errorf("without routes: got %d %s", r.status, r.body)
	}
}

func TestAnEventMayMakeSeveralNotificationsOrNone(t *testing.T) {
	f := startRouted(t)
	var got eventReply
	f.call("POST", "/v1/events", issue("1", `"u1","u2"`), "Content-Type", structured).into(t, 202, &got)
	if len(got.Notifications) != 2 || got.ID != "" || got.Notifications[0].ID == got.Notifications[1].ID {
		t.Errorf("got %+v", got)
	}
	p := f.call("POST", "/v1/events", issue("2", `"u1",""`), "Content-Type", structured).wantProblem(t, 422, "invalid")
	p.wantFault(t, "/notifications/1/to", "names nobody")
	if f.queue.count() != 2 {
		t.Errorf("%d admitted: an event with a fault must leave nothing behind", f.queue.count())
	}
}

func TestBadEvents(t *testing.T) {
	f := startRouted(t)
	for _, row := range []struct {
		name, contentType, body string
		status                  int
		kind, pointer, says     string
	}{
		{"malformed", structured, `{"specversion"`, 400, "malformed-json", "", "byte 14"},
		{"another version", structured, strings.Replace(issue("1", ``), "1.0", "0.3", 1), 422, "invalid", "/specversion", `"0.3"`},
		{"no id, source, type", structured, `{"specversion":"1.0"}`, 422, "invalid", "/source", "requires"},
		{"data that is no JSON", structured, `{"specversion":"1.0","id":"1","source":"s","type":"t","datacontenttype":"text/xml","data":"<a/>"}`, 422, "invalid", "/datacontenttype", "text/xml"},
		{"Avro", "application/cloudevents+avro", `x`, 415, "unsupported-media-type", "", ""},
		{"plain JSON", "application/json", `{"users":[]}`, 415, "unsupported-media-type", "", ""},
		{"a route that cannot be applied", structured, strings.Replace(issue("1", ``), ".issue", ".broken", 1), 422, "unroutable", "", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			p := f.call("POST", "/v1/events", row.body, "Content-Type", row.contentType).wantProblem(t, row.status, row.kind)
			if row.says != "" {
				p.wantFault(t, row.pointer, row.says)
			}
		})
	}
	r := f.call("POST", "/v1/events", `{"users":[]}`, "Ce-Specversion", "1.0", "Ce-Id", "1", "Ce-Type", "t")
	r.wantProblem(t, 422, "invalid").wantFault(t, "/ce-source", "requires")
}

func TestEventsOfABatchStandAlone(t *testing.T) {
	f := startRouted(t)
	f.queue.failUser = "unlucky"
	var got batchReply
	f.call("POST", "/v1/events", `[`+strings.Join([]string{
		issue("1", `"u1"`), `{"specversion":"1.0"}`, strings.Replace(issue("2", ``), ".issue", ".other", 1), issue("3", `"u1","unlucky"`), issue("4", `"u4"`),
	}, ",")+`]`, "Content-Type", batchedTypes).into(t, 202, &got)
	if got.told() != "+accepted invalid +ignored unavailable +accepted" || got.Accepted != 2 || got.Ignored != 1 || got.Rejected != 2 {
		t.Errorf("got %q %+v", got.told(), got)
	}
	f.call("POST", "/v1/events", `[`+issue("9", `"unlucky"`)+`]`, "Content-Type", batchedTypes).wantProblem(t, 503, "unavailable")
	f.call("POST", "/v1/events", `[{}]`, "Content-Type", batchedTypes).wantProblem(t, 422, "none-accepted")
}

func TestAnEventIsRefusedWhileTheStoreIsAway(t *testing.T) {
	f := startRouted(t)
	f.queue.fail = queue.ErrUnavailable
	r := f.call("POST", "/v1/events", issue("1", `"u1"`), "Content-Type", structured)
	r.wantProblem(t, http.StatusServiceUnavailable, "unavailable")
	if r.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
}
