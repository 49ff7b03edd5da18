package templates

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
	"golang.org/x/text/feature/plural"
	"golang.org/x/text/language"

	"github.com/carillonhq/carillon/notice"
)

// message is one text of _locales/LOCALE.yaml. A text with plural forms has
// one for each of the language's categories that it needs, and always "other"
// (Unicode TR35, part 3, §5).
type message struct {
	text  string
	forms map[plural.Form]string // nil when there is but one form
}

// messages are the texts of one locale, by key; nested keys are joined by dots.
type messages map[string]message

// pluralForms are the categories' names as files spell them.
func pluralForms() map[string]plural.Form {
	return map[string]plural.Form{"zero": plural.Zero, "one": plural.One, "two": plural.Two, "few": plural.Few, "many": plural.Many, "other": plural.Other}
}

// parseMessages reads one _locales file.
func parseMessages(file, text string, faults *Faults) messages {
	doc := parseYAML(file, text, faults)
	found := messages{}
	collectMessages(doc, doc.root, "", found, faults)
	return found
}

func collectMessages(doc document, n *yaml.Node, prefix string, found messages, faults *Faults) {
	doc.each(n, faults, func(key, value *yaml.Node) {
		name := prefix + key.Value
		switch {
		case value.Kind == yaml.ScalarNode:
			found[name] = message{text: value.Value}
		case value.Kind == yaml.MappingNode && isPlural(value):
			found[name] = pluralMessage(doc, name, value, faults)
		case value.Kind == yaml.MappingNode && strings.Count(name, ".") < maxNest:
			collectMessages(doc, value, name+".", found, faults)
		default:
			faults.add(doc.at(value), "message %q wants a text, or plural forms like {one: …, other: …}", name)
		}
	})
}

// isPlural tells plural forms from a group of messages.
func isPlural(n *yaml.Node) bool {
	forms := pluralForms()
	for i := 0; i+1 < len(n.Content); i += 2 {
		if _, ok := forms[n.Content[i].Value]; !ok || n.Content[i+1].Kind != yaml.ScalarNode {
			return false
		}
	}
	return len(n.Content) > 0
}

func pluralMessage(doc document, name string, n *yaml.Node, faults *Faults) message {
	m := message{forms: map[plural.Form]string{}}
	known := pluralForms()
	doc.each(n, faults, func(key, value *yaml.Node) { m.forms[known[key.Value]] = value.Value })
	if _, ok := m.forms[plural.Other]; !ok {
		faults.add(doc.at(n), "message %q has plural forms but no \"other\": every language needs it", name)
	}
	return m
}

// translator gives the texts of one locale, from it, its ancestors and the
// default locale in turn.
type translator struct {
	language language.Tag
	chain    []messages
}

func newTranslator(all map[string]messages, locale, fallback string) *translator {
	t := &translator{language: language.Make(locale)}
	for tag, more := locale, true; more; tag, more = parentLocale(tag) {
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

// translate is the template function t: the text of key, with {1}, {2}, …
// replaced by args. Plural forms are chosen by the first argument.
func (t *translator) translate(key string, args ...any) (string, error) {
	m, ok := t.find(key)
	if !ok {
		return "", fmt.Errorf("no message %q", key)
	}
	text := m.text
	if m.forms != nil {
		if len(args) == 0 {
			return "", fmt.Errorf("message %q has plural forms: give it the number, {{t %q .data.count}}", key, key)
		}
		form, err := t.form(args[0])
		if err != nil {
			return "", fmt.Errorf("message %q: %w", key, err)
		}
		if text, ok = m.forms[form]; !ok {
			text = m.forms[plural.Other]
		}
	}
	return bounded(fill(text, args))
}

// fill puts args in place of {1}, {2}, … in one pass, so that an argument's
// own braces stay what they are.
func fill(text string, args []any) string {
	if len(args) == 0 {
		return text
	}
	pairs := make([]string, 0, 2*len(args))
	for i, arg := range args {
		pairs = append(pairs, "{"+strconv.Itoa(i+1)+"}", fmt.Sprint(arg))
	}
	return strings.NewReplacer(pairs...).Replace(text)
}

// form is the plural category of a number: its integer digits, and its visible
// decimals as the operands of TR35 ask.
func (t *translator) form(number any) (plural.Form, error) {
	var text string
	switch n := number.(type) {
	case int:
		text = strconv.Itoa(n)
	case int64:
		text = strconv.FormatInt(n, 10)
	case decimal:
		text = n.String()
	case float64:
		text = decimal(n).String()
	default:
		return plural.Other, fmt.Errorf("plural forms want a number, not %s", kindOf(number))
	}
	whole, fraction, _ := strings.Cut(strings.TrimPrefix(text, "-"), ".")
	trimmed := strings.TrimRight(fraction, "0")
	return plural.Cardinal.MatchPlural(t.language, digits(whole), len(fraction), len(trimmed), digits(fraction), digits(trimmed)), nil
}

// digits is the value of at most the last nine digits, which is all that the
// plural rules look at.
func digits(s string) int {
	n, err := strconv.Atoi(s[max(0, len(s)-9):])
	if err != nil {
		return 0
	}
	return min(n, math.MaxInt32)
}
