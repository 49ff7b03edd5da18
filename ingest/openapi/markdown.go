package openapi

import (
	"html/template"
	"regexp"
	"strings"
)

// markdown is a description in the part of CommonMark that the document uses:
// paragraphs, lists of lines that begin with "* ", `code`, **strong** and
// [links](#to).
type markdown string

// inline matches the marks inside a line, the code first: nothing in it is a
// mark.
const inline = "`([^`]+)`" + `|\*\*([^*]+)\*\*|\[([^\]]+)\]\((#[\w-]*|https://[^)\s"]+)\)`

// HTML is the description as HTML. Whatever is no mark is escaped.
func (m markdown) HTML() template.HTML {
	var b strings.Builder
	marks := regexp.MustCompile(inline)
	for block := range strings.SplitSeq(strings.TrimSpace(string(m)), "\n\n") {
		writeBlock(&b, marks, strings.TrimSpace(block))
	}
	return template.HTML(b.String())
}

// Line is the description inside a paragraph of something else.
func (m markdown) Line() template.HTML {
	var b strings.Builder
	writeInline(&b, regexp.MustCompile(inline), strings.TrimSpace(string(m)))
	return template.HTML(b.String())
}

func writeBlock(b *strings.Builder, marks *regexp.Regexp, block string) {
	switch {
	case block == "":
	case strings.HasPrefix(block, "* "):
		b.WriteString("<ul>")
		for item := range strings.SplitSeq(strings.TrimPrefix(block, "* "), "\n* ") {
			b.WriteString("<li>")
			writeInline(b, marks, item)
			b.WriteString("</li>")
		}
		b.WriteString("</ul>\n")
	default:
		b.WriteString("<p>")
		writeInline(b, marks, block)
		b.WriteString("</p>\n")
	}
}

func writeInline(b *strings.Builder, marks *regexp.Regexp, s string) {
	escape := template.HTMLEscapeString
	for {
		at := marks.FindStringSubmatchIndex(s)
		if at == nil {
			b.WriteString(escape(s))
			return
		}
		b.WriteString(escape(s[:at[0]]))
		switch {
		case at[2] >= 0:
			b.WriteString("<code>" + escape(s[at[2]:at[3]]) + "</code>")
		case at[4] >= 0:
			b.WriteString("<strong>" + escape(s[at[4]:at[5]]) + "</strong>")
		default:
			b.WriteString(`<a href="` + escape(s[at[8]:at[9]]) + `">` + escape(s[at[6]:at[7]]) + "</a>")
		}
		s = s[at[1]:]
	}
}
