package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/carillonhq/carillon/archive"
	"github.com/carillonhq/carillon/queue"
)

// archiveCmd is `carillon archive`.
type archiveCmd struct {
	To     string        `required:"" placeholder:"DIR" help:"The folder to keep files in; made when it is missing."`
	Config string        `placeholder:"FILE" help:"The configuration file; CARILLON_CONFIG's when left out."`
	Once   bool          `help:"Catch up and end."`
	Every  time.Duration `default:"1s" help:"How long to wait when there is nothing new."`
}

// Help is the command's example.
func (archiveCmd) Help() string {
	return "Writes every notification that has ended as a line of JSON, one file an hour (DIR/2026/11/23/14.ndjson, UTC),\n" +
		"each once however often it is stopped or killed. Run one for a folder, beside the consumers.\n\n" +
		"Example:\n\n    carillon archive --to /var/lib/carillon/archive --config carillon.yaml"
}

// Run archives until it is told to stop.
func (c archiveCmd) Run(a *app) error {
	cfg, err := a.loadConfig(c.Config)
	if err != nil {
		return err
	}
	if cfg.Queue.Finals == 0 {
		return usage(errors.New("queue.finals: 0 keeps no final states that an archive could follow: set it to what may end while the archive is away, and restart the consumers"))
	}
	log := newLogger(a.stderr)
	return a.withQueue(c.Config, func(q *queue.Queue) error {
		archived, err := archive.Open(archive.Options{Dir: c.To, Namespace: cfg.Queue.Namespace, Partitions: q.Reach(),
			Source: q, Every: c.Every, Log: log})
		if err != nil {
			return fmt.Errorf("--to: %w", err)
		}
		defer archived.Close()
		g := &gateway{}
		defer g.close()
		g.background(a.ctx, func(ctx context.Context) { q.Attend(ctx, consumerName()) })
		log.Info("the archive follows what ends", "folder", c.To)
		err = archived.Run(a.ctx, c.Once)
		done := archived.Totals()
		log.Info("the archive stops", "written", done.Written, "missed", done.Missed, "expired", done.Expired)
		return err
	})
}
