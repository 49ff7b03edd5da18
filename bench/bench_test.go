package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/carillonhq/carillon/notice"
)

// TestMain lets the test binary be the parts of a measurement too.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		if part, ok := parts()[os.Args[1]]; ok {
			exitOn(part(os.Args[2:]))
			return
		}
	}
	os.Exit(m.Run())
}

// TestMeasurements runs the rows with next to nothing to do, on one build.
func TestMeasurements(t *testing.T) {
	root, err := moduleRoot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(t.TempDir(), "carillon")
	if err := goBuild(t.Context(), root, binary, "./cmd/carillon"); err != nil {
		t.Fatal(err)
	}
	t.Run("every row measures", func(t *testing.T) { testEveryRow(t, binary) })
	t.Run("the peers are measured", func(t *testing.T) { testPeers(t, binary) })
}

// testEveryRow wants figures on both sides of every line that has two, and
// processor time of everybody.
func testEveryRow(t *testing.T, binary string) {
	figures := filepath.Join(t.TempDir(), "bench.json")
	o := options{binary: binary, n: 200, size: 600, concurrency: 64, connections: 8, rounds: 1, span: 200 * time.Millisecond, json: figures}
	all := names(rows(o))
	o.only = strings.Join(slices.DeleteFunc(slices.Clone(all), func(name string) bool { return name == "peers" }), ",")
	var table bytes.Buffer
	if err := run(t.Context(), o, &table, io.Discard); err != nil {
		t.Fatal(err)
	}
	for _, l := range readReport(t, figures).Lines {
		t.Run(l.Work, func(t *testing.T) { checkLine(t, l, table.String()) })
	}
}

func readReport(t *testing.T, path string) (r report) {
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Lines) < 13 || len(r.Machine) < 2 {
		t.Fatalf("%d lines and %d facts of the machine", len(r.Lines), len(r.Machine))
	}
	return r
}

// checkLine wants one round's figures of a line, in the table too.
func checkLine(t *testing.T, l line, table string) {
	// Of a receiver that refuses, the share refused and the time to settle may be
	// nought: that is the best they can be.
	nought := l.Row == "refusing" && !l.Aims[0].Least
	if len(l.Ours) != 1 || l.Ours[0] < 0 || l.Ours[0] == 0 && !nought {
		t.Errorf("the gateway's figures are %v", l.Ours)
	}
	if l.Baseline != "" && (len(l.Base) != 1 || l.Base[0] <= 0) {
		t.Errorf("the baseline's figures are %v", l.Base)
	}
	if l.Unit == "/s" && l.OursCPU[0]["Redis"] <= 0 {
		t.Errorf("processor time %v has none of Redis", l.OursCPU[0])
	}
	if len(l.Aims) == 0 {
		t.Error("has no aim")
	}
	if !strings.Contains(table, "| "+l.Work+", "+l.Unit+" | "+number(l.Ours[0])) {
		t.Errorf("the table has no such line:\n%s", table)
	}
}

// testPeers needs the peers' modules, which nothing else does: it
// is skipped where they were not downloaded before.
func testPeers(t *testing.T, binary string) {
	t.Setenv("GOPROXY", "off")
	o := options{binary: binary, n: 200, size: 600, concurrency: 16, connections: 8, rounds: 1, only: "peers"}
	var table bytes.Buffer
	err := run(t.Context(), o, &table, io.Discard)
	if err != nil && strings.Contains(err.Error(), "GOPROXY=off") {
		t.Skip("run `go mod download` in bench/peers: ", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, peer := range []string{"hibiken/asynq", "watermill-redisstream"} {
		if !strings.Contains(table.String(), peer) {
			t.Errorf("nothing is said of %s:\n%s", peer, table.String())
		}
	}
}

func TestNothingIsLeftBehind(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	o := options{n: 1, size: 1, concurrency: 1, connections: 1, rounds: 1, binary: "/bin/false", only: "drain"}
	if err := run(t.Context(), o, io.Discard, io.Discard); err == nil {
		t.Fatal("a gateway that does not start was measured")
	}
	left, err := os.ReadDir(tmp)
	if err != nil || len(left) > 0 {
		t.Fatalf("left %v (%v)", left, err)
	}
}

func TestAnUnknownRowIsRefusedWithTheKnownOnes(t *testing.T) {
	_, err := choose(rows(options{n: 1}), "drain,drian")
	if err == nil || !strings.Contains(err.Error(), `"drian"`) || !strings.Contains(err.Error(), "ndjson") {
		t.Fatal(err)
	}
}

// dues collects what a server is sent.
type dues struct {
	mu  sync.Mutex
	due []int64
}

func (d *dues) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	d.mu.Lock()
	d.due = append(d.due, dueNS(body))
	first := len(d.due) == 1
	d.mu.Unlock()
	if first {
		time.Sleep(50 * time.Millisecond) // the server's own slowness, which is what is measured
	}
	w.WriteHeader(http.StatusAccepted)
}

// TestAnOpenLoopCountsTheWaitForATurn pins what makes a latency honest: behind
// a request that stalls the only connection, the next ones still carry the
// moments they were due at.
func TestAnOpenLoopCountsTheWaitForATurn(t *testing.T) {
	var d dues
	server := httptest.NewServer(&d)
	defer server.Close()
	j := job{API: strings.TrimPrefix(server.URL, "http://"), Path: "/", N: 10, Clients: 1, Rate: 200, Targets: []string{"http://127.0.0.1/h"}, Limit: 5 * time.Second}
	if _, err := j.run(); err != nil {
		t.Fatal(err)
	}
	for i := 1; i < len(d.due); i++ {
		if step := time.Duration(d.due[i] - d.due[i-1]); step != 5*time.Millisecond {
			t.Errorf("request %d was due %v after the one before it, want 5ms", i, step)
		}
	}
	if len(d.due) != 10 {
		t.Errorf("%d requests, want 10", len(d.due))
	}
}

func TestALoadThatIsRefusedIsNoMeasurement(t *testing.T) {
	for name, answer := range map[string]struct {
		status int
		body   string
	}{
		"a problem":                    {429, `{"title":"slow down"}`},
		"a batch of which some is bad": {202, `{"accepted":1,"rejected":1,"results":[]}`},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				io.Copy(io.Discard, r.Body)
				w.WriteHeader(answer.status)
				io.WriteString(w, answer.body)
			}))
			defer server.Close()
			j := job{API: strings.TrimPrefix(server.URL, "http://"), Path: "/", N: 2, Batch: 2, Clients: 1, Targets: []string{"http://127.0.0.1/h"}, Limit: 5 * time.Second}
			_, err := j.run()
			if err == nil || !strings.Contains(err.Error(), answer.body) {
				t.Fatalf("got %v, want an error that shows %s", err, answer.body)
			}
		})
	}
}

func TestABatchIsAskedForInAnyFraming(t *testing.T) {
	for _, flush := range []bool{false, true} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			w.WriteHeader(http.StatusAccepted)
			if flush { // without a length, so in chunks
				w.(http.Flusher).Flush()
			}
			io.WriteString(w, `{"accepted":`+strconv.Itoa(bytes.Count(body, []byte("\n")))+`,"rejected":0}`)
		}))
		j := job{API: strings.TrimPrefix(server.URL, "http://"), Path: "/", N: 25, Batch: 10, Clients: 2, Targets: []string{"http://127.0.0.1/h"}, Limit: 5 * time.Second}
		r, err := j.run()
		if err != nil || r.N != 25 || r.CPUNS <= 0 || r.rate() <= 0 {
			t.Errorf("flushed %v: %+v, %v", flush, r, err)
		}
		server.Close()
	}
}

func TestAPatternIsANotificationWithItsDigits(t *testing.T) {
	due := time.Unix(1_800_000_000, 42)
	for _, inline := range []bool{false, true} {
		p := newPattern(job{Size: 10, Lane: "bulk", Inline: inline}, "http://127.0.0.1:1/h/x")
		text := p.append(nil, 4711, due)
		n, err := notice.DecodeNotification(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if n.To.User != "u00004711" || n.Priority != notice.LaneBulk || n.To.Webhooks[0].URL != "http://127.0.0.1:1/h/x" {
			t.Errorf("%+v", n)
		}
		if !bytes.Contains(text, []byte(`"n":1000004711,`)) || dueNS(text) != due.UnixNano() {
			t.Errorf("%s is not due at %d", text, due.UnixNano())
		}
		if faults := n.Validate(time.Now()); faults != nil {
			t.Error(faults)
		}
	}
}

func TestAPatternToAMailAddressIsANotificationByMail(t *testing.T) {
	text := newPattern(job{Size: 10, Lane: "normal"}, toMail+"a@relay.example").append(nil, 7, time.Time{})
	n, err := notice.DecodeNotification(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	if n.To.User != "u00000007" || n.To.Email != "a@relay.example" || !slices.Equal(n.Channels, []notice.Medium{notice.MediumEmail}) || len(n.To.Webhooks) != 0 {
		t.Errorf("%+v", n)
	}
	if faults := n.Validate(time.Now()); faults != nil {
		t.Error(faults)
	}
}

func TestPercentilesAreNearestRanks(t *testing.T) {
	var ages []time.Duration
	for i := range 200 {
		ages = append(ages, time.Duration(i+1))
	}
	for p, want := range map[int]time.Duration{50: 100, 99: 198, 100: 200} {
		if got := percentile(ages, p); got != want {
			t.Errorf("p%d of 1..200 is %d, want %d", p, got, want)
		}
	}
	if got := percentile(nil, 99); got != 0 {
		t.Errorf("p99 of nothing is %v", got)
	}
}

func TestProcessorTimeIsReadWhateverTheProgramIsCalled(t *testing.T) {
	stat := "4711 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20 0"
	if got, err := parseStat([]byte(stat)); err != nil || got != 2*time.Second {
		t.Errorf("got %v, %v; want 2s", got, err)
	}
	if _, err := parseStat([]byte("1 (x) S 1")); err == nil {
		t.Error("a line that is cut short was read")
	}
}

func TestALineSaysWhetherItsAimIsMet(t *testing.T) {
	for _, c := range []struct {
		name       string
		aim        aim
		base, ours []float64
		met        bool
	}{
		{"a ratio at its bound", ratioAtLeast(0.5), []float64{10}, []float64{5}, true},
		{"a ratio below its bound", ratioAtLeast(0.5), []float64{10}, []float64{4.9}, false},
		{"the median round counts", ratioAtLeast(0.5), []float64{10, 10, 10}, []float64{1, 6, 9}, true},
		{"a figure over the most", atMost(100), nil, []float64{101}, false},
		{"a figure at the most", atMost(100), nil, []float64{100}, true},
		{"a latency against idle", ratioAtMost(5), []float64{2}, []float64{11}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := line{Unit: "/s", Aims: []aim{c.aim}, Base: c.base, Ours: c.ours}
			if got := strings.HasSuffix(l.verdict(), ": met"); got != c.met {
				t.Errorf("says %q", l.verdict())
			}
		})
	}
}

func TestNumbersAreShownWithThreeDigits(t *testing.T) {
	for v, want := range map[float64]string{0: "0.00", 1.234: "1.23", 12.34: "12.3", 123.4: "123", 1234.5: "1,235", 1_002_003: "1,002,003"} {
		if got := number(v); got != want {
			t.Errorf("%v is shown as %q, want %q", v, got, want)
		}
	}
}
