package main

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9/logging"
)

func TestMain(m *testing.M) {
	logging.Disable() // servers go down on purpose here
	os.Exit(m.Run())
}

// TestThePromisesHoldWhileEverythingIsKilled plays the short form of the
// table: `make chaos` plays all of it.
func TestThePromisesHoldWhileEverythingIsKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("real processes are killed for most of a minute")
	}
	watchSource(t)
	dir := t.TempDir()
	b, err := buildAll(t.Context(), dir, "")
	if err != nil {
		t.Fatal(err)
	}
	chosen, err := choose(rows(), options{short: true})
	if err != nil {
		t.Fatal(err)
	}
	const seed = 1
	for _, r := range chosen {
		t.Run(r.name, func(t *testing.T) {
			got := r.run(t.Context(), b, seed, 2*time.Second)
			if got.Skipped != "" {
				t.Skip(got.Skipped)
			}
			for _, f := range got.Failures {
				t.Errorf("%s: %s (make chaos CHAOSFLAGS=\"-only %s -seed %d\")", r.what, f, r.name, seed)
			}
			t.Logf("%d faults, %d accepted, %d owed, %d delivered, %d lost, %d duplicates of at most %d, longest delay %v; such as %v",
				got.Faults, got.Accepted, got.Deliveries, got.Delivered, got.Lost, got.Duplicates, got.Allowed, got.Longest, got.Examples)
		})
	}
}

// watchSource opens every folder of the source. The go command keeps a passed
// test's result until a file changes in a folder that the test opened; the
// program is built in a process of its own, which nobody watches.
func watchSource(t *testing.T) {
	t.Helper()
	err := filepath.WalkDir("../..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() {
			return nil // gone again: it is no source
		}
		if path != "../.." && strings.HasPrefix(entry.Name(), ".") && entry.Name() != ".." {
			return filepath.SkipDir
		}
		if folder, err := os.Open(path); err == nil {
			return folder.Close()
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestRowsAreChosenByName covers the flags.
func TestRowsAreChosenByName(t *testing.T) {
	t.Parallel()
	got, err := choose(rows(), options{only: "random,kill-ingest"})
	if err != nil || strings.Join(names(got), " ") != "random kill-ingest" {
		t.Errorf("chosen %v, %v", names(got), err)
	}
	if _, err := choose(rows(), options{only: "kill-everybody"}); err == nil || !strings.Contains(err.Error(), `"kill-everybody"`) || !strings.Contains(err.Error(), "kill-consumer") {
		t.Errorf("an unknown row: %v, want an error with its name and the rows there are", err)
	}
	all := rows()
	if short, _ := choose(rows(), options{short: true}); len(short) == 0 || len(short) >= len(all) {
		t.Errorf("the short form has %d of %d rows", len(short), len(all))
	}
}

// TestAFailedRowIsPrintedWithItsReasons covers the three formats.
func TestAFailedRowIsPrintedWithItsReasons(t *testing.T) {
	t.Parallel()
	broken := result{Name: "x", What: "harm", tally: tally{Accepted: 10, Deliveries: 11, Delivered: 10, Lost: 1, Examples: []string{"0-a never arrived"}}, Failures: []string{"1 lost"}}
	for format, want := range map[string][]string{
		"text":     {"BROKEN", "FAILED: 1 lost", "such as: 0-a never arrived"},
		"markdown": {"| harm | 0 | 10 | 11 | 10 | 1 |", "BROKEN |"},
		"json":     {`"lost": 1`, `"failures"`},
	} {
		var out bytes.Buffer
		print, err := newPrinter(&out, format)
		if err != nil {
			t.Fatal(err)
		}
		print.begin(7, 1)
		print.row(broken)
		if err := print.end(7, []result{broken}); err != nil {
			t.Fatal(err)
		}
		for _, w := range want {
			if !strings.Contains(out.String(), w) {
				t.Errorf("%s lacks %q:\n%s", format, w, &out)
			}
		}
		if format == "json" && !json.Valid(out.Bytes()) {
			t.Errorf("this is no JSON:\n%s", &out)
		}
	}
	if _, err := newPrinter(nil, "xml"); err == nil {
		t.Error("-format xml is taken")
	}
}
