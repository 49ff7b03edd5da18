package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/queue"
)

// queueCmd is `carillon queue`.
type queueCmd struct {
	Stats queueStatsCmd `cmd:"" help:"Show what waits, what is in flight and who works."`
	Peek  queuePeekCmd  `cmd:"" help:"Show the oldest entries of a stage without leasing them."`

	Rebalance   queueRebalanceCmd   `cmd:"" help:"Show which node of a cluster holds which partitions, and what to move."`
	Repartition queueRepartitionCmd `cmd:"" help:"Spread the queue over another number of partitions, with everything stopped."`
}

// Help is the command's example.
func (queueCmd) Help() string {
	return "Example:\n\n    carillon queue stats --config carillon.yaml\n    carillon queue peek --channel webhook -n 5 --config carillon.yaml"
}

// queueStatsCmd is `carillon queue stats`.
type queueStatsCmd struct {
	Config string `placeholder:"FILE" help:"The configuration file; CARILLON_CONFIG's when left out."`
	Format string `enum:"text,json" default:"text" help:"text or json."`
}

// Help is the command's example.
func (queueStatsCmd) Help() string {
	return "Example:\n\n    carillon queue stats --config carillon.yaml --format json"
}

// The rows of `queue stats --format json`.
type (
	queueState struct {
		Partitions int                    `json:"partitions"`
		Inbox      int                    `json:"inbox"`
		Parked     int                    `json:"parked"`
		Scheduled  int                    `json:"scheduled"` // of the parked: until a moment that was chosen beforehand
		Waiting    int                    `json:"waiting"`   // of the parked: for their provider's sake
		Dead       map[notice.Channel]int `json:"dead"`
		Lanes      []laneRow              `json:"lanes"`
		Consumers  []consumerRow          `json:"consumers"`
	}
	laneRow struct {
		Stage    string      `json:"stage"`
		Lane     notice.Lane `json:"lane"`
		Depth    int         `json:"depth"` // in flight included
		InFlight int         `json:"in_flight"`
		Oldest   float64     `json:"oldest_seconds"`
	}
	consumerRow struct {
		Name     string  `json:"name"`
		InFlight int     `json:"in_flight"`
		Idle     float64 `json:"idle_seconds"`
	}
)

// Run shows the queue's state.
func (c queueStatsCmd) Run(a *app) error {
	return a.withQueue(c.Config, func(q *queue.Queue) error {
		s, err := q.Stats(a.ctx)
		if err != nil {
			return err
		}
		if c.Format == "json" {
			return a.printJSON(stateOf(s))
		}
		return printStats(a.stdout, stateOf(s))
	})
}

func stateOf(s queue.Stats) queueState {
	out := queueState{Partitions: s.Partitions, Inbox: s.Inbox, Parked: s.Parked.Total(), Scheduled: s.Parked.Scheduled, Waiting: s.Parked.Waiting, Dead: s.Dead, Lanes: []laneRow{}, Consumers: []consumerRow{}}
	for _, l := range s.Lanes {
		out.Lanes = append(out.Lanes, laneRow{l.Stage, l.Lane, l.Length, l.InFlight, l.Oldest.Seconds()})
	}
	for _, c := range s.Consumers {
		out.Consumers = append(out.Consumers, consumerRow{c.Name, c.InFlight, c.Idle.Seconds()})
	}
	return out
}

// printStats leaves out what is zero: an idle queue is a short table.
func printStats(out io.Writer, s queueState) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "partitions\t%d\ninbox\t%d\nparked\t%d\n  scheduled\t%d\n  waiting for a provider\t%d\n", s.Partitions, s.Inbox, s.Parked, s.Scheduled, s.Waiting)
	for _, c := range slices.Sorted(maps.Keys(s.Dead)) {
		if s.Dead[c] > 0 {
			fmt.Fprintf(w, "dead %s\t%d\n", c, s.Dead[c])
		}
	}
	fmt.Fprintln(w, "\nSTAGE\tLANE\tDEPTH\tIN FLIGHT\tOLDEST")
	for _, l := range s.Lanes {
		if l.Depth > 0 {
			fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%s\n", l.Stage, l.Lane, l.Depth, l.InFlight, seconds(l.Oldest))
		}
	}
	fmt.Fprintln(w, "\nCONSUMER\tIN FLIGHT\tIDLE")
	for _, c := range s.Consumers {
		fmt.Fprintf(w, "%s\t%d\t%s\n", printable(c.Name), c.InFlight, seconds(c.Idle))
	}
	return w.Flush()
}

func seconds(s float64) time.Duration {
	return time.Duration(s * float64(time.Second)).Round(time.Millisecond)
}

// queuePeekCmd is `carillon queue peek`.
type queuePeekCmd struct {
	Stage   string `placeholder:"NAME" xor:"stage" help:"events for what is not planned yet, or a channel. Default: events."`
	Channel string `placeholder:"NAME" xor:"stage" help:"The deliveries of a channel: email, apns, fcm, webpush, webhook."`
	Lane    string `placeholder:"NAME" help:"Only this lane: critical, normal, bulk."`
	N       int    `short:"n" default:"10" help:"The most to show."`
	Config  string `placeholder:"FILE" help:"The configuration file; CARILLON_CONFIG's when left out."`
	Format  string `enum:"text,json" default:"text" help:"text or json."`
}

// Help is the command's example.
func (queuePeekCmd) Help() string {
	return "Secrets and addresses are hidden, as in a notification's record.\n\n" +
		"Example:\n\n    carillon queue peek --channel webhook --lane bulk -n 5 --config carillon.yaml"
}

// peekRow is one entry of `queue peek --format json`.
type peekRow struct {
	ID       string      `json:"id"`
	Tenant   string      `json:"tenant"`
	User     string      `json:"user,omitzero"`
	Template string      `json:"template,omitzero"`
	Stage    string      `json:"stage"`
	Lane     notice.Lane `json:"lane"`
	Address  string      `json:"address,omitzero"`
	Attempts int         `json:"attempts"`
	Since    time.Time   `json:"since"`
	Bytes    int         `json:"bytes"`
}

// Run shows the oldest entries.
func (c queuePeekCmd) Run(a *app) error {
	stage, lane, err := c.place()
	if err != nil {
		return err
	}
	return a.withQueue(c.Config, func(q *queue.Queue) error {
		found, err := q.Peek(a.ctx, stage, lane, c.N)
		if err != nil {
			return err
		}
		rows := make([]peekRow, len(found))
		for i, p := range found {
			rows[i] = peekRow{p.ID, p.Tenant, p.User, p.Template, p.Stage, p.Lane, p.Address, p.Attempt, p.Since.UTC(), p.Bytes}
		}
		if c.Format == "json" {
			return a.printJSON(rows)
		}
		return printPeeked(a.stdout, rows)
	})
}

// place is what to peek at, checked.
func (c queuePeekCmd) place() (stage string, lane notice.Lane, err error) {
	stage, flag := c.Stage, "--stage"
	if c.Channel != "" {
		stage, flag = c.Channel, "--channel"
	}
	const events = "events"
	if stage == "" {
		stage = events
	}
	if !notice.Channel(stage).Valid() && (stage != events || flag == "--channel") {
		return "", "", usage(fmt.Errorf("%s: %q is none: want one of %v", flag, stage, notice.Channels()))
	}
	lane = notice.Lane(c.Lane)
	if lane != "" && !slices.Contains(notice.Lanes(), lane) {
		return "", "", usage(fmt.Errorf("--lane: %q is no lane: want one of %v", c.Lane, notice.Lanes()))
	}
	const most = 1000
	if c.N < 1 || c.N > most {
		return "", "", usage(fmt.Errorf("-n: %d is out of range: want 1 to %d", c.N, most))
	}
	return stage, lane, nil
}

func printPeeked(out io.Writer, rows []peekRow) error {
	if len(rows) == 0 {
		_, err := fmt.Fprintln(out, "nothing waits there")
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tLANE\tSINCE\tTENANT\tUSER\tTEMPLATE\tADDRESS\tATTEMPTS\tBYTES")
	for _, r := range rows {
		cells := []string{r.ID, string(r.Lane), r.Since.Format(time.RFC3339), printable(r.Tenant), printable(r.User), printable(r.Template), printable(r.Address)}
		fmt.Fprintf(w, "%s\t%d\t%d\n", strings.Join(cells, "\t"), r.Attempts, r.Bytes)
	}
	return w.Flush()
}
