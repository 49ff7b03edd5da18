package e2e_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/carillonhq/carillon/queue/queuetest"
)

// sections are a configuration file's sections in YAML's flow form.
type sections map[string]string

// gateway is a Redis, a receiver, a catalogue, and the processes that a test
// starts over them.
type gateway struct {
	t        *testing.T
	dir      string
	redis    *queuetest.Server
	rdb      *redis.Client
	receiver *receiver
	base     sections
	files    int
}

// newGateway starts everything but carillon. override replaces sections of a
// configuration that delivers webhooks to loopback; redisArgs are further
// arguments for redis-server.
func newGateway(t *testing.T, override sections, redisArgs ...string) *gateway {
	t.Helper()
	if err := openFolders(".."); err != nil {
		t.Fatalf("opening the source's folders: %v", err)
	}
	g := &gateway{t: t, dir: t.TempDir(), redis: queuetest.Start(t, redisArgs...), receiver: newReceiver(t)}
	g.rdb = g.redis.Client()
	g.base = sections{
		"redis":     fmt.Sprintf("{url: %q}", g.redis.URL()),
		"queue":     "{partitions: 4, visibility: 30s}",
		"ingest":    `{listen: "127.0.0.1:0"}`,
		"admin":     `{listen: "127.0.0.1:0"}`,
		"auth":      "{disabled: true}",
		"templates": "{dir: catalogue}",
		"channels":  `{webhook: {timeout: 10s, allow_networks: ["127.0.0.0/8"], concurrency: 16}}`,
		"retry":     "{schedule: [50ms, 50ms]}",
	}
	maps.Copy(g.base, override)
	g.writeCatalogue()
	return g
}

// writeCatalogue has a template without demands and one with a required datum.
func (g *gateway) writeCatalogue() {
	for name, text := range map[string]string{
		"catalogue.yaml":                     "default_locale: en",
		"ping/template.yaml":                 "category: test\nschema: {type: object, properties: {n: {type: integer}}}\nsamples: {default: {n: 1}}",
		"ping/en/webhook.json":               `{"type":"ping","data":{"n":{{json .data.n}}}}`,
		"order-shipped/template.yaml":        "category: shipping\nschema: {type: object, required: [order], properties: {order: {type: string}}}\nsamples: {default: {order: A-1}}",
		"order-shipped/en/webhook.json":      `{"type":"order-shipped","data":{"order":{{json .data.order}}}}`,
		"order-shipped/en/email.subject.txt": "Order {{.data.order}}",
		"order-shipped/en/email.txt":         "Your order {{.data.order}} is on its way.",
	} {
		g.write("catalogue/"+name, text+"\n")
	}
}

// write puts a file into the configuration's folder.
func (g *gateway) write(name, text string) string {
	g.t.Helper()
	path := filepath.Join(g.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		g.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		g.t.Fatal(err)
	}
	return path
}

// config writes a configuration file with override in place of the gateway's
// own sections, and returns its path.
func (g *gateway) config(override sections) string {
	g.t.Helper()
	all := maps.Clone(g.base)
	maps.Copy(all, override)
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintf(&b, "%s: %s\n", name, all[name])
	}
	g.files++
	return g.write(fmt.Sprintf("carillon-%d.yaml", g.files), b.String())
}

// ingest starts the API.
func (g *gateway) ingest() *process {
	g.t.Helper()
	return start(g.t, "ingest", "--config", g.config(nil))
}

// consume starts a consumer; flags are further ones.
func (g *gateway) consume(name string, flags ...string) *process {
	g.t.Helper()
	return start(g.t, append([]string{"consume", "--config", g.config(nil), "--name", name}, flags...)...)
}

// ping is a notification for the receiver that bears n.
func (g *gateway) ping(n int) object {
	return object{"template": "ping", "to": object{"user": fmt.Sprintf("u%d", n), "webhooks": g.hooks()}, "data": object{"n": n}}
}

// hooks is the receiver as a recipient's webhooks.
func (g *gateway) hooks() []object { return []object{{"url": g.receiver.URL + "/hook"}} }

// pings are the notifications from first to last.
func (g *gateway) pings(first, last int) []object {
	out := make([]object, 0, last-first+1)
	for n := first; n <= last; n++ {
		out = append(out, g.ping(n))
	}
	return out
}

// streams lists the keys of every stream that is worked: not those of final
// states, which an archive follows.
func (g *gateway) streams() []string {
	g.t.Helper()
	return slices.DeleteFunc(g.scan("stream"), isFinals)
}

func isFinals(key string) bool { return strings.HasSuffix(key, ":finals") }

// scan lists the keys of a type; of every type when kind is empty.
func (g *gateway) scan(kind string) (keys []string) {
	g.t.Helper()
	for at := uint64(0); ; {
		page, next, err := g.rdb.ScanType(g.t.Context(), at, "*", 1000, kind).Result()
		if kind == "" {
			page, next, err = g.rdb.Scan(g.t.Context(), at, "*", 1000).Result()
		}
		if err != nil {
			g.t.Fatalf("listing the keys: %v", err)
		}
		keys = append(keys, page...)
		if at = next; at == 0 {
			return keys
		}
	}
}

// lives is the time to live of every key that is no stream; negative for ever.
func (g *gateway) lives() map[string]time.Duration {
	g.t.Helper()
	streams := map[string]bool{}
	for _, key := range g.streams() {
		streams[key] = true
	}
	pipe, asked := g.rdb.Pipeline(), map[string]*redis.DurationCmd{}
	for _, key := range g.scan("") {
		if !streams[key] && !isFinals(key) {
			asked[key] = pipe.PTTL(g.t.Context(), key)
		}
	}
	if _, err := pipe.Exec(g.t.Context()); err != nil {
		g.t.Fatalf("asking how long the keys live: %v", err)
	}
	lives := make(map[string]time.Duration, len(asked))
	for key, cmd := range asked {
		lives[key] = cmd.Val()
	}
	return lives
}

// onStreams is the number of entries on all streams together.
func (g *gateway) onStreams() (total int) {
	g.t.Helper()
	for _, key := range g.streams() {
		total += int(g.rdb.XLen(g.t.Context(), key).Val())
	}
	return total
}

// awaitEmptyStreams waits until everything has been settled.
func (g *gateway) awaitEmptyStreams() {
	g.t.Helper()
	eventually(g.t, patience, "every stream is empty", func() bool { return g.onStreams() == 0 }, func() any { return g.onStreams() })
}
