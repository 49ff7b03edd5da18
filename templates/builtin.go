package templates

import (
	"embed"
	"path"

	"go.yaml.in/yaml/v3"
)

// The layouts that a template can name without a file in _layouts: base, a
// card that is 600 pixels wide, or as wide as a telephone, for light and dark;
// receipt, the same with rows of figures; plain, which looks like a letter. A
// file of the same name in _layouts takes a layout's place, and partials named
// styles, header and footer those parts of it.
//
//go:embed layouts/*.html layouts/messages.yaml
var layoutFiles embed.FS

// builtinDir is where faults and versions say that a built-in layout is.
const builtinDir = "built-in"

// builtin is what the binary brings: layouts by the path that would replace
// them, and the texts that they have, by locale.
type builtin struct {
	layouts  map[string]*module
	texts    map[string]string // of the layouts, by the path that faults name
	messages map[string]messages
}

func newBuiltin(functions map[string]any, faults *Faults) builtin {
	b := builtin{layouts: map[string]*module{}, texts: map[string]string{}, messages: map[string]messages{}}
	for _, name := range []string{"base", "receipt", "plain"} {
		file := path.Join(builtinDir, name+".html")
		b.texts[file] = b.read(name+".html", faults)
		if m, ok := parseModule(file, b.texts[file], functions, faults); ok {
			m.yields = true
			b.layouts[path.Join(layoutsDir, name+".html")] = &m
		}
	}
	file := path.Join(builtinDir, "messages.yaml")
	doc := parseYAML(file, b.read("messages.yaml", faults), faults)
	doc.each(doc.root, faults, func(locale, texts *yaml.Node) {
		r := messageReader{doc: doc, locale: locale.Value, faults: faults, found: messages{}}
		r.collect(texts, "")
		b.messages[locale.Value] = r.found
	})
	return b
}

func (b builtin) read(name string, faults *Faults) string {
	text, err := layoutFiles.ReadFile(path.Join("layouts", name))
	if err != nil {
		faults.add(position{path.Join(builtinDir, name), 1, 1}, "cannot be read: %v", err)
	}
	return string(text)
}

// orBuiltin adds the texts that are built in behind those of the catalogue.
func (t *translator) orBuiltin(b builtin) *translator {
	for _, tag := range append(localeChain(t.locale), "en") {
		if m, ok := b.messages[tag]; ok {
			t.chain = append(t.chain, m)
		}
	}
	return t
}
