package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/carillonhq/carillon/notice"
)

// servePlainIngest is the part "plain-ingest", what POST /v1/notifications is
// held against: the handler that one would write first, which decodes the JSON
// with the standard library and puts it on a stream. It checks nothing else
// and keeps no record. Its argument is Redis' address; it prints its own.
func servePlainIngest(args []string) error {
	if len(args) != 1 {
		return errors.New("plain-ingest takes the address of Redis")
	}
	rdb := redis.NewClient(&redis.Options{Addr: args[0], PoolSize: 64})
	defer rdb.Close()
	l, err := net.Listen("tcp", loopback(0)+":0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	srv := &http.Server{Handler: plainIngest(rdb), ReadHeaderTimeout: 10 * time.Second}
	go func() {
		io.Copy(io.Discard, os.Stdin)
		srv.Close()
	}()
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func plainIngest(rdb *redis.Client) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		var n notice.Notification
		if err := json.Unmarshal(body, &n); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		id, err := rdb.XAdd(r.Context(), &redis.XAddArgs{Stream: "plain", Values: []any{"event", body}}).Result()
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusAccepted)
		json.NewEncoder(w).Encode(map[string]string{"id": id, "status": "accepted"})
	})
}

// plainStream and plainGroup are what the plain queue works on.
const (
	plainStream = "plain"
	plainGroup  = "g"
	plainBatch  = 256
)

// fillPlainQueue puts n entries on a stream, each of what the gateway is given.
func (l *lab) fillPlainQueue(ctx context.Context, n int) error {
	p := newPattern(l.post(n, "queue"), l.target(0, "queue"))
	for from := 0; from < n; from += batchLines {
		pipe := l.redis.Pipeline()
		for i := from; i < min(from+batchLines, n); i++ {
			pipe.XAdd(ctx, &redis.XAddArgs{Stream: plainStream, Values: []any{"event", p.append(nil, i, time.Time{})}})
		}
		if _, err := pipe.Exec(ctx); err != nil {
			return fmt.Errorf("filling the plain stream: %w", err)
		}
	}
	return l.redis.XGroupCreate(ctx, plainStream, plainGroup, "0").Err()
}

// runPlainQueue is the part "plain-queue", what the queue is held against: it
// reads, acknowledges and deletes batches until n entries are gone. Its
// arguments are Redis' address and n.
func runPlainQueue(args []string) error {
	if len(args) != 2 {
		return errors.New("plain-queue takes the address of Redis and a count")
	}
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	rdb := redis.NewClient(&redis.Options{Addr: args[0]})
	defer rdb.Close()
	start := time.Now()
	for done := 0; done < n; {
		took, err := takePlainBatch(context.Background(), rdb)
		if err != nil {
			return fmt.Errorf("after %d entries: %w", done, err)
		}
		done += took
	}
	said := loaded{N: n, FirstNS: start.UnixNano(), LastNS: time.Now().UnixNano(), CPUNS: ownCPU().Nanoseconds()}
	return json.NewEncoder(stdout{}).Encode(said)
}

func takePlainBatch(ctx context.Context, rdb *redis.Client) (int, error) {
	read, err := rdb.XReadGroup(ctx, &redis.XReadGroupArgs{Group: plainGroup, Consumer: "c", Streams: []string{plainStream, ">"}, Count: plainBatch, Block: -1}).Result()
	if err != nil {
		return 0, err
	}
	var ids []string
	for _, m := range read[0].Messages {
		if text, _ := m.Values["event"].(string); !strings.HasPrefix(text, "{") {
			return 0, errors.New("an entry holds no event")
		}
		ids = append(ids, m.ID)
	}
	_, err = rdb.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		pipe.XAck(ctx, plainStream, plainGroup, ids...)
		pipe.XDel(ctx, plainStream, ids...)
		return nil
	})
	return len(ids), err
}
