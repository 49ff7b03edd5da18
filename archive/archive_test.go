package archive_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/carillonhq/carillon/archive"
	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/queue"
)

// script is a Source that plays prepared pages of partition 0.
type script struct{ pages []queue.Finals }

// Finals answers the page that follows a mark.
func (s *script) Finals(_ context.Context, p int, after queue.Mark, _ int) (queue.Finals, error) {
	if p == 0 && int(after.Number) < len(s.pages) {
		page := s.pages[after.Number]
		page.Next = queue.Mark{Number: after.Number + 1, Last: "x"}
		return page, nil
	}
	return queue.Finals{Next: after}, nil
}

var began = time.Date(2026, 11, 23, 14, 59, 59, 500e6, time.UTC)

// ended is the record of a webhook that was delivered some time after 14:59:59.5.
func ended(id string, after time.Duration) queue.Record {
	return queue.Record{ID: id, Tenant: "acme", User: "ada", Template: "ping", Lane: notice.LaneNormal, AcceptedAt: began,
		Deliveries: []queue.DeliveryRecord{{ID: id + "-1", Channel: notice.ChannelWebhook, Address: "a.example", Status: notice.StatusDelivered, Attempt: 2,
			Timeline: []queue.Entry{{At: began, Status: notice.StatusQueued},
				{At: began, Status: notice.StatusRetrying, Attempt: 1, Code: "503"},
				{At: began.Add(after), Status: notice.StatusDelivered, Attempt: 2, Code: "200", ProviderID: "p1"}}}}}
}

func options(dir string, s archive.Source, log *bytes.Buffer) archive.Options {
	var out = slog.New(slog.DiscardHandler)
	if log != nil {
		out = slog.New(slog.NewTextHandler(log, nil))
	}
	return archive.Options{Dir: dir, Namespace: "t", Partitions: 2, Source: s, Log: out}
}

// runOnce archives what is new and returns what the folder has come to.
func runOnce(t *testing.T, o archive.Options) archive.Totals {
	t.Helper()
	a, err := archive.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if err := a.Run(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	return a.Totals()
}

// archived is the ids in a folder's files, and how often each stands there.
func archived(t *testing.T, dir string) map[string]int {
	t.Helper()
	found := map[string]int{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".ndjson" {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		for lines := bufio.NewScanner(f); lines.Scan(); {
			var l struct {
				ID string `json:"id"`
			}
			if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
				t.Errorf("%s: a line that is no JSON: %v in %q", path, err, lines.Text())
			}
			found[l.ID]++
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func read(t *testing.T, path ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestAFinalStateIsALineInTheFileOfItsHour(t *testing.T) {
	dir := t.TempDir()
	s := &script{[]queue.Finals{{Records: []queue.Record{ended("0-a", 0), ended("0-b", time.Second)}}}}
	if got := runOnce(t, options(dir, s, nil)); got != (archive.Totals{Written: 2}) {
		t.Errorf("totals %+v, want two written", got)
	}
	want := `{"id":"0-a","tenant":"acme","user":"ada","template":"ping","priority":"normal","accepted_at":"2026-11-23T14:59:59.5Z","ended_at":"2026-11-23T14:59:59.5Z",` +
		`"deliveries":[{"id":"0-a-1","channel":"webhook","address":"a.example","attempts":2,"status":"delivered","at":"2026-11-23T14:59:59.5Z","code":"200","provider_id":"p1",` +
		`"before":[{"status":"retrying","at":"2026-11-23T14:59:59.5Z","attempt":1,"code":"503"}]}]}` + "\n"
	if got := read(t, dir, "2026/11/23/14.ndjson"); got != want {
		t.Errorf("14.ndjson is\n%swant\n%s", got, want)
	}
	if got := read(t, dir, "2026/11/23/15.ndjson"); !strings.HasPrefix(got, `{"id":"0-b"`) {
		t.Errorf("15.ndjson is %s, want 0-b", got)
	}
}

func TestASecondStartGoesOnWhereTheFirstEnded(t *testing.T) {
	dir := t.TempDir()
	s := &script{[]queue.Finals{{Records: []queue.Record{ended("0-a", 0)}}}}
	runOnce(t, options(dir, s, nil))
	s.pages = append(s.pages, queue.Finals{Records: []queue.Record{ended("0-b", 0)}})
	if got := runOnce(t, options(dir, s, nil)); got.Written != 2 {
		t.Errorf("totals %+v, want 2 written", got)
	}
	if got := archived(t, dir); got["0-a"] != 1 || got["0-b"] != 1 {
		t.Errorf("archived %v", got)
	}
}

// TestWhatWasWrittenBeyondThePositionIsCutOff plays a death between the data
// and the position: the position of before is put back under the files of
// after, torn line and all.
func TestWhatWasWrittenBeyondThePositionIsCutOff(t *testing.T) {
	for _, file := range []string{"2026/11/23/14.ndjson", "2026/11/23/15.ndjson"} {
		t.Run(file, func(t *testing.T) {
			dir := t.TempDir()
			s := &script{[]queue.Finals{{Records: []queue.Record{ended("0-a", 0), ended("0-b", time.Second)}}}}
			runOnce(t, options(dir, s, nil))
			before := read(t, dir, "position.json")
			s.pages = append(s.pages, queue.Finals{Records: []queue.Record{ended("0-c", 0), ended("0-d", time.Second)}})
			runOnce(t, options(dir, s, nil))
			path := filepath.Join(dir, file)
			if err := os.WriteFile(path, []byte(read(t, path)+`{"id":"0-torn`), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "position.json"), []byte(before), 0o600); err != nil {
				t.Fatal(err)
			}
			runOnce(t, options(dir, s, nil))
			for id, n := range archived(t, dir) {
				if n != 1 {
					t.Errorf("%s stands there %d times", id, n)
				}
			}
			if got := archived(t, dir); len(got) != 4 {
				t.Errorf("archived %v, want four", got)
			}
		})
	}
}

func TestAFileThatWasMovedAwayBeginsAnew(t *testing.T) {
	dir := t.TempDir()
	s := &script{[]queue.Finals{{Records: []queue.Record{ended("0-a", 0)}}}}
	runOnce(t, options(dir, s, nil))
	if err := os.Remove(filepath.Join(dir, "2026/11/23/14.ndjson")); err != nil {
		t.Fatal(err)
	}
	s.pages = append(s.pages, queue.Finals{Records: []queue.Record{ended("0-b", 0)}})
	runOnce(t, options(dir, s, nil))
	if got := read(t, dir, "2026/11/23/14.ndjson"); !strings.HasPrefix(got, `{"id":"0-b"`) {
		t.Errorf("the new file is %q", got)
	}
}

func TestAFullDiskMovesNoPosition(t *testing.T) {
	dir := t.TempDir()
	s := &script{[]queue.Finals{{Records: []queue.Record{ended("0-a", 0)}}}}
	runOnce(t, options(dir, s, nil))
	full := filepath.Join(dir, "2026/11/23/15.ndjson")
	if err := os.Symlink("/dev/full", full); err != nil {
		t.Skipf("no symbolic links here: %v", err)
	}
	s.pages = append(s.pages, queue.Finals{Records: []queue.Record{ended("0-b", 0), ended("0-c", time.Second)}})
	a, err := archive.Open(options(dir, s, nil))
	if err != nil {
		t.Fatal(err)
	}
	err = a.Run(t.Context(), true)
	a.Close()
	if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "15.ndjson") || !strings.Contains(err.Error(), "position has not moved") {
		t.Errorf("a full disk is %v", err)
	}
	if err := os.Remove(full); err != nil {
		t.Fatal(err)
	}
	runOnce(t, options(dir, s, nil))
	if got := archived(t, dir); len(got) != 3 || got["0-a"] != 1 || got["0-b"] != 1 || got["0-c"] != 1 {
		t.Errorf("archived %v, want each of three once", got)
	}
}

func TestGapsAreCountedAndSaidLoudly(t *testing.T) {
	var log bytes.Buffer
	s := &script{[]queue.Finals{{Missed: 7}, {Expired: []string{"0-x", "0-y"}}, {Restarted: true}}}
	got := runOnce(t, options(t.TempDir(), s, &log))
	if got != (archive.Totals{Missed: 7, Expired: 2, Restarted: 1}) {
		t.Errorf("totals %+v", got)
	}
	for _, want := range []string{"level=ERROR", "missed=7", "queue.finals", "expired=2", "first=0-x", "queue.retention", "went back"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log lacks %q:\n%s", want, log.String())
		}
	}
}

func TestAFolderThatCannotBeGoneOnWithIsRefused(t *testing.T) {
	for _, w := range []struct {
		name, want string
		spoil      func(t *testing.T, dir string)
	}{
		{"its position is lost", "restore it, or begin another folder", func(t *testing.T, dir string) { remove(t, dir, "position.json") }},
		{"its position is no JSON", "cannot be read", func(t *testing.T, dir string) { write(t, dir, "position.json", "{") }},
		{"another release wrote it", "version 9", func(t *testing.T, dir string) { write(t, dir, "position.json", `{"version":9}`) }},
		{"it is another queue's", `"other"`, func(t *testing.T, dir string) { write(t, dir, "position.json", `{"version":1,"namespace":"other"}`) }},
		{"it names files outside", "not inside", func(t *testing.T, dir string) {
			write(t, dir, "position.json", `{"version":1,"files":{"../../etc/passwd":0}}`)
		}},
		{"another process holds it", "another archive writes this folder", func(t *testing.T, dir string) {
			a, err := archive.Open(options(dir, &script{}, nil))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(a.Close)
		}},
	} {
		t.Run(w.name, func(t *testing.T) {
			dir := t.TempDir()
			runOnce(t, options(dir, &script{[]queue.Finals{{Records: []queue.Record{ended("0-a", 0)}}}}, nil))
			w.spoil(t, dir)
			a, err := archive.Open(options(dir, &script{}, nil))
			if err == nil {
				a.Close()
				t.Fatal("it was opened")
			}
			if !strings.Contains(err.Error(), w.want) {
				t.Errorf("refused with %q, want %q in it", err, w.want)
			}
		})
	}
}

func remove(t *testing.T, path ...string) {
	t.Helper()
	if err := os.Remove(filepath.Join(path...)); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// away is a Source that is out of reach, and then has something.
type away struct {
	script
	failures int
}

// Finals fails a few times.
func (s *away) Finals(ctx context.Context, p int, after queue.Mark, most int) (queue.Finals, error) {
	if s.failures > 0 {
		s.failures--
		return queue.Finals{}, fmt.Errorf("asking: %w", queue.ErrUnavailable)
	}
	return s.script.Finals(ctx, p, after, most)
}

func TestAStoreThatIsAwayIsWaitedForUnlessOnce(t *testing.T) {
	dir := t.TempDir()
	s := &away{script{[]queue.Finals{{Records: []queue.Record{ended("0-a", 0)}}}}, 1}
	a, err := archive.Open(options(dir, s, nil))
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Run(t.Context(), true); !errors.Is(err, queue.ErrUnavailable) {
		t.Errorf("once, out of reach: %v", err)
	}
	a.Close()
	s.failures = 3
	o := options(dir, s, nil)
	o.Every = time.Millisecond
	if a, err = archive.Open(o); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	ran := make(chan error)
	go func() { ran <- a.Run(ctx, false) }()
	for len(archived(t, dir)) == 0 && ctx.Err() == nil {
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-ran; err != nil {
		t.Errorf("stopped with %v", err)
	}
	a.Close()
	if got := archived(t, dir); !slices.Equal(keysOf(got), []string{"0-a"}) {
		t.Errorf("archived %v", got)
	}
}

func keysOf(m map[string]int) (keys []string) {
	for k := range m {
		keys = append(keys, k)
	}
	return keys
}
