package main

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/queue"
)

// deadCmd is `carillon dead`.
type deadCmd struct {
	List    deadListCmd    `cmd:"" help:"List dead letters."`
	Show    deadShowCmd    `cmd:"" help:"Show one dead letter with its whole timeline."`
	Redrive deadRedriveCmd `cmd:"" help:"Send dead letters again."`
	Purge   deadPurgeCmd   `cmd:"" help:"Delete dead letters for good."`
}

// Help is the command's example.
func (deadCmd) Help() string {
	return "Example:\n\n    carillon dead list --config carillon.yaml\n    carillon dead redrive --all --channel webhook --config carillon.yaml"
}

// deadFilter selects dead letters; it is part of the commands that work many.
type deadFilter struct {
	Channel string `placeholder:"NAME" help:"Only this channel: email, apns, fcm, webpush, webhook, inbox."`
	Reason  string `placeholder:"WORD" help:"Only this reason, as attempts, unknown-outcome, render, malformed, invalid."`
	Tenant  string `placeholder:"NAME" help:"Only this tenant's."`
	Since   string `placeholder:"TIME" help:"Only what died since: a time (2026-11-23T14:00:00Z), or so long ago (2h)."`
	Until   string `placeholder:"TIME" help:"Only what died until then, as --since."`
}

func (f deadFilter) filter() (queue.DeadFilter, error) {
	c := notice.Channel(f.Channel)
	if c != "" && !c.Valid() && c != notice.ChannelInbox {
		return queue.DeadFilter{}, usage(fmt.Errorf("--channel: %q is no channel: email, apns, fcm, webpush, webhook, inbox", f.Channel))
	}
	since, err := instant("--since", f.Since)
	if err != nil {
		return queue.DeadFilter{}, err
	}
	until, err := instant("--until", f.Until)
	return queue.DeadFilter{Channel: c, Reason: f.Reason, Tenant: f.Tenant, Since: since, Until: until}, err
}

// instant reads a time, or how long ago one was; zero when there is none.
func instant(flag, s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if ago, err := time.ParseDuration(s); err == nil && ago >= 0 {
		return time.Now().Add(-ago), nil
	}
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return at, usage(fmt.Errorf("%s: %q is neither a time (2026-11-23T14:00:00Z) nor so long ago (90m, 2h)", flag, s))
	}
	return at, nil
}

// printable is s for a terminal: what would move its cursor, or worse, is
// shown as an escape. A dead letter holds what any program put on the queue.
func printable(s string) string {
	if strings.IndexFunc(s, func(r rune) bool { return !strconv.IsPrint(r) || r == utf8.RuneError }) < 0 {
		return s
	}
	quoted := strconv.Quote(s)
	return strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`)
}

// withQueue opens the configured queue for one command that needs it now.
func (a *app) withQueue(path string, do func(q *queue.Queue) error) error {
	cfg, err := a.loadConfig(path)
	if err != nil {
		return err
	}
	g := &gateway{cfg: cfg}
	defer g.close()
	if err := g.connect(); err != nil {
		return err
	}
	q, err := queue.Open(a.ctx, g.rdb, g.readers, cfg.Queue)
	if err != nil {
		return queueError(err)
	}
	defer q.Close()
	if err := q.Ready(); err != nil {
		return queueError(err)
	}
	return queueError(do(q))
}

// deadListCmd is `carillon dead list`.
type deadListCmd struct {
	Config string `placeholder:"FILE" help:"The configuration file; CARILLON_CONFIG's when left out."`
	deadFilter
	Limit  int    `default:"100" help:"The most to list."`
	After  string `placeholder:"ID" help:"Go on after this one, as the last page's end says."`
	Format string `enum:"text,json" default:"text" help:"text or json."`
}

// Help is the command's example.
func (deadListCmd) Help() string {
	return "Example:\n\n    carillon dead list --config carillon.yaml --channel webhook --format json"
}

// deadRow is one dead letter as --format json lists it.
type deadRow struct {
	ID      string         `json:"id"`
	Tenant  string         `json:"tenant"`
	Channel notice.Channel `json:"channel"`
	Reason  string         `json:"reason"`
	Detail  string         `json:"detail"`
	At      time.Time      `json:"at"`
	Payload string         `json:"payload,omitzero"`
}

func rowOf(d queue.Dead) deadRow {
	return deadRow{ID: d.ID, Tenant: d.Tenant, Channel: d.Channel, Reason: d.Reason, Detail: d.Detail, At: d.At.UTC()}
}

// Run lists one page.
func (c deadListCmd) Run(a *app) error {
	f, err := c.filter()
	if err != nil {
		return err
	}
	f.Limit, f.After = c.Limit, c.After
	return a.withQueue(c.Config, func(q *queue.Queue) error {
		found, after, err := q.DeadList(a.ctx, f)
		if err != nil {
			return err
		}
		if c.Format == "json" {
			return a.printJSON(deadPage(found, after))
		}
		return printDead(a.stdout, found, after)
	})
}

// deadListing is a page of dead letters as --format json prints it.
type deadListing struct {
	Dead  []deadRow `json:"dead"`
	After string    `json:"after,omitzero"`
}

func deadPage(found []queue.Dead, after string) deadListing {
	page := deadListing{Dead: make([]deadRow, len(found)), After: after}
	for i, d := range found {
		page.Dead[i] = rowOf(d)
	}
	return page
}

func printDead(out io.Writer, found []queue.Dead, after string) error {
	if len(found) == 0 {
		_, err := fmt.Fprintln(out, "no dead letters")
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tCHANNEL\tREASON\tAT\tDETAIL")
	for _, d := range found {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", d.ID, d.Channel, d.Reason, d.At.UTC().Format(time.RFC3339), printable(d.Detail))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if after != "" {
		fmt.Fprintf(out, "more: --after %s\n", after)
	}
	return nil
}

// deadShowCmd is `carillon dead show`.
type deadShowCmd struct {
	ID     string `arg:"" help:"The dead letter's id."`
	Config string `placeholder:"FILE" help:"The configuration file; CARILLON_CONFIG's when left out."`
	Format string `enum:"text,json" default:"text" help:"text or json."`
}

// Help is the command's example.
func (deadShowCmd) Help() string {
	return "Example:\n\n    carillon dead show 3-06h0f1oi622ct0rrchlv-1 --config carillon.yaml"
}

// Run shows one dead letter, and its timeline as long as that is kept.
func (c deadShowCmd) Run(a *app) error {
	return a.withQueue(c.Config, func(q *queue.Queue) error {
		d, err := q.DeadShow(a.ctx, "", c.ID)
		if err != nil {
			return fmt.Errorf("%s: %w", c.ID, err)
		}
		row := rowOf(d)
		row.Payload = d.Shown()
		if c.Format == "json" {
			return a.printJSON(row)
		}
		fmt.Fprintf(a.stdout, "id       %s\ntenant   %s\nchannel  %s\nreason   %s\nat       %s\ndetail   %s\n",
			d.ID, printable(d.Tenant), d.Channel, d.Reason, d.At.UTC().Format(time.RFC3339), printable(d.Detail))
		if err := printTimeline(a, q, d); err != nil {
			return err
		}
		_, err = fmt.Fprintf(a.stdout, "payload\n  %s\n", printable(d.Shown()))
		return err
	})
}

func printTimeline(a *app, q *queue.Queue, d queue.Dead) error {
	r, err := q.Record(a.ctx, d.Tenant, d.ID)
	if errors.Is(err, queue.ErrNotFound) {
		return nil // its retention has passed, or it never had one
	}
	if err != nil {
		return err
	}
	fmt.Fprintln(a.stdout, "timeline")
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	for _, dr := range r.Deliveries {
		if dr.ID != d.ID {
			continue
		}
		for _, e := range dr.Timeline {
			fmt.Fprintf(w, "  %s\t%s\tattempt %d\t%s\t%s\n", e.At.UTC().Format(time.RFC3339Nano), e.Status, e.Attempt, printable(e.Code), printable(e.Detail))
		}
	}
	return w.Flush()
}

// deadRedriveCmd is `carillon dead redrive`.
type deadRedriveCmd struct {
	IDs    []string `arg:"" optional:"" name:"id" help:"The dead letters to send again."`
	All    bool     `help:"Send again all that the filters leave."`
	Rate   string   `default:"100/s" help:"With --all, the most to put back in a second or another time; 0 for as fast as they go."`
	Config string   `placeholder:"FILE" help:"The configuration file; CARILLON_CONFIG's when left out."`
	deadFilter
}

// Help is the command's example.
func (deadRedriveCmd) Help() string {
	return "Example:\n\n    carillon dead redrive --all --channel webhook --reason attempts --config carillon.yaml"
}

// Run sends dead letters again, with their attempts forgiven.
func (c deadRedriveCmd) Run(a *app) error {
	if c.All == (len(c.IDs) > 0) {
		return usage(errors.New("dead redrive: name the ids to send again, or give --all for all that the filters leave"))
	}
	f, err := c.filter()
	if err != nil {
		return err
	}
	if f.Rate, err = perSecond("--rate", c.Rate); err != nil {
		return err
	}
	return a.withQueue(c.Config, func(q *queue.Queue) (err error) {
		n := 0
		if c.All {
			n, err = q.RedriveAll(a.ctx, f)
		} else {
			n, err = q.Redrive(a.ctx, c.Tenant, c.IDs...)
		}
		fmt.Fprintf(a.stdout, "redriven: %d\n", n)
		return err
	})
}

// perSecond reads a rate; 0 is none.
func perSecond(flag, s string) (float64, error) {
	if s == "0" {
		return 0, nil
	}
	r, err := config.ParseRate(s)
	if err != nil {
		return 0, usage(fmt.Errorf("%s: %w", flag, err))
	}
	return float64(r.Count) / r.Per.Seconds(), nil
}

// deadPurgeCmd is `carillon dead purge`.
type deadPurgeCmd struct {
	Config string `placeholder:"FILE" help:"The configuration file; CARILLON_CONFIG's when left out."`
	deadFilter
	DryRun bool `help:"Only say how many would be deleted."`
}

// Help is the command's example.
func (deadPurgeCmd) Help() string {
	return "Example:\n\n    carillon dead purge --channel inbox --dry-run --config carillon.yaml"
}

// Run deletes what the filters leave.
func (c deadPurgeCmd) Run(a *app) error {
	f, err := c.filter()
	if err != nil {
		return err
	}
	return a.withQueue(c.Config, func(q *queue.Queue) error {
		if c.DryRun {
			f.Limit = 1 << 30
			found, _, err := q.DeadList(a.ctx, f)
			if err == nil {
				fmt.Fprintf(a.stdout, "would be purged: %d\n", len(found))
			}
			return err
		}
		n, err := q.Purge(a.ctx, f)
		fmt.Fprintf(a.stdout, "purged: %d\n", n)
		return err
	})
}
