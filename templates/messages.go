package templates

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"

	"go.yaml.in/yaml/v3"

	"github.com/carillonhq/carillon/notice"
)

// message is one text of _locales/LOCALE.yaml, or one of those that depend on
// a number (plural forms) or on a word (select).
type message struct {
	text  []piece            // when it depends on nothing
	by    string             // the argument that chooses; empty: none does
	forms map[string]message // by plural category or by word; always has "other"
	// plural: the argument is a number, and the forms are the categories of the
	// language (Unicode TR35 part 3 §5).
	plural bool
	byName bool // the arguments go by name: {{t "key" "name" .to.name}}
	at     position
}

// piece is a piece of a message: a text, or the argument that stands there.
type piece struct{ text, arg string }

// messages are the texts of one locale, by key; nested keys are joined by dots.
type messages map[string]message

// messageReader reads one file of _locales. The format is that of go-i18n
// (github.com/nicksnyder/go-i18n: one, other, description, {{.Name}}), with
// keys that may nest, positional arguments {1}, and select.
type messageReader struct {
	doc    document
	locale string
	faults *Faults
	found  messages
}

// parseMessages reads one _locales file.
func parseMessages(file, locale, text string, faults *Faults) messages {
	r := messageReader{doc: parseYAML(file, text, faults), locale: locale, faults: faults, found: messages{}}
	r.collect(r.doc.root, "")
	return r.found
}

func (r *messageReader) collect(n *yaml.Node, prefix string) {
	r.doc.each(n, r.faults, func(key, value *yaml.Node) {
		name := prefix + key.Value
		switch {
		case isMessage(value):
			m := r.message(name, value, 0)
			m.byName = m.hasNames()
			r.found[name] = m
		case value.Kind == yaml.MappingNode && strings.Count(name, ".") < maxNest:
			r.collect(value, name+".")
		default:
			r.faults.add(r.doc.at(value), "message %q wants a text, plural forms like {one: …, other: …} or words like {select: gender, female: …, other: …}", name)
		}
	})
}

// isNote reports whether a key of a message is for its translators and tools.
func isNote(key string) bool {
	return key == "description" || key == "hash" || key == "plural"
}

// isMessage tells a message from a group of messages.
func isMessage(n *yaml.Node) bool {
	if n.Kind != yaml.MappingNode {
		return n.Kind == yaml.ScalarNode
	}
	forms := 0
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i].Value, n.Content[i+1]
		switch {
		case key == "select" && value.Kind == yaml.ScalarNode:
			return true
		case value.Kind != yaml.ScalarNode || !isNote(key) && !slices.Contains(pluralCategories(), key):
			return false
		case !isNote(key):
			forms++
		}
	}
	return forms > 0
}

func (r *messageReader) message(name string, n *yaml.Node, depth int) message {
	m := message{at: r.doc.at(n)}
	if n.Kind == yaml.ScalarNode {
		m.text = parsePieces(n.Value)
		return m
	}
	m.forms, m.plural = map[string]message{}, true
	r.doc.each(n, r.faults, func(key, value *yaml.Node) {
		switch {
		case key.Value == "select":
			m.by, m.plural = value.Value, false
		case key.Value == "plural":
			m.by = value.Value
		case isNote(key.Value):
		case !isMessage(value) || depth >= 3:
			r.faults.add(r.doc.at(value), "message %q: %q wants a text, or plural forms", name, key.Value)
		default:
			m.forms[key.Value] = r.message(name, value, depth+1)
		}
	})
	if _, ok := m.forms["other"]; !ok {
		r.faults.add(m.at, "message %q has %s but no \"other\": every language needs it", name, m.kind())
	}
	if only, ok := m.forms["other"]; ok && m.plural && len(m.forms) == 1 {
		return only // it depends on nothing: go-i18n writes plain texts so
	}
	if m.plural {
		r.checkForms(name, m)
	}
	if m.by == "" {
		m.by = m.countArgument()
	}
	return m
}

func (m message) kind() string {
	if m.plural {
		return "plural forms"
	}
	return "words to select from"
}

// countArgument is the argument that chooses a plural form when the file does
// not say: the first, or "count" where arguments have names.
func (m message) countArgument() string {
	if m.hasNames() {
		return "count"
	}
	return "1"
}

// checkForms holds plural forms against those that the language has.
func (r *messageReader) checkForms(name string, m message) {
	wanted := categoriesOf(r.locale)
	for _, c := range wanted {
		if _, ok := m.forms[c]; !ok && c != "other" {
			r.faults.warn(m.at, "message %q has no form %q, which numbers like %s take in %s: readers get \"other\": add it", name, c, exampleOf(r.locale, c), r.locale)
		}
	}
	for _, c := range keys(m.forms) {
		if c != "other" && !slices.Contains(wanted, c) {
			at := m.forms[c].at
			r.faults.warn(at, "message %q has a form %q, which no number takes in %s: remove it", name, c, r.locale)
		}
	}
}

// parsePieces takes a text apart at {1}, {name} and {{.Name}}, which is how
// go-i18n writes {name}.
func parsePieces(text string) []piece {
	var pieces []piece
	from := 0
	for at := 0; at < len(text); {
		name, n := placeholder(text[at:])
		if n == 0 {
			at++
			continue
		}
		if at > from {
			pieces = append(pieces, piece{text: text[from:at]})
		}
		pieces = append(pieces, piece{arg: name})
		at += n
		from = at
	}
	if from < len(text) {
		pieces = append(pieces, piece{text: text[from:]})
	}
	return pieces
}

// placeholder reads an argument's place at the start of text; n is its length,
// 0 when there is none.
func placeholder(text string) (name string, n int) {
	open, end := "{", "}"
	if strings.HasPrefix(text, "{{.") {
		open, end = "{{.", "}}"
	}
	rest, ok := strings.CutPrefix(text, open)
	if !ok {
		return "", 0
	}
	name, _, ok = strings.Cut(rest, end)
	if !ok || !isPositional(name) && !isArgumentName(name) {
		return "", 0
	}
	n = len(open) + len(name) + len(end)
	switch {
	case open == "{":
	case name == "PluralCount":
		name = "count"
	default:
		name = strings.ToLower(name[:1]) + name[1:]
	}
	return name, n
}

func isPositional(name string) bool {
	n, err := strconv.Atoi(name)
	return err == nil && n > 0 && n < 100 && name[0] != '+' && name[0] != '0'
}

func isArgumentName(name string) bool {
	for i := range len(name) {
		if c := name[i]; !isLetter(c) && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return name != "" && len(name) <= 40
}

// arguments are the names of what a message is given.
func (m message) arguments() map[string]bool {
	all := map[string]bool{}
	for _, s := range m.text {
		if s.arg != "" {
			all[s.arg] = true
		}
	}
	if m.by != "" {
		all[m.by] = true
	}
	for _, form := range m.forms {
		maps.Copy(all, form.arguments())
	}
	return all
}

// hasNames reports whether an argument goes by name; all of them do then.
func (m message) hasNames() bool {
	for name := range m.arguments() {
		if !isPositional(name) {
			return true
		}
	}
	return false
}

// translator gives the texts of one locale, from it, its ancestors and the
// default locale in turn.
type translator struct {
	locale string
	rules  pluralRules
	pseudo string // the pseudo-locale to write in; empty: none
	chain  []messages
	// functions are what a part in this locale may call; see translators.
	functions map[string]any
}

// translators are made once a locale: thousands of parts share a few.
type translators struct {
	builtin builtin
	assets  assetIndex
	mu      sync.Mutex
	made    map[string]*translator
}

func (t *translators) get(all map[string]messages, locale, fallback string) *translator {
	t.mu.Lock()
	defer t.mu.Unlock()
	found := t.made[locale]
	if found == nil {
		speaks := locale
		if isPseudo(locale) {
			speaks = fallback
		}
		found = newTranslator(all, speaks, fallback).orBuiltin(t.builtin)
		if isPseudo(locale) {
			found.pseudo = locale
		}
		found.functions = functions(found)
		found.functions["asset"] = t.assets.url
		t.made[locale] = found
	}
	return found
}

func newTranslator(all map[string]messages, locale, fallback string) *translator {
	t := &translator{locale: locale, rules: newPluralRules(locale)}
	for _, tag := range localeChain(locale) {
		if m, ok := all[tag]; ok {
			t.chain = append(t.chain, m)
		}
	}
	if m, ok := all[fallback]; ok {
		t.chain = append(t.chain, m)
	}
	return t
}

func (t *translator) find(key string) (message, bool) {
	for _, m := range t.chain {
		if found, ok := m[key]; ok {
			return found, true
		}
	}
	return message{}, false
}

// nearest is the known key that key was most likely meant to be.
func (t *translator) nearest(key string) string {
	var known []string
	for _, m := range t.chain {
		known = slices.AppendSeq(known, maps.Keys(m))
	}
	slices.Sort(known)
	return notice.Nearest(key, known)
}

// translate is the template function t: the text of key with its arguments,
// which come in order ({1}, {2}, …) or as names and values in turn.
func (t *translator) translate(key string, args ...any) (string, error) {
	m, ok := t.find(key)
	if !ok {
		return "", fmt.Errorf("no message %q", key)
	}
	given := arguments{list: args, named: m.byName}
	for m.forms != nil {
		v, ok := given.get(m.by)
		if !ok {
			return "", fmt.Errorf("message %q has %s: give it the argument %s", key, m.kind(), m.by)
		}
		form := fmt.Sprint(v)
		if m.plural {
			var err error
			if form, err = t.rules.category(v); err != nil {
				return "", fmt.Errorf("message %q: %w", key, err)
			}
		}
		if next, ok := m.forms[form]; ok {
			m = next
		} else {
			m = m.forms["other"]
		}
	}
	return t.fill(m.text, given)
}

// fill puts the arguments in their places. One that was not given leaves its
// place as it is written; the check has said so.
func (t *translator) fill(pieces []piece, given arguments) (string, error) {
	var b strings.Builder
	for _, s := range pieces {
		if s.arg == "" {
			b.WriteString(s.text)
		} else if v, ok := given.get(s.arg); ok {
			b.WriteString(fmt.Sprint(v))
		} else {
			b.WriteString("{" + s.arg + "}")
		}
	}
	if t.pseudo != "" {
		return bounded(pseudoText(t.pseudo, b.String()))
	}
	return bounded(b.String())
}

// arguments are what a call of t gives beside the key.
type arguments struct {
	list  []any
	named bool
}

func (a arguments) get(name string) (any, bool) {
	if !a.named {
		i, _ := strconv.Atoi(name)
		if i < 1 || i > len(a.list) {
			return nil, false
		}
		return a.list[i-1], true
	}
	for i := 0; i+1 < len(a.list); i += 2 {
		if a.list[i] == name {
			return a.list[i+1], true
		}
	}
	return nil, false
}

// lintMessages warns of what the default locale's texts have and another's
// have not, so that its readers would get two languages in one text.
func lintMessages(all map[string]messages, fallback string, faults *Faults) {
	for _, locale := range keys(all) {
		t := newTranslator(all, locale, locale)
		start := position{path.Join(localesDir, locale+".yaml"), 1, 1}
		for _, key := range keys(all[fallback]) {
			want := all[fallback][key]
			m, ok := t.find(key)
			if !ok {
				faults.warn(start, "has no message %q, which %s has (%v): its readers get that one: translate it", key, fallback, want.at)
				continue
			}
			for _, name := range keys(m.arguments()) {
				if !want.arguments()[name] {
					faults.warn(m.at, "message %q reads an argument %s that %s does not (%v): correct its name", key, name, fallback, want.at)
				}
			}
		}
	}
}
