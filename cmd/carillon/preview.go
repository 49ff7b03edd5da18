package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"time"

	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/templates"
	"github.com/carillonhq/carillon/templates/preview"
	"github.com/carillonhq/carillon/templates/shelf"
)

// previewCmd is `carillon preview`.
type previewCmd struct {
	Render   previewRenderCmd   `cmd:"" help:"Render one template exactly as the consumer would."`
	Check    previewCheckCmd    `cmd:"" help:"Check the whole catalogue: every fault at once, with its place."`
	Snapshot previewSnapshotCmd `cmd:"" help:"Compare every rendering with its golden file."`
	Serve    previewServeCmd    `cmd:"" help:"Show the catalogue in a browser, live on file change."`
}

// Help is the command's example.
func (previewCmd) Help() string {
	return "Example:\n\n    carillon preview serve --catalogue ./catalogue"
}

// defaultCatalogue is the folder that is read when none is named.
const defaultCatalogue = "./catalogue"

// catalogueFlag is the folder that every preview command reads.
type catalogueFlag struct {
	Catalogue string `default:"./catalogue" placeholder:"DIR" help:"The catalogue's folder (${default})."`
}

// load reads the catalogue; its faults are printed one a line.
func (f catalogueFlag) load(a *app) (*templates.Catalogue, error) {
	c, err := templates.LoadDir(f.Catalogue)
	return c, f.explain(a.stderr, err)
}

// explain prints the faults of a catalogue with paths that an editor can open
// from here; any other error is passed on.
func (f catalogueFlag) explain(w io.Writer, err error) error {
	var faults templates.Faults
	if !errors.As(err, &faults) {
		if err != nil {
			return notSo(err)
		}
		return nil
	}
	for _, fault := range f.located(faults) {
		fmt.Fprintln(w, fault.Error())
	}
	return notSo(nil)
}

func (f catalogueFlag) located(faults templates.Faults) templates.Faults {
	located := make(templates.Faults, len(faults))
	for i, fault := range faults {
		fault.File = filepath.Join(f.Catalogue, filepath.FromSlash(fault.File))
		located[i] = fault
	}
	return located
}

// previewCheckCmd is `carillon preview check`.
type previewCheckCmd struct {
	catalogueFlag
	Format string `enum:"text,json" default:"text" help:"How to print it: ${enum}."`
	Strict bool   `help:"End with 1 for warnings too."`
}

// Help is the command's example.
func (previewCheckCmd) Help() string {
	return "Ends with 1 when there is a fault, and with --strict when there is a warning. docs/templates.md says what is checked. Example:\n\n    carillon preview check --catalogue ./catalogue\n    carillon preview check --strict --format json | jq '.faults[] | select(.severity == \"warning\")'"
}

// Run loads the catalogue and renders every template × locale × channel ×
// sample of it.
func (c previewCheckCmd) Run(a *app) error {
	catalogue, err := templates.LoadDir(c.Catalogue)
	var faults templates.Faults
	switch {
	case err == nil:
		faults = catalogue.Examine()
	case !errors.As(err, &faults):
		return notSo(err)
	}
	bad := faults.Err() != nil || c.Strict && len(faults) > 0
	if c.Format == "json" {
		return c.printJSON(a, bad, faults)
	}
	for _, fault := range c.located(faults) {
		fmt.Fprintln(a.stderr, fault.Error())
	}
	if bad {
		return notSo(nil)
	}
	warnings := ""
	if len(faults) > 0 {
		warnings = fmt.Sprintf(", %d warnings", len(faults))
	}
	_, err = fmt.Fprintf(a.stdout, "%s: %d templates, %d renderings, no faults%s\n", c.Catalogue, len(catalogue.Names()), len(catalogue.Cases()), warnings)
	return err
}

func (c previewCheckCmd) printJSON(a *app, bad bool, faults templates.Faults) error {
	result := struct {
		OK     bool             `json:"ok"`
		Faults templates.Faults `json:"faults"`
	}{!bad, c.located(faults)}
	if err := a.printJSON(result); err != nil || !bad {
		return err
	}
	return notSo(nil)
}

// previewSnapshotCmd is `carillon preview snapshot`.
type previewSnapshotCmd struct {
	catalogueFlag
	Update bool `help:"Make the golden files what is rendered now."`
}

// Help is the command's example.
func (previewSnapshotCmd) Help() string {
	return "The golden files lie under _snapshots in the catalogue. Example:\n\n    carillon preview snapshot --update\n    carillon preview snapshot || echo 'the renderings changed'"
}

// Run compares every rendering with its golden file.
func (c previewSnapshotCmd) Run(a *app) error {
	catalogue, err := c.load(a)
	if err != nil {
		return err
	}
	rendered, err := preview.Snapshots(catalogue)
	if err != nil {
		return notSo(err)
	}
	differences, err := preview.CompareSnapshots(c.Catalogue, rendered)
	if err != nil && !(c.Update && errors.Is(err, preview.ErrNoSnapshots)) {
		return notSo(err)
	}
	if c.Update {
		if err := preview.UpdateSnapshots(c.Catalogue, rendered, differences); err != nil {
			return notSo(err)
		}
		_, err := fmt.Fprintf(a.stdout, "%d golden files, %d updated\n", len(rendered), len(differences))
		return err
	}
	for _, d := range differences {
		fmt.Fprint(a.stdout, preview.Coloured(d.Diff, a.colours()))
	}
	if len(differences) > 0 {
		return notSo(fmt.Errorf("%d of %d renderings differ from their golden files: carillon preview snapshot --update accepts them", len(differences), len(rendered)))
	}
	_, err = fmt.Fprintf(a.stdout, "%d golden files, none differs\n", len(rendered))
	return err
}

// previewServeCmd is `carillon preview serve`.
type previewServeCmd struct {
	catalogueFlag
	versionFlag
	Listen string   `default:"127.0.0.1:0" placeholder:"ADDR" help:"The address to listen on; port 0 takes a free one (${default})."`
	Host   []string `placeholder:"NAME" help:"A further name under which the page may be asked for, where it is not an address or localhost."`
	Config string   `placeholder:"FILE" help:"A configuration whose channels tests may be sent through, to an address that is typed, and in whose Redis --version is; without it nothing is ever sent."`
	Open   bool     `help:"Open it in the browser."`
}

// Help is the command's example.
func (previewServeCmd) Help() string {
	return "The page asks nothing of the network, and sends only with --config.\n\n" +
		"Example:\n\n    carillon preview serve --catalogue ./catalogue --open\n    carillon preview serve --config carillon.yaml --listen 127.0.0.1:8081\n" +
		"    carillon preview serve --config carillon.yaml --version current    # what is served now, and what is pushed meanwhile"
}

// Run serves the preview until it is told to stop.
func (c previewServeCmd) Run(a *app) error {
	if err := c.check(a, c.catalogueFlag, c.Config); err != nil {
		return usage(err)
	}
	page, closePage, err := c.page(a)
	if err != nil {
		return err
	}
	defer closePage()
	log := slog.New(slog.NewTextHandler(a.stderr, nil))
	if c.Version != "" {
		return sharedFlags{Config: c.Config}.withShelf(a, func(_ *config.Config, s *shelf.Shelf) error {
			return c.serveVersion(a, page, s, log)
		})
	}
	store, err := templates.OpenStore(c.Catalogue, log)
	if err != nil {
		return c.explain(a.stderr, err)
	}
	defer store.Close()
	return c.serve(a, store, page, c.Catalogue)
}

// serveVersion serves a version, which stays as it is, or what is current at
// any time.
func (c previewServeCmd) serveVersion(a *app, page preview.Page, s *shelf.Shelf, log *slog.Logger) error {
	version, err := findVersion(a.ctx, s, c.Version)
	if err != nil {
		return err
	}
	var shared templates.Shared = pinned{s, version}
	what := "version " + version
	if c.Version == currentVersion {
		shared, what = s, what+" and those after it"
	}
	store, err := templates.OpenShared(a.ctx, shared, "Redis", log)
	if err != nil {
		return err
	}
	defer store.Close()
	page.Dir = "" // the version's own files are shown
	return c.serve(a, store, page, what)
}

// serve shows a store's catalogue until it is told to stop.
func (c previewServeCmd) serve(a *app, store *templates.Store, page preview.Page, what string) error {
	listener, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return usage(fmt.Errorf("--listen: %w", err))
	}
	server := &http.Server{Handler: preview.Handler(store, page), ReadHeaderTimeout: 5 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	url := fmt.Sprintf("http://%s/", listener.Addr())
	fmt.Fprintf(a.stdout, "preview of %s at %s\n", what, url)
	if c.Open {
		go openInBrowser(a, url)
	}
	select {
	case err := <-served:
		return fmt.Errorf("serve the preview: %w", err)
	case <-a.ctx.Done():
		return server.Close() // event streams never end by themselves
	}
}

// page is what the page can do: show what would be sent and, with --config,
// send tests. The function that is returned closes it.
func (c previewServeCmd) page(a *app) (preview.Page, func(), error) {
	page := preview.Page{Dir: c.Catalogue, Hosts: c.Host}
	var section config.Channels
	var sender *courier
	if c.Config != "" {
		if onLoopback(c.Listen) != nil {
			return page, nil, usage(fmt.Errorf("--config: whoever reaches %q could send through its channels: listen on loopback, as --listen 127.0.0.1:8081", c.Listen))
		}
		cfg, err := a.loadConfig(c.Config)
		if err != nil {
			return page, nil, err
		}
		section = cfg.Channels
		if sender, err = newCourier(section, nil); err != nil {
			return page, nil, usage(err)
		}
		page.Sending = sender.sending("a real address", "")
	}
	w, err := newWire(section.Email)
	if err != nil {
		return page, nil, usage(err)
	}
	page.Wire = w
	return page, func() {
		_ = w.mail.Close() // it has never connected
		if sender != nil {
			sender.close()
		}
	}, nil
}
