package templates

import (
	"strings"

	"golang.org/x/text/language"
)

// canonicalLocale spells a BCP 47 tag as RFC 5646 §2.1.1 recommends: de_at and
// DE-at become de-AT, zh-hant-tw becomes zh-Hant-TW.
func canonicalLocale(tag string) string {
	parts := strings.FieldsFunc(tag, func(r rune) bool { return r == '-' || r == '_' })
	for i, p := range parts {
		switch {
		case i > 0 && len(p) == 2:
			parts[i] = strings.ToUpper(p)
		case i > 0 && len(p) == 4 && p[0] > '9':
			parts[i] = strings.ToUpper(p[:1]) + strings.ToLower(p[1:])
		default:
			parts[i] = strings.ToLower(p)
		}
	}
	return strings.Join(parts, "-")
}

// validLocale reports whether a canonical tag is one that people can have.
func validLocale(tag string) bool {
	_, err := language.Parse(tag)
	return err == nil && tag != "und"
}

// parentLocale drops the last subtag: de-AT has the parent de; de has none.
func parentLocale(tag string) (string, bool) {
	i := strings.LastIndexByte(tag, '-')
	if i < 0 {
		return "", false
	}
	// A single letter only announces what follows it (RFC 4647 §3.4).
	if i >= 2 && tag[i-2] == '-' {
		i -= 2
	}
	return tag[:i], true
}

// lookupLocale finds what a person with the given locale gets: the entry of
// the locale itself, of its nearest ancestor, or of the default locale.
func lookupLocale[T any](entries map[string]T, locale, fallback string) (found T, ok bool) {
	if found, ok = entries[locale]; ok {
		return found, true
	}
	for tag, more := canonicalLocale(locale), locale != ""; more; tag, more = parentLocale(tag) {
		if found, ok = entries[tag]; ok {
			return found, true
		}
	}
	found, ok = entries[fallback]
	return found, ok
}
