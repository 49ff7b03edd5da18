package dsn

import (
	"bytes"
	"net/textproto"
	"strings"
)

// qmailMark begins a mail in qmail's format, which has no parts:
// https://cr.yp.to/proto/qsbmf.txt.
const qmailMark = "Hi. This is the"

// eximMark begins what Exim wrote before it wrote RFC 3464, beside an
// X-Failed-Recipients field.
const eximMark = "This message was created automatically by mail delivery software"

// plain reads a mail that is no multipart/report, whose plain text was kept.
// failed are the addresses of its X-Failed-Recipients.
func (p *parser) plain(failed []string) {
	text := bytes.ReplaceAll(p.text, []byte("\r\n"), []byte("\n"))
	switch {
	case bytes.HasPrefix(bytes.TrimSpace(text), []byte(qmailMark)):
		p.qmail(string(text))
	case len(failed) > 0 && bytes.Contains(text, []byte(eximMark)):
		p.exim(string(text), failed)
	}
}

// qmail reads paragraphs of "<address>:" and the words of the server, up to a
// paragraph that begins with a dash, behind which the mail is returned.
func (p *parser) qmail(text string) {
	p.report.Kind = Status
	rest := text
	for rest != "" && len(p.report.Recipients) < maxRecipients {
		var paragraph string
		paragraph, rest, _ = strings.Cut(rest, "\n\n")
		paragraph = strings.TrimLeft(paragraph, "\n")
		if strings.HasPrefix(paragraph, "-") {
			p.returned(strings.NewReader(strings.TrimLeft(rest, "\n")))
			return
		}
		first, words, _ := strings.Cut(paragraph, "\n")
		if strings.HasPrefix(first, "<") && strings.HasSuffix(strings.TrimSpace(first), ">:") {
			p.report.Recipients = append(p.report.Recipients,
				Recipient{Final: address(first), Action: "failed", Status: statusOf(words), Diagnostic: clip(strings.Join(strings.Fields(words), " "))})
		}
	}
}

// exim takes what stands beneath an address for the words of its server.
func (p *parser) exim(text string, failed []string) {
	p.report.Kind = Status
	head, returned, _ := strings.Cut(text, "\n------ This is a copy of the message")
	for _, a := range failed {
		_, words, _ := strings.Cut(head, a)
		words, _, _ = strings.Cut(words, "\n\n")
		words = clip(strings.Join(strings.Fields(words), " "))
		p.report.Recipients = append(p.report.Recipients, Recipient{Final: a, Action: "failed", Status: statusOf(words), Diagnostic: words})
	}
	if _, header, ok := strings.Cut(returned, "\n\n"); ok {
		p.returned(strings.NewReader(header))
	}
}

// statusOf is qmail's own code, in words such as "(#5.1.1)", or what stands
// for the reply's class.
func statusOf(words string) string {
	if _, code, ok := strings.Cut(words, "(#"); ok {
		if code, _, ok = strings.Cut(code, ")"); ok {
			return textproto.TrimString(clip(code))
		}
	}
	return "5.0.0"
}
