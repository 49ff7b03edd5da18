package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
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
	partitions     = 4
)

// setup is how a row's world differs from the others'.
type setup struct {
	consumers  int
	redis      []string // further arguments of redis-server
	smallDisk  bool     // Redis' folder is a file system of its own
	clock      bool     // the first consumer's clock can be set
	cluster    bool     // a Redis Cluster of three masters and three replicas, and no proxy before it
	visibility time.Duration
}

// world is a Redis, a receiver, the proxies before them, and the gateway's
// processes, under load.
type world struct {
	*stage
	build     build
	rng       *rand.Rand
	seconds   time.Duration         // how long the faults go on
	redis     *queuetest.Server     // nil in a cluster's row
	cluster   *queuetest.Cluster    // nil in any other
	rdb       redis.UniversalClient // past the proxy
	store     *proxy                // between the gateway and Redis; nil in a cluster's row
	street    *proxy                // between the gateway and the receiver
	receiver  *receiver
	api       string
	config    string
	ingest    *process
	consumers []*process
	environ   []string // further environment of the consumers
	load      *load

	binary    string // of the consumers
	faults    int    // injected
	notes     []string
	terms     terms
	forgetful []window
}

// build is what is built once for all rows.
type build struct {
	root   string // of the module
	dir    string // what is built goes here
	binary string
}

func newWorld(s *stage, b build, o setup, rng *rand.Rand) *world {
	w := &world{stage: s, build: b, binary: b.binary, rng: rng}
	where := w.startStore(o)
	w.receiver = newReceiver(s)
	w.street = newProxy(s, w.receiver.address)
	w.configure(o, where)
	w.ingest = w.startIngest()
	w.startConsumers(o)
	w.awaitReady()
	return w
}

// startStore starts Redis, and returns the configuration's section.
func (w *world) startStore(o setup) string {
	if o.cluster {
		w.cluster = queuetest.StartCluster(w.stage, o.redis...)
		w.rdb = w.cluster.Client()
		return fmt.Sprintf(`{urls: ["redis://%s"]}`, strings.Join(w.cluster.Addrs(), `", "redis://`))
	}
	if o.smallDisk {
		o.redis = append(o.redis, "--dir", w.smallDisk())
	}
	w.redis = queuetest.Start(w.stage, o.redis...)
	w.rdb = w.redis.Client()
	w.store = newProxy(w.stage, w.redis.Addr)
	return fmt.Sprintf(`{url: "redis://%s/0"}`, w.store.address)
}

// configure writes a catalogue of one template, and the configuration.
func (w *world) configure(o setup, where string) {
	w.api = freeAddress(w.stage)
	held := o.visibility
	if held == 0 {
		held = visibility
	}
	w.config = w.write("carillon.yaml", fmt.Sprintf(`redis: %s
queue: {partitions: %d, visibility: %v, namespace: %s}
ingest: {listen: "%s"}
admin: {listen: "127.0.0.1:0"}
auth: {disabled: true}
templates: {dir: catalogue}
channels: {webhook: {timeout: %v, allow_networks: ["127.0.0.0/8"], concurrency: %d}}
retry: {schedule: [%s], on_unknown: resend}
`, where, partitions, held, namespace, w.api, webhookTimeout, concurrency, "100ms, 200ms, "+strings.Repeat("500ms, ", 40)+"1s"))
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

// startConsumers starts them all; one whose clock can be set is the first.
func (w *world) startConsumers(o setup) {
	w.consumers = make([]*process, o.consumers)
	if o.clock {
		w.fitClock()
	}
	for i := range w.consumers {
		w.startConsumer(i)
		w.binary, w.environ = w.build.binary, nil
	}
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
// of final states, which nobody empties, and what is parked or dead. Which
// processes are at work and what was canceled is no work.
func (w *world) keys(ctx context.Context) (map[string]string, error) {
	out := map[string]string{}
	var mu sync.Mutex
	err := w.eachServer(ctx, func(ctx context.Context, c *redis.Client) error {
		for _, kind := range []string{"stream", "zset"} {
			keys := c.ScanType(ctx, 0, "*", scanPage, kind).Iterator()
			for keys.Next(ctx) {
				if work.MatchString(keys.Val()) && !noWork.MatchString(keys.Val()) {
					mu.Lock()
					out[keys.Val()] = kind
					mu.Unlock()
				}
			}
			if err := keys.Err(); err != nil {
				return err
			}
		}
		return nil
	})
	return out, err
}

// work are the keys that may hold any: the partitions' own and the inbox. What
// channels and the catalogue share has tags of other names.
var work = regexp.MustCompile(`^(\{[^}]*:[0-9]+\}:|[^{}]*:inbox$)`)

// noWork are those of them, streams and sorted sets, that hold none.
var noWork = regexp.MustCompile(`:(finals|processes|canceled|erasures)$`)

// scanPage is how many keys one SCAN looks at.
const scanPage = 5000

// eachServer calls do for the server, or for each master of the cluster at
// once.
func (w *world) eachServer(ctx context.Context, do func(context.Context, *redis.Client) error) error {
	switch c := w.rdb.(type) {
	case *redis.ClusterClient:
		return c.ForEachMaster(ctx, do)
	case *redis.Client:
		return do(ctx, c)
	}
	return fmt.Errorf("a %T is no client of one server or of a cluster", w.rdb)
}

// checkLeftovers fails unless every key but the streams and the namespace's
// own goes by itself.
func (w *world) checkLeftovers() {
	if err := w.eachServer(w.ctx, w.checkServer); err != nil {
		w.Errorf("looking at what is left in Redis: %v", err)
	}
}

func (w *world) checkServer(ctx context.Context, c *redis.Client) error {
	keys := c.Scan(ctx, 0, "*", scanPage).Iterator()
	var page []string
	for keys.Next(ctx) {
		if page = append(page, keys.Val()); len(page) == scanPage {
			if err := w.checkLives(ctx, c, page); err != nil {
				return err
			}
			page = page[:0]
		}
	}
	if err := keys.Err(); err != nil {
		return err
	}
	return w.checkLives(ctx, c, page)
}

func (w *world) checkLives(ctx context.Context, c *redis.Client, keys []string) error {
	pipe := c.Pipeline()
	lives, kinds := make([]*redis.DurationCmd, len(keys)), make([]*redis.StatusCmd, len(keys))
	for i, key := range keys {
		lives[i], kinds[i] = pipe.PTTL(ctx, key), pipe.Type(ctx, key)
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return err
	}
	for i, key := range keys {
		if lives[i].Val() == -1 && kinds[i].Val() != "stream" && key != namespace+":meta" {
			w.Errorf("%s (%s) is left in Redis for ever", key, kinds[i].Val())
		}
	}
	return nil
}
