package main

import (
	"cmp"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/carillonhq/carillon/queue"
)

// queueRebalanceCmd is `carillon queue rebalance`.
type queueRebalanceCmd struct {
	Config string `placeholder:"FILE" help:"The configuration file; CARILLON_CONFIG's when left out."`
	Format string `enum:"text,json" default:"text" help:"text or json."`
}

// Help is the command's example.
func (queueRebalanceCmd) Help() string {
	return "It changes nothing: a slot is moved with redis-cli, as docs/operations.md shows, while the gateway runs.\n\n" +
		"Example:\n\n    carillon queue rebalance --config carillon.yaml"
}

// The rows of `queue rebalance --format json`.
type (
	balance struct {
		Partitions []placeRow `json:"partitions"`
		Moves      []moveRow  `json:"moves"`
	}
	placeRow struct {
		Partition int    `json:"partition"`
		Slot      int    `json:"slot"`
		Node      string `json:"node"`
		Waiting   int    `json:"waiting"`
	}
	moveRow struct {
		Partition int    `json:"partition"`
		Slot      int    `json:"slot"`
		From      string `json:"from"`
		To        string `json:"to"`
	}
)

// Run shows where the partitions are and where they would better be.
func (c queueRebalanceCmd) Run(a *app) error {
	return a.withQueue(c.Config, func(q *queue.Queue) error {
		places, err := q.Places(a.ctx)
		if err != nil {
			return err
		}
		nodes, err := q.Masters(a.ctx)
		if err != nil {
			return err
		}
		b := balance{Partitions: []placeRow{}, Moves: []moveRow{}}
		for _, p := range places {
			b.Partitions = append(b.Partitions, placeRow(p))
		}
		for _, m := range queue.Rebalanced(places, nodes) {
			b.Moves = append(b.Moves, moveRow(m))
		}
		if c.Format == "json" {
			return a.printJSON(b)
		}
		return printBalance(a.stdout, b)
	})
}

func printBalance(out io.Writer, b balance) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "PARTITION\tSLOT\tNODE\tWAITING")
	for _, p := range b.Partitions {
		fmt.Fprintf(w, "%d\t%d\t%s\t%d\n", p.Partition, p.Slot, cmp.Or(p.Node, "the only server"), p.Waiting)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if len(b.Moves) == 0 {
		_, err := fmt.Fprintln(out, "nothing to move: no node holds two partitions more than another")
		return err
	}
	for _, m := range b.Moves {
		fmt.Fprintf(out, "move slot %d (partition %d) from %s to %s\n", m.Slot, m.Partition, m.From, m.To)
	}
	return nil
}
