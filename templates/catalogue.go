// Package templates holds the catalogue: templates that are read, checked and
// compiled once, and render a notification's content for a person, a locale
// and a medium. A catalogue never changes after Load; Store swaps it for a
// newer one when its folder changes.
package templates

import (
	"io/fs"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/carillonhq/carillon/notice"
)

// Catalogue is every template of a folder, compiled. It is safe for use by
// many goroutines.
type Catalogue struct {
	defaultLocale string
	templates     map[string]*Template
	past          *past             // earlier versions; nil: none, see Store
	findings      Faults            // of Load, which refuse nothing by themselves
	src           *sources          // for Pseudo, and Files
	options       options           // that it was loaded with
	assets        map[string]Asset  // by name in URLs
	texts         map[string]string // path → source, for the places that Examine names
	renderers     renderers
	cache         atomic.Pointer[Cache] // of what renderings share; see UseCache
}

// Template is one template: what it is for, what data it needs, and its parts.
type Template struct {
	Name      string
	Version   string        // 12 hex digits over everything that its renderings depend on
	Category  string        // of a notification that names none
	Lane      notice.Lane   // of a notification that names no priority
	ExpiresIn time.Duration // of a notification that names no expires_at; 0 is never
	Samples   []Sample      // "default" first, then by name
	// CollapseKey is that of a notification that names none.
	CollapseKey string
	// Title and Description say to people what it is for; empty: nothing.
	Title       string
	Description string
	// Mandatory is opt_out: false: nobody can leave it, so that neither a
	// preference nor an opt-out holds it back, and it has no unsubscribe link.
	Mandatory bool
	// Digest is the template by which several of its notifications are sent as
	// one; empty: none.
	Digest string
	// Schema is the JSON Schema of the data, its members in the order in which
	// they were written; nil without one.
	Schema jsontext.Value

	channels      []notice.Medium
	defaultLocale string
	readers       *readers
	choices       choices
	groups        map[notice.Medium]map[string]*group // by locale
	contract      contract
	glance        *glance
	push          *pushDefaults
	optional      [][]string // paths of the data that may be absent
	used          Files      // everything that the version is made of; assets as their digests
}

// Sample is example data of a template, as its template.yaml gives it.
type Sample struct {
	Name string
	Data jsontext.Value
	at   position
}

// group is the parts of one medium in one locale.
type group struct {
	locale  string
	from    string // the sender's name; empty: the channel's
	replyTo string
	parts   [partCount]*program
}

// Load reads, checks and compiles a catalogue. When anything in it is wrong
// the error is Faults with everything that is, and no catalogue comes back.
// What is only a warning comes with Examine.
func Load(fsys fs.FS, opts ...Option) (*Catalogue, error) { return load(fsys, optionsOf(opts)) }

func load(fsys fs.FS, o options) (*Catalogue, error) {
	var faults Faults
	src, err := readSources(fsys, o, &faults)
	if err != nil {
		return nil, err
	}
	c := newCompiler(src, o, &faults)
	names := keys(src.templates)
	built := make([]*builder, len(names))
	each(len(names), func(i int) { built[i] = c.template(src.templates[names[i]]) })
	catalogue := &Catalogue{defaultLocale: c.settings.defaultLocale, templates: make(map[string]*Template, len(names)), texts: src.texts(),
		src: src, options: o, assets: serveable(src)}
	for i, b := range built {
		catalogue.templates[names[i]] = b.out
		faults = append(faults, *b.faults...)
	}
	checkDigests(built, &faults)
	if err := faults.Err(); err != nil {
		return nil, err
	}
	c.lint(built, &faults)
	catalogue.findings = faults
	return catalogue, nil
}

// Files is everything that the catalogue was made of: what Load makes the same
// catalogue of again.
func (c *Catalogue) Files() Files { return c.src.files() }

// Template is the current version of a template.
func (c *Catalogue) Template(name string) (*Template, bool) {
	t, ok := c.templates[name]
	return t, ok
}

// Mandatory reports whether nobody can leave a template, as the version says
// that a delivery was planned with; see Template. A template that there is not
// can be left.
func (c *Catalogue) Mandatory(template, version string) bool {
	t, _, err := c.pinned(template, version)
	return err == nil && t.Mandatory
}

// Names lists the templates, sorted.
func (c *Catalogue) Names() []string { return keys(c.templates) }

// DefaultLocale is what a person without a locale reads.
func (c *Catalogue) DefaultLocale() string { return c.defaultLocale }

// Channels are the media that a notification uses when it names none, in the
// order in which they are tried.
func (t *Template) Channels() []notice.Medium { return slices.Clone(t.channels) }

// Renders reports whether t has content for m. A webhook always has some: its
// body without webhook.json is the notification's data.
func (t *Template) Renders(m notice.Medium) bool {
	return m == notice.MediumWebhook || len(t.groups[m]) > 0
}

// Locales lists the locales in which t differs, sorted.
func (t *Template) Locales() []string {
	all := map[string]bool{}
	for _, groups := range t.groups {
		for locale := range groups {
			all[locale] = true
		}
	}
	return keys(all)
}

func keys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
