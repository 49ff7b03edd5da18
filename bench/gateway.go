package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Keys of the two tenants that share the gateway.
const (
	keyA = "bench-key-of-tenant-a-0123456789"
	keyB = "bench-key-of-tenant-b-0123456789"
)

// webhookSecret is what the gateway signs with.
const webhookSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// batchLines is how many notifications one NDJSON batch has.
const batchLines = 1000

// template has a contract with its data, and its part is rendered anew for
// each notification.
const template = `category: test
schema:
  type: object
  required: [n, t, pad]
  properties: {n: {type: integer}, t: {type: string}, pad: {type: string}}
samples: {default: {n: 1, t: "0", pad: x}}
`

// configure writes the catalogue and the configuration: everything is on that
// a webhook passes through, keys, contract, rendering, signature, a cap a
// recipient and the record. All else is the default.
func (l *lab) configure() (err error) {
	if l.api, err = freeAddress(); err != nil {
		return err
	}
	l.config = filepath.Join(l.dir, "carillon.yaml")
	files := map[string]string{
		"catalogue/catalogue.yaml":            "default_locale: en\n",
		"catalogue/ping/template.yaml":        template,
		"catalogue/ping/en/webhook.json":      `{"type":"ping","timestamp":{{json .now}},"data":{"n":{{json .data.n}},"t":{{json .data.t}},"pad":{{json .data.pad}}}}`,
		"catalogue/ping/en/email.subject.txt": "ping {{.data.n}}",
		"catalogue/ping/en/email.txt":         "{{.data.t}} {{.data.pad}}",
		"carillon.yaml": fmt.Sprintf(`redis: {url: "redis://%s/0"}
queue: {max_backlog: 10000000}
ingest: {listen: "%s", max_body: 4MiB, max_batch: %d}
auth: {keys: [{tenant: a, key: "%s"}, {tenant: b, key: "%s"}]}
templates: {dir: catalogue}
%schannels: {webhook: {allow_networks: ["127.0.0.0/8"], concurrency: %d}}
`, l.redisAddr, l.api, batchLines, keyA, keyB, oneCap, l.concurrency),
	}
	for name, text := range files {
		path := filepath.Join(l.dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// gateway is one process of the gateway.
type gateway struct {
	*process
	admin string // address
}

// startGateway starts `carillon ingest` or `carillon consume` and waits until
// it is ready. env is set besides, as NAME=value.
func (l *lab) startGateway(ctx context.Context, command string, env ...string) (*gateway, error) {
	admin, err := l.freeAddress()
	if err != nil {
		return nil, err
	}
	p, err := l.start(command, l.binary, append(env, "CARILLON_ADMIN_LISTEN="+admin), command, "--config", l.config)
	if err != nil {
		return nil, err
	}
	g := &gateway{p, admin}
	err = await(ctx, 20*time.Second, "readiness of carillon "+command, func() (bool, error) {
		if !p.alive() {
			return false, fmt.Errorf("carillon %s ended before it was ready", command)
		}
		return g.ready(ctx), nil
	})
	if err != nil {
		return nil, fmt.Errorf("%w; it said: %s", err, l.said())
	}
	return g, nil
}

func (g *gateway) ready(ctx context.Context) bool {
	res, err := g.get(ctx, "/readyz")
	if err != nil {
		return false
	}
	res.Body.Close()
	return res.StatusCode == http.StatusOK
}

func (g *gateway) get(ctx context.Context, path string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+g.admin+path, nil)
	if err != nil {
		return nil, err
	}
	return http.DefaultClient.Do(req)
}

// putOffs is how often a delivery was put off for its host's sake.
func (g *gateway) putOffs(ctx context.Context) (int64, error) {
	res, err := g.get(ctx, "/metrics")
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	all, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, err
	}
	_, after, found := strings.Cut(string(all), `carillon_throttled_total{action="defer",scope="host"} `)
	if !found {
		return 0, nil
	}
	count, _, _ := strings.Cut(after, "\n")
	n, err := strconv.ParseFloat(count, 64)
	return int64(n), err
}

// keepProfile writes two seconds of CPU profile of the running process to
// where -profile says, beside whatever else is under way. The returned
// function waits for it.
func (l *lab) keepProfile(ctx context.Context, g *gateway) (wait func() error) {
	if l.profile == "" {
		return func() error { return nil }
	}
	done := make(chan error, 1)
	go func() { done <- g.writeProfile(ctx, l.profile) }()
	return func() error { return <-done }
}

func (g *gateway) writeProfile(ctx context.Context, path string) error {
	res, err := g.get(ctx, "/debug/pprof/profile?seconds=2")
	if err != nil {
		return fmt.Errorf("-profile: %w", err)
	}
	defer res.Body.Close()
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("-profile: %w", err)
	}
	_, err = io.Copy(f, res.Body)
	return errors.Join(err, f.Close())
}

// fill puts what a job says on the queue through an ingest of its own, which
// is gone afterwards. env is set besides, as NAME=value.
func (l *lab) fill(ctx context.Context, j job, env ...string) error {
	ingest, err := l.startGateway(ctx, "ingest", env...)
	if err != nil {
		return err
	}
	if _, err := l.load(ctx, j); err != nil {
		return fmt.Errorf("filling the queue: %w", err)
	}
	return ingest.stop()
}
