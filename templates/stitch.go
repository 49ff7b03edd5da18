package templates

import (
	"strings"
	"text/template/parse"
)

// stitch writes a part whose personal places are all plain values in between
// fragments, without the engine: all of it once the fragments are known. What
// it does not find as plain as it expects it leaves to the engine, as direct
// does.
type stitch struct{ steps []stitchStep }

// stitchStep is a text, a fragment, or where a value lies and how it is
// written.
type stitchStep struct {
	text     string
	fragment int // -1: none
	path     []string
	write    func(string) (string, bool)
}

// newStitch is nil when a part is not plain.
func newStitch(spans []span) *stitch {
	s := &stitch{}
	for _, sp := range spans {
		if sp.fragment >= 0 {
			s.steps = append(s.steps, stitchStep{fragment: sp.fragment})
			continue
		}
		for _, n := range sp.nodes {
			if !s.add(n) {
				return nil
			}
		}
	}
	return s
}

func (s *stitch) add(n parse.Node) bool {
	switch n := n.(type) {
	case *parse.TextNode:
		if len(n.Text) > 0 {
			s.steps = append(s.steps, stitchStep{text: string(n.Text), fragment: -1})
		}
		return true
	case *parse.ActionNode:
		step, ok := plainValue(n.Pipe)
		s.steps = append(s.steps, step)
		return ok
	}
	return n.Type() == parse.NodeComment
}

// plainValue recognises {{.path}}, as the text engine has it and as the HTML
// engine does in text, in attributes and as a link, and {{json .path}}.
func plainValue(p *parse.PipeNode) (s stitchStep, ok bool) {
	s.fragment = -1
	if plain, is := plainAction(p); is {
		s.path, s.write = plain.path, writeText
		if plain.json {
			s.write = func(v string) (string, bool) { text, err := writeJSON(v); return text, err == nil }
		}
		return s, true
	}
	if len(p.Decl) > 0 || len(p.Cmds[0].Args) != 1 {
		return s, false
	}
	field, is := p.Cmds[0].Args[0].(*parse.FieldNode)
	if !is {
		return s, false
	}
	s.path = field.Ident
	var functions []string
	for _, cmd := range p.Cmds[1:] {
		functions = append(functions, cmd.String())
	}
	switch strings.Join(functions, " ") {
	case "_html_template_htmlescaper", "_html_template_attrescaper", "_html_template_rcdataescaper":
		s.write = writeHTML
	case "_html_template_urlfilter _html_template_urlnormalizer _html_template_attrescaper":
		s.write = writeLink
	}
	return s, s.write != nil
}

func writeText(text string) (string, bool) { return text, true }

// htmlSpecial are the characters that html/template writes as references in
// text and in quoted attributes.
var htmlSpecial = strings.NewReplacer("\x00", "\uFFFD", `"`, "&#34;", "&", "&amp;", "'", "&#39;", "+", "&#43;", "<", "&lt;", ">", "&gt;")

func writeHTML(text string) (string, bool) { return htmlSpecial.Replace(text), true }

// writeLink writes an address that needs nothing but references; whether
// another is safe, and how it is spelled then, the engine decides.
func writeLink(link string) (string, bool) {
	if !strings.HasPrefix(link, "https://") && !strings.HasPrefix(link, "http://") {
		return "", false
	}
	for i := range len(link) {
		if c := link[i]; !isLetter(c) && (c < '0' || c > '9') && strings.IndexByte("-.~:/?#@&=+,;!$*", c) < 0 {
			return "", false
		}
	}
	return htmlSpecial.Replace(link), true
}

// text is the part's text; ok is false when the engine must see to it.
func (s *stitch) text(r *run) (text string, ok bool) {
	var buffer [16]string
	texts, length, steps := buffer[:0], 0, 0
	for i := range s.steps {
		step := &s.steps[i]
		piece := step.text
		switch {
		case step.fragment >= 0:
			hit := r.peek(step.fragment)
			if hit == nil {
				return "", false
			}
			piece, steps = hit.text, steps+hit.steps
		case step.path != nil:
			if piece, ok = r.now.text(step.path); ok {
				piece, ok = step.write(piece)
			}
			if !ok {
				return "", false
			}
		}
		texts, length = append(texts, piece), length+len(piece)
	}
	if length > maxOutput || steps > maxSteps {
		return "", false
	}
	r.use.Hits += r.peeked(s)
	if len(texts) == 1 {
		return texts[0], true
	}
	return strings.Join(texts, ""), true
}

// peeked is how many fragments a stitched part took.
func (r *run) peeked(s *stitch) (n int) {
	for i := range s.steps {
		if s.steps[i].fragment >= 0 {
			n++
		}
	}
	return n
}

// peek is a fragment's text when it is known; nil otherwise.
func (r *run) peek(i int) *cached {
	key, ok := r.key(r.fragments[i], nil)
	if !ok {
		return nil
	}
	hit, _ := r.cache.get(key)
	return hit
}
