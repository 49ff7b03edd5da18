package preview

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/carillonhq/carillon/templates"
)

// Manifest is the file that marks a folder as an export's own and lists what
// it wrote there: what it may replace and remove.
const Manifest = "carillon-preview.txt"

const manifestHead = "Written by carillon preview render --all, which replaces and removes the files listed here, and no others."

// IndexPage is the page that leads to everything in an export.
const IndexPage = "index.html"

// Export is a folder of renderings: one file a channel and format, a page for
// each rendering and one for all. The same renderings give the same bytes.
type Export struct {
	Dir   string
	Force bool // write into a folder that holds something else
	Wire  Wire // of email.eml and of push.json's payloads
	// Catalogue is the one that was rendered, whose assets lie beside the
	// renderings and are shown in them; nil: none are.
	Catalogue *templates.Catalogue
}

// ErrForeign is what Export.Write returns, wrapped, for a folder that is not
// empty and holds no manifest.
var ErrForeign = errors.New("is not empty and was not written by this command: name another folder, or add --force to write beside what is there")

// Write writes items, and removes what an earlier export wrote there and this
// one does not. It returns how many files there are now. Killed at any moment
// it leaves a folder that the next export takes over.
func (e Export) Write(items []Item) (files int, err error) {
	if err := os.MkdirAll(e.Dir, 0o755); err != nil {
		return 0, fmt.Errorf("make the folder: %w", err)
	}
	root, err := os.OpenRoot(e.Dir) // no link in it leads out of it
	if err != nil {
		return 0, fmt.Errorf("open the folder: %w", err)
	}
	defer root.Close()
	w := exporter{Export: e, root: root}
	if w.pages, err = parsePages(); err != nil {
		return 0, err
	}
	old, err := w.readManifest()
	if err != nil {
		return 0, err
	}
	return w.write(items, old)
}

type exporter struct {
	Export
	root  *os.Root
	pages pages
}

func (w exporter) write(items []Item, old []string) (int, error) {
	names := make([][]string, len(items))
	for i, item := range items {
		names[i] = w.names(item)
	}
	now := append(slices.Concat(names...), IndexPage, Manifest)
	for _, a := range w.assets() {
		now = append(now, assetFile(a))
	}
	slices.Sort(now)
	if err := w.writeManifest(append(slices.Clone(now), old...)); err != nil { // what is being written is ours already
		return 0, err
	}
	for _, a := range w.assets() {
		if err := w.file(assetFile(a), []byte(a.Content)); err != nil {
			return 0, err
		}
	}
	failed := make([]error, len(items))
	inParallel(len(items), func(i int) { failed[i] = w.item(items[i]) })
	index, err := w.pages.index(items)
	if err := errors.Join(append(failed, err)...); err != nil {
		return 0, err
	}
	if err := w.file(IndexPage, index); err != nil {
		return 0, err
	}
	if err := w.prune(old, now); err != nil {
		return 0, err
	}
	return len(now), w.writeManifest(now)
}

// folder is where an item's files lie.
func (i Item) folder() string { return path.Join(i.Template, i.Locale, escapeName(i.Sample)) }

// escapeName makes a sample's name one of a file, whatever is in it.
func escapeName(name string) string {
	escaped := strings.ReplaceAll(url.PathEscape(name), ":", "%3A") // which Windows has for its drives
	if strings.HasPrefix(escaped, ".") {
		return "%2E" + escaped[1:]
	}
	return escaped
}

// names are the files of an item.
func (w exporter) names(item Item) (names []string) {
	if item.Err != nil {
		return nil
	}
	add := func(name string) { names = append(names, path.Join(item.folder(), name)) }
	for _, p := range item.Parts() {
		if p.Name != "email.headers" { // they are in email.eml
			add(p.Name)
		}
	}
	if item.Content.Email != nil && w.Wire != nil {
		add("email.eml")
	}
	add(viewPage)
	return names
}

// item writes the files of one item.
func (w exporter) item(item Item) error {
	if item.Err != nil {
		return nil // the index says so
	}
	if err := w.mail(item); err != nil { // which names assets as those that are sent do
		return err
	}
	item = w.beside(item)
	for _, p := range item.Parts() {
		text := p.Text
		switch {
		case p.Name == "email.headers":
			continue
		case p.Name == "push.json" && w.Wire != nil:
			text = pushJSON(item.Content.Push, w.Wire.Push(item.specimen()))
		}
		if err := w.file(path.Join(item.folder(), p.Name), []byte(text)); err != nil {
			return err
		}
	}
	page, err := w.pages.view(item)
	if err != nil {
		return err
	}
	return w.file(path.Join(item.folder(), viewPage), page)
}

// mail writes email.eml. A mail that could never be sent has the reason in it.
func (w exporter) mail(item Item) error {
	if item.Content.Email == nil || w.Wire == nil {
		return nil
	}
	raw, err := w.Wire.Mail(item.specimen())
	if err != nil {
		raw = []byte("X-Not-Sendable: " + strings.Join(strings.Fields(err.Error()), " ") + "\r\n\r\n")
	}
	return w.file(path.Join(item.folder(), "email.eml"), fixedBoundaries(raw, item.folder()))
}

// fixedBoundaries puts boundaries of the same length that depend on a seed in
// the place of random ones (RFC 2046 §5.1.1), so that a mail made twice is the
// same twice. A signed mail would not survive it; an export's are not.
func fixedBoundaries(raw []byte, seed string) []byte {
	for i, found := range regexp.MustCompile(`boundary="?([0-9A-Za-z]{16,64})"?`).FindAllSubmatch(raw, -1) {
		sum := sha256.Sum256(fmt.Appendf(nil, "%d %s", i, seed))
		raw = bytes.ReplaceAll(raw, found[1], []byte(hex.EncodeToString(sum[:])[:len(found[1])]))
	}
	return raw
}

// file writes one file, unless it holds that already: watchers and copies by
// time see what has changed, and nothing else.
func (w exporter) file(name string, text []byte) error {
	name = filepath.FromSlash(name)
	if old, err := w.root.ReadFile(name); err == nil && bytes.Equal(old, text) {
		return nil
	}
	if err := w.root.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return fmt.Errorf("make the folder of %s: %w", name, err)
	}
	if err := w.root.WriteFile(name, text, 0o644); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

// prune removes what is old and not there now, and folders that it empties.
func (w exporter) prune(old, now []string) error {
	kept := map[string]bool{}
	for _, name := range now {
		kept[name] = true
	}
	folders := map[string]bool{}
	for _, name := range old {
		if kept[name] {
			continue
		}
		if err := w.root.Remove(filepath.FromSlash(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove %s, which is rendered no more: %w", name, err)
		}
		for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
			folders[dir] = true
		}
	}
	// The deepest first; one that still holds something stays.
	for _, dir := range slices.Backward(slices.Sorted(maps.Keys(folders))) {
		_ = w.root.Remove(filepath.FromSlash(dir))
	}
	return nil
}

// readManifest lists what an earlier export wrote. A folder that holds
// something else is refused.
func (w exporter) readManifest() ([]string, error) {
	text, err := w.root.ReadFile(Manifest)
	switch {
	case err == nil && strings.HasPrefix(string(text), manifestHead):
		lines := strings.Split(strings.TrimSpace(string(text)), "\n")
		return slices.DeleteFunc(lines[1:], func(name string) bool { return !fs.ValidPath(name) || name == "." }), nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("read %s: %w", Manifest, err)
	}
	entries, err := fs.ReadDir(w.root.FS(), ".")
	if err != nil {
		return nil, fmt.Errorf("read the folder: %w", err)
	}
	if len(entries) > 0 && !w.Force {
		return nil, fmt.Errorf("%s: %w", w.Dir, ErrForeign)
	}
	return nil, nil
}

func (w exporter) writeManifest(names []string) error {
	slices.Sort(names)
	return w.file(Manifest, []byte(manifestHead+"\n"+strings.Join(slices.Compact(names), "\n")+"\n"))
}
