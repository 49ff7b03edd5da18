package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/queue"
	"github.com/carillonhq/carillon/recipients"
)

const (
	cloudEventType = "application/cloudevents+json"
	replayPatience = 2 * time.Minute // for the last delivery to end
)

// replayed is what became of an example's events.
type replayed struct {
	events, ignored int
	notifications   []string // ids
	outcomes        map[notice.Channel]map[notice.Status]int
	took            time.Duration
}

// replay posts the example's events to the API, waits until everything that
// follows from them has ended or is put off, and prints a table.
func (d *dev) replay(ctx context.Context, address string) error {
	lines := bytes.Split(bytes.TrimSpace(d.example.Events), []byte("\n"))
	if err := d.registerRouted(lines); err != nil {
		return err
	}
	start := time.Now()
	r := &replayed{outcomes: map[notice.Channel]map[notice.Status]int{}}
	for i, line := range lines {
		if err := r.post(ctx, "http://"+address+"/v1/events", line); err != nil {
			return fmt.Errorf("replaying event %d of %d: %w", i+1, len(lines), err)
		}
	}
	if err := d.settle(ctx, r); err != nil {
		return err
	}
	r.took = time.Since(start)
	return r.print(d.stdout)
}

// registerRouted gives everybody whom the events will notify an address of
// every kind at the sandbox.
func (d *dev) registerRouted(lines [][]byte) error {
	known := map[string]bool{}
	for _, line := range lines {
		ev, err := notice.DecodeCloudEvent(line)
		if err != nil {
			return fmt.Errorf("reading the example's events: %w", err)
		}
		routed, err := d.gateway.routes.Route(ev)
		if err != nil {
			return fmt.Errorf("routing %s: %w", ev.ID, err)
		}
		for _, n := range routed {
			if user := n.To.User; !known[user] {
				known[user] = true
				if err := d.registerReplayed(user, &n.To); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// registerReplayed gives one person a browser beside the two phones.
func (d *dev) registerReplayed(user string, to *notice.Recipient) error {
	subscription, err := d.sandbox.NewSubscription()
	if err != nil {
		return fmt.Errorf("a browser's subscription for %s: %w", user, err)
	}
	return d.register(&recipients.Profile{Name: to.Name, Email: to.Email, Locale: to.Locale,
		Devices: []recipients.Device{{Platform: notice.PlatformWeb, Token: subscription}}}, user)
}

// eventAnswer is what POST /v1/events answers for one event.
type eventAnswer struct {
	Status        string `json:"status"`
	ID            string `json:"id"`
	Notifications []struct {
		ID string `json:"id"`
	} `json:"notifications"`
}

func (r *replayed) post(ctx context.Context, url string, event []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(event))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", cloudEventType)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusAccepted {
		return fmt.Errorf("answered %s: %s", res.Status, strings.TrimSpace(string(body)))
	}
	var answer eventAnswer
	if err := json.Unmarshal(body, &answer); err != nil {
		return err
	}
	r.count(answer)
	return nil
}

func (r *replayed) count(answer eventAnswer) {
	r.events++
	switch {
	case answer.Status == "ignored":
		r.ignored++
	case len(answer.Notifications) > 0:
		for _, n := range answer.Notifications {
			r.notifications = append(r.notifications, n.ID)
		}
	default:
		r.notifications = append(r.notifications, answer.ID)
	}
}

// settle waits until every delivery has ended or waits for a time that a rule
// names, and counts how.
func (d *dev) settle(ctx context.Context, r *replayed) error {
	ctx, cancel := context.WithTimeout(ctx, replayPatience)
	defer cancel()
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for _, id := range r.notifications {
		for {
			record, err := d.gateway.queue.Record(ctx, defaultTenant, id)
			if err != nil && !errors.Is(err, queue.ErrUnavailable) {
				return fmt.Errorf("looking %s up: %w", id, err)
			}
			if err == nil && !busy(record) {
				r.add(record)
				break
			}
			select {
			case <-poll.C:
			case <-ctx.Done():
				return fmt.Errorf("waiting for %s to end: %w", id, context.Cause(ctx))
			}
		}
	}
	return nil
}

// busy reports whether anything of a notification goes on by itself right now.
func busy(r queue.Record) bool {
	return r.Open() && (len(r.Deliveries) == 0 || slices.ContainsFunc(r.Deliveries, func(dl queue.DeliveryRecord) bool {
		return !dl.Status.Final() && dl.Status != notice.StatusDeferred
	}))
}

func (r *replayed) add(record queue.Record) {
	for _, dl := range record.Deliveries {
		if r.outcomes[dl.Channel] == nil {
			r.outcomes[dl.Channel] = map[notice.Status]int{}
		}
		r.outcomes[dl.Channel][dl.Status]++
	}
}

// print writes the table.
func (r *replayed) print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "\nevents in\t%d\t\nignored by route\t%d\t\nnotifications\t%d\t\n", r.events, r.ignored, len(r.notifications))
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(out)
	return r.printOutcomes(out)
}

func (r *replayed) printOutcomes(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	statuses := r.statuses()
	fmt.Fprint(w, "deliveries\t")
	for _, s := range statuses {
		fmt.Fprintf(w, "%s\t", s)
	}
	fmt.Fprintln(w)
	total := 0
	for _, c := range notice.Channels() {
		if r.outcomes[c] == nil {
			continue
		}
		fmt.Fprintf(w, "%s\t", c)
		for _, s := range statuses {
			fmt.Fprintf(w, "%d\t", r.outcomes[c][s])
			total += r.outcomes[c][s]
		}
		fmt.Fprintln(w)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "\n%d deliveries in %s\n", total, r.took.Round(time.Millisecond))
	return err
}

// statuses are those that occur, in their natural order.
func (r *replayed) statuses() (out []notice.Status) {
	for _, s := range []notice.Status{notice.StatusDelivered, notice.StatusDeferred, notice.StatusFailed, notice.StatusExpired,
		notice.StatusCanceled, notice.StatusSuppressed, notice.StatusCapped, notice.StatusDead} {
		if slices.ContainsFunc(notice.Channels(), func(c notice.Channel) bool { return r.outcomes[c][s] > 0 }) {
			out = append(out, s)
		}
	}
	return out
}
