package main

import (
	"context"

	"github.com/hibiken/asynq"
)

// asynqPeer is github.com/hibiken/asynq: one queue, a task a notification.
type asynqPeer struct{}

const asynqTask = "notify"

// options give every worker a connection; the default is ten a core.
func (asynqPeer) options(s setup) asynq.RedisClientOpt {
	return asynq.RedisClientOpt{Addr: s.redis, PoolSize: 2 * s.workers}
}

func (p asynqPeer) fill(ctx context.Context, s setup) error {
	client := asynq.NewClient(p.options(s))
	defer client.Close()
	return s.inParallel(func() error {
		_, err := client.EnqueueContext(ctx, asynq.NewTask(asynqTask, s.body))
		return err
	})
}

func (p asynqPeer) drain(_ context.Context, s setup, post func(context.Context, []byte) error) error {
	server := asynq.NewServer(p.options(s), asynq.Config{Concurrency: s.workers, LogLevel: asynq.FatalLevel})
	mux := asynq.NewServeMux()
	mux.HandleFunc(asynqTask, func(ctx context.Context, t *asynq.Task) error { return post(ctx, t.Payload()) })
	return server.Run(mux)
}
