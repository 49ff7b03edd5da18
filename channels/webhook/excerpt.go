package webhook

import (
	"bytes"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/carillonhq/carillon/channels"
)

const (
	// keptOfBody is how much of an answer is looked at for its words.
	keptOfBody = 512
	// mostWords is how long an excerpt is on record, in bytes.
	mostWords = 160
	// shortWord is the length of a word, in bytes, that is shown although it
	// was sent as well: too short to be a secret, and found in everything.
	shortWord = 3
)

// sent is what an endpoint was told, and must not be quoted from its answer.
type sent struct{ text string }

// newSent collects the words of a request that are somebody's: the path and
// query of the URL, which often hold a token, the secrets, the destination's
// fields, the values of the body, and the person.
func newSent(m *channels.Message, to *endpoint, r *route) *sent {
	var b strings.Builder
	plain, _ := url.PathUnescape(to.path)
	query, _ := url.QueryUnescape(to.path)
	for _, part := range []string{m.Address.To, to.path, plain, query, m.Address.Secret, string(r.fields),
		m.To.User, m.To.Name, m.To.Email, values(m.Content.Webhook)} {
		b.WriteString(strings.ToLower(part))
		b.WriteByte('\n')
	}
	return &sent{b.String()}
}

// values are the strings and numbers in a JSON text, each on its line; the
// text itself when it is not JSON. Names of members are not values: that an
// endpoint misses a field is worth knowing.
func values(body []byte) string {
	var b strings.Builder
	in := jsontext.NewDecoder(bytes.NewReader(body), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	for {
		token, err := in.ReadToken()
		if err != nil {
			if in.StackDepth() > 0 {
				return string(body)
			}
			return b.String()
		}
		kind, n := in.StackIndex(in.StackDepth())
		name := kind == '{' && n%2 == 1
		if k := token.Kind(); !name && (k == '"' || k == '0') {
			b.WriteString(token.String())
			b.WriteByte('\n')
		}
	}
}

// excerpt is the beginning of an answer's body as it may go on record: on one
// line, at most 160 bytes, each word that was sent put as "…". It is empty when
// the body is no plain text, or escapes letters, behind which a word that was
// sent would not be found.
func (s *sent) excerpt(encoding string, body []byte) string {
	text := string(body)
	if len(body) == keptOfBody {
		// The end may be half a letter, and half a word that was sent.
		text = text[:max(strings.LastIndexFunc(text, unicode.IsSpace), 0)]
	}
	if encoding != "" || !utf8.ValidString(text) || escapes(text) {
		return ""
	}
	text = strings.Join(strings.FieldsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }), " ")
	return channels.Shorten(s.mask(text), mostWords, utf8.RuneLen)
}

// escapes reports whether letters are written as JSON, HTML or URLs escape
// them.
func escapes(text string) bool {
	return strings.Contains(text, `\u`) || strings.Contains(text, "&#") || strings.Contains(text, "%")
}

// mask puts … for each word that was sent, and for each mail address.
func (s *sent) mask(text string) string {
	var b strings.Builder
	for len(text) > 0 {
		n := strings.IndexFunc(text, inWord)
		if n < 0 {
			n = len(text)
		}
		b.WriteString(text[:n])
		text = text[n:]
		if n = strings.IndexFunc(text, func(r rune) bool { return !inWord(r) }); n < 0 {
			n = len(text)
		}
		b.WriteString(s.shown(text[:n]))
		text = text[n:]
	}
	return b.String()
}

// shown is a word as it may be shown.
func (s *sent) shown(word string) string {
	if strings.ContainsRune(word, '@') {
		return "…"
	}
	for part := range strings.FieldsFuncSeq(strings.ToLower(word), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }) {
		if len(part) >= shortWord && strings.Contains(s.text, part) {
			return "…"
		}
	}
	return word
}

// inWord reports whether r may stand within a word, a token or an address.
func inWord(r rune) bool {
	return unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r) || strings.ContainsRune("._-+/=@~", r)
}
