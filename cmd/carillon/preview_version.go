package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/templates"
	"github.com/carillonhq/carillon/templates/shelf"
)

// currentVersion is the word for what every process serves now.
const currentVersion = "current"

// versionFlag names a version of the catalogue in Redis, in place of a folder.
type versionFlag struct {
	Version string `placeholder:"VERSION" help:"A version of the catalogue in Redis in place of a folder: one that catalogue list prints, the beginning of one, or current. Takes --config."`
}

// check refuses a version that nothing says the whereabouts of, or that a
// folder stands beside.
func (f versionFlag) check(a *app, folder catalogueFlag, configured string) error {
	switch {
	case f.Version == "":
		return nil
	case a.configPath(configured) == "":
		return errors.New("--version: of the catalogue in which Redis? name the gateway's configuration as --config FILE")
	case folder.Catalogue != defaultCatalogue:
		return fmt.Errorf("--version %s and --catalogue %s contradict each other: leave one out", f.Version, folder.Catalogue)
	}
	return nil
}

// findVersion is the one version that a word stands for: current, a version, or
// the beginning of one.
func findVersion(ctx context.Context, s *shelf.Shelf, word string) (string, error) {
	current, err := s.Current(ctx)
	if err != nil {
		return "", err
	}
	if current == "" {
		return "", templates.ErrNothingShared
	}
	if word == currentVersion {
		return current, nil
	}
	entries, err := s.History(ctx)
	if err != nil {
		return "", err
	}
	versions := []string{current}
	for _, e := range entries {
		versions = append(versions, e.Version)
	}
	slices.Sort(versions)
	return chooseVersion(slices.Compact(versions), word)
}

// chooseVersion finds a version by its beginning.
func chooseVersion(versions []string, word string) (string, error) {
	var found []string
	for _, v := range versions {
		if word != "" && strings.HasPrefix(v, word) {
			found = append(found, v)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return "", notSo(fmt.Errorf("version %q is the beginning of %s: write more of it", word, strings.Join(found, " and of ")))
	}
	near := ""
	if v := notice.Nearest(word, versions); v != "" {
		near = " did you mean " + v + "?"
	}
	return "", fmt.Errorf("version %q: %w:%s carillon catalogue list shows those that are", word, shelf.ErrUnknown, near)
}

// loadVersion is a version of the catalogue in Redis.
func loadVersion(a *app, configured, word string, o func(*config.Config) []templates.Option) (c *templates.Catalogue, version string, err error) {
	err = sharedFlags{Config: configured}.withShelf(a, func(cfg *config.Config, s *shelf.Shelf) error {
		if version, err = findVersion(a.ctx, s, word); err != nil {
			return err
		}
		files, err := s.Files(a.ctx, version)
		if err != nil {
			return err
		}
		c, err = templates.Load(files, o(cfg)...)
		return err
	})
	return c, version, err
}

// localAssets are assets as previews name them, wherever the world gets them.
func localAssets(*config.Config) []templates.Option { return nil }

// sentAssets are assets as mails name them that are sent.
func sentAssets(cfg *config.Config) []templates.Option {
	return []templates.Option{templates.WithAssets(cfg.Assets.BaseURL)}
}

// pinned is a shared catalogue of which one version stays current.
type pinned struct {
	*shelf.Shelf
	version string
}

// Current is that version.
func (p pinned) Current(context.Context) (string, error) { return p.version, nil }

// Follow has nothing to tell.
func (p pinned) Follow(ctx context.Context, _ func()) { <-ctx.Done() }
