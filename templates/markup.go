package templates

import (
	"io"
	"slices"
	"strings"

	"golang.org/x/net/html"
)

// markup reads the HTML of a mail, rendered or as its author wrote it, and
// reports what mail readers would show wrong or not at all.
type markup struct {
	text string
	// at is the source of an offset.
	at func(offset int) position
	// isValue reports whether the bytes between two offsets come from data.
	isValue func(from, to int) bool
	// whole: the text is all of a mail, so what opens in it must close.
	whole  bool
	faults *Faults

	open []element // innermost last
	raw  string    // the element whose content is no markup, "" outside of one
}

// element is a start tag that waits for its end.
type element struct {
	name   string
	offset int
}

// attribute is one attribute of a tag, at its offset in the text.
type attribute struct {
	name, value        string
	offset, valueStart int
	valueEnd           int
}

// hole stands for what a source's actions will write.
const hole = "\x01"

func (m *markup) check() {
	z := html.NewTokenizer(strings.NewReader(m.text))
	for offset := 0; ; {
		kind := z.Next()
		if kind == html.ErrorToken {
			if z.Err() == io.EOF {
				m.unclosed(offset)
			}
			return
		}
		size := len(z.Raw())
		m.token(kind, z, offset, m.text[offset:offset+size])
		offset += size
	}
}

func (m *markup) token(kind html.TokenType, z *html.Tokenizer, offset int, raw string) {
	switch kind {
	case html.TextToken:
		m.characters(offset, raw)
	case html.StartTagToken, html.SelfClosingTagToken:
		tag, _ := z.TagName()
		name := string(tag)
		m.tag(name, offset, readAttributes(raw, offset))
		m.start(name, offset, kind == html.SelfClosingTagToken)
	case html.EndTagToken:
		name, _ := z.TagName()
		m.raw = ""
		m.end(string(name), offset)
	}
}

// characters reports a "<" that starts no tag.
func (m *markup) characters(offset int, raw string) {
	if m.raw != "" {
		return
	}
	for i := range len(raw) {
		if raw[i] == '<' && !strings.HasPrefix(raw[i+1:], hole) && !strings.HasPrefix(raw[i+1:], "/"+hole) {
			m.faults.warn(m.at(offset+i), `"<" starts no tag: write &lt;`)
			return
		}
	}
}

// start notes an element that must end.
func (m *markup) start(name string, offset int, closed bool) {
	switch {
	case isVoid(name), closed && slices.ContainsFunc(m.open, func(e element) bool { return e.name == "svg" || e.name == "math" }):
		return
	case closed && m.whole:
		m.faults.add(m.at(offset), "<%s/> does not close in HTML, everything after it lies within: write <%s></%s>", name, name, name)
		return
	case isRaw(name):
		m.raw = name
	}
	m.open = append(m.open, element{name, offset})
}

// end closes an element, and those in it whose end tag HTML lets be left out.
func (m *markup) end(name string, offset int) {
	if !m.whole || isVoid(name) {
		return
	}
	i := len(m.open) - 1
	for i >= 0 && m.open[i].name != name {
		i--
	}
	if i < 0 {
		m.faults.add(m.at(offset), "</%s> closes nothing: remove it, or open <%s> before", name, name)
		return
	}
	for _, inner := range m.open[i+1:] {
		if !endIsOptional(inner.name) {
			m.faults.add(m.at(inner.offset), "<%s> is still open where </%s> closes what is around it: close it before", inner.name, name)
		}
	}
	m.open = m.open[:i]
}

// unclosed reports what is open at the end.
func (m *markup) unclosed(end int) {
	if !m.whole {
		return
	}
	for _, e := range m.open {
		if !endIsOptional(e.name) {
			m.faults.add(m.at(e.offset), "<%s> is never closed: write </%s>", e.name, e.name)
		}
	}
	if i := strings.LastIndexByte(m.text, '<'); i >= end {
		m.faults.add(m.at(i), "the tag does not end: write \">\"")
	}
}

// tag checks one start tag's attributes.
func (m *markup) tag(name string, offset int, attributes []attribute) {
	seen := map[string]bool{}
	hasAlt := name != "img"
	for _, a := range attributes {
		if strings.Contains(a.name, hole) {
			hasAlt = true // an action may write it
			continue
		}
		if seen[a.name] && m.whole {
			m.faults.add(m.at(a.offset), "<%s> has %s twice, and readers take the first: keep one", name, a.name)
		}
		seen[a.name] = true
		hasAlt = hasAlt || a.name == "alt"
		m.attribute(name, a)
	}
	if name == "meta" {
		m.refresh(offset, attributes)
	}
	if !hasAlt {
		m.faults.warn(m.at(offset), `<img> has no alt, which is what people read who see no pictures: add alt="…", or alt="" for an ornament`)
	}
}

// refresh refuses a mail that leads its reader elsewhere by itself. No mail
// reader follows, but browsers do, to wherever a value says: content is one
// text to whoever escapes it.
func (m *markup) refresh(offset int, attributes []attribute) {
	for _, a := range attributes {
		if a.name == "http-equiv" && (strings.Contains(a.value, hole) || strings.EqualFold(strings.TrimSpace(a.value), "refresh")) {
			m.faults.add(m.at(offset), `<meta http-equiv="refresh"> leads readers away by itself, which passes for an attack: link to https://… instead`)
		}
	}
}

func (m *markup) attribute(tag string, a attribute) {
	if strings.Contains(a.value, "ZgotmplZ") {
		m.faults.add(m.at(a.valueStart), "%s comes out dead, as a value that is not safe there: give it a value that starts with https://, or write the static text around it so that it may be any", a.name)
		return
	}
	switch {
	case a.name == "srcset":
		for candidate := range strings.SplitSeq(a.value, ",") {
			if fields := strings.Fields(candidate); len(fields) > 0 {
				m.link(tag, a, fields[0])
			}
		}
	case isLink(tag, a.name):
		m.link(tag, a, a.value)
	}
}

// link checks where an attribute leads.
func (m *markup) link(tag string, a attribute, value string) {
	scheme, known := schemeOf(value)
	at := m.at(a.valueStart)
	switch {
	case namesScheme(value):
		m.faults.warn(at, "%s takes what is before its \":\" from a value, which may be javascript: write https:// yourself", a.name)
	case !known, strings.HasPrefix(value, "#") && tag == "a":
	case scheme == "http", scheme == "https", scheme == "mailto", scheme == "tel", scheme == "sms", scheme == "cid":
	case scheme == "data" && tag == "img":
		m.faults.warn(at, "most mail readers show no picture that lies in a data: link: put it on the web and write https://…")
	case scheme == "javascript", scheme == "vbscript", scheme == "data":
		m.faults.add(at, "%s has a %s: link, which runs in no mail reader and passes for an attack: link to https://…", a.name, scheme)
	case scheme != "":
		// An app's own scheme opens that app.
	case value == "" && m.isValue(a.valueStart, a.valueEnd+1):
	case value == "":
		m.faults.warn(at, "%s is empty: write https://…, or leave it out", a.name)
	case strings.HasPrefix(value, "//"):
		m.faults.warn(at, "%s does not say http or https: write https:%s", a.name, strings.ReplaceAll(value, hole, ""))
	case m.isValue(a.valueStart, a.valueEnd):
		m.faults.warn(at, "%s comes out as a relative link, which leads nowhere in a mail: it must start with https://", a.name)
	default:
		m.faults.warn(at, "%s=%q is a relative link, which leads nowhere in a mail: write https://…", a.name, strings.ReplaceAll(value, hole, "…"))
	}
}

// namesScheme reports whether an action stands where a link's scheme does. One
// that ends in letters of the author's own, as {{if}}http{{else}}https{{end}}
// might, is a scheme all the same.
func namesScheme(link string) bool {
	head, _, found := strings.Cut(link, ":")
	return found && strings.Contains(head, hole) && !strings.ContainsAny(head, "/?#")
}

// schemeOf is a link's scheme in lower case, "" for a relative one; known is
// false when an action will decide.
func schemeOf(link string) (scheme string, known bool) {
	// Browsers drop these before they look (WHATWG URL, "basic URL parser").
	link = strings.TrimLeft(strings.NewReplacer("\t", "", "\n", "", "\r", "").Replace(link), " \x00")
	for i := range len(link) {
		switch c := link[i]; {
		case c == hole[0]:
			return "", false
		case c == ':':
			return strings.ToLower(link[:i]), true
		case !isLetter(c) && (c < '0' || c > '9') && c != '+' && c != '-' && c != '.':
			return "", true
		}
	}
	return "", true
}

func isLink(tag, name string) bool {
	switch name {
	case "href", "src", "action", "formaction", "poster", "background", "cite", "longdesc", "xlink:href":
		return true
	}
	return name == "data" && tag == "object"
}

func isVoid(name string) bool {
	switch name {
	case "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track", "wbr":
		return true
	}
	return false
}

func isRaw(name string) bool {
	switch name {
	case "script", "style", "title", "textarea", "xmp", "iframe", "noembed", "noframes":
		return true
	}
	return false
}

// endIsOptional tells the elements that HTML closes by itself (HTML Standard,
// "Optional tags").
func endIsOptional(name string) bool {
	switch name {
	case "html", "head", "body", "p", "li", "dt", "dd", "option", "optgroup", "thead", "tbody", "tfoot", "tr", "td", "th", "colgroup", "caption", "rp", "rt":
		return true
	}
	return false
}

// readAttributes takes a start tag apart. The offsets are the text's in which
// the tag starts at the given one.
func readAttributes(tag string, offset int) []attribute {
	var all []attribute
	i := 1 + endOf(tag[1:], " \t\r\n\f/>")
	for {
		i += len(tag[i:]) - len(strings.TrimLeft(tag[i:], " \t\r\n\f/"))
		if i >= len(tag) || tag[i] == '>' {
			return all
		}
		a := attribute{offset: offset + i}
		n := max(endOf(tag[i:], " \t\r\n\f/>="), 1)
		a.name = strings.ToLower(tag[i : i+n])
		i += n
		rest := strings.TrimLeft(tag[i:], " \t\r\n\f")
		if strings.HasPrefix(rest, "=") {
			rest = strings.TrimLeft(rest[1:], " \t\r\n\f")
			start, n, size := valueOf(rest)
			i = len(tag) - len(rest)
			a.value = html.UnescapeString(rest[start : start+n])
			a.valueStart, a.valueEnd = offset+i+start, offset+i+start+n
			i += size
		} else {
			a.valueStart, a.valueEnd = offset+i, offset+i
		}
		all = append(all, a)
	}
}

// valueOf is where the value that text starts with begins, how long it is, and
// how much of the text it takes with its quotes.
func valueOf(text string) (start, length, size int) {
	if text == "" || text[0] != '"' && text[0] != '\'' {
		n := endOf(text, " \t\r\n\f>")
		return 0, n, n
	}
	n := endOf(text[1:], text[:1])
	return 1, n, min(n+2, len(text))
}

// endOf is how far text goes before one of the given characters.
func endOf(text, characters string) int {
	if i := strings.IndexAny(text, characters); i >= 0 {
		return i
	}
	return len(text)
}

// withHoles is a source with every action replaced by as many hole characters,
// so that offsets and lines stay.
func withHoles(text string) string {
	var b strings.Builder
	for at := 0; ; {
		start := strings.Index(text[at:], "{{")
		if start < 0 {
			b.WriteString(text[at:])
			return b.String()
		}
		b.WriteString(text[at : at+start])
		_, end := scanAction(text, at+start+2)
		for _, c := range []byte(text[at+start : end]) {
			if c != '\n' {
				c = hole[0]
			}
			b.WriteByte(c)
		}
		at = end
	}
}
