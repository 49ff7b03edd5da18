package templates

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/carillonhq/carillon/notice"
)

// logBuffer is a log that many goroutines write.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func writeFile(t *testing.T, dir, name, text string) {
	t.Helper()
	file := filepath.Join(dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// openStore opens a store on a folder with one push template "m".
func openStore(t *testing.T) (s *Store, dir string, log *logBuffer) {
	t.Helper()
	dir, log = filepath.Join(t.TempDir(), "catalogue"), &logBuffer{}
	writeFile(t, dir, "m/en/push.title.txt", "one")
	s, err := OpenStore(dir, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s, dir, log
}

// waitFor waits until the store's reloads have made good hold.
func waitFor(t *testing.T, s *Store, what string, good func() bool) {
	t.Helper()
	deadline := time.After(time.Minute)
	for {
		changed := s.Changed()
		if good() {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("waited for %s; the last failure was %v", what, s.Failure())
		}
	}
}

func title(t *testing.T, s *Store, version string) (title, fallback string) {
	t.Helper()
	req := request("m", notice.MediumPush, `{}`)
	req.Version = version
	r, err := s.Current().Render(req)
	if err != nil {
		t.Fatalf("render: %v", err)
	}
	return r.Content.Push.Title, r.Fallback
}

func version(t *testing.T, s *Store) string {
	t.Helper()
	m, ok := s.Current().Template("m")
	if !ok {
		t.Fatal("no template m")
	}
	return m.Version
}

func TestAChangeIsServedAndThePinnedVersionStays(t *testing.T) {
	s, dir, _ := openStore(t)
	first := version(t, s)
	writeFile(t, dir, "m/en/push.title.txt", "two")
	waitFor(t, s, "the change", func() bool { return version(t, s) != first })
	if got, _ := title(t, s, ""); got != "two" {
		t.Errorf("the current version renders %q, want two", got)
	}
	if got, fallback := title(t, s, first); got != "one" || fallback != "" {
		t.Errorf("the pinned version renders %q (%s), want one", got, fallback)
	}
	if got, fallback := title(t, s, "0123456789ab"); got != "two" || !strings.Contains(fallback, "0123456789ab") {
		t.Errorf("an unknown version renders %q with fallback %q, want two and the reason", got, fallback)
	}
}

func TestABrokenChangeIsRefusedLoudlyAndTheLastGoodOneServes(t *testing.T) {
	s, dir, log := openStore(t)
	writeFile(t, dir, "m/en/push.title.txt", "{{.dta}}")
	waitFor(t, s, "the refusal", func() bool { return s.Failure() != nil })
	if got, _ := title(t, s, ""); got != "one" {
		t.Errorf("after a broken change %q is rendered, want one", got)
	}
	if text := log.String(); !strings.Contains(text, "level=ERROR") || !strings.Contains(text, "m/en/push.title.txt:1:") {
		t.Errorf("the log does not name the fault:\n%s", text)
	}
	writeFile(t, dir, "m/en/push.title.txt", "mended")
	waitFor(t, s, "the mend", func() bool { return s.Failure() == nil })
	if got, _ := title(t, s, ""); got != "mended" {
		t.Errorf("after the mend %q is rendered", got)
	}
}

func TestATemplateThatFailsWithItsOwnSampleIsRefused(t *testing.T) {
	s, dir, _ := openStore(t)
	writeFile(t, dir, "m/template.yaml", "samples: {default: {n: text}}")
	writeFile(t, dir, "m/en/push.title.txt", "{{if gt .data.n 3}}x{{end}}")
	waitFor(t, s, "the refusal", func() bool { return s.Failure() != nil })
	if got := s.Failure().Error(); !strings.Contains(got, "m/en/push.title.txt:1:") || !strings.Contains(got, "sample default") {
		t.Errorf("failure %q", got)
	}
}

func TestNewFoldersAreFollowed(t *testing.T) {
	s, dir, _ := openStore(t)
	writeFile(t, dir, "n/en/push.title.txt", "n")
	waitFor(t, s, "the new template", func() bool { _, ok := s.Current().Template("n"); return ok })
	writeFile(t, dir, "n/de/push.title.txt", "n-de")
	waitFor(t, s, "the new locale", func() bool { n, _ := s.Current().Template("n"); return len(n.Locales()) == 2 })
}

func TestAFolderThatIsReplacedWholeIsFollowed(t *testing.T) {
	s, dir, _ := openStore(t)
	next := filepath.Join(filepath.Dir(dir), "next")
	writeFile(t, next, "m/en/push.title.txt", "replaced")
	for _, step := range [][2]string{{dir, dir + ".old"}, {next, dir}} {
		if err := os.Rename(step[0], step[1]); err != nil {
			t.Fatal(err)
		}
	}
	waitFor(t, s, "the replacement", func() bool { got, _ := title(t, s, ""); return got == "replaced" })
	writeFile(t, dir, "m/en/push.title.txt", "and changed")
	waitFor(t, s, "a change in it", func() bool { got, _ := title(t, s, ""); return got == "and changed" })
}

func TestATemplateThatIsRemovedStillRendersWhatWasPinned(t *testing.T) {
	s, dir, _ := openStore(t)
	first := version(t, s)
	writeFile(t, dir, "n/en/push.title.txt", "n")
	if err := os.RemoveAll(filepath.Join(dir, "m")); err != nil {
		t.Fatal(err)
	}
	waitFor(t, s, "the removal", func() bool { _, ok := s.Current().Template("m"); return !ok })
	if got, fallback := title(t, s, first); got != "one" || fallback != "" {
		t.Errorf("the pinned version of a removed template renders %q (%s)", got, fallback)
	}
}

func TestAFolderThatCannotBeReadSaysWhatToDo(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, dir, "file", "x")
	for name, want := range map[string]string{"nothing": "no such folder", "file": "is a file"} {
		_, err := OpenStore(filepath.Join(dir, name), slog.New(slog.DiscardHandler))
		if err == nil || !strings.Contains(err.Error(), filepath.Join(dir, name)) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "templates.dir") {
			t.Errorf("%s: error %v, want the folder, %q and the mend", name, err, want)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "broken"), 0o755); err != nil {
		t.Fatal(err)
	}
	writeFile(t, dir, "broken/m/en/push.title.txt", "{{")
	if _, err := OpenStore(filepath.Join(dir, "broken"), slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "m/en/push.title.txt:1:1") {
		t.Errorf("a catalogue that is broken from the start: %v", err)
	}
}
