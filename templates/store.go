package templates

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	// settle is how long a folder must be quiet before it is read again: an
	// editor or a checkout writes several files.
	settle = 100 * time.Millisecond
	// maxLoggedWarnings bounds what one loading says of warnings; `carillon
	// preview check` lists them all.
	maxLoggedWarnings = 20
)

// Store holds the current catalogue of a folder, or of a place that processes
// share, and follows its changes. A change that breaks anything is refused: it
// is logged, and the last good catalogue keeps serving.
type Store struct {
	place   string // of the catalogue, for the log
	log     *slog.Logger
	options options
	read    func() (*Catalogue, error) // what is there now
	past    *past
	retired *retired
	stop    func() error  // ends the following
	fresh   chan struct{} // there is something new to put on the shelf
	quit    context.CancelFunc
	running sync.WaitGroup

	current atomic.Pointer[Catalogue]

	mu      sync.Mutex // guards what follows, and reloads
	failure error
	changed chan struct{}
	loads   Loads
}

// Loads counts what became of catalogues that were read after the first.
type Loads struct{ Accepted, Refused uint64 }

// OpenStore loads the catalogue in dir and starts to follow it. Close ends
// that.
func OpenStore(dir string, log *slog.Logger, opts ...Option) (*Store, error) {
	s := newStore(dir, log, opts)
	s.read = func() (*Catalogue, error) { return loadDir(dir, s.options) }
	if err := s.first(); err != nil {
		return nil, err
	}
	// Watching compares paths, so they must have one spelling.
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("catalogue %s: %w", dir, err)
	}
	s.place = abs
	s.read = func() (*Catalogue, error) { return loadDir(abs, s.options) }
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, fmt.Errorf("follow changes of the catalogue %s: %w", abs, err)
	}
	f := follower{Store: s, dir: abs, watcher: watcher}
	s.stop = watcher.Close
	f.watch()
	s.start(func(context.Context) { f.follow() })
	return s, nil
}

func newStore(place string, log *slog.Logger, opts []Option) *Store {
	o := optionsOf(opts)
	return &Store{place: place, log: log, options: o, past: newPast(o), retired: &retired{}, changed: make(chan struct{}), fresh: make(chan struct{}, 1)}
}

// first reads the catalogue with which a store begins.
func (s *Store) first() error {
	catalogue, err := s.checked(s.read)
	if err != nil {
		return err
	}
	catalogue.past = s.past
	s.current.Store(catalogue)
	s.fresh <- struct{}{}
	return nil
}

// start runs what a store does until it is closed.
func (s *Store) start(follow func(context.Context)) {
	ctx, cancel := context.WithCancel(context.Background())
	s.quit = cancel
	s.running.Go(func() { follow(ctx) })
	if s.options.shelf != nil {
		s.running.Go(func() { s.shelve(ctx) })
	}
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

// Asset is an asset of the current catalogue, or of one before it as far as
// that is remembered, by its name in URLs.
func (s *Store) Asset(name string) (Asset, bool) {
	if a, ok := s.Current().Asset(name); ok {
		return a, true
	}
	return s.retired.find(name)
}

// Failure is why what is there now is not the current catalogue; nil when it
// is. What it says of a template is Faults.
func (s *Store) Failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failure
}

// Loads is what became of changes so far.
func (s *Store) Loads() Loads {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.loads
}

// Past is what became so far of the search for earlier versions.
func (s *Store) Past() PastUse { return s.past.counts() }

// Changed returns a channel that closes when the catalogue has been read again,
// well or not.
func (s *Store) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

// Close stops following; the current catalogue stays.
func (s *Store) Close() error {
	var err error
	if s.stop != nil {
		err = s.stop()
	}
	s.quit()
	s.running.Wait()
	return err
}

// LoadDir loads the catalogue in a folder, and says what to do when there is
// no such folder.
func LoadDir(dir string, opts ...Option) (*Catalogue, error) { return loadDir(dir, optionsOf(opts)) }

func loadDir(dir string, o options) (*Catalogue, error) {
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
	c, err := load(folderFS{os.DirFS(dir), root.FS()}, o)
	var faults Faults
	if err != nil && !errors.As(err, &faults) {
		return nil, fmt.Errorf("catalogue %s: cannot be read: %w: mend its permissions, or name another one (templates.dir, --catalogue)", dir, reason(err))
	}
	return c, err
}

// checked reads the catalogue and renders every sample. Warnings are logged.
func (s *Store) checked(read func() (*Catalogue, error)) (*Catalogue, error) {
	c, err := read()
	if err != nil {
		return nil, err
	}
	faults := c.Examine()
	if err := faults.Err(); err != nil {
		return nil, err
	}
	for _, f := range faults[:min(len(faults), maxLoggedWarnings)] {
		s.log.Warn("catalogue could be better", "dir", s.place, "warnings", len(faults), "warning", f.place()+f.What)
	}
	return c, nil
}

// Reload reads the catalogue now. On an error the current one stays.
func (s *Store) Reload() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	next, err := s.checked(s.read)
	s.settle(next, err)
	return err
}

// settle takes or refuses what was read; it is called with the lock held.
func (s *Store) settle(next *Catalogue, err error) {
	s.failure = err
	if err != nil {
		s.loads.Refused++
		s.refuse(err)
	} else {
		s.loads.Accepted++
		s.accept(next)
	}
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *Store) refuse(err error) {
	var faults Faults
	if !errors.As(err, &faults) {
		s.log.Error("catalogue refused: the last good one keeps serving", "dir", s.place, "error", err)
		return
	}
	for _, f := range faults {
		s.log.Error("catalogue refused: the last good one keeps serving", "dir", s.place, "faults", len(faults), "fault", f.Error())
	}
}

func (s *Store) accept(next *Catalogue) {
	old := s.current.Load()
	next.keep(old, s.past)
	s.retired.take(old, next)
	s.current.Store(next)
	for _, name := range next.Names() {
		if was, ok := old.templates[name]; !ok || was.Version != next.templates[name].Version {
			s.log.Info("template loaded", "template", name, "version", next.templates[name].Version)
		}
	}
	select {
	case s.fresh <- struct{}{}:
	default: // it is to look already
	}
}

// keep takes over what has not changed since old as it is, so that what was
// rendered of it stays known. What has changed goes to the past.
func (c *Catalogue) keep(old *Catalogue, past *past) {
	c.past = past
	c.UseCache(old.cache.Load())
	for name, t := range old.templates {
		if now, ok := c.templates[name]; ok && now.Version == t.Version {
			c.templates[name] = t
		} else {
			past.put(t)
		}
	}
}

const (
	// shelveAgain is how often what is current is put on the shelf again, which
	// keeps it there; shelveSoon is when, after the shelf did not take it.
	shelveAgain, shelveSoon = time.Hour, 5 * time.Second
	// putPatience bounds one putting.
	putPatience = 30 * time.Second
)

// shelve keeps the current versions on the shelf until ctx ends.
func (s *Store) shelve(ctx context.Context) {
	failing := false
	timer := time.NewTimer(shelveAgain)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.fresh:
		case <-timer.C:
		}
		err := s.putAll(ctx)
		if err != nil && !failing && ctx.Err() == nil {
			s.log.Warn("the templates' versions could not be shared: a delivery that outlives this process may be rendered with a newer one", "error", err)
		}
		failing = err != nil
		timer.Reset(shelveAgain)
		if failing {
			timer.Reset(shelveSoon)
		}
	}
}

func (s *Store) putAll(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, putPatience)
	defer cancel()
	return s.options.shelf.Put(ctx, s.Current().Bundles())
}

// follower follows a folder's changes for a store.
type follower struct {
	*Store
	dir     string // absolute
	watcher *fsnotify.Watcher
}

// watch follows the folder, the one it lies in (a checkout or a mounted volume
// may replace it whole), and every folder below it.
func (s follower) watch() {
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
func (s follower) follow() {
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
func (s follower) concerns(event fsnotify.Event) bool {
	if event.Op == fsnotify.Chmod {
		return false
	}
	inside, err := filepath.Rel(s.dir, event.Name)
	if err != nil || inside == "." {
		return true
	}
	return filepath.Dir(event.Name) != filepath.Dir(s.dir)
}
