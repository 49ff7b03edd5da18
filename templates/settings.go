package templates

import (
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/notice"
)

// settings are what template.yaml says, or `defaults` of catalogue.yaml.
type settings struct {
	category  string
	lane      notice.Lane
	channels  []notice.Medium // nil: every medium that has parts
	layout    string
	expiresIn time.Duration
	from      map[string]string // the sender's name by locale; "" for every other
	replyTo   map[string]string // a mailbox, the same way
	css       string            // cssInline, cssKeep; empty: as the layout wants it
	push      *pushDefaults     // nil: none
	collapse  string            // collapse_key
	mandatory bool              // opt_out: false
	title     string
	about     string     // description
	digest    *yaml.Node // a template's name; nil: none
	schema    *yaml.Node
	samples   *yaml.Node
	doc       document
}

// catalogueSettings are what catalogue.yaml says.
type catalogueSettings struct {
	defaultLocale string
	defaults      settings
}

// Bounds of what a template says of itself, in characters: a line of a list,
// and a paragraph.
const (
	maxTitle       = 100
	maxDescription = 1000
)

const catalogueFile = "catalogue.yaml"

func catalogueKeys() []string { return []string{"default_locale", "defaults"} }

func defaultKeys() []string {
	return []string{"category", "priority", "channels", "layout", "expires_in", "from", "reply_to", "css", "push"}
}

func templateKeys() []string {
	return append(defaultKeys(), "title", "description", "opt_out", "collapse_key", "digest", "schema", "samples")
}

// parseCatalogueSettings reads catalogue.yaml; without the file the default
// locale is en.
func parseCatalogueSettings(text string, faults *Faults) catalogueSettings {
	s := catalogueSettings{defaultLocale: "en", defaults: settings{lane: notice.LaneNormal}}
	doc := parseYAML(catalogueFile, text, faults)
	doc.each(doc.root, faults, func(key, value *yaml.Node) {
		switch key.Value {
		case "default_locale":
			s.defaultLocale = canonicalLocale(doc.text(key.Value, value, faults))
			if !validLocale(s.defaultLocale) {
				faults.add(doc.at(value), "default_locale: %q is no BCP 47 language tag: write one like en or de-AT", value.Value)
			}
		case "defaults":
			s.defaults.read(doc, value, defaultKeys(), faults)
		default:
			faults.add(doc.at(key), "unknown key %q%s", key.Value, known(key.Value, catalogueKeys()))
		}
	})
	return s
}

// parseSettings reads one template.yaml over the catalogue's defaults.
func parseSettings(file, text string, defaults settings, faults *Faults) settings {
	s := defaults
	s.doc = parseYAML(file, text, faults)
	if s.doc.root != nil {
		s.read(s.doc, s.doc.root, templateKeys(), faults)
	}
	return s
}

func (s *settings) read(doc document, n *yaml.Node, keys []string, faults *Faults) {
	if n.Kind != yaml.MappingNode {
		faults.add(doc.at(n), "wants keys and values, like \"category: shipping\"")
		return
	}
	doc.each(n, faults, func(key, value *yaml.Node) {
		if !slices.Contains(keys, key.Value) {
			faults.add(doc.at(key), "unknown key %q%s", key.Value, known(key.Value, keys))
			return
		}
		s.readKey(doc, key.Value, value, faults)
	})
}

func (s *settings) readKey(doc document, key string, value *yaml.Node, faults *Faults) {
	switch key {
	case "category":
		s.category = doc.text(key, value, faults)
	case "layout":
		s.layout = doc.text(key, value, faults)
	case "priority":
		s.lane = notice.Lane(doc.text(key, value, faults))
		if !s.lane.Valid() {
			faults.add(doc.at(value), "priority: %q is none of critical, normal, bulk", s.lane)
		}
	case "expires_in":
		s.expiresIn = readExpiry(doc, value, faults)
	case "from":
		s.from = readByLocale(doc, key, value, notice.CheckSenderName, faults)
	case "reply_to":
		s.replyTo = readByLocale(doc, key, value, notice.CheckReplyTo, faults)
	case "css":
		if s.css = doc.text(key, value, faults); s.css != cssInline && s.css != cssKeep {
			faults.add(doc.at(value), "css: %q is none of inline, keep", s.css)
		}
	case "channels":
		s.channels = readChannels(doc, value, faults)
	case "push":
		s.push = readPush(doc, value, s.push, faults)
	case "collapse_key":
		s.collapse = doc.text(key, value, faults)
		if detail := notice.CheckCollapseKey(s.collapse); detail != "" {
			faults.add(doc.at(value), "collapse_key: %s", detail)
		}
	case "title":
		s.title = readProse(doc, key, value, maxTitle, faults)
	case "description":
		s.about = readProse(doc, key, value, maxDescription, faults)
	case "opt_out":
		s.mandatory = !readBool(doc, key, value, faults)
	case "digest":
		doc.text(key, value, faults)
		s.digest = value
	case "schema":
		s.schema = value
	case "samples":
		s.samples = value
	}
}

// readProse reads a text for people, its white space made plain.
func readProse(doc document, key string, value *yaml.Node, most int, faults *Faults) string {
	text := strings.Join(strings.Fields(doc.text(key, value, faults)), " ")
	switch {
	case utf8.RuneCountInString(text) > most:
		faults.add(doc.at(value), "%s: has %d characters, more than %d: shorten it", key, utf8.RuneCountInString(text), most)
	case strings.ContainsFunc(text, unicode.IsControl):
		faults.add(doc.at(value), "%s: holds a control character: write plain text", key)
	}
	return text
}

// readBool reads a truth; what is none counts as true.
func readBool(doc document, key string, value *yaml.Node, faults *Faults) bool {
	truth := true
	if value.ShortTag() != "!!bool" || value.Decode(&truth) != nil {
		faults.add(doc.at(value), "%s: %q is none of true, false", key, value.Value)
	}
	return truth
}

// readByLocale reads one text for every locale, or a mapping of locales to
// texts.
func readByLocale(doc document, key string, value *yaml.Node, check func(string) string, faults *Faults) map[string]string {
	found := map[string]string{}
	read := func(locale string, n *yaml.Node) {
		text := doc.text(key, n, faults)
		if detail := check(text); detail != "" {
			faults.add(doc.at(n), "%s: %s", key, detail)
		}
		found[locale] = text
	}
	if value.Kind != yaml.MappingNode {
		read("", value)
		return found
	}
	doc.each(value, faults, func(name, n *yaml.Node) {
		locale := canonicalLocale(name.Value)
		if !validLocale(locale) {
			faults.add(doc.at(name), "%s: %q is no BCP 47 language tag: write it as %s: {en: …, de: …}", key, name.Value, key)
		}
		read(locale, n)
	})
	return found
}

func readExpiry(doc document, value *yaml.Node, faults *Faults) time.Duration {
	d, err := config.ParseDuration(doc.text("expires_in", value, faults))
	switch {
	case err != nil:
		faults.add(doc.at(value), "expires_in: %v", err)
	case d <= 0:
		faults.add(doc.at(value), "expires_in: %q is not more than nothing: write it as 15m, 24h or 7d", value.Value)
	}
	return d.Std()
}

func readChannels(doc document, value *yaml.Node, faults *Faults) []notice.Medium {
	if value.Kind != yaml.SequenceNode || len(value.Content) == 0 {
		faults.add(doc.at(value), "channels wants a list like [email, push]")
		return nil
	}
	var media []notice.Medium
	for _, n := range value.Content {
		m := notice.Medium(n.Value)
		switch {
		case !m.Valid():
			faults.add(doc.at(n), "channels: %q is none of email, push, webhook", n.Value)
		case slices.Contains(media, m):
			faults.add(doc.at(n), "channels: %q stands twice: keep one", n.Value)
		default:
			media = append(media, m)
		}
	}
	return media
}

// known ends a fault about an unknown word: the nearest known one, or all.
func known(word string, words []string) string {
	if near := notice.Nearest(word, words); near != "" {
		return ": did you mean " + near + "?"
	}
	if len(words) == 0 {
		return ""
	}
	return ": known are " + strings.Join(words, ", ")
}
