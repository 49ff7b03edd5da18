package templates

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"text/template/parse"

	"go.yaml.in/yaml/v3"

	"github.com/carillonhq/carillon/notice"
)

// compiler turns sources into templates.
type compiler struct {
	src      *sources
	faults   *Faults
	settings catalogueSettings
	partials map[string]map[string]*parse.Tree // by extension, then name
	layouts  map[string]*module                // by path
	messages map[string]messages               // by locale
	names    map[string]any                    // of the functions that parts may call
	texts    *translators
	readers  *readers
	builtin  builtin
	assets   assetIndex
	pseudo   string // the pseudo-locale that is made beside the default locale; empty: none
}

func newCompiler(src *sources, o options, faults *Faults) *compiler {
	c := &compiler{
		src: src, faults: faults, names: functionNames(), readers: newReaders(), layouts: map[string]*module{}, messages: map[string]messages{},
	}
	c.builtin = newBuiltin(c.names, faults)
	c.assets = newAssetIndex(src, o)
	c.texts = &translators{builtin: c.builtin, assets: c.assets, made: map[string]*translator{}}
	c.settings = parseCatalogueSettings(src.catalogue, faults)
	c.partials = map[string]map[string]*parse.Tree{".html": {}, ".txt": {}, ".json": {}}
	for _, file := range keys(src.partials) {
		c.partial(file, src.partials[file])
	}
	for _, file := range keys(src.layouts) {
		if m, ok := parseModule(file, src.layouts[file], c.names, faults); ok {
			c.layouts[file] = &m
		}
	}
	for _, locale := range keys(src.locales) {
		c.messages[locale] = parseMessages(path.Join(localesDir, locale+".yaml"), locale, src.locales[locale], faults)
	}
	lintMessages(c.messages, c.settings.defaultLocale, faults)
	return c
}

// partial takes one file of _partials in, with what it defines.
func (c *compiler) partial(file, text string) {
	m, ok := parseModule(file, text, c.names, c.faults)
	if !ok {
		return
	}
	into := c.partials[path.Ext(file)]
	m.defines[stem(file)] = m.main
	for name, tree := range m.defines {
		if _, twice := into[name]; twice {
			c.faults.add(position{file, 1, 1}, "a partial named %q exists already: rename one", name)
		}
		into[name] = tree
	}
}

// stem is a file's name without folder and extension.
func stem(file string) string {
	base := path.Base(file)
	return base[:len(base)-len(path.Ext(base))]
}

// builder makes one template.
type builder struct {
	*compiler
	src      *templateSource
	settings settings
	modules  map[string]*module // by path; nil for a part at fault
	used     map[string]string  // path → text of everything that goes into the version
	faults   *Faults            // the template's own
	out      *Template
}

// template makes one template. It changes nothing that others see, so that
// many are made at once.
func (c *compiler) template(src *templateSource) *builder {
	file := path.Join(src.name, "template.yaml")
	faults := &Faults{}
	b := &builder{
		compiler: c, src: src, modules: map[string]*module{}, faults: faults,
		settings: parseSettings(file, src.settings, c.settings.defaults, faults),
		used:     map[string]string{file: src.settings, catalogueFile: c.src.catalogue},
	}
	b.out = &Template{
		Name: src.name, Category: b.settings.category, Lane: b.settings.lane, ExpiresIn: b.settings.expiresIn,
		Title: b.settings.title, Description: b.settings.about, Mandatory: b.settings.mandatory, CollapseKey: b.settings.collapse, push: b.settings.push,
		defaultLocale: c.settings.defaultLocale, readers: c.readers, groups: map[notice.Medium]map[string]*group{},
	}
	if err := survive(func() { b.compile(file) }); err != nil {
		b.faults.add(position{src.name, 1, 1}, "compiling it %v", err)
	}
	return b
}

// compile makes all of the template but its name and settings.
func (b *builder) compile(file string) {
	b.out.contract.schema = compileSchema(b.settings, b.faults)
	b.out.Schema = schemaText(b.settings.schema)
	b.parse()
	for _, m := range notice.Media() {
		b.medium(m)
	}
	b.checkPushDefaults()
	b.out.channels = b.channels(file)
	b.out.contract.check(b.faults)
	b.out.contract.seen = nil
	b.out.glance = newGlance(&b.out.contract)
	b.out.optional = b.out.contract.optional()
	b.out.Samples = b.samples()
	b.out.Version, b.out.used = b.version(), b.bundle()
}

// parse parses every part once, whatever number of locales uses it.
func (b *builder) parse() {
	for _, locale := range keys(b.src.locales) {
		for p := range partCount {
			f, ok := b.src.locales[locale][p]
			if !ok {
				continue
			}
			b.used[f.path] = f.text
			if m, ok := parseModule(f.path, f.text, b.names, b.faults); ok {
				b.modules[f.path] = &m
			}
		}
	}
}

// has reports whether a locale has parts of its own for a medium.
func (b *builder) has(locale string, m notice.Medium) bool {
	for p := range b.src.locales[locale] {
		if p.medium() == m {
			return true
		}
	}
	return false
}

// medium compiles the parts of one medium in every locale that differs.
func (b *builder) medium(m notice.Medium) {
	groups, translated := map[string]*group{}, false
	for _, locale := range keys(b.src.locales) {
		if b.has(locale, m) {
			g, uses := b.group(m, locale, locale)
			groups[locale], translated = g, translated || uses
		}
	}
	if len(groups) == 0 {
		return
	}
	b.out.groups[m] = groups
	fallback := b.out.defaultLocale
	if groups[fallback] == nil {
		b.faults.add(position{path.Join(b.src.name, keys(groups)[0]), 1, 1},
			"has parts for %s, but the default locale %s has none, so a reader of another locale would get nothing: add them under %s/%s", m, fallback, b.src.name, fallback)
		return
	}
	if b.pseudo != "" {
		groups[b.pseudo], _ = b.group(m, b.pseudo, fallback)
		return
	}
	if translated && len(groups) == 1 {
		b.translations(m, groups)
	}
}

// translations compiles a medium whose one set of parts takes its texts from
// _locales, for every locale there. With parts in several locales it is those
// that say which there are: half a text in another language helps nobody.
func (b *builder) translations(m notice.Medium, groups map[string]*group) {
	for _, locale := range keys(b.messages) {
		if groups[locale] == nil {
			groups[locale], _ = b.group(m, locale, b.out.defaultLocale)
		}
	}
}

// group compiles the parts of folder from for the readers of a locale.
func (b *builder) group(m notice.Medium, locale, from string) (g *group, translated bool) {
	g = &group{locale: locale}
	g.from, _ = lookupLocale(b.settings.from, locale, b.bestFor(b.settings.from))
	g.replyTo, _ = lookupLocale(b.settings.replyTo, locale, b.bestFor(b.settings.replyTo))
	files := maps.Clone(b.src.locales[from])
	b.complete(files, m, from)
	for _, p := range [...]part{partPushData, partPushOptions} {
		if f, ok := b.inherited(p, from); ok && m == notice.MediumPush {
			files[p] = f
		}
	}
	for p := range partCount {
		f, ok := files[p]
		if !ok || p.medium() != m || b.modules[f.path] == nil {
			continue
		}
		var uses bool
		g.parts[p], uses = b.program(p, b.modules[f.path], locale)
		translated = translated || uses
	}
	return g, translated
}

// bestFor is the entry of texts by locale for who has none of their own.
func (b *builder) bestFor(texts map[string]string) string {
	if _, ok := texts[b.out.defaultLocale]; ok {
		return b.out.defaultLocale
	}
	return ""
}

// inherited is a part of a locale or of those it falls back to: push data
// and options are for the app and seldom differ by language.
func (b *builder) inherited(p part, locale string) (sourceFile, bool) {
	having := map[string]sourceFile{}
	for l, parts := range b.src.locales {
		if f, ok := parts[p]; ok {
			having[l] = f
		}
	}
	return lookupLocale(having, locale, b.out.defaultLocale)
}

// complete reports the parts without which a medium cannot be sent.
func (b *builder) complete(files map[part]sourceFile, m notice.Medium, locale string) {
	has := func(p part) bool { _, ok := files[p]; return ok }
	at := position{path.Join(b.src.name, locale), 1, 1}
	switch {
	case m == notice.MediumEmail && !has(partSubject):
		b.faults.add(at, "has an email without a subject: add email.subject.txt")
	case m == notice.MediumEmail && !has(partHTML) && !has(partText):
		b.faults.add(at, "has an email's subject without an email: add email.html or email.txt")
	case m == notice.MediumPush && !has(partTitle) && !has(partBody) && !has(partPushOptions) && locale == b.out.defaultLocale:
		b.faults.add(at, "has a push without a text: add push.title.txt or push.body.txt")
	}
}

// program links, checks and compiles one part.
func (b *builder) program(p part, m *module, locale string) (compiled *program, translated bool) {
	ext := path.Ext(m.main.ParseName)
	l := link(*m, b.layout(p, ext), b.partials[ext])
	texts := b.texts.get(b.messages, locale, b.out.defaultLocale)
	before := b.faults.errors()
	w := walker{part: l, texts: texts, dates: b.readers.zones, faults: b.faults, refs: &b.out.contract, called: map[string]bool{}, seen: map[string]bool{}, assets: &b.assets, usesAssets: map[string]bool{}}
	w.run()
	b.depend(l, w)
	if b.faults.errors() == before {
		l.weigh(b.faults)
	}
	if b.faults.errors() > before {
		return nil, w.translated
	}
	called := w.called
	if p == partHTML && b.inlines(l) {
		if l, called = l.inlineCSS(b.faults); b.faults.errors() > before {
			return nil, w.translated
		}
	}
	if texts.pseudo != "" && path.Ext(l.file) != ".json" {
		l, called = l.inPseudo(texts.pseudo)
	}
	compiled, err := l.build(called, texts)
	if err != nil {
		*b.faults = append(*b.faults, engineFault(l.file, err))
		return nil, w.translated
	}
	return compiled, w.translated
}

// inlines reports whether a mail's styles become attributes: when its settings
// say so, and in the layouts that are built in unless they say otherwise.
func (b *builder) inlines(l linked) bool {
	if b.settings.css == "" {
		return b.builtin.texts[l.entry.ParseName] != ""
	}
	return b.settings.css == cssInline
}

// build makes a checked part executable.
func (l linked) build(reachable map[string]bool, texts *translator) (*program, error) {
	if inlined, any := l.inline(); any {
		if p, err := inlined.finish(reachable, texts); err == nil {
			return p, nil
		} // The engine is to speak of the part as it was written.
	}
	return l.finish(reachable, texts)
}

func (l linked) finish(reachable map[string]bool, texts *translator) (*program, error) {
	l, err := l.expandCalls()
	if err != nil {
		return nil, err
	}
	compiled, err := l.compile(reachable, l.calls(reachable, texts.functions))
	if err != nil {
		return nil, err
	}
	return compiled, compiled.prepare()
}

// layout is the layout of a part; nil when it has none. Only the HTML of an
// email must have the layout that is named; its text uses one that is there.
func (b *builder) layout(p part, ext string) *module {
	if b.settings.layout == "" || p != partHTML && p != partText {
		return nil
	}
	file := path.Join(layoutsDir, b.settings.layout+ext)
	_, exists := b.compiler.src.layouts[file]
	if m := b.builtin.layouts[file]; m != nil && !exists {
		return m
	}
	if !exists && p == partHTML {
		names := []string{"base", "plain", "receipt"}
		for other := range b.compiler.src.layouts {
			names = append(names, stem(other))
		}
		slices.Sort(names)
		at := position{path.Join(b.src.name, "template.yaml"), 1, 1}
		if b.settings.doc.root != nil {
			at = b.settings.doc.at(child(b.settings.doc.root, []string{"layout"}))
		}
		b.faults.add(at, "layout: there is no %s%s", file, known(b.settings.layout, slices.Compact(names)))
	}
	return b.layouts[file]
}

// depend notes the shared files that a part's rendering depends on.
func (b *builder) depend(l linked, w walker) {
	note := func(file string) {
		if text, ok := b.compiler.src.layouts[file]; ok {
			b.used[file] = text
		}
		if text, ok := b.compiler.src.partials[file]; ok {
			b.used[file] = text
		}
		if text, ok := b.builtin.texts[file]; ok {
			b.used[file] = text
		}
	}
	note(l.entry.ParseName)
	for name := range w.called {
		note(l.trees[name].ParseName)
	}
	if w.usesMessages {
		for locale, text := range b.compiler.src.locales {
			b.used[path.Join(localesDir, locale+".yaml")] = text
		}
	}
	for file := range w.usesAssets {
		b.used[file] = b.assets.sums[file]
	}
}

// channels are what template.yaml names, or every medium that has parts.
func (b *builder) channels(file string) []notice.Medium {
	if b.settings.channels == nil {
		var media []notice.Medium
		for _, m := range notice.Media() {
			if len(b.out.groups[m]) > 0 {
				media = append(media, m)
			}
		}
		if len(media) == 0 {
			b.faults.add(position{file, 1, 1}, "the template has no parts: add one like %s/%s/email.txt", b.src.name, b.out.defaultLocale)
		}
		return media
	}
	for _, m := range b.settings.channels {
		if !b.out.Renders(m) {
			b.faults.add(position{file, 1, 1}, "channels names %s, but there are no parts for it under %s/%s", m, b.src.name, b.out.defaultLocale)
		}
	}
	return b.settings.channels
}

// samples reads the samples and holds each against the contract.
func (b *builder) samples() []Sample {
	var samples []Sample
	doc := b.settings.doc
	doc.each(b.settings.samples, b.faults, func(key, value *yaml.Node) {
		s := Sample{Name: key.Value, at: doc.at(value)}
		v, err := yamlValue(value)
		if err == nil {
			s.Data, err = appendJSON(nil, v, 0)
		}
		if err != nil {
			b.faults.add(s.at, "sample %s: %v", s.Name, err)
			return
		}
		_, faults := b.out.CheckData(s.Data)
		for _, f := range faults {
			b.faults.add(doc.at(child(value, belowData(f.Pointer))), "sample %s: %s: %s", s.Name, f.Pointer, f.Detail)
		}
		samples = append(samples, s)
	})
	slices.SortFunc(samples, func(x, y Sample) int {
		switch {
		case x.Name == "default":
			return -1
		case y.Name == "default":
			return 1
		}
		return strings.Compare(x.Name, y.Name)
	})
	return samples
}

// bundle is everything that was used and that is not built in.
func (b *builder) bundle() Files {
	all := Files{}
	for file, text := range b.used {
		if _, builtin := b.builtin.texts[file]; !builtin && text != "" {
			all[file] = text
		}
	}
	return all
}

// version hashes everything that was used.
func (b *builder) version() string {
	h := sha256.New()
	for _, file := range keys(b.used) {
		fmt.Fprintf(h, "%d %s %d %s\n", len(file), file, len(b.used[file]), b.used[file])
	}
	return hex.EncodeToString(h.Sum(nil))[:12]
}
