package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/templates"
	"github.com/carillonhq/carillon/templates/preview"
	"github.com/carillonhq/carillon/templates/shelf"
)

// catalogueDiffCmd is `carillon catalogue diff`.
type catalogueDiffCmd struct {
	From string `arg:"" help:"A version or the beginning of one, current, or a folder."`
	To   string `arg:"" help:"The same."`
	sharedFlags
}

// Help is the command's example.
func (catalogueDiffCmd) Help() string {
	return "A name with a slash, or a lone dot, is a folder. Example:\n\n    carillon catalogue diff current ./catalogue --config carillon.yaml\n    carillon catalogue diff 3f9c1a0b77de 81d00c2be4aa --config carillon.yaml"
}

// side is one side of a comparison.
type side struct {
	name     string
	manifest shelf.Manifest
	files    func(context.Context) (templates.Files, error)
}

// changes are what differs between two sides.
type changes struct {
	From    string       `json:"from"`
	To      string       `json:"to"`
	Added   []string     `json:"added"` // templates
	Removed []string     `json:"removed"`
	Changed []string     `json:"changed"`
	Files   []fileChange `json:"files"`
}

// fileChange is a file that differs.
type fileChange struct {
	Path string `json:"path"`
	Diff string `json:"diff"` // unified; empty for what is no text
}

// Run compares two sides.
func (c catalogueDiffCmd) Run(a *app) error {
	return c.withShelf(a, func(_ *config.Config, s *shelf.Shelf) error {
		from, err := c.side(a, s, c.From)
		if err != nil {
			return err
		}
		to, err := c.side(a, s, c.To)
		if err != nil {
			return err
		}
		diff, err := compareSides(a.ctx, from, to)
		if err != nil {
			return err
		}
		return c.print(a, diff, diff.write)
	})
}

// side finds what a word stands for.
func (c catalogueDiffCmd) side(a *app, s *shelf.Shelf, word string) (side, error) {
	if strings.ContainsAny(word, `/\`) || word == "." || word == ".." {
		loaded, err := (catalogueFlag{Catalogue: word}).load(a)
		if err != nil {
			return side{}, err
		}
		return folderSide(word, loaded), nil
	}
	version, err := findVersion(a.ctx, s, word)
	if err != nil {
		return side{}, err
	}
	return remembered(a.ctx, s, version)
}

// folderSide is a folder's catalogue.
func folderSide(dir string, c *templates.Catalogue) side {
	return side{dir, shelf.ManifestOf(c), func(context.Context) (templates.Files, error) { return c.Files(), nil }}
}

// remembered is a version in Redis.
func remembered(ctx context.Context, s *shelf.Shelf, version string) (side, error) {
	m, err := s.Manifest(ctx, version)
	return side{version, m, func(ctx context.Context) (templates.Files, error) { return s.Files(ctx, version) }}, err
}

// compareSides says what differs. Contents are read only when a file differs.
func compareSides(ctx context.Context, from, to side) (changes, error) {
	d := changes{From: from.name, To: to.name, Files: []fileChange{}}
	d.Added, d.Removed, d.Changed = sortChanges(from.manifest.Templates, to.manifest.Templates)
	added, removed, changed := sortChanges(from.manifest.Files, to.manifest.Files)
	paths := slices.Sorted(slices.Values(slices.Concat(added, removed, changed)))
	if len(paths) == 0 {
		return d, nil
	}
	before, err := from.contents(ctx)
	if err != nil {
		return d, err
	}
	after, err := to.contents(ctx)
	if err != nil {
		return d, err
	}
	for _, p := range paths {
		d.Files = append(d.Files, fileChange{p, fileDiff(p, before, after)})
	}
	return d, nil
}

func (s side) contents(ctx context.Context) (templates.Files, error) {
	if s.files == nil {
		return nil, nil
	}
	return s.files(ctx)
}

// sortChanges compares two maps by what their keys stand for.
func sortChanges[V comparable](from, to map[string]V) (added, removed, changed []string) {
	added, removed, changed = []string{}, []string{}, []string{}
	for _, name := range slices.Sorted(maps.Keys(to)) {
		switch was, ok := from[name]; {
		case !ok:
			added = append(added, name)
		case was != to[name]:
			changed = append(changed, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(from)) {
		if _, ok := to[name]; !ok {
			removed = append(removed, name)
		}
	}
	return added, removed, changed
}

// fileDiff is one file's difference; empty for what is no text.
func fileDiff(p string, before, after templates.Files) string {
	if !templates.IsText(before[p]) || !templates.IsText(after[p]) {
		return ""
	}
	from, to := path.Join("a", p), path.Join("b", p)
	if _, ok := before[p]; !ok {
		from = "/dev/null"
	}
	if _, ok := after[p]; !ok {
		to = "/dev/null"
	}
	return preview.Unified(from, to, before[p], after[p])
}

// write prints the changes for people.
func (d changes) write(w io.Writer) error {
	for _, kind := range []struct {
		sign  string
		names []string
	}{{"+", d.Added}, {"-", d.Removed}, {"~", d.Changed}} {
		for _, name := range kind.names {
			fmt.Fprintf(w, "%s template %s\n", kind.sign, name)
		}
	}
	for _, f := range d.Files {
		text := f.Diff
		if text == "" {
			text = f.Path + " differs, and is no text\n"
		}
		if _, err := io.WriteString(w, text); err != nil {
			return err
		}
	}
	if len(d.Files) == 0 {
		_, err := fmt.Fprintln(w, "no difference")
		return err
	}
	return nil
}
