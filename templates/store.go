package templates

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	// keptVersions is how many earlier versions of a template stay renderable,
	// so that a delivery planned before a change is sent as it was planned.
	keptVersions = 8
	// settle is how long a folder must be quiet before it is read again: an
	// editor or a checkout writes several files.
	settle = 100 * time.Millisecond
	// maxLoggedWarnings bounds what one loading says of warnings; `carillon
	// preview check` lists them all.
	maxLoggedWarnings = 20
)

// Store holds the current catalogue of a folder and follows the folder's
// changes. A change that breaks anything is refused: it is logged, and the
// last good catalogue keeps serving.
type Store struct {
	dir     string // absolute
	log     *slog.Logger
	watcher *fsnotify.Watcher
	done    chan struct{}

	current atomic.Pointer[Catalogue]

	mu      sync.Mutex // guards what follows, and reloads
	failure error
	changed chan struct{}
}

// OpenStore loads the catalogue in dir and starts to follow it. Close ends
// that.
func OpenStore(dir string, log *slog.Logger) (*Store, error) {
	catalogue, err := loadChecked(dir, log)
	if err != nil {
		return nil, err
	}
	// Watching compares paths, so they must have one spelling.
	dir, err = filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("catalogue %s: %w", dir, err)
	}
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, fmt.Errorf("follow changes of the catalogue %s: %w", dir, err)
	}
	s := &Store{dir: dir, log: log, watcher: watcher, done: make(chan struct{}), changed: make(chan struct{})}
	s.current.Store(catalogue)
	s.watch()
	go s.follow()
	return s, nil
}

// Current is the newest catalogue that was good.
func (s *Store) Current() *Catalogue { return s.current.Load() }

// UseCache makes the renderings of the current catalogue, and of those that
// will follow it, keep what they share in cache.
func (s *Store) UseCache(cache *Cache) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Current().UseCache(cache)
}

// Failure is why the folder's present state is not the current catalogue; nil
// when it is. What it says of a template is Faults.
func (s *Store) Failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failure
}

// Changed returns a channel that closes when the folder has been read again,
// well or not.
func (s *Store) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

// Close stops following the folder; the current catalogue stays.
func (s *Store) Close() error {
	err := s.watcher.Close()
	<-s.done
	return err
}

// LoadDir loads the catalogue in a folder, and says what to do when there is
// no such folder.
func LoadDir(dir string) (*Catalogue, error) {
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("catalogue %s: there is no such folder: make it, or name another one (templates.dir, --catalogue)", dir)
	case err != nil:
		return nil, fmt.Errorf("catalogue %s: cannot be read: %w: mend its permissions, or name another one (templates.dir, --catalogue)", dir, reason(err))
	case !info.IsDir():
		return nil, fmt.Errorf("catalogue %s: is a file: name the folder that holds the templates (templates.dir, --catalogue)", dir)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("catalogue %s: cannot be read: %w: mend its permissions, or name another one (templates.dir, --catalogue)", dir, reason(err))
	}
	defer root.Close()
	c, err := Load(folderFS{os.DirFS(dir), root.FS()})
	var faults Faults
	if err != nil && !errors.As(err, &faults) {
		return nil, fmt.Errorf("catalogue %s: cannot be read: %w: mend its permissions, or name another one (templates.dir, --catalogue)", dir, reason(err))
	}
	return c, err
}

// loadChecked is LoadDir with every sample rendered. Warnings are logged.
func loadChecked(dir string, log *slog.Logger) (*Catalogue, error) {
	c, err := LoadDir(dir)
	if err != nil {
		return nil, err
	}
	faults := c.Examine()
	if err := faults.Err(); err != nil {
		return nil, err
	}
	for _, f := range faults[:min(len(faults), maxLoggedWarnings)] {
		log.Warn("catalogue could be better", "dir", dir, "warnings", len(faults), "warning", f.place()+f.What)
	}
	return c, nil
}

// Reload reads the folder now. On an error the current catalogue stays.
func (s *Store) Reload() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	next, err := loadChecked(s.dir, s.log)
	s.failure = err
	if err != nil {
		s.refuse(err)
	} else {
		s.accept(next)
	}
	close(s.changed)
	s.changed = make(chan struct{})
	return err
}

func (s *Store) refuse(err error) {
	var faults Faults
	if !errors.As(err, &faults) {
		s.log.Error("catalogue refused: the last good one keeps serving", "dir", s.dir, "error", err)
		return
	}
	for _, f := range faults {
		s.log.Error("catalogue refused: the last good one keeps serving", "dir", s.dir, "faults", len(faults), "fault", f.Error())
	}
}

func (s *Store) accept(next *Catalogue) {
	old := s.current.Load()
	next.keep(old)
	s.current.Store(next)
	for _, name := range next.Names() {
		if was, ok := old.templates[name]; !ok || was.Version != next.templates[name].Version {
			s.log.Info("template loaded", "template", name, "version", next.templates[name].Version)
		}
	}
}

// keep takes over the versions of old that c does not have, newest first, and
// what has not changed as it is: what was rendered of it stays known.
func (c *Catalogue) keep(old *Catalogue) {
	c.UseCache(old.cache.Load())
	for name, t := range old.templates {
		if now, ok := c.templates[name]; ok && now.Version == t.Version {
			c.templates[name] = t
		}
	}
	c.past = map[string][]*Template{}
	names := append(old.Names(), keys(old.past)...)
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		versions := old.past[name]
		if t, ok := old.templates[name]; ok {
			versions = append([]*Template{t}, versions...)
		}
		versions = slices.DeleteFunc(slices.Clone(versions), func(t *Template) bool {
			now, ok := c.templates[name]
			return ok && now.Version == t.Version
		})
		c.past[name] = versions[:min(len(versions), keptVersions)]
	}
}

// watch follows the folder, the one it lies in (a checkout or a mounted volume
// may replace it whole), and every folder below it.
func (s *Store) watch() {
	// A folder that vanishes between listing and watching is the next event's.
	_ = s.watcher.Add(filepath.Dir(s.dir))
	for _, dir := range folders(s.dir, 3) {
		if err := s.watcher.Add(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			s.log.Warn("changes of a catalogue folder will not be seen", "dir", dir, "error", err)
		}
	}
}

// folders lists dir and the folders below it down to depth, following links.
func folders(dir string, depth int) []string {
	found := []string{dir}
	entries, err := os.ReadDir(dir)
	if err != nil || depth == 1 {
		return found
	}
	for _, e := range entries {
		child := filepath.Join(dir, e.Name())
		if info, err := os.Stat(child); err == nil && info.IsDir() && e.Name() != snapshotsDir && e.Name() != ".git" {
			found = append(found, folders(child, depth-1)...)
		}
	}
	return found
}

// follow reloads once the folder has been quiet for settle.
func (s *Store) follow() {
	defer close(s.done)
	timer := time.NewTimer(time.Hour)
	timer.Stop()
	defer timer.Stop()
	for {
		select {
		case event, ok := <-s.watcher.Events:
			if !ok {
				return
			}
			if s.concerns(event) {
				timer.Reset(settle)
			}
		case err, ok := <-s.watcher.Errors:
			if !ok {
				return
			}
			// An overflow loses events: read everything again.
			s.log.Warn("following the catalogue", "error", err)
			timer.Reset(settle)
		case <-timer.C:
			s.watch()
			_ = s.Reload() // logged, and kept as Failure
		}
	}
}

// concerns reports whether an event may change the catalogue.
func (s *Store) concerns(event fsnotify.Event) bool {
	if event.Op == fsnotify.Chmod {
		return false
	}
	inside, err := filepath.Rel(s.dir, event.Name)
	if err != nil || inside == "." {
		return true
	}
	return filepath.Dir(event.Name) != filepath.Dir(s.dir)
}
