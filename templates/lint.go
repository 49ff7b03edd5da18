package templates

import (
	"path"
	"slices"
	"strings"

	"github.com/carillonhq/carillon/notice"
)

// lint warns of what no single template shows: shared files that nobody uses,
// and templates that lack a language or a part that their like have.
func (c *compiler) lint(built []*builder, faults *Faults) {
	c.lintUnused(built, faults)
	c.lintSources(faults)
	common := commonLocales(built)
	for _, b := range built {
		b.lintLocales(common, faults)
		b.lintParts(faults)
		b.lintSamples(faults)
	}
}

// lintUnused names layouts and partials that no part reaches.
func (c *compiler) lintUnused(built []*builder, faults *Faults) {
	used := map[string]bool{}
	for _, b := range built {
		for file := range b.used {
			used[file] = true
		}
	}
	for _, file := range append(keys(c.src.layouts), keys(c.src.partials)...) {
		if !used[file] {
			faults.warn(position{file, 1, 1}, "no part uses it: remove it, or name it where it belongs")
		}
	}
}

// lintSources reads the HTML as it was written, which shows the branches too
// that no sample takes.
func (c *compiler) lintSources(faults *Faults) {
	texts := c.src.texts()
	files := slices.DeleteFunc(keys(texts), func(file string) bool { return path.Ext(file) != ".html" })
	found := make([]Faults, len(files))
	each(len(files), func(i int) {
		file, text := files[i], texts[files[i]]
		m := markup{text: withHoles(text), faults: &found[i], at: func(offset int) position { return positionAt(file, text, offset) }}
		m.isValue = func(from, to int) bool { return strings.Contains(m.text[from:min(to, len(m.text))], hole) }
		m.check()
		if offset := strings.Index(text, "<!--[if"); offset >= 0 {
			found[i].warn(positionAt(file, text, offset), "comments do not reach the mail, and so neither does what Outlook would read in this one: write it without")
		}
	})
	*faults = append(*faults, slices.Concat(found...)...)
}

// commonLocales are the locales that more than half of the templates have; one
// template is not yet a custom.
func commonLocales(built []*builder) []string {
	count := map[string]int{}
	for _, b := range built {
		for _, locale := range b.out.Locales() {
			count[locale]++
		}
	}
	var common []string
	for _, locale := range keys(count) {
		if count[locale] > 1 && 2*count[locale] > len(built) {
			common = append(common, locale)
		}
	}
	return common
}

// lintLocales warns of readers who would get another language than theirs: a
// locale that other templates have, or another medium of this one.
func (b *builder) lintLocales(common []string, faults *Faults) {
	own := b.out.Locales()
	for _, locale := range common {
		if !speaks(own, locale) {
			faults.warn(position{b.src.name, 1, 1}, "has no parts for %s, which most templates have: its readers get %s: add %s/%s", locale, b.out.defaultLocale, b.src.name, locale)
		}
	}
	for _, m := range []notice.Medium{notice.MediumEmail, notice.MediumPush} {
		has := keys(b.out.groups[m])
		if len(has) == 0 || !slices.Contains(b.out.channels, m) {
			continue
		}
		for _, locale := range keys(b.src.locales) {
			if !speaks(has, locale) {
				faults.warn(position{path.Join(b.src.name, locale), 1, 1}, "has no parts for %s, which %s has: its readers get %s: add them", m, strings.Join(has, " and "), b.out.defaultLocale)
			}
		}
	}
}

// speaks reports whether one of the locales is of the same language.
func speaks(locales []string, locale string) bool {
	language, _, _ := strings.Cut(locale, "-")
	return slices.ContainsFunc(locales, func(l string) bool {
		has, _, _ := strings.Cut(l, "-")
		return has == language
	})
}

// lintParts warns of a locale that lacks a part which the default locale has.
func (b *builder) lintParts(faults *Faults) {
	fallback := b.src.locales[b.out.defaultLocale]
	for _, locale := range keys(b.src.locales) {
		for p := range partCount {
			own := b.src.locales[locale]
			_, wanted := fallback[p]
			_, has := own[p]
			if wanted && !has && p != partPushData && p != partPushOptions && b.has(locale, p.medium()) {
				faults.warn(position{path.Join(b.src.name, locale), 1, 1}, "has no %s, which %s has: add it", partNames()[p], b.out.defaultLocale)
			}
		}
	}
}

// lintSamples warns of a template that nothing can be tried with.
func (b *builder) lintSamples(faults *Faults) {
	if len(b.out.trials()) == 0 {
		faults.warn(position{path.Join(b.src.name, "template.yaml"), 1, 1}, "has no samples, so that no rendering was tried: add samples: {default: {…}}")
	}
}
