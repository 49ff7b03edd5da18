package e2e_test

import (
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// problem is an RFC 9457 answer.
type problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	Errors []struct {
		Pointer string `json:"pointer"`
		Detail  string `json:"detail"`
	} `json:"errors"`
}

// says is everything that a problem tells, on one line.
func (p problem) says() string {
	said := []string{p.Detail}
	for _, e := range p.Errors {
		said = append(said, e.Pointer+" "+e.Detail)
	}
	return strings.Join(said, "; ")
}

func TestAFaultyBodyIsAnsweredWithItsMend(t *testing.T) {
	t.Parallel()
	g := newGateway(t, sections{"ingest": `{listen: "127.0.0.1:0", max_body: 4KiB, max_batch: 2}`})
	api := newClient(t, g.ingest().api)
	with := func(change object) object {
		n := object{"template": "order-shipped", "to": object{"user": "u1", "webhooks": g.hooks()}, "data": object{"order": "A-1"}}
		for k, v := range change {
			n[k] = v
		}
		return n
	}
	for _, w := range []struct {
		name    string
		body    any
		status  int
		pointer string // of one of the errors; "-" for none
		says    string
	}{
		{"an unknown template, the nearest named", with(object{"template": "order-shiped"}), 422, "/template", "order-shipped"},
		{"an unknown field, the nearest named", with(object{"chanels": []string{"webhook"}}), 422, "/chanels", `did you mean "channels"?`},
		{"a variable that is missing", with(object{"data": object{}}), 422, "/data/order", "required"},
		{"a variable of another type", with(object{"data": object{"order": 7}}), 422, "/data/order", "string"},
		{"no address for the channel", with(object{"to": object{"email": "ada@example.com"}, "channels": []string{"webhook"}}), 422, "-", "webhook"},
		{"a channel that is off", with(object{"to": object{"user": "u1", "email": "ada@example.com"}, "channels": []string{"email"}}), 422, "/channels/0", "email"},
		{"an address that cannot be one", with(object{"to": object{"webhooks": []object{{"url": "ftp://example.com"}}}}), 422, "/to/webhooks/0/url", "http"},
		{"malformed JSON, with the offset", []byte(`{"template": oops}`), 400, "", "byte 13"},
		{"JSON that ends too soon", []byte(`{"template":`), 400, "", "byte 12"},
		{"a body over max_body", with(object{"data": object{"order": strings.Repeat("x", 5000)}}), 413, "-", "max_body"},
		{"an event that is not addressed to anybody", with(object{"to": object{}}), 422, "/to", "user"},
	} {
		t.Run(w.name, func(t *testing.T) {
			checkProblem(t, api.call("POST", "/v1/notifications", w.body), w.status, w.pointer, w.says)
		})
	}
	t.Run("a batch over max_batch", func(t *testing.T) {
		checkProblem(t, api.call("POST", "/v1/notifications/batch", g.pings(1, 3)), 413, "-", "max_batch")
	})
	if g.onStreams() != 0 {
		t.Errorf("%d entries on the streams: something that was refused was queued", g.onStreams())
	}
}

// checkProblem fails unless a is a problem with a status, an error at pointer
// ("-" for any) and words.
func checkProblem(t *testing.T, a answer, status int, pointer, words string) {
	t.Helper()
	p := read[problem](t, a)
	if a.status != status || p.Status != status || a.header.Get("Content-Type") != "application/problem+json" || p.Type == "" || p.Title == "" {
		t.Errorf("answered %d %s: %s, want a problem with status %d", a.status, a.header.Get("Content-Type"), a.body, status)
	}
	if !strings.Contains(p.says(), words) {
		t.Errorf("the problem says %q, want %q in it", p.says(), words)
	}
	at := false
	for _, e := range p.Errors {
		at = at || e.Pointer == pointer
	}
	if !at && pointer != "-" {
		t.Errorf("no error at %q: %s", pointer, a.body)
	}
}

func TestOnlyAKeyOpensTheDoor(t *testing.T) {
	t.Parallel()
	const sender, reader = "sender-key-0123456789", "reader-key-0123456789"
	g := newGateway(t, sections{"auth": "{keys: [{tenant: acme, key: " + sender + ", scopes: [send]}, {tenant: acme, key: " + reader + ", scopes: [read]}, {tenant: other, key: other-key-0123456789}]}"})
	api := newClient(t, g.ingest().api)
	for _, w := range []struct {
		name, header string
		status       int
	}{
		{"no key", "", 401},
		{"a wrong key", "Bearer sender-key-0123456788", 401},
		{"a key in another scheme", "Basic " + sender, 401},
		{"a key without the scope", "Bearer " + reader, 403},
		{"the key", "Bearer " + sender, 202},
	} {
		t.Run(w.name, func(t *testing.T) {
			a := api.call("POST", "/v1/notifications", g.ping(1), "Authorization", w.header)
			if a.status != w.status || (w.status == 401) != (a.header.Get("WWW-Authenticate") != "") {
				t.Errorf("answered %d, WWW-Authenticate %q, want %d: %s", a.status, a.header.Get("WWW-Authenticate"), w.status, a.body)
			}
		})
	}
	id := read[struct {
		ID string `json:"id"`
	}](t, api.call("POST", "/v1/notifications", g.ping(2), "Authorization", "Bearer "+sender)).ID
	for key, status := range map[string]int{reader: 200, "other-key-0123456789": 404} {
		if a := api.call("GET", "/v1/notifications/"+id, nil, "Authorization", "Bearer "+key); a.status != status {
			t.Errorf("GET with %s answers %d, want %d", key, a.status, status)
		}
	}
}

func TestAFaultySetUpIsRefusedInOneLine(t *testing.T) {
	t.Parallel()
	g := newGateway(t, nil)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := free.Addr().String()
	free.Close()
	g.write("broken/order/template.yaml", "schema: {type: object}\n")
	g.write("broken/order/en/webhook.json", `{"x": {{json .data.`)
	ingest, consume, dead := []string{"ingest"}, []string{"consume"}, []string{"dead", "list"}
	for _, w := range []struct {
		name     string
		command  []string
		override sections
		code     int
		says     []string
	}{
		{"an unknown key, the nearest named", ingest, sections{"queue": "{partition: 4}"}, 2, []string{"queue.partition", "did you mean partitions?", ".yaml:"}},
		{"a value that cannot be", consume, sections{"queue": "{visibility: soon}"}, 2, []string{"queue.visibility", `"soon"`, "15s"}},
		{"keys of nobody without auth.disabled", ingest, sections{"auth": "{}"}, 2, []string{"auth"}},
		{"no catalogue", ingest, sections{"templates": "{dir: nowhere}"}, 2, []string{filepath.Join(g.dir, "nowhere")}},
		{"no catalogue for a consumer", consume, sections{"templates": "{dir: nowhere}"}, 2, []string{filepath.Join(g.dir, "nowhere")}},
		{"a file in place of the catalogue", ingest, sections{"templates": "{dir: catalogue/catalogue.yaml}"}, 2, []string{filepath.Join(g.dir, "catalogue/catalogue.yaml")}},
		{"a catalogue with a fault", ingest, sections{"templates": "{dir: broken}"}, 2, []string{filepath.Join(g.dir, "broken"), "order/en/webhook.json:1"}},
		{"a port in use", ingest, sections{"ingest": `{listen: "` + taken.Addr().String() + `"}`}, 2, []string{"ingest.listen", taken.Addr().String(), "in use"}},
		{"an admin port in use", consume, sections{"admin": `{listen: "` + taken.Addr().String() + `"}`}, 2, []string{"admin.listen", taken.Addr().String(), "in use"}},
		{"a channel that is not configured", append(slices.Clone(consume), "--channels", "email"), nil, 2, []string{"--channels", `"email"`, "under channels:"}},
		{"a Redis that is away", dead, sections{"redis": `{url: "redis://` + nobody + `"}`}, 3, []string{nobody, "redis.url"}},
		{"a dead letter that is not there", []string{"dead", "show", "0-00000000000000000000-0"}, nil, 1, []string{"0-00000000000000000000-0"}},
	} {
		t.Run(w.name, func(t *testing.T) {
			got := run(t, append(slices.Clone(w.command), "--config", g.config(w.override))...)
			checkEnd(t, got, w.code, w.says...)
		})
	}
	t.Run("a configuration that is not there", func(t *testing.T) {
		checkEnd(t, run(t, "ingest", "--config", filepath.Join(g.dir, "none.yaml")), 2, "none.yaml")
	})
}

// checkEnd fails unless a command ended with a code and one line on stderr
// that has every one of the words.
func checkEnd(t *testing.T, got result, code int, words ...string) {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(got.stderr), "\n")
	if got.code != code || len(lines) != 1 || got.stdout != "" {
		t.Errorf("ended with %d, want %d and one line on stderr; stdout %q, stderr:\n%s", got.code, code, got.stdout, got.stderr)
	}
	for _, word := range words {
		if !strings.Contains(got.stderr, word) {
			t.Errorf("stderr lacks %q: %s", word, got.stderr)
		}
	}
}

// TestOtherPartitionsAreRefused is exit code 2 with the stored number, whether
// Redis is there at the start or comes later.
func TestOtherPartitionsAreRefused(t *testing.T) {
	t.Parallel()
	g := newGateway(t, nil, "--appendonly", "yes")
	newClient(t, g.ingest().api).post(g.ping(1))
	for _, command := range []string{"ingest", "consume"} {
		got := run(t, command, "--config", g.config(sections{"queue": "{partitions: 8}"}))
		checkEnd(t, got, 2, "queue.partitions", "8", "laid out for 4")
	}
	g.redis.Kill()
	late := []*process{
		start(t, "ingest", "--config", g.config(sections{"queue": "{partitions: 8}"})),
		start(t, "consume", "--config", g.config(sections{"queue": "{partitions: 8}"})),
	}
	g.redis.Restart()
	for _, p := range late {
		if code := p.exitCode(); code != 2 || !strings.Contains(p.log.String(), "laid out for 4") {
			t.Errorf("ended with %d, want 2 and the stored number:\n%s", code, p.log)
		}
	}
}
