package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/templates"
	"github.com/carillonhq/carillon/templates/shelf"
)

// catalogueCmd is `carillon catalogue`.
type catalogueCmd struct {
	Push     cataloguePushCmd     `cmd:"" help:"Check a folder, and make it what every process serves."`
	List     catalogueListCmd     `cmd:"" help:"List the changes that are remembered, newest first."`
	Diff     catalogueDiffCmd     `cmd:"" help:"Show what differs between two versions, or a version and a folder."`
	Rollback catalogueRollbackCmd `cmd:"" help:"Make an earlier version current again."`
	Assets   catalogueAssetsCmd   `cmd:"" help:"Write the assets under the names that mails have for them, for a CDN."`
}

// Help is the command's example.
func (catalogueCmd) Help() string {
	return "The catalogue in Redis, which every process with templates.source: redis serves and follows. Example:\n\n" +
		"    carillon catalogue push --config carillon.yaml --message 'the spring campaign'\n    carillon catalogue rollback --config carillon.yaml"
}

// sharedFlags are those of the commands that read the catalogue in Redis.
type sharedFlags struct {
	Config string `placeholder:"FILE" help:"The configuration file; CARILLON_CONFIG's when left out."`
	Format string `enum:"text,json" default:"text" help:"text or json."`
}

// withShelf does something with the catalogue in Redis.
func (f sharedFlags) withShelf(a *app, do func(cfg *config.Config, s *shelf.Shelf) error) error {
	cfg, err := a.loadConfig(f.Config)
	if err != nil {
		return err
	}
	g := &gateway{cfg: cfg}
	defer g.close()
	if err := g.connect(); err != nil {
		return err
	}
	return sharedError(do(cfg, g.newShelf()))
}

// print writes v as JSON, or as text does.
func (f sharedFlags) print(a *app, v any, text func(io.Writer) error) error {
	if f.Format == "json" {
		return a.printJSON(v)
	}
	return text(a.stdout)
}

// loadFolder is a folder's catalogue, examined as a gateway does before it
// serves it. Faults and warnings are printed one a line.
func loadFolder(a *app, dir string, options ...templates.Option) (*templates.Catalogue, error) {
	flag := catalogueFlag{Catalogue: dir}
	c, err := templates.LoadDir(dir, options...)
	if err != nil {
		return nil, flag.explain(a.stderr, err)
	}
	faults := c.Examine()
	for _, fault := range flag.located(faults) {
		fmt.Fprintln(a.stderr, fault.Error())
	}
	if faults.Err() != nil {
		return nil, notSo(fmt.Errorf("the catalogue %s has faults: nothing was changed", dir))
	}
	return c, nil
}

// changeFlags say who changes the catalogue, and on what condition.
type changeFlags struct {
	Message string `short:"m" placeholder:"TEXT" help:"What the change is for; catalogue list shows it."`
	By      string `placeholder:"NAME" help:"Who makes it; the user and the host when left out."`
	Expect  string `placeholder:"VERSION" help:"Change nothing unless this version is current; none for nothing pushed yet."`
}

// maxMessage bounds what the history keeps of a message and a name, in bytes.
const maxMessage = 1000

func (f changeFlags) change() (shelf.Change, error) {
	if len(f.Message) > maxMessage || len(f.By) > maxMessage {
		return shelf.Change{}, usage(fmt.Errorf("--message, --by: at most %d bytes are kept", maxMessage))
	}
	if f.Expect == "none" {
		f.Expect = shelf.None
	}
	if f.By == "" {
		f.By = whoami()
	}
	return shelf.Change{By: f.By, Message: f.Message, Expect: f.Expect}, nil
}

// whoami is user@host, as far as they are known.
func whoami() string {
	name, host := "unknown", "unknown"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if h, err := os.Hostname(); err == nil {
		host = h
	}
	return name + "@" + host
}

// cataloguePushCmd is `carillon catalogue push`.
type cataloguePushCmd struct {
	Catalogue string `placeholder:"DIR" help:"The folder; templates.dir's when left out."`
	DryRun    bool   `help:"Check, say what would change, and change nothing."`
	changeFlags
	sharedFlags
}

// Help is the command's example.
func (cataloguePushCmd) Help() string {
	return "Checks the folder as preview check does, and makes it current in one step: all processes serve it within a second. Ends with 1 when it has faults, or when another version is current than --expect says.\n\n" +
		"Example:\n\n    carillon catalogue push --config carillon.yaml --catalogue ./catalogue -m 'new footer' --expect 3f9c1a0b77de"
}

// pushed is what push and rollback print as JSON.
type pushed struct {
	Version string       `json:"version"`
	Changed bool         `json:"changed"` // false: it was current already
	DryRun  bool         `json:"dry_run,omitzero"`
	Entry   *shelf.Entry `json:"entry,omitzero"`
	Diff    *changes     `json:"diff,omitzero"`
}

// Run pushes a folder.
func (c cataloguePushCmd) Run(a *app) error {
	by, err := c.change()
	if err != nil {
		return err
	}
	return c.withShelf(a, func(cfg *config.Config, s *shelf.Shelf) error {
		if c.Catalogue == "" {
			c.Catalogue = cfg.Templates.Dir
		}
		loaded, err := loadFolder(a, c.Catalogue, templates.WithAssets(cfg.Assets.BaseURL))
		if err != nil {
			return err
		}
		if c.DryRun {
			return c.pretend(a, s, loaded)
		}
		// First, so that no delivery is ever planned with what others cannot have.
		if cfg.Templates.Shelf > 0 {
			if err := s.Put(a.ctx, loaded.Bundles()); err != nil {
				return err
			}
		}
		entry, done, err := s.Push(a.ctx, loaded, by)
		if err != nil {
			return err
		}
		return c.printChange(a, entry, done)
	})
}

// printChange says what a push or a rollback came to.
func (f sharedFlags) printChange(a *app, entry shelf.Entry, done bool) error {
	result := pushed{Version: entry.Version, Changed: done}
	if done {
		result.Entry = &entry
	}
	return f.print(a, result, func(w io.Writer) (err error) {
		if !done {
			_, err = fmt.Fprintf(w, "version %s is current already: nothing was changed\n", entry.Version)
			return err
		}
		_, err = fmt.Fprintf(w, "version %s is current: %d templates, %d files, %d bytes\n", entry.Version, entry.Templates, entry.Files, entry.Bytes)
		return err
	})
}

// pretend says what a push would change.
func (c cataloguePushCmd) pretend(a *app, s *shelf.Shelf, loaded *templates.Catalogue) error {
	current, err := s.Current(a.ctx)
	if err != nil {
		return err
	}
	before := side{name: "nothing", manifest: shelf.Manifest{}}
	if current != "" {
		if before, err = remembered(a.ctx, s, current); err != nil {
			return err
		}
	}
	after := folderSide(c.Catalogue, loaded)
	diff, err := compareSides(a.ctx, before, after)
	if err != nil {
		return err
	}
	version := loaded.Files().Version()
	return c.print(a, pushed{Version: version, Changed: version != current, DryRun: true, Diff: &diff}, func(w io.Writer) error {
		if version == current {
			_, err := fmt.Fprintf(w, "version %s is current already: nothing would change\n", version)
			return err
		}
		fmt.Fprintf(w, "version %s would be current\n", version)
		return diff.write(w)
	})
}

// catalogueListCmd is `carillon catalogue list`.
type catalogueListCmd struct{ sharedFlags }

// Help is the command's example.
func (catalogueListCmd) Help() string {
	return "Example:\n\n    carillon catalogue list --config carillon.yaml --format json"
}

// listing is what list prints as JSON.
type listing struct {
	Current string        `json:"current"` // empty before the first push
	History []shelf.Entry `json:"history"`
}

// Run lists the history.
func (c catalogueListCmd) Run(a *app) error {
	return c.withShelf(a, func(_ *config.Config, s *shelf.Shelf) error {
		entries, err := s.History(a.ctx)
		if err != nil {
			return err
		}
		current, err := s.Current(a.ctx)
		if err != nil {
			return err
		}
		return c.print(a, listing{current, entries}, func(w io.Writer) error { return printHistory(w, entries) })
	})
}

func printHistory(out io.Writer, entries []shelf.Entry) error {
	if len(entries) == 0 {
		_, err := fmt.Fprintln(out, "nothing has been pushed yet")
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\tVERSION\tAT\tACTION\tTEMPLATES\tBYTES\tBY\tMESSAGE")
	for i, e := range entries {
		mark := ""
		if i == 0 {
			mark = "*" // the newest change is what holds
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%d\t%s\t%s\n", mark, e.Version, e.Time().Format(time.RFC3339), e.Action, e.Templates, e.Bytes, printable(e.By), printable(e.Message))
	}
	return w.Flush()
}

// catalogueRollbackCmd is `carillon catalogue rollback`.
type catalogueRollbackCmd struct {
	Version string `arg:"" optional:"" help:"The version; the one before the current when left out."`
	changeFlags
	sharedFlags
}

// Help is the command's example.
func (catalogueRollbackCmd) Help() string {
	return "A rollback is a change of its own, so that rolling back twice without a version ends where it began. Example:\n\n" +
		"    carillon catalogue rollback --config carillon.yaml -m 'the footer is broken'\n    carillon catalogue rollback 3f9c1a0b77de --config carillon.yaml"
}

// Run makes an earlier version current.
func (c catalogueRollbackCmd) Run(a *app) error {
	by, err := c.change()
	if err != nil {
		return err
	}
	return c.withShelf(a, func(_ *config.Config, s *shelf.Shelf) error {
		if c.Version == "" {
			entries, err := s.History(a.ctx)
			if err != nil {
				return err
			}
			if c.Version, err = before(entries); err != nil {
				return err
			}
			if by.Expect == "" {
				by.Expect = entries[0].Version // what "before" was worked out from
			}
		}
		entry, done, err := s.Rollback(a.ctx, c.Version, by)
		if err != nil {
			return err
		}
		return c.printChange(a, entry, done)
	})
}

// before is the version before the current one.
func before(entries []shelf.Entry) (string, error) {
	for _, e := range entries {
		if e.Version != entries[0].Version {
			return e.Version, nil
		}
	}
	return "", notSo(errors.New("no earlier version is remembered: push one"))
}

// catalogueAssetsCmd is `carillon catalogue assets`.
type catalogueAssetsCmd struct {
	Output    string `short:"o" required:"" placeholder:"DIR" help:"The folder to write to; made when it is missing."`
	Catalogue string `default:"./catalogue" placeholder:"DIR" help:"The catalogue's folder (${default})."`
	Format    string `enum:"text,json" default:"text" help:"text or json."`
}

// Help is the command's example.
func (catalogueAssetsCmd) Help() string {
	return "Upload the folder before the catalogue is pushed, and leave what is there: mails that were sent name it for years. manifest.json has the name of each asset.\n\n" +
		"Example:\n\n    carillon catalogue assets --catalogue ./catalogue -o dist && rsync -r dist/ cdn:/mail/"
}

// Run writes the assets and manifest.json.
func (c catalogueAssetsCmd) Run(a *app) error {
	catalogue, err := (catalogueFlag{Catalogue: c.Catalogue}).load(a)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(c.Output, 0o755); err != nil {
		return usage(fmt.Errorf("-o: %w", err))
	}
	names := map[string]string{}
	for _, asset := range catalogue.Assets() {
		names[asset.Path] = asset.Name
		if err := writeWhole(filepath.Join(c.Output, asset.Name), asset.Content); err != nil {
			return usage(fmt.Errorf("-o: %w", err))
		}
	}
	var manifest strings.Builder
	if err := (&app{stdout: &manifest}).printJSON(names); err != nil {
		return err
	}
	if err := writeWhole(filepath.Join(c.Output, "manifest.json"), manifest.String()); err != nil {
		return usage(fmt.Errorf("-o: %w", err))
	}
	return sharedFlags{Format: c.Format}.print(a, names, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "%s: %d assets, manifest.json\n", c.Output, len(names))
		return err
	})
}

// writeWhole writes a file that is never seen half written: an upload may be
// under way.
func writeWhole(path, content string) error {
	temporary := path + ".tmp"
	if err := os.WriteFile(temporary, []byte(content), 0o644); err != nil {
		return err
	}
	return os.Rename(temporary, path)
}
