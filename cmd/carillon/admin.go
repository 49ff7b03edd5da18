package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/carillonhq/carillon/queue"
)

// readiness is the body of /readyz.
type readiness struct {
	Status   string            `json:"status"` // ready, or unready
	Faults   map[string]string `json:"faults,omitempty"`
	Warnings map[string]string `json:"warnings,omitempty"`
}

// adminHandler serves health, metrics and profiles. extra adds what only one
// kind of process knows to the readiness; nil for nothing.
func (g *gateway) adminHandler(extra func(*readiness)) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) { g.serveReadiness(w, r, extra) })
	mux.Handle("GET /metrics", promhttp.HandlerFor(g.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}

// serveReadiness answers 200 when this process can do its work, and 503 with
// what is wrong when it cannot.
func (g *gateway) serveReadiness(w http.ResponseWriter, r *http.Request, extra func(*readiness)) {
	ready := readiness{Status: "ready", Faults: map[string]string{}, Warnings: map[string]string{}}
	if err := queue.Ping(r.Context(), g.rdb); err != nil {
		ready.Faults["redis"] = err.Error()
	} else if err := g.queue.Ready(); err != nil {
		ready.Faults["queue"] = err.Error()
	} else {
		g.describeStore(r.Context(), &ready)
	}
	if g.catalogue == nil { // of a process that renders nothing
	} else if err := g.catalogue.Failure(); err != nil {
		ready.Warnings["templates"] = "the last good catalogue is serving: " + err.Error()
	}
	if g.reloader != nil {
		g.reloader.describe(&ready)
	}
	if extra != nil {
		extra(&ready)
	}
	code := http.StatusOK
	if len(ready.Faults) > 0 {
		ready.Status, code = "unready", http.StatusServiceUnavailable
	}
	body, err := json.Marshal(&ready, json.Deterministic(true))
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	w.Write(append(body, '\n'))
}

// describeStore adds the ways in which Redis would lose what it was told, each
// of which is also logged once. The store of `carillon dev` says for itself what
// it keeps.
func (g *gateway) describeStore(ctx context.Context, r *readiness) {
	if g.embedded {
		return
	}
	section := &g.cfg.Queue
	if renewed := g.inForce.Load(); renewed != nil {
		section = renewed
	}
	warnings, err := queue.Warnings(ctx, g.rdb, *section)
	if err != nil {
		r.Warnings["redis"] = "not every server could be asked how it keeps its data: " + err.Error()
	}
	for name, what := range warnings {
		r.Warnings[name] = what
		if _, known := g.warned.LoadOrStore(name, true); !known {
			g.log.Warn("Redis would lose what was accepted", "warning", name, "what", what)
		}
	}
}

// listener is one HTTP server of a process.
type listener struct {
	what    string // "the API", for errors
	key     string // the configuration key of its address
	address string
	handler http.Handler
}

// serve runs HTTP servers until ctx ends, then lets requests in flight finish
// within grace. ready is called with each server's address once all listen.
func serve(ctx context.Context, grace time.Duration, ready func(addresses []string), ls ...listener) error {
	var listening []net.Listener
	defer func() {
		for _, l := range listening {
			l.Close()
		}
	}()
	var addresses []string
	for _, l := range ls {
		bound, err := net.Listen("tcp", l.address)
		if err != nil {
			return usage(fmt.Errorf("%s: cannot listen on %q for %s: %w: choose another address, or stop what uses it", l.key, l.address, l.what, err))
		}
		listening = append(listening, bound)
		addresses = append(addresses, bound.Addr().String())
	}
	failed := make(chan error, len(ls))
	var servers []*http.Server
	for i, l := range ls {
		srv := &http.Server{Handler: l.handler, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10}
		servers = append(servers, srv)
		go func() { failed <- srv.Serve(listening[i]) }()
	}
	ready(addresses)
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	return errors.Join(err, shutdown(servers, grace))
}

func shutdown(servers []*http.Server, grace time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	for _, srv := range servers {
		if err := srv.Shutdown(ctx); err != nil {
			srv.Close() // requests that outlast the grace are cut
		}
	}
	return nil
}
