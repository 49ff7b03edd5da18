package email

import (
	"net/url"
	"strings"
	"unicode"
)

const (
	mostWords = 200 // bytes of a relay's reply that are kept
	redacted  = "[address]"
)

// scrub makes a relay's words safe to log: on one line, short, and without the
// recipient. Relays echo the address whole, its parts, or quoted in a link, so
// every word that holds any of it goes, and every word that looks like another
// address.
func scrub(words, to string) string {
	local, domain, _ := strings.Cut(strings.ToLower(to), "@")
	var kept []string
	size := 0
	for word := range strings.FieldsFuncSeq(words, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }) {
		if names(word, local, domain) {
			word = redacted
		}
		if size += len(word) + 1; size > mostWords {
			break
		}
		kept = append(kept, word)
	}
	return strings.ToValidUTF8(strings.Join(kept, " "), "?")
}

// names reports whether word holds an address, or a part of the recipient's.
func names(word, local, domain string) bool {
	word = strings.ToLower(word)
	if plain, err := url.PathUnescape(word); err == nil {
		word = plain
	}
	return strings.Contains(word, "@") ||
		local != "" && strings.Contains(word, local) ||
		domain != "" && strings.Contains(word, domain)
}
