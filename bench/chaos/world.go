package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/carillonhq/carillon/queue/queuetest"
)

// What every row's gateway is configured with.
const (
	concurrency    = 16 // webhooks in flight in one consumer
	visibility     = 4 * time.Second
	webhookTimeout = time.Second
	namespace      = "carillon"
)

// setup is how a row's world differs from the others'.
type setup struct {
	consumers  int
	redis      []string // further arguments of redis-server
	smallDisk  bool     // Redis' folder is a file system of its own
	visibility time.Duration
}

// world is a Redis, a receiver, the proxies before them, and the gateway's
// processes, under load.
type world struct {
	*stage
	build     build
	rng       *rand.Rand
	seconds   time.Duration // how long the faults go on
	redis     *queuetest.Server
	rdb       *redis.Client // past the proxy
	store     *proxy        // between the gateway and Redis
	street    *proxy        // between the gateway and the receiver
	receiver  *receiver
	api       string
	config    string
	ingest    *process
	consumers []*process
	environ   []string // further environment of the consumers
	load      *load

	binary     string // of the consumers
	faults     int    // injected
	notes      []string
	terms      terms
	forgetful  []window
	unanswered int
}

// build is what is built once for all rows.
type build struct {
	root   string // of the module
	dir    string // what is built goes here
	binary string
}

func newWorld(s *stage, b build, o setup, rng *rand.Rand) *world {
	w := &world{stage: s, build: b, binary: b.binary, rng: rng}
	if o.smallDisk {
		o.redis = append(o.redis, "--dir", s.smallDisk())
	}
	w.redis = queuetest.Start(s, o.redis...)
	w.rdb = w.redis.Client()
	w.store = newProxy(s, w.redis.Addr)
	w.receiver = newReceiver(s)
	w.street = newProxy(s, w.receiver.address)
	w.configure(o)
	w.ingest = w.startIngest()
	w.consumers = make([]*process, o.consumers)
	for i := range w.consumers {
		w.startConsumer(i)
	}
	w.awaitReady()
	return w
}

// configure writes a catalogue of one template, and the configuration.
func (w *world) configure(o setup) {
	w.api = freeAddress(w.stage)
	held := o.visibility
	if held == 0 {
		held = visibility
	}
	w.config = w.write("carillon.yaml", fmt.Sprintf(`redis: {url: "redis://%s/0"}
queue: {partitions: 4, visibility: %v, namespace: %s}
ingest: {listen: "%s"}
admin: {listen: "127.0.0.1:0"}
auth: {disabled: true}
templates: {dir: catalogue}
channels: {webhook: {timeout: %v, allow_networks: ["127.0.0.0/8"], concurrency: %d}}
retry: {schedule: [%s], on_unknown: resend}
`, w.store.address, held, namespace, w.api, webhookTimeout, concurrency, "100ms, 200ms, "+strings.Repeat("500ms, ", 40)+"1s"))
	w.write("catalogue/catalogue.yaml", "default_locale: en\n")
	w.write("catalogue/chaos/template.yaml", "category: test\nschema: {type: object, required: [n], properties: {n: {type: integer}}}\nsamples: {default: {n: 1}}\n")
	w.write("catalogue/chaos/en/webhook.json", `{"type":"chaos","data":{"n":{{json .data.n}}}}`)
}

func (w *world) write(name, text string) string {
	path := filepath.Join(w.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		w.Fatalf("a folder: %v", err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		w.Fatalf("a file: %v", err)
	}
	return path
}

func freeAddress(s *stage) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.Fatalf("a free port: %v", err)
	}
	defer l.Close()
	return l.Addr().String()
}

func (w *world) startIngest() *process {
	return w.spawn("ingest", nil, w.build.binary, "ingest", "--config", w.config)
}

func (w *world) startConsumer(i int) {
	w.consumers[i] = w.spawn(fmt.Sprintf("consumer-%d", i), w.environ, w.binary, "consume", "--config", w.config)
}

// awaitReady waits until every process is at work.
func (w *world) awaitReady() {
	w.awaitAPI()
	for i := range w.consumers {
		w.awaitConsumer(i)
	}
}

// awaitAPI waits until the API reaches Redis: it knows then what it does not
// have.
func (w *world) awaitAPI() {
	w.await(startLimit, "the API answers", func() bool {
		res, err := http.Get("http://" + w.api + "/v1/notifications/0-00000000000000000000")
		if err != nil {
			return false
		}
		res.Body.Close()
		return res.StatusCode == http.StatusNotFound
	})
}

// awaitConsumer waits until a consumer that was just started is at work.
func (w *world) awaitConsumer(i int) {
	w.await(startLimit, fmt.Sprintf("consumer %d starts", i), w.consumers[i].atWork)
}

// startLimit is how long a process may take that takes tenths of a second on
// an idle machine.
const startLimit = 30 * time.Second

// await polls until done. A row that waits in vain is over.
func (w *world) await(limit time.Duration, what string, done func() bool) {
	if !w.poll(limit, done) {
		w.Fatalf("not within %v: %s", limit, what)
	}
}

// poll asks until done, for at most limit.
func (w *world) poll(limit time.Duration, done func() bool) bool {
	end := time.After(limit)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-end:
			return false
		case <-w.ctx.Done():
			w.Fatal("interrupted")
		}
	}
	return true
}

// rest lets the load go on undisturbed.
func (w *world) rest(d time.Duration) {
	select {
	case <-time.After(d):
	case <-w.ctx.Done():
		w.Fatal("interrupted")
	}
}

// between is a random time from a to b.
func (w *world) between(a, b time.Duration) time.Duration {
	return a + time.Duration(w.rng.Int64N(int64(b-a)+1))
}

// injected counts a fault, and how many duplicates it may explain.
func (w *world) injected(duplicates int) {
	w.faults++
	w.terms.duplicates += duplicates
}

// notef is for the line below the row's.
func (w *world) notef(format string, args ...any) {
	w.notes = append(w.notes, fmt.Sprintf(format, args...))
}

// mayForget says that the store may have lost what it acknowledged in a
// window: what was accepted then may be gone, and what arrived then may come
// again.
func (w *world) mayForget(lost window) {
	w.terms.forgets = true
	w.forgetful = append(w.forgetful, lost)
	w.terms.duplicates += w.receiver.within(lost)
}

// drained waits until nothing is left on any stream or parked.
func (w *world) drained(limit time.Duration) bool {
	return w.poll(limit, func() bool { return w.backlog(w.ctx) == 0 })
}

// backlog is how much is on streams or parked; -1 when Redis does not say.
func (w *world) backlog(ctx context.Context) int64 {
	keys, err := w.keys(ctx)
	if err != nil {
		return -1
	}
	var total int64
	for key, kind := range keys {
		var n int64
		switch kind {
		case "stream":
			n, err = w.rdb.XLen(ctx, key).Result()
		case "zset":
			n, err = w.rdb.ZCard(ctx, key).Result()
		}
		if err != nil {
			return -1
		}
		total += n
	}
	return total
}

// keys are what work is kept under, with their types: the streams but the one
// of final states, which nobody empties, and what is parked.
func (w *world) keys(ctx context.Context) (map[string]string, error) {
	out := map[string]string{}
	for _, kind := range []string{"stream", "zset"} {
		for at := uint64(0); ; {
			page, next, err := w.rdb.ScanType(ctx, at, "*", 5000, kind).Result()
			if err != nil {
				return nil, err
			}
			for _, key := range page {
				if !strings.HasSuffix(key, ":finals") {
					out[key] = kind
				}
			}
			if at = next; at == 0 {
				break
			}
		}
	}
	return out, nil
}

// checkLeftovers fails unless every key but the streams and the namespace's
// own goes by itself.
func (w *world) checkLeftovers() {
	for at := uint64(0); ; {
		page, next, err := w.rdb.Scan(w.ctx, at, "*", 1000).Result()
		if err != nil {
			w.Errorf("listing the keys: %v", err)
			return
		}
		pipe := w.rdb.Pipeline()
		lives, kinds := make([]*redis.DurationCmd, len(page)), make([]*redis.StatusCmd, len(page))
		for i, key := range page {
			lives[i], kinds[i] = pipe.PTTL(w.ctx, key), pipe.Type(w.ctx, key)
		}
		if _, err := pipe.Exec(w.ctx); err != nil && len(page) > 0 {
			w.Errorf("asking how long the keys live: %v", err)
			return
		}
		for i, key := range page {
			if lives[i].Val() == -1 && kinds[i].Val() != "stream" && key != namespace+":meta" {
				w.Errorf("%s (%s) is left in Redis for ever", key, kinds[i].Val())
			}
		}
		if at = next; at == 0 {
			return
		}
	}
}
