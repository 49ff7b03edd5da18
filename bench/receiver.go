package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"syscall"
	"time"
)

// receiver counts what it is sent, in a process of its own, so that its work is
// the same for whoever sends.
type receiver struct {
	count       atomic.Int64
	first, last atomic.Int64 // unix ns
}

// stats is what a receiver tells about itself.
type stats struct {
	Count   int64 `json:"count"`
	FirstNS int64 `json:"first_ns"`
	LastNS  int64 `json:"last_ns"`
	CPUNS   int64 `json:"cpu_ns"` // of the receiver's process, since it began
}

// rate is the mean a second between the first and the last request.
func (s stats) rate() float64 {
	return float64(s.Count) / time.Duration(s.LastNS-s.FirstNS).Seconds()
}

// serveReceiver prints its address, and serves until its input ends, which it
// does when the process that started it is gone.
func serveReceiver() error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	r := &receiver{}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /h", r.take)
	mux.HandleFunc("GET /stats", r.stats)
	mux.HandleFunc("POST /reset", r.reset)
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	fmt.Println(l.Addr())
	go func() {
		io.Copy(io.Discard, os.Stdin)
		srv.Close()
	}()
	if err := srv.Serve(l); err != http.ErrServerClosed {
		return err
	}
	return nil
}

func (r *receiver) take(w http.ResponseWriter, req *http.Request) {
	io.Copy(io.Discard, req.Body)
	now := time.Now().UnixNano()
	r.first.CompareAndSwap(0, now)
	r.last.Store(now)
	r.count.Add(1)
	w.WriteHeader(http.StatusNoContent)
}

func (r *receiver) stats(w http.ResponseWriter, _ *http.Request) {
	json.NewEncoder(w).Encode(stats{r.count.Load(), r.first.Load(), r.last.Load(), ownCPU().Nanoseconds()})
}

func (r *receiver) reset(w http.ResponseWriter, _ *http.Request) {
	r.count.Store(0)
	r.first.Store(0)
	r.last.Store(0)
	w.WriteHeader(http.StatusNoContent)
}

// ownCPU is the processor time that this process has used.
func ownCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// ask fetches a running receiver's stats.
func ask(ctx context.Context, address string) (s stats, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/stats", nil)
	if err != nil {
		return s, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return s, err
	}
	defer res.Body.Close()
	return s, json.NewDecoder(res.Body).Decode(&s)
}

func resetReceiver(ctx context.Context, address string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+address+"/reset", nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	return res.Body.Close()
}
