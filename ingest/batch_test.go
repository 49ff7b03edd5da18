package ingest_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/carillonhq/carillon/ingest"
	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/queue"
)

type batchReply struct {
	Accepted, Rejected, Ignored int
	Results                     []struct {
		Index         int
		ID, Status    string
		Duplicate     *bool
		Notifications []accepted
		Error         *problem
	}
}

// told says in order which items were accepted ("+") and with which kind the
// others were refused.
func (b batchReply) told() string {
	var out []string
	for i, r := range b.Results {
		switch {
		case r.Index != i:
			out = append(out, fmt.Sprintf("index %d at %d", r.Index, i))
		case r.Error != nil:
			out = append(out, r.Error.Type[strings.LastIndexByte(r.Error.Type, '/')+1:])
		case r.Duplicate != nil && *r.Duplicate:
			out = append(out, "="+r.ID)
		default:
			out = append(out, "+"+r.Status)
		}
	}
	return strings.Join(out, " ")
}

const ndjson = "application/x-ndjson"

func TestABadItemNeverHoldsUpTheRest(t *testing.T) {
	for _, row := range []struct{ name, contentType, body, want string }{
		{"a JSON array", "application/json", `[` + shipped + `, {"template":"nope","to":{"user":"u"}}, 7, ` + shipped + `]`, "+ unknown-template invalid +"},
		{"lines", ndjson, shipped + "\n" + `{"template":"nope","to":{"user":"u"}}` + "\n" + shipped, "+ unknown-template +"},
		{"a malformed line in the middle", ndjson, shipped + "\n{\"template\": \n" + shipped + "\n", "+ malformed-json +"},
		{"two values on a line", ndjson, shipped + shipped + "\n" + shipped, "malformed-json +"},
		{"blank lines and carriage returns", ndjson, "\r\n" + shipped + "\r\n\n  \n" + shipped + "\r\n", "+ +"},
	} {
		t.Run(row.name, func(t *testing.T) {
			f := start(t, nil)
			var got batchReply
			f.call("POST", "/v1/notifications/batch", row.body, "Content-Type", row.contentType).into(t, 202, &got)
			good := strings.Count(row.want, "+")
			if got.told() != row.want || got.Accepted != good || got.Rejected != len(got.Results)-good || f.queue.count() != good {
				t.Errorf("got %q, %d accepted, %d rejected, %d admitted; want %q", got.told(), got.Accepted, got.Rejected, f.queue.count(), row.want)
			}
		})
	}
}

func TestABatchOfWhichNothingIsGood(t *testing.T) {
	f := start(t, nil)
	r := f.call("POST", "/v1/notifications/batch", `[{"template":"nope","to":{"user":"u"}},{}]`)
	r.wantProblem(t, 422, "none-accepted")
	var got batchReply
	r.into(t, 422, &got)
	if got.told() != "unknown-template invalid" || got.Rejected != 2 || got.Accepted != 0 {
		t.Errorf("got %q %+v", got.told(), got)
	}
	got.Results[1].Error.wantFault(t, "/template", "name a template")
}

func TestABatchThatTryingAgainMayMend(t *testing.T) {
	f := start(t, nil)
	f.queue.fail = queue.ErrUnavailable
	r := f.call("POST", "/v1/notifications/batch", `[`+shipped+`,{}]`)
	r.wantProblem(t, 503, "unavailable")
	if r.header.Get("Retry-After") == "" {
		t.Error("503 without Retry-After")
	}
	f = start(t, nil)
	f.queue.full = map[notice.Lane]time.Duration{notice.LaneNormal: 7 * time.Second}
	r = f.call("POST", "/v1/notifications/batch", `[`+shipped+`]`)
	r.wantProblem(t, 429, "backlog-full")
	if r.header.Get("Retry-After") != "7" {
		t.Errorf("Retry-After %q", r.header.Get("Retry-After"))
	}
}

func TestAStoreThatFailsForSomeItemsKeepsTheOthers(t *testing.T) {
	f := start(t, nil)
	f.queue.failUser = "unlucky"
	var got batchReply
	f.call("POST", "/v1/notifications/batch", `[`+shipped+`,`+strings.Replace(shipped, "u42", "unlucky", 1)+`,`+shipped+`]`).into(t, 202, &got)
	if got.told() != "+ unavailable +" {
		t.Errorf("got %q", got.told())
	}
}

func TestBatchesThatAreRefusedWhole(t *testing.T) {
	f := start(t, nil)
	six := strings.Repeat(","+shipped, 6)[1:]
	for _, row := range []struct {
		name, contentType, body string
		status                  int
		kind                    string
	}{
		{"malformed JSON", "application/json", `[` + shipped + `,`, 400, "malformed-json"},
		{"an object", "application/json", shipped, 422, "invalid"},
		{"an empty array", "application/json", `[]`, 422, "invalid"},
		{"no line", ndjson, "\n\n", 422, "invalid"},
		{"too many in an array", "application/json", `[` + six + `]`, 413, "batch-too-large"},
		{"too many lines", ndjson, strings.ReplaceAll(six, "},{", "}\n{"), 413, "batch-too-large"},
		{"another type", "text/csv", "a,b", 415, "unsupported-media-type"},
		{"too many bytes", ndjson, strings.Repeat(" ", 65<<10), 413, "body-too-large"},
	} {
		t.Run(row.name, func(t *testing.T) {
			f.call("POST", "/v1/notifications/batch", row.body, "Content-Type", row.contentType).wantProblem(t, row.status, row.kind)
		})
	}
	if f.queue.count() != 0 {
		t.Errorf("%d were admitted", f.queue.count())
	}
}

func TestABatchSentAgainUnderItsKeyIsAllDuplicates(t *testing.T) {
	f := start(t, func(o *ingest.Options) { o.Ingest.MaxBatch = 100 })
	var first, again batchReply
	body := `[` + shipped + `,{},` + shipped + `]`
	f.call("POST", "/v1/notifications/batch", body, "Idempotency-Key", "b1").into(t, 202, &first)
	f.call("POST", "/v1/notifications/batch", body, "Idempotency-Key", "b1").into(t, 202, &again)
	want := "=" + first.Results[0].ID + " invalid =" + first.Results[2].ID
	if first.told() != "+ invalid +" || again.told() != want || f.queue.count() != 2 {
		t.Errorf("first %q, again %q, want %q; %d admitted", first.told(), again.told(), want, f.queue.count())
	}
}
