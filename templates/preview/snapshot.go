package preview

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/templates"
)

// SnapshotDir is the folder of the golden renderings, inside a catalogue.
const SnapshotDir = "_snapshots"

// Snapshots renders every template × locale × channel × sample: the golden
// files' names, relative to SnapshotDir and with slashes, and their texts.
// The error is everything that could not be rendered.
func Snapshots(c *templates.Catalogue) (map[string]string, error) {
	files := map[string]string{}
	var failed []error
	for _, k := range c.Cases() {
		if k.Err != nil {
			failed = append(failed, k.Err)
			continue
		}
		files[snapshotName(k)] = snapshotText(k.Content)
	}
	return files, errors.Join(failed...)
}

func snapshotName(k templates.Case) string {
	name := string(k.Medium) + ".txt"
	if k.Sample != "default" {
		name = string(k.Medium) + "." + url.PathEscape(k.Sample) + ".txt"
	}
	return path.Join(k.Template, k.Locale, name)
}

// snapshotText writes content so that a diff of it reads well.
func snapshotText(c notice.Content) string {
	var b strings.Builder
	section := func(title, text string) {
		if text != "" {
			fmt.Fprintf(&b, "=== %s\n%s\n", title, strings.TrimSuffix(text, "\n"))
		}
	}
	if c.Email != nil {
		section("subject", c.Email.Subject)
		section("from", c.Email.FromName)
		section("reply to", c.Email.ReplyTo)
		section("text", c.Email.Text)
		section("html", c.Email.HTML)
	}
	if c.Push != nil {
		section("title", c.Push.Title)
		section("body", c.Push.Body)
		section("data", indented(c.Push.Data))
		section("options", pushOptions(c.Push.Options))
	}
	section("webhook", indented(c.Webhook))
	return b.String()
}

func pushOptions(o *notice.PushOptions) string {
	if o == nil {
		return ""
	}
	text, err := json.Marshal(o, json.Deterministic(true), jsontext.WithIndent("  "))
	if err != nil {
		return "" // it was decoded from JSON
	}
	return string(text)
}

// Difference is one golden file that is not what the catalogue renders now.
type Difference struct {
	File string `json:"file"` // relative to SnapshotDir, with slashes
	Diff string `json:"diff"` // unified
}

// ErrNoSnapshots is what CompareSnapshots returns, beside the differences,
// where nobody has written any golden file yet.
var ErrNoSnapshots = errors.New("there are no golden files yet: carillon preview snapshot --update writes them")

// CompareSnapshots compares the golden files under the catalogue's folder with
// what it renders now, sorted by file. A rendering without a file and a file
// without a rendering differ too.
func CompareSnapshots(dir string, rendered map[string]string) ([]Difference, error) {
	golden, err := readSnapshots(dir)
	if err != nil {
		return nil, err
	}
	if len(golden) == 0 && len(rendered) > 0 {
		err = ErrNoSnapshots
	}
	all := maps.Clone(golden)
	maps.Copy(all, rendered)
	var differences []Difference
	for _, file := range slices.Sorted(maps.Keys(all)) {
		from, to := path.Join(SnapshotDir, file), "rendered now"
		if _, ok := golden[file]; !ok {
			from = "/dev/null"
		}
		if _, ok := rendered[file]; !ok {
			to = "/dev/null"
		}
		if diff := unified(from, to, golden[file], rendered[file]); diff != "" {
			differences = append(differences, Difference{file, diff})
		}
	}
	return differences, err
}

func readSnapshots(dir string) (map[string]string, error) {
	files := map[string]string{}
	root := filepath.Join(dir, SnapshotDir)
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(name) != ".txt" {
			return err
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, name)
		files[filepath.ToSlash(rel)] = string(text)
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read the golden files: %w", err)
	}
	return files, nil
}

// UpdateSnapshots makes the golden files what differences say they should be:
// it writes what is new or changed and removes what is rendered no more.
func UpdateSnapshots(dir string, rendered map[string]string, differences []Difference) error {
	for _, d := range differences {
		file := filepath.Join(dir, SnapshotDir, filepath.FromSlash(d.File))
		text, ok := rendered[d.File]
		var err error
		if ok {
			err = writeFile(file, text)
		} else {
			err = removeUpTo(filepath.Join(dir, SnapshotDir), file)
		}
		if err != nil {
			return fmt.Errorf("update a golden file: %w", err)
		}
	}
	return nil
}

// removeUpTo removes a file, and the folders above it, up to root, that it
// leaves empty.
func removeUpTo(root, file string) error {
	if err := os.Remove(file); err != nil {
		return err
	}
	for dir := filepath.Dir(file); dir != root && os.Remove(dir) == nil; dir = filepath.Dir(dir) {
	}
	return nil
}

func writeFile(file, text string) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, []byte(text), 0o644)
}
