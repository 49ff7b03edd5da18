package cldr

import (
	"strings"
	"testing"
	"time"
)

func TestEveryLineOfTheTablesIsWholeAndItsPatternsAreKnown(t *testing.T) {
	tables := New()
	at := time.Date(2027, 3, 5, 17, 4, 9, 0, time.UTC)
	for name := range tables.lines {
		l := tables.Locale(name)
		if l.Tag != name || l.Decimal == "" || l.Group == "" || l.Minus == "" || l.Percent == "" {
			t.Errorf("%s: symbols missing: %+v", name, l)
		}
		for _, p := range append(append(l.Date[:], l.Time[:]...), l.Months[0], l.Days[6], l.Halves[1], l.And[3], l.Or[0], l.Number, l.Percentage) {
			if p == "" {
				t.Errorf("%s: a pattern or name is empty", name)
			}
		}
		for _, p := range append(l.Date[:], l.Time[:]...) {
			unknownLetters(t, l, p, at)
		}
		for s := Full; s <= Short; s++ {
			if out := l.FormatDateTime(at, s); strings.ContainsAny(out, "{}") {
				t.Errorf("%s: %q", name, out)
			}
		}
		if !strings.Contains(l.Percentage, "%") {
			t.Errorf("%s: percent pattern %q", name, l.Percentage)
		}
	}
}

func unknownLetters(t *testing.T, l *Locale, pattern string, at time.Time) {
	for i := 0; i < len(pattern); i++ {
		if pattern[i] == '\'' {
			_, n := quotedText(pattern[i:])
			i += n - 1
			continue
		}
		if c := pattern[i]; (c|0x20 >= 'a' && c|0x20 <= 'z') && l.field(c, 4, at) == "" {
			t.Errorf("%s: no field %q in %q", l.Tag, c, pattern)
		}
	}
}

func TestNumbersFollowTheLocale(t *testing.T) {
	tables := New()
	for _, c := range []struct {
		locale, number string
		decimals       int
		want           string
	}{
		{"en", "1234567.891", -1, "1,234,567.891"},
		{"en", "0.0005", -1, "0"},
		{"en", "-0.0005", -1, "0"},
		{"en", "1234.5", 2, "1,234.50"},
		{"en", "2.5", 0, "2"},
		{"en", "3.5", 0, "4"},
		{"en", "999.995", 2, "1,000.00"},
		{"en", "2.50000001", 0, "3"},
		{"en", "90071992547409931234", 0, "90,071,992,547,409,931,234"},
		{"de", "-1234.5", -1, "-1.234,5"},
		{"de-AT", "1234.5", -1, "1\u00a0234,5"},
		{"de-CH", "1234.5", -1, "1'234.5"},
		{"fr", "1234.5", -1, "1\u202f234,5"},
		{"es", "1234", -1, "1234"},
		{"es", "12345", -1, "12.345"},
		{"hi", "12345678", -1, "1,23,45,678"},
		{"ar-EG", "1234.5", -1, "١٬٢٣٤٫٥"},
		{"fa", "1234", -1, "۱٬۲۳۴"},
		{"sv", "-3", -1, "−3"},
		{"tlh-XX", "1234", -1, "1,234"},
	} {
		got, err := tables.Locale(c.locale).FormatNumber(c.number, c.decimals)
		if err != nil || got != c.want {
			t.Errorf("%s in %s: %q, %v; want %q", c.number, c.locale, got, err, c.want)
		}
	}
	for _, bad := range []string{"", "-", "1e5", "1.", ".5", "12a", "+1", "1,000", strings.Repeat("9", 101)} {
		if out, err := tables.Locale("en").FormatNumber(bad, -1); err == nil {
			t.Errorf("%q became %q", bad, out)
		}
	}
}

func TestPercentagesFollowTheLocale(t *testing.T) {
	tables := New()
	for _, c := range []struct {
		locale, share string
		decimals      int
		want          string
	}{
		{"en", "0.255", -1, "26%"}, {"en", "0.255", 1, "25.5%"}, {"de", "0.2", -1, "20\u00a0%"}, {"tr", "0.2", -1, "%20"}, {"en", "12", -1, "1,200%"},
		{"ar-EG", "0.5", -1, "٥٠٪\u061c"}, {"en", "-0.05", -1, "-5%"}, {"en", "0.001", -1, "0%"},
	} {
		if got, err := tables.Locale(c.locale).FormatPercent(c.share, c.decimals); err != nil || got != c.want {
			t.Errorf("%s in %s: %q, %v; want %q", c.share, c.locale, got, err, c.want)
		}
	}
}

func TestDatesFollowTheLocale(t *testing.T) {
	tables := New()
	at := time.Date(2027, 1, 5, 17, 4, 9, 0, time.UTC)
	for _, c := range []struct {
		locale string
		got    func(*Locale) string
		want   string
	}{
		{"en", func(l *Locale) string { return l.FormatDate(at, Full) }, "Tuesday, January 5, 2027"},
		{"en-GB", func(l *Locale) string { return l.FormatDate(at, Long) }, "5 January 2027"},
		{"en-GB", func(l *Locale) string { return l.FormatTime(at, Short) }, "17:04"},
		{"en", func(l *Locale) string { return l.FormatTime(at, Short) }, "5:04\u202fPM"},
		{"en", func(l *Locale) string { return l.FormatDateTime(at, Long) }, "January 5, 2027 at 5:04\u202fPM"},
		{"en", func(l *Locale) string { return l.FormatDateTime(at, Short) }, "1/5/27, 5:04\u202fPM"},
		{"de", func(l *Locale) string { return l.FormatDateTime(at, Full) }, "Dienstag, 5. Januar 2027 um 17:04"},
		{"de-AT", func(l *Locale) string { return l.FormatDate(at, Long) }, "5. Jänner 2027"},
		{"fr", func(l *Locale) string { return l.FormatDate(at, Medium) }, "5 janv. 2027"},
		{"ru", func(l *Locale) string { return l.FormatDate(at, Long) }, "5 января 2027\u202fг."},
		{"pl", func(l *Locale) string { return l.FormatDate(at, Long) }, "5 stycznia 2027"},
		{"es", func(l *Locale) string { return l.FormatDate(at, Long) }, "5 de enero de 2027"},
		{"ja", func(l *Locale) string { return l.FormatDate(at, Full) }, "2027年1月5日火曜日"},
		{"zh-Hant", func(l *Locale) string { return l.FormatTime(at, Short) }, "下午5:04"},
		{"ar-EG", func(l *Locale) string { return l.FormatDate(at, Long) }, "٥ يناير ٢٠٢٧"},
		{"he", func(l *Locale) string { return l.FormatDate(at, Long) }, "5 בינואר 2027"},
		{"fi", func(l *Locale) string { return l.FormatDate(at, Full) }, "tiistai 5. tammikuuta 2027"},
	} {
		if got := c.got(tables.Locale(c.locale)); got != c.want {
			t.Errorf("%s: %q, want %q", c.locale, got, c.want)
		}
	}
}

func TestListsFollowTheLocale(t *testing.T) {
	tables := New()
	for _, c := range []struct {
		locale string
		items  []string
		and    string
		or     string
	}{
		{"en", nil, "", ""},
		{"en", []string{"a"}, "a", "a"},
		{"en", []string{"a", "b"}, "a and b", "a or b"},
		{"en", []string{"a", "b", "c", "d"}, "a, b, c, and d", "a, b, c, or d"},
		{"en-GB", []string{"a", "b", "c"}, "a, b and c", "a, b or c"},
		{"de", []string{"a", "{0}", "c"}, "a, {0} und c", "a, {0} oder c"},
		{"ja", []string{"a", "b", "c"}, "a、b、c", "a、b、またはc"},
		{"ar", []string{"a", "b"}, "a وb", "a أو b"},
	} {
		l := tables.Locale(c.locale)
		if and, or := l.FormatAnd(c.items), l.FormatOr(c.items); and != c.and || or != c.or {
			t.Errorf("%s %q: %q, %q; want %q, %q", c.locale, c.items, and, or, c.and, c.or)
		}
	}
}

func FuzzNumber(f *testing.F) {
	tables := New()
	for _, seed := range []string{"0", "-1234.5", "0.005", "99999999999999999999.5"} {
		f.Add(seed, 2)
	}
	f.Fuzz(func(t *testing.T, number string, decimals int) {
		out, err := tables.Locale("en").FormatNumber(number, decimals)
		if err != nil {
			return
		}
		back := strings.ReplaceAll(out, ",", "")
		again, err := tables.Locale("en").FormatNumber(back, decimals)
		if err != nil || again != out {
			t.Errorf("%q wrote %q, which writes %q, %v", number, out, again, err)
		}
	})
}
