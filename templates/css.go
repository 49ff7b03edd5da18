package templates

import (
	"cmp"
	"slices"
	"strings"

	"github.com/andybalholm/cascadia"
	"github.com/tdewolff/parse/v2"
	"github.com/tdewolff/parse/v2/css"
)

// What `css` of template.yaml says.
const (
	cssInline = "inline" // rules become style attributes, which every reader of mail knows
	cssKeep   = "keep"   // style elements stay as they are
)

// declaration is one "property: value" of a rule.
type declaration struct {
	property, value string
	important       bool
}

func (d declaration) text() string {
	if d.important {
		return d.property + ":" + d.value + " !important"
	}
	return d.property + ":" + d.value
}

// cssRule is a rule whose selectors an element can be held against.
type cssRule struct {
	selector     cascadia.Sel
	order        int
	declarations []declaration
}

// sheet is what a mail's style elements say.
type sheet struct {
	rules []cssRule
	order int
}

// read takes the rules of one style element that can stand in attributes, and
// returns the text of those that cannot: what depends on the screen, the
// pointer or an element's neighbours. Those become important, because a style
// attribute would win otherwise.
func (s *sheet) read(text string) (kept string) {
	var b strings.Builder
	for _, block := range parseBlocks(text) {
		switch {
		case strings.HasPrefix(block.prelude, "@"):
			b.WriteString(block.important(0) + "\n")
		case strings.ContainsAny(block.body, "{}"), strings.ContainsAny(block.prelude, "()[]"):
			b.WriteString(block.important(0) + "\n")
		default:
			b.WriteString(s.rule(block))
		}
	}
	return b.String()
}

// rule takes one rule in, and returns what is left of it.
func (s *sheet) rule(block cssBlock) (kept string) {
	declarations := parseDeclarations(block.body)
	var left []string
	for member := range strings.SplitSeq(block.prelude, ",") {
		member = strings.TrimSpace(member)
		selector, err := cascadia.Parse(member)
		if err != nil || strings.ContainsAny(member, ":+~") {
			left = append(left, member)
			continue
		}
		s.order++
		s.rules = append(s.rules, cssRule{selector, s.order, declarations})
	}
	if len(left) == 0 {
		return ""
	}
	return cssBlock{prelude: strings.Join(left, ", "), body: block.body}.important(0) + "\n"
}

// cssBlock is a rule, or an at-rule; one without a block has no body.
type cssBlock struct {
	prelude, body string
	open          bool // it has a block
}

// important writes a block with every declaration in it marked important,
// except where that means nothing (@font-face, @keyframes).
func (b cssBlock) important(depth int) string {
	name, _, _ := strings.Cut(b.prelude, " ")
	switch {
	case strings.HasPrefix(name, "@") && !b.open:
		return b.prelude + ";"
	case name == "@media" || name == "@supports":
		var inner []string
		for _, block := range parseBlocks(b.body) {
			if depth < maxNest {
				inner = append(inner, block.important(depth+1))
			}
		}
		return b.prelude + " { " + strings.Join(inner, " ") + " }"
	case strings.HasPrefix(name, "@") || strings.ContainsAny(b.body, "{}"):
		return b.prelude + " {" + b.body + "}"
	}
	var all []string
	for _, d := range parseDeclarations(b.body) {
		d.important = true
		all = append(all, d.text())
	}
	return b.prelude + " { " + strings.Join(all, "; ") + " }"
}

// parseBlocks takes a style sheet apart. Comments are left out.
func parseBlocks(text string) []cssBlock {
	var blocks []cssBlock
	var prelude, body strings.Builder
	depth := 0
	flush := func(open bool) {
		if p := strings.TrimSpace(prelude.String()); p != "" {
			blocks = append(blocks, cssBlock{p, body.String(), open})
		}
		prelude.Reset()
		body.Reset()
	}
	for lexer := css.NewLexer(parse.NewInputString(text)); ; {
		kind, data := lexer.Next()
		into := &prelude
		if depth > 0 {
			into = &body
		}
		switch {
		case kind == css.ErrorToken:
			if depth > 0 { // what is open at the end is closed there
				body.WriteString(strings.Repeat("}", depth-1))
			}
			flush(depth > 0)
			return blocks
		case kind == css.CommentToken, kind == css.CDOToken, kind == css.CDCToken:
		case kind == css.LeftBraceToken:
			if depth++; depth > 1 {
				into.Write(data)
			}
		case kind == css.RightBraceToken && depth > 0:
			if depth--; depth == 0 {
				flush(true)
			} else {
				into.Write(data)
			}
		case kind == css.SemicolonToken && depth == 0:
			flush(false)
		case kind == css.WhitespaceToken:
			into.WriteByte(' ')
		default:
			into.Write(data)
		}
	}
}

// parseDeclarations takes the body of a rule apart. What is no declaration is
// left out, as CSS Syntax 3 §5.4.4 has it.
func parseDeclarations(body string) []declaration {
	var all []declaration
	var text strings.Builder
	depth := 0
	add := func() {
		property, value, ok := strings.Cut(text.String(), ":")
		text.Reset()
		d := declaration{property: strings.ToLower(strings.TrimSpace(property)), value: strings.TrimSpace(value)}
		if i := strings.LastIndexByte(d.value, '!'); i >= 0 && strings.EqualFold(strings.TrimSpace(d.value[i+1:]), "important") {
			d.value, d.important = strings.TrimSpace(d.value[:i]), true
		}
		if ok && d.value != "" && strings.Trim(d.property, "abcdefghijklmnopqrstuvwxyz-0123456789") == "" && d.property != "" {
			all = append(all, d)
		}
	}
	for lexer := css.NewLexer(parse.NewInputString(body)); ; {
		kind, data := lexer.Next()
		switch kind {
		case css.ErrorToken:
			add()
			return all
		case css.LeftParenthesisToken, css.FunctionToken:
			depth++
		case css.RightParenthesisToken:
			depth = max(0, depth-1)
		case css.SemicolonToken:
			if depth == 0 {
				add()
				continue
			}
		case css.CommentToken:
			continue
		}
		text.Write(data)
	}
}

// cascade is the declarations of the rules that an element matches, the one
// that wins last; a property that a later rule sets is left out of the earlier.
func cascade(rules []cssRule) []declaration {
	slices.SortStableFunc(rules, func(a, b cssRule) int {
		x, y := a.selector.Specificity(), b.selector.Specificity()
		switch {
		case x.Less(y):
			return -1
		case y.Less(x):
			return 1
		}
		return cmp.Compare(a.order, b.order)
	})
	var out []declaration
	for _, r := range rules {
		before := len(out)
		for _, d := range r.declarations {
			i := slices.IndexFunc(out[:before], func(o declaration) bool { return o.property == d.property })
			if i >= 0 && out[i].important && !d.important {
				continue
			}
			if i >= 0 {
				out = slices.Delete(out, i, i+1)
				before--
			}
			out = append(out, d)
		}
	}
	return out
}

func styleText(declarations []declaration) string {
	texts := make([]string, len(declarations))
	for i, d := range declarations {
		texts[i] = d.text()
	}
	return strings.Join(texts, ";")
}
