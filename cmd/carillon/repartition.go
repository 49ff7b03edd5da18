package main

import (
	"errors"
	"fmt"

	"github.com/carillonhq/carillon/queue"
	"github.com/carillonhq/carillon/recipients"
	"github.com/carillonhq/carillon/throttle"
)

// queueRepartitionCmd is `carillon queue repartition`.
type queueRepartitionCmd struct {
	To     int    `required:"" placeholder:"N" help:"The new number of partitions, 1 to 4096."`
	Config string `placeholder:"FILE" help:"The configuration file; CARILLON_CONFIG's when left out."`
	Format string `enum:"text,json" default:"text" help:"text or json."`
}

// Help is the command's example.
func (queueRepartitionCmd) Help() string {
	return "Stop every ingest, consume and dev process first. Nothing is lost and every id stays valid: what is on its way is\n" +
		"worked where it is. Then set queue.partitions to N everywhere and start them again. Killed halfway, run it again.\n\n" +
		"Example:\n\n    carillon queue repartition --to 16 --config carillon.yaml"
}

// Run moves what has another home under the new number.
func (c queueRepartitionCmd) Run(a *app) error {
	const most = 4096
	if c.To < 1 || c.To > most {
		return usage(fmt.Errorf("--to: %d is out of range: want 1 to %d", c.To, most))
	}
	cfg, err := a.loadConfig(c.Config)
	if err != nil {
		return err
	}
	g := &gateway{cfg: cfg}
	defer g.close()
	if err := g.connect(); err != nil {
		return err
	}
	done, err := queue.Repartition(a.ctx, g.rdb, cfg.Queue, c.To, recipients.Owner, throttle.Owner)
	if errors.Is(err, queue.ErrAlive) {
		return notSo(err)
	}
	if err != nil {
		return queueError(err)
	}
	if c.Format == "json" {
		return a.printJSON(repartitioned{done.From, done.To, done.Reach, done.Moved})
	}
	fmt.Fprintf(a.stdout, "repartitioned from %d to %d: %d keys have moved\n", done.From, done.To, done.Moved)
	if done.Reach > done.To {
		fmt.Fprintf(a.stdout, "%d partitions still hold something, and are emptied as it ends; run this again some day to give them up\n", done.Reach)
	}
	_, err = fmt.Fprintf(a.stdout, "set queue.partitions to %d in every configuration, and start the processes\n", c.To)
	return err
}

// repartitioned is --format json.
type repartitioned struct {
	From  int `json:"from"`
	To    int `json:"to"`
	Reach int `json:"reach"`
	Moved int `json:"moved"`
}
