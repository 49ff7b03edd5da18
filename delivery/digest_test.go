package delivery_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/carillonhq/carillon/channels"
	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/queue"
)

// digesting is a catalogue in which note is digested by notes, and a cap of so
// many an hour that digests.
func digesting(limit int, change ...func(*config.Cap)) setup {
	c := config.Cap{Name: "hourly", Category: "*", Channel: "*", Limit: config.Rate{Count: limit, Per: time.Hour}, Over: config.OverDigest}
	for _, f := range change {
		f(&c)
	}
	schema := "category: news\nschema: {type: object, required: [n], properties: {n: {type: integer}, pad: {type: string}}}\nsamples: {default: {n: 1}}\n"
	return setup{caps: []config.Cap{c}, catalogue: map[string]string{
		"note/template.yaml":        schema + "digest: notes\n",
		"note/en/webhook.json":      `{"n": {{json .data.n}}}`,
		"note/en/email.subject.txt": "note {{.data.n}}",
		"note/en/email.txt":         "note {{.data.n}}",
		"notes/template.yaml": "category: news\nschema:\n  type: object\n  required: [items, count, more]\n" +
			"  properties: {items: {type: array, items: {type: object, required: [n], properties: {n: {type: integer}}}}, count: {type: integer}, more: {type: integer}}\n" +
			"samples: {default: {items: [{n: 1}, {n: 2}], count: 2, more: 1}}\n",
		"notes/en/webhook.json":      `{"all": [{{range $i, $x := .data.items}}{{if $i}},{{end}}{{json $x.n}}{{end}}], "count": {{json .data.count}}, "more": {{json .data.more}}}`,
		"notes/en/email.subject.txt": "{{.data.count}} notes",
		"notes/en/email.txt":         "{{range .data.items}}{{.n}} {{end}}",
	}}
}

// note is a notification of the template note, with a number.
func note(user string, n int) notice.Notification {
	return notice.Notification{Template: "note", Category: "news", Priority: notice.LaneNormal, Data: jsontext.Value(fmt.Sprintf(`{"n":%d}`, n)),
		To: notice.Recipient{User: user, Webhooks: []notice.Webhook{{URL: "https://" + user + ".example/"}}}, Channels: []notice.Medium{notice.MediumWebhook}}
}

// admitNotes admits so many notes to a user, and waits until each has gone, waits or
// was collected. It returns their ids by their numbers, from 1.
func (w *world) admitNotes(user string, n int) []string {
	w.t.Helper()
	ids := make([]string, n+1)
	for i := 1; i <= n; i++ {
		ids[i] = w.admit(note(user, i))
		w.await(fmt.Sprintf("a decision on note %d", i), func() bool {
			r := w.record(ids[i])
			return len(r.Deliveries) == 1 && r.Deliveries[0].Status != notice.StatusQueued
		})
	}
	return ids
}

// bodies are what a user's webhook got, of whatever notification.
func (w *world) bodies(user string) (out []string) {
	w.webhook.mu.Lock()
	defer w.webhook.mu.Unlock()
	for _, m := range w.webhook.got {
		if m.To.User == user {
			out = append(out, string(m.Content.Webhook))
		}
	}
	return out
}

func last(d queue.DeliveryRecord) queue.Entry { return d.Timeline[len(d.Timeline)-1] }

// noDigests fails unless nothing is left of any digest.
func (w *world) noDigests() {
	w.t.Helper()
	w.await("the end of every digest", func() bool { return len(w.rdb.Keys(context.Background(), "*:digest*").Val()) == 0 })
}

func TestWhatIsTooMuchIsCollectedAndSentAsOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t, digesting(2))
	c := w.start("c1")
	ids := w.admitNotes("ada", 6)

	carrier := w.became(ids[3], 1, notice.StatusDeferred)
	if e := last(carrier); e.Code != "hourly" || !strings.Contains(e.Detail, "is collected with it") {
		t.Errorf("the carrier's entry is %+v", e)
	}
	for _, id := range ids[4:] {
		d := w.became(id, 1, notice.StatusCapped)
		if e := last(d); e.Code != "hourly" || e.Detail != "collected into the digest of "+carrier.ID {
			t.Errorf("a collected delivery's entry is %+v", e)
		}
	}
	w.clock.Advance(61 * time.Minute)
	sent := w.became(ids[3], 1, notice.StatusDelivered)
	if e := last(sent); !strings.HasPrefix(e.Detail, "a digest of 4") {
		t.Errorf("the digest's entry is %+v", e)
	}
	got := w.bodies("ada")
	if len(got) != 3 || got[2] != `{"all":[3,4,5,6],"count":4,"more":0}` {
		t.Errorf("sent %q", got)
	}
	if n := c.metric("carillon_throttled_total", "scope", "user", "action", "digest"); n != 3 {
		t.Errorf("%v are counted as digested, want 3", n)
	}
	w.nothingLeft()
	w.noDigests()
}

var _ = channels.Sent
