package templates

import (
	"slices"
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
	return err == nil && tag != "und" && !isPseudo(tag)
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

// sameLanguage lists the tags that one language goes by: what BCP 47 has
// deprecated, and Norwegian, whose macro language and written forms are used
// for each other.
func sameLanguage(base string) []string {
	for _, tags := range [...][]string{{"nb", "no", "nn"}, {"nn", "no", "nb"}, {"no", "nb", "nn"}, {"he", "iw"}, {"iw", "he"}, {"id", "in"}, {"in", "id"},
		{"yi", "ji"}, {"ji", "yi"}, {"fil", "tl"}, {"tl", "fil"}, {"ro", "mo"}, {"mo", "ro"}, {"sh", "sr-Latn"}} {
		if tags[0] == base {
			return tags[1:]
		}
	}
	return nil
}

// localeChain is the locales whose texts a reader of the given one is served,
// best first: its own and its ancestors, by subtags (de-AT, de) and by CLDR
// (es-AR, es-419, es; zh-TW, zh-Hant-TW, zh-Hant, zh), other tags of the same
// language, and at last the language as most people write it (pt-BR for pt).
func localeChain(locale string) []string {
	tag := canonicalLocale(locale)
	var chain []string
	add := func(tags ...string) {
		for _, t := range tags {
			if t != "" && !slices.Contains(chain, t) {
				chain = append(chain, t)
			}
		}
	}
	base := tag
	for t, more := tag, tag != ""; more; t, more = parentLocale(t) {
		if base = t; strings.Contains(t, "-") {
			add(t)
		}
	}
	parsed, err := language.Parse(tag)
	if err == nil {
		add(scripted(parsed, base)...)
		add(relatives(parsed, base)...)
	}
	add(base)
	add(sameLanguage(base)...)
	if err == nil {
		add(likely(base)...)
	}
	return chain
}

// scripted is a tag whose region implies another script than its language's
// own (zh-TW, uz-AF), with that script written out.
func scripted(tag language.Tag, base string) []string {
	if _, explicit := tag.Script(); explicit == language.Exact {
		return nil
	}
	script, _ := tag.Script()
	if own, _ := language.Make(base).Script(); own == script {
		return nil
	}
	region, _ := tag.Region()
	return []string{base + "-" + script.String() + "-" + region.String(), base + "-" + script.String()}
}

// relatives are the ancestors that CLDR gives a region's language beside the
// language itself: es-419 of es-AR, pt-PT of pt-AO, en-001 of en-GB.
func relatives(tag language.Tag, base string) []string {
	var found []string
	for range maxNest {
		if tag = tag.Parent(); tag == language.Und {
			break
		}
		if b, _ := tag.Base(); b.String() == base {
			found = append(found, tag.String())
		}
	}
	return slices.DeleteFunc(found, func(t string) bool { return t == base })
}

// likely are the longer tags that a bare language most likely stands for.
func likely(base string) []string {
	tag := language.Make(base)
	script, _ := tag.Script()
	region, _ := tag.Region()
	return []string{base + "-" + script.String(), base + "-" + region.String(), base + "-" + script.String() + "-" + region.String()}
}

// lookupLocale finds what a person with the given locale gets: the entry of
// the locale itself, of the nearest in its chain, or of the default locale.
func lookupLocale[T any](entries map[string]T, locale, fallback string) (found T, ok bool) {
	if found, ok = entries[locale]; ok {
		return found, true
	}
	if locale != "" {
		for _, tag := range localeChain(locale) {
			if found, ok = entries[tag]; ok {
				return found, true
			}
		}
	}
	found, ok = entries[fallback]
	return found, ok
}

// isServed reports whether texts of the locale has are what a reader of wants
// reads, though perhaps of another region.
func isServed(wants, has string) bool {
	return wants == "" || wants == has || slices.Contains(localeChain(wants), has) && sameScript(wants, has)
}

func sameScript(a, b string) bool {
	x, _ := language.Make(a).Script()
	y, _ := language.Make(b).Script()
	return x == y
}

// direction is how a locale's script runs, as HTML's dir says it.
func direction(locale string) string {
	if locale == pseudoRTL {
		return "rtl"
	}
	script, _ := language.Make(locale).Script()
	switch script.String() {
	case "Arab", "Hebr", "Syrc", "Thaa", "Nkoo", "Adlm", "Rohg", "Samr", "Mand", "Aran":
		return "rtl"
	}
	return "ltr"
}
