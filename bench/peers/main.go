// Command peers is two task queues on Redis, each with a handler that posts
// what it is given to a receiver: what Carillon's drain is held against. It is
// a module of its own, so that the gateway depends on neither.
//
//	peers asynq fill  -redis ADDRESS -n 100000 -target URL
//	peers asynq drain -redis ADDRESS -n 100000 -target URL
//
// Each is set up for throughput, as its documentation has it: as many workers
// as there are requests in flight, kept connections to Redis and to the
// receiver for every one of them, logging off, nothing kept of what is done.
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// setup is what both are told.
type setup struct {
	redis   string // address
	n       int    // tasks
	workers int
	body    []byte
	target  string
}

// peer is a task queue.
type peer interface {
	// fill queues n tasks and returns.
	fill(ctx context.Context, s setup) error
	// drain works the queue, and returns only when it fails: the process is
	// killed when everything has arrived.
	drain(ctx context.Context, s setup, post func(context.Context, []byte) error) error
}

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	peers := map[string]peer{"asynq": asynqPeer{}, "watermill": watermillPeer{}}
	if len(args) < 2 || peers[args[0]] == nil {
		return fmt.Errorf("want: peers asynq|watermill fill|drain -redis ADDRESS …")
	}
	s, err := readSetup(args[2:])
	if err != nil {
		return err
	}
	switch args[1] {
	case "fill":
		return peers[args[0]].fill(ctx, s)
	case "drain":
		return peers[args[0]].drain(ctx, s, s.poster())
	}
	return fmt.Errorf("%q is neither fill nor drain", args[1])
}

func readSetup(args []string) (s setup, err error) {
	var size int
	flags := flag.NewFlagSet("peers", flag.ContinueOnError)
	flags.StringVar(&s.redis, "redis", "127.0.0.1:6379", "address of Redis")
	flags.IntVar(&s.n, "n", 100_000, "tasks to queue")
	flags.IntVar(&s.workers, "c", 64, "requests in flight")
	flags.IntVar(&size, "size", 600, "bytes of each task's data")
	flags.StringVar(&s.target, "target", "", "URL to post to")
	err = flags.Parse(args)
	s.body = []byte(`{"type":"ping","timestamp":"2026-11-01T12:00:00Z","data":{"n":1000000000,"pad":"` + strings.Repeat("x", size) + `"}}`)
	return s, err
}

// poster posts a task's body over connections that are kept.
func (s setup) poster() func(context.Context, []byte) error {
	client := &http.Client{Timeout: 15 * time.Second, Transport: &http.Transport{
		MaxIdleConnsPerHost: s.workers, MaxConnsPerHost: s.workers, DisableCompression: true}}
	return func(ctx context.Context, body []byte) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.target, bytes.NewReader(body))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/json")
		res, err := client.Do(req)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		io.Copy(io.Discard, res.Body)
		if res.StatusCode/100 != 2 {
			return fmt.Errorf("answered %s", res.Status)
		}
		return nil
	}
}

// inParallel calls one n times from as many goroutines as there are workers,
// and returns the first error.
func (s setup) inParallel(one func() error) error {
	var left atomic.Int64
	left.Store(int64(s.n))
	errs := make(chan error, s.workers)
	var workers sync.WaitGroup
	for range s.workers {
		workers.Go(func() {
			for left.Add(-1) >= 0 {
				if err := one(); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	workers.Wait()
	select {
	case err := <-errs:
		return err
	default:
		return nil
	}
}
