package delivery_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
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

func TestADigestIsBoundedInNumberAndSizeAndTheOldestStay(t *testing.T) {
	t.Parallel()
	for name, limit := range map[string]config.DigestMax{"three items": {Items: 3, Size: 64 << 10}, "two items' size": {Items: 50, Size: 400}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, digesting(1, func(c *config.Cap) { c.DigestMax = limit }))
			w.start("c1")
			ids := w.admitNotes("ada", 7)
			for i, id := range ids[5:] {
				if e := last(w.became(id, 1, notice.StatusCapped)); !strings.HasPrefix(e.Detail, "too many or too large for the digest of "+ids[2]) {
					t.Errorf("note %d: %+v", i+5, e)
				}
			}
			w.clock.Advance(61 * time.Minute)
			if e := last(w.became(ids[2], 1, notice.StatusDelivered)); !strings.HasPrefix(e.Detail, "a digest of 3, and 3 more that it only counts") {
				t.Errorf("the digest's entry is %+v", e)
			}
			if got := w.bodies("ada"); got[len(got)-1] != `{"all":[2,3,4],"count":3,"more":3}` {
				t.Errorf("sent %q", got)
			}
			w.noDigests()
		})
	}
}

func TestWhatExpiresInADigestIsLeftOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t, digesting(1))
	w.start("c1")
	ids := w.admitNotes("ada", 2)
	for _, life := range []time.Duration{time.Minute, 2 * time.Hour} {
		n := note("ada", int(life/time.Minute))
		n.ExpiresAt = w.clock.Now().Add(life)
		w.became(w.admit(n), 1, notice.StatusCapped)
	}
	w.clock.Advance(61 * time.Minute)
	if e := last(w.became(ids[2], 1, notice.StatusDelivered)); !strings.HasPrefix(e.Detail, "a digest of 2: 1 that it had collected had expired") {
		t.Errorf("the digest's entry is %+v", e)
	}
	if got := w.bodies("ada"); got[1] != `{"all":[2,120],"count":2,"more":0}` {
		t.Errorf("sent %q", got)
	}
}

func TestACarrierWithNothingAliveGoesAsItself(t *testing.T) {
	t.Parallel()
	w := newWorld(t, digesting(1))
	w.start("c1")
	ids := w.admitNotes("ada", 2)
	n := note("ada", 3)
	n.ExpiresAt = w.clock.Now().Add(time.Minute)
	w.became(w.admit(n), 1, notice.StatusCapped)
	w.clock.Advance(61 * time.Minute)
	w.became(ids[2], 1, notice.StatusDelivered)
	if got := w.bodies("ada"); len(got) != 2 || got[1] != `{"n":2}` {
		t.Errorf("sent %q", got)
	}
	w.noDigests()
}

func TestADigestIsTheSameAtEveryAttemptWhoeverMakesIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t, digesting(1))
	c := w.start("c1")
	ids := w.admitNotes("ada", 4)
	short := note("ada", 5) // alive at the first attempt, and not at the second
	short.ExpiresAt = w.clock.Now().Add(61*time.Minute + 8*time.Second)
	w.became(w.admit(short), 1, notice.StatusCapped)
	w.webhook.results(channels.Result{Verdict: channels.Retry, Code: "503"}, channels.Result{Verdict: channels.Sent})
	w.clock.Advance(61 * time.Minute)
	w.retrying(ids[2], 1, 1)
	c.stop()
	late := w.admit(note("ada", 6)) // comes after the digest was closed
	w.start("c2")
	w.became(late, 1, notice.StatusDeferred)
	w.clock.Advance(15 * time.Second)
	w.became(ids[2], 1, notice.StatusDelivered)
	got := w.bodies("ada")
	want := `{"all":[2,3,4,5],"count":4,"more":0}`
	if len(got) != 3 || got[1] != want || got[2] != want {
		t.Errorf("sent %q, want twice %s", got, want)
	}
}

func TestADigestGoesOnWithoutACarrierThatIsCanceledOrExpires(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"canceled", "expired", "canceled after an attempt"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, digesting(1))
			c := w.start("c1")
			w.admitNotes("ada", 1)
			first := note("ada", 2)
			if how == "expired" { // there is a place for it, and then nobody to send it
				first.ExpiresAt = w.clock.Now().Add(65 * time.Minute)
			}
			carrier := w.admit(first)
			w.became(carrier, 1, notice.StatusDeferred)
			gone := note("ada", 3)
			gone.ExpiresAt = w.clock.Now().Add(time.Minute)
			w.became(w.admit(gone), 1, notice.StatusCapped)
			heir := w.admit(note("ada", 4))
			w.became(heir, 1, notice.StatusCapped) // and only then the next: planners are several
			w.became(w.admit(note("ada", 5)), 1, notice.StatusCapped)
			status := notice.StatusCanceled
			switch how {
			case "canceled":
				w.cancel(carrier)
				w.became(w.admit(note("ada", 6)), 1, notice.StatusCapped) // it is still open
				w.clock.Advance(61 * time.Minute)
			case "canceled after an attempt":
				w.webhook.results(channels.Result{Verdict: channels.Retry, Code: "503"}, channels.Result{Verdict: channels.Sent})
				w.clock.Advance(61 * time.Minute)
				w.retrying(carrier, 1, 1)
				w.cancel(carrier)
				w.clock.Advance(15 * time.Second)
			case "expired":
				c.stop()
				w.clock.Advance(66 * time.Minute)
				w.start("c2")
				status = notice.StatusExpired
			}
			w.became(carrier, 1, status)
			d := w.became(heir, 1, notice.StatusDelivered)
			if e := d.Timeline[2]; !strings.Contains(e.Detail, "carries the digest on in place of "+carrier) {
				t.Errorf("the heir's timeline is %+v", d.Timeline)
			}
			got := w.bodies("ada")
			if body := got[len(got)-1]; !strings.HasPrefix(body, `{"all":[4,5`) {
				t.Errorf("sent %q", got)
			}
			w.nothingLeft()
			w.noDigests()
			if r := w.ended(heir); len(r.Deliveries) != 1 {
				t.Errorf("the heir's record is %+v", r)
			}
		})
	}
}

// cancel cancels a notification, which must be possible.
func (w *world) cancel(id string) {
	w.t.Helper()
	if _, err := w.queue.Cancel(w.t.Context(), "acme", id); err != nil {
		w.t.Fatalf("canceling %s: %v", id, err)
	}
}

func TestWhatWasCollectedCannotBeCanceledAndALoneCarrierCan(t *testing.T) {
	t.Parallel()
	w := newWorld(t, digesting(1))
	w.start("c1")
	ids := w.admitNotes("ada", 3)
	if _, err := w.queue.Cancel(t.Context(), "acme", ids[3]); !errors.Is(err, queue.ErrFinished) {
		t.Errorf("canceling what was collected: %v, want ErrFinished", err)
	}
	bob := w.admitNotes("bob", 2)
	w.cancel(bob[2])
	w.became(w.admit(note("bob", 3)), 1, notice.StatusDeferred) // it carries a digest of its own
	if n := len(w.rdb.Keys(t.Context(), "*:digest:*").Val()); n != 2 {
		t.Errorf("%d digests, want ada's and bob's second", n)
	}
}

func TestErasingAPersonErasesWhatIsCollectedForThem(t *testing.T) {
	t.Parallel()
	w := newWorld(t, digesting(1))
	w.start("c1")
	ids := w.admitNotes("ada", 4)
	if err := w.queue.Erase(t.Context(), "acme", "ada"); err != nil {
		t.Fatal(err)
	}
	w.became(ids[2], 1, notice.StatusCanceled)
	if left := w.rdb.Keys(t.Context(), "*:digest*").Val(); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
	w.clock.Advance(61 * time.Minute)
	w.nothingLeft()
	if got := w.bodies("ada"); len(got) != 1 {
		t.Errorf("sent %q", got)
	}
}

func TestADeadLetterKeepsItsDigestUntilItIsRedrivenOrPurged(t *testing.T) {
	t.Parallel()
	for _, end := range []string{"redriven", "purged"} {
		t.Run(end, func(t *testing.T) {
			t.Parallel()
			s := digesting(1)
			s.retry.Schedule = []config.Duration{}
			w := newWorld(t, s)
			w.start("c1")
			ids := w.admitNotes("ada", 4)
			w.webhook.results(channels.Result{Verdict: channels.Retry, Code: "503"})
			w.clock.Advance(61 * time.Minute)
			dead := w.became(ids[2], 1, notice.StatusDead)
			w.webhook.script(nil)
			key := w.rdb.Keys(t.Context(), "*:digest:*").Val()
			if len(key) != 1 || w.rdb.PTTL(t.Context(), key[0]).Val() >= 0 {
				t.Fatalf("digests %v, want one that does not expire", key)
			}
			if end == "purged" {
				if n, err := w.queue.Purge(t.Context(), queue.DeadFilter{}); n != 1 || err != nil {
					t.Fatal(n, err)
				}
				w.noDigests()
				return
			}
			if n, err := w.queue.Redrive(t.Context(), "acme", dead.ID); n != 1 || err != nil {
				t.Fatal(n, err)
			}
			w.became(ids[2], 1, notice.StatusDelivered)
			got := w.bodies("ada")
			if got[len(got)-1] != `{"all":[2,3,4],"count":3,"more":0}` || got[len(got)-2] != got[len(got)-1] {
				t.Errorf("sent %q", got)
			}
			w.noDigests()
		})
	}
}

func TestWhatHasNoDigestWaitsByItselfAndSaysSo(t *testing.T) {
	t.Parallel()
	w := newWorld(t, digesting(1))
	w.start("c1")
	w.admitNotes("ada", 1)
	plain, content, chain := note("ada", 2), note("ada", 3), note("ada", 4)
	plain.Template = "ping"
	content.Template, content.Data, content.Content = "", nil, &notice.Content{Webhook: jsontext.Value(`{"n":3}`)}
	chain.Route, chain.Channels, chain.To.Email = notice.RouteFirst, []notice.Medium{notice.MediumWebhook, notice.MediumEmail}, "ada@example.com"
	for words, n := range map[string]notice.Notification{"; ping has no digest": plain, "; it has no template": content, "; another channel may follow": chain} {
		if e := last(w.became(w.admit(n), 1, notice.StatusDeferred)); !strings.Contains(e.Detail, words) {
			t.Errorf("%q is not in %q", words, e.Detail)
		}
	}
}

func TestDigestsOfSeveralConsumersKeepTheLimitAndLoseNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, digesting(2))
	for i := range 3 {
		w.start(fmt.Sprintf("c%d", i))
	}
	const people, each = 5, 60
	ids := map[string]int{}
	for n := 1; n <= each; n++ {
		for p := range people {
			ids[w.admit(note(fmt.Sprintf("user%d", p), n))] = n
		}
	}
	w.await("every decision", func() bool {
		for id := range ids {
			if r := w.record(id); len(r.Deliveries) != 1 || r.Deliveries[0].Status == notice.StatusQueued {
				return false
			}
		}
		return true
	})
	for p := range people {
		if n := len(w.bodies(fmt.Sprintf("user%d", p))); n != 2 {
			t.Errorf("user%d got %d in the first hour, want 2", p, n)
		}
	}
	w.clock.Advance(61 * time.Minute)
	for id := range ids {
		w.ended(id)
	}
	for p := range people {
		user := fmt.Sprintf("user%d", p)
		got := w.bodies(user)
		if len(got) != 3 {
			t.Errorf("%s got %q, want two and a digest", user, got)
			continue
		}
		seen := map[int]int{}
		for _, body := range got {
			for _, n := range numbersOf(t, body) {
				seen[n]++
			}
		}
		// 57 are collected behind a carrier; 49 of them have room.
		if len(seen) != 2+50 || !strings.Contains(got[2], `"more":8`) {
			t.Errorf("%s got %d different notes, want 52: %s", user, len(seen), got[2])
		}
		for n, times := range seen {
			if times != 1 {
				t.Errorf("%s got note %d %d times", user, n, times)
			}
		}
	}
	w.nothingLeft()
	w.noDigests()
}

// numbersOf are the notes that one body tells of.
func numbersOf(t *testing.T, body string) []int {
	t.Helper()
	var got struct {
		N   int   `json:"n"`
		All []int `json:"all"`
	}
	if err := json.Unmarshal([]byte(body), &got, json.RejectUnknownMembers(false)); err != nil {
		t.Fatal(err)
	}
	if got.N != 0 {
		return []int{got.N}
	}
	return got.All
}

func TestAPersonsOpenDigestsAreListedWhileTheyCollect(t *testing.T) {
	t.Parallel()
	w := newWorld(t, digesting(1, func(c *config.Cap) { c.DigestMax = config.DigestMax{Items: 3, Size: 64 << 10} }))
	w.start("c1")
	cfg := config.Queue{Namespace: "t", Partitions: 2}
	look := func(user string) []queue.OpenDigest {
		t.Helper()
		open, err := queue.OpenDigests(t.Context(), w.rdb, cfg, "acme", user)
		if err != nil {
			t.Fatal(err)
		}
		return open
	}
	ids := w.admitNotes("ada", 6)
	w.admitNotes("bob", 2)
	carrier := w.became(ids[2], 1, notice.StatusDeferred)
	open := look("ada")
	if len(open) != 1 {
		t.Fatalf("ada's are %+v, want one", open)
	}
	got, why := open[0], last(carrier)
	if want := (queue.OpenDigest{Rule: "hourly", Template: "notes", Carrier: carrier.ID, Channel: notice.ChannelWebhook, Address: "ada.example",
		Items: 3, More: 2, Size: got.Size, Opened: why.At, Goes: why.Until}); got != want || got.Size == 0 {
		t.Errorf("it is %+v\nwant  %+v", got, want)
	}
	if open := look("bob"); len(open) != 1 || open[0].Items != 1 {
		t.Errorf("bob's are %+v, want one with its carrier alone", open)
	}
	if open := look("eve"); len(open) != 0 {
		t.Errorf("eve's are %+v, want none", open)
	}
	w.clock.Advance(61 * time.Minute)
	w.became(ids[2], 1, notice.StatusDelivered)
	if open := look("ada"); len(open) != 0 {
		t.Errorf("when it has gone they are %+v", open)
	}
	w.nothingLeft()
	w.noDigests()
}
