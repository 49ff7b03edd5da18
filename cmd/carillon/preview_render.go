package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/templates"
	"github.com/carillonhq/carillon/templates/preview"
)

// previewRenderCmd is `carillon preview render`.
type previewRenderCmd struct {
	catalogueFlag
	versionFlag
	Config  string `placeholder:"FILE" help:"The configuration of the gateway in whose Redis --version and --diff are."`
	Name    string `arg:"" optional:"" help:"The template's name; none with --all."`
	All     bool   `help:"Every template, locale, sample and channel, into the folder -o with an index page."`
	Diff    string `placeholder:"REV" help:"What differs from another catalogue: its folder, or a revision of git as HEAD~1, or with --config a version as --version. Ends with 1 when anything does."`
	Locale  string `placeholder:"LOCALE" help:"The recipient's locale, as de or de-AT; with --all and --diff several, as en,de. The catalogue's default when left out, with --all and --diff every locale. en-XA and ar-XB are made up, to try a layout."`
	Channel string `placeholder:"CHANNEL" help:"Only this channel: email, push or webhook."`
	Data    string `placeholder:"FILE" help:"A file with the data as JSON, - for the standard input; the template's sample when left out."`
	Sample  string `placeholder:"NAME" help:"Which of the template's samples to use; its default, or else its first, with --all and --diff every one."`
	Format  string `enum:",text,html,json,page" default:"" placeholder:"FORMAT" help:"How to print it: text (as when left out), json, html (the mail's own; of a --diff side by side), or page (every channel, for a browser)."`
	Output  string `short:"o" placeholder:"FILE" help:"Write to this file; with --all to this folder."`
	Force   bool   `help:"With --all, write into a folder that holds something else."`
	Open    bool   `help:"Open it in the browser, as a page; without -o from a temporary file."`
}

// Help is the command's example.
func (previewRenderCmd) Help() string {
	return "Example:\n\n    carillon preview render order-shipped --locale de --channel email --format html -o mail.html\n" +
		"    echo '{\"order\":\"A-1\"}' | carillon preview render order-shipped --data -\n" +
		"    carillon preview render --all -o renderings --locale en,de --open\n" +
		"    carillon preview render --all --diff origin/main\n" +
		"    carillon preview render --all --diff current --config carillon.yaml    # what a push would change\n" +
		"    carillon preview render order-shipped --version 3f9c1a0b77de --config carillon.yaml"
}

// Run renders one template, or all, or what differs.
func (c previewRenderCmd) Run(a *app) error {
	if err := errors.Join(c.checkFlags(), c.check(a, c.catalogueFlag, c.Config)); err != nil {
		return usage(err)
	}
	catalogue, of, err := c.read(a)
	if err != nil {
		return err
	}
	data, err := readData(a, c.Data)
	if err != nil {
		return err
	}
	switch {
	case c.Diff != "":
		return c.diff(a, catalogue, of, data)
	case c.All:
		return c.export(a, catalogue)
	}
	return c.one(a, catalogue, data)
}

// read is what is rendered, and what to call it.
func (c previewRenderCmd) read(a *app) (*templates.Catalogue, string, error) {
	if c.Version == "" {
		catalogue, err := c.load(a)
		return catalogue, c.Catalogue, err
	}
	assets := sentAssets
	if c.All || c.Diff != "" {
		assets = localAssets // an export brings them along, and a folder knows no others
	}
	catalogue, version, err := loadVersion(a, c.Config, c.Version, assets)
	return catalogue, "version " + version, err
}

func (c previewRenderCmd) one(a *app, catalogue *templates.Catalogue, data jsontext.Value) error {
	r, err := preview.Render(catalogue, c.Name, preview.Options{Locale: c.Locale, Channel: notice.Medium(c.Channel), Sample: c.Sample, Data: data})
	if err != nil {
		return dataFaults(a, err)
	}
	var text bytes.Buffer
	if err := c.print(&text, r); err != nil {
		return notSo(err)
	}
	return c.put(a, text.Bytes())
}

// dataFaults prints what is wrong with the data, one line each; any other
// error is passed on.
func dataFaults(a *app, err error) error {
	var faults notice.Faults
	if !errors.As(err, &faults) {
		return notSo(err)
	}
	for _, f := range faults {
		fmt.Fprintf(a.stderr, "%s: %s\n", f.Pointer, oneLine(f.Detail))
	}
	return notSo(nil)
}

func (c previewRenderCmd) print(w io.Writer, r preview.Result) error {
	switch c.format("page") {
	case "html":
		return r.WriteHTML(w)
	case "json":
		return (&app{stdout: w}).printJSON(r.Content)
	case "page":
		return r.WritePage(w)
	}
	return r.WriteText(w)
}

// format is how to print; what is opened in a browser is a page by itself.
func (c previewRenderCmd) format(opened string) string {
	switch {
	case c.Format == "" && c.Open:
		return opened
	case c.Format == "":
		return "text"
	}
	return c.Format
}

// put puts what was made where it was asked for.
func (c previewRenderCmd) put(a *app, text []byte) error {
	file := c.Output
	switch {
	case file == "" && !c.Open:
		_, err := a.stdout.Write(text)
		return err
	case file == "":
		folder, err := os.MkdirTemp("", "carillon-preview-")
		if err != nil {
			return usage(fmt.Errorf("--open: %w", err))
		}
		file = filepath.Join(folder, "preview"+extension(c.format("html")))
	}
	if err := os.WriteFile(file, text, 0o644); err != nil {
		return usage(fmt.Errorf("-o: %w", err))
	}
	return openFile(a, file, c.Open)
}

// extension is what a browser knows a format by.
func extension(format string) string {
	switch format {
	case "text":
		return ".txt"
	case "json":
		return ".json"
	}
	return ".html"
}

// export writes the whole catalogue into a folder.
func (c previewRenderCmd) export(a *app, catalogue *templates.Catalogue) error {
	items, err := preview.RenderAll(catalogue, c.selection(nil))
	if err != nil {
		return notSo(err)
	}
	dir := c.Output
	if dir == "" { // with --open, as checkFlags has seen
		if dir, err = os.MkdirTemp("", "carillon-preview-"); err != nil {
			return usage(fmt.Errorf("--open: %w", err))
		}
	}
	w, err := newWire(nil)
	if err != nil {
		return err
	}
	defer w.mail.Close()
	files, err := preview.Export{Dir: dir, Force: c.Force, Wire: w, Catalogue: catalogue}.Write(items)
	if err != nil {
		return usage(fmt.Errorf("-o: %w", err))
	}
	failed := reportFailed(a, "", items)
	if _, err := fmt.Fprintf(a.stdout, "%s: %d renderings, %d files, %d not rendered\n", filepath.Join(dir, preview.IndexPage), len(items)-failed, files, failed); err != nil {
		return err
	}
	if err := openFile(a, filepath.Join(dir, preview.IndexPage), c.Open); err != nil {
		return err
	}
	return broken(items)
}

// reportFailed prints what could not be rendered, and counts it.
func reportFailed(a *app, of string, items []preview.Item) (failed int) {
	for _, i := range items {
		if i.Err == nil {
			continue
		}
		failed++
		fmt.Fprintf(a.stderr, "%s%s (locale %s, sample %s): %s\n", of, i.Template, i.Locale, i.Sample, oneLine(i.Err.Error()))
	}
	return failed
}

// broken is an error when anything failed but for want of a sample, which is
// no fault of a catalogue.
func broken(items []preview.Item) error {
	if slices.ContainsFunc(items, func(i preview.Item) bool { return i.Err != nil && !errors.Is(i.Err, preview.ErrNoSample) }) {
		return notSo(nil)
	}
	return nil
}

func (c previewRenderCmd) selection(data jsontext.Value) preview.Selection {
	return preview.Selection{Template: c.Name, Locales: c.locales(), Channel: notice.Medium(c.Channel), Sample: c.Sample, Data: data}
}

// locales are those that --locale names, each once.
func (c previewRenderCmd) locales() (locales []string) {
	for locale := range strings.SplitSeq(c.Locale, ",") {
		if locale = strings.TrimSpace(locale); locale != "" && !slices.Contains(locales, locale) {
			locales = append(locales, locale)
		}
	}
	return locales
}

// checkFlags finds what contradicts itself before anything is read.
func (c previewRenderCmd) checkFlags() error {
	if c.Channel != "" && !notice.Medium(c.Channel).Valid() {
		return fmt.Errorf("--channel: %q is none of email, push, webhook", c.Channel)
	}
	for _, locale := range c.locales() {
		if detail := notice.CheckLocale(locale); detail != "" {
			return fmt.Errorf("--locale: %s", detail)
		}
	}
	switch {
	case !c.All && c.Name == "":
		return errors.New("which template? name one, or give --all for every one")
	case c.All && c.Name != "":
		return fmt.Errorf("%q and --all contradict each other: leave one out", c.Name)
	case !c.All && c.Diff == "" && len(c.locales()) > 1:
		return fmt.Errorf("--locale: %q are several: name one, or add --all or --diff", c.Locale)
	case c.Force && (!c.All || c.Diff != ""):
		return errors.New("--force: goes with --all -o DIR alone: leave it out")
	case c.Config != "" && c.Version == "" && c.Diff == "":
		return errors.New("--config: goes with --version or --diff, whose Redis it names: leave it out")
	case c.Diff != "" && c.Format == "page":
		return errors.New("--format page: a --diff has --format html, side by side")
	case c.All:
		return c.checkAll()
	}
	return nil
}

func (c previewRenderCmd) checkAll() error {
	switch {
	case c.Data != "":
		return errors.New("--data: is one template's: name that in place of --all")
	case c.Diff != "":
		return nil
	case c.Format != "":
		return fmt.Errorf("--format %s: --all writes every format: leave it out", c.Format)
	case c.Output == "" && !c.Open:
		return errors.New("--all: where to? give a folder as -o DIR")
	case c.Output != "":
		return c.checkOutside()
	}
	return nil
}

// checkOutside refuses an export that the catalogue would read as templates.
func (c previewRenderCmd) checkOutside() error {
	catalogue, err := filepath.Abs(c.Catalogue)
	if err != nil {
		return err
	}
	out, err := filepath.Abs(c.Output)
	if err != nil {
		return err
	}
	relative, err := filepath.Rel(catalogue, out)
	if err != nil || !filepath.IsLocal(relative) || strings.HasPrefix(relative, ".") && relative != "." {
		return nil // beside it, or in what it does not read
	}
	return fmt.Errorf("-o: %s lies in the catalogue, which would read it as templates: name a folder beside it", c.Output)
}

// diff prints what differs from another catalogue.
func (c previewRenderCmd) diff(a *app, catalogue *templates.Catalogue, of string, data jsontext.Value) error {
	before, name, err := c.renderBefore(a, data)
	if err != nil {
		return err
	}
	after, err := preview.RenderAll(catalogue, c.selection(data))
	if err != nil && len(before) == 0 {
		return notSo(err)
	}
	reportFailed(a, "", after)
	comparison := preview.Compare(name, of, before, after)
	var text bytes.Buffer
	if err := c.printDiff(&text, a, comparison); err != nil {
		return err
	}
	if err := c.put(a, text.Bytes()); err != nil {
		return err
	}
	if comparison.Differs() {
		return notSo(nil)
	}
	return broken(after)
}

func (c previewRenderCmd) printDiff(w io.Writer, a *app, comparison preview.Comparison) error {
	switch c.format("html") {
	case "html":
		return comparison.WritePage(w)
	case "json":
		return (&app{stdout: w}).printJSON(comparison)
	}
	return comparison.WriteText(w, c.Output == "" && !c.Open && a.colours())
}

// renderBefore renders what --diff names, and says what to call it. A template
// that it does not have is nothing there.
func (c previewRenderCmd) renderBefore(a *app, data jsontext.Value) ([]preview.Item, string, error) {
	before, name, err := c.before(a)
	if err != nil {
		return nil, name, err
	}
	s := c.selection(data)
	if _, ok := before.Template(c.Name); c.Name != "" && !ok {
		return nil, name, nil
	}
	items, err := preview.RenderAll(before, s)
	if err != nil {
		return nil, name, nil // it has no such sample or channel: all there is now is new
	}
	reportFailed(a, name+": ", items)
	return items, name, nil
}

// before is the catalogue that --diff names: a folder, or else a version where
// one was asked for or the configuration is named, or else a revision of git.
func (c previewRenderCmd) before(a *app) (*templates.Catalogue, string, error) {
	dir := c.Diff
	if info, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) || err == nil && !info.IsDir() {
		if c.Config != "" || c.Version != "" {
			before, version, err := loadVersion(a, c.Config, c.Diff, localAssets)
			return before, "version " + version, err
		}
		if dir, err = preview.Checkout(a.ctx, c.Catalogue, c.Diff); err != nil {
			return nil, "", usage(fmt.Errorf("--diff: %w", err))
		}
		defer os.RemoveAll(dir)
	}
	before, err := templates.LoadDir(dir)
	if err != nil {
		fmt.Fprintf(a.stderr, "--diff %s: that catalogue cannot be rendered:\n", c.Diff)
		return nil, "", catalogueFlag{c.Diff}.explain(a.stderr, err)
	}
	return before, c.Diff, nil
}

// readData reads what --data names; nil when it names nothing.
func readData(a *app, name string) (jsontext.Value, error) {
	var data []byte
	var err error
	switch name {
	case "":
		return nil, nil
	case "-":
		data, err = io.ReadAll(a.stdin)
	default:
		data, err = os.ReadFile(name)
	}
	if err != nil {
		return nil, usage(fmt.Errorf("--data: %w", err))
	}
	if len(data) == 0 {
		return nil, usage(fmt.Errorf("--data %s: is empty: give a JSON object, {} for no data", name))
	}
	return data, nil
}
