package templates

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/carillonhq/carillon/notice"
)

// written renders the text of the mail m for a reader.
func written(t *testing.T, c *Catalogue, locale, data string) string {
	t.Helper()
	req := request("m", notice.MediumEmail, data)
	req.Locale, req.To.Locale = locale, locale
	r, err := c.Render(req)
	if err != nil {
		t.Fatalf("render for %s: %v", locale, err)
	}
	return r.Content.Email.Text
}

func TestTheChainOfALocaleLeadsToWhatItsReadersRead(t *testing.T) {
	for _, c := range []struct {
		locale, has, want string
	}{
		{"de-AT", "de en", "de"},
		{"de_at", "de-AT de", "de-AT"},
		{"DE", "de en", "de"},
		{"fr", "de en", "en"},
		{"zh-TW", "zh zh-Hant", "zh-Hant"},
		{"zh-Hant-TW", "zh-Hant zh", "zh-Hant"},
		{"zh-Hant-HK", "zh zh-Hant-TW en", "zh"},
		{"zh-CN", "zh-Hans zh-Hant", "zh-Hans"},
		{"zh", "zh-Hant zh-Hans", "zh-Hans"},
		{"sr-Latn", "sr-Latn sr", "sr-Latn"},
		{"sr-Latn-RS", "sr en", "sr"},
		{"sh", "sr-Latn sr", "sr-Latn"},
		{"no", "nb en", "nb"},
		{"nb-NO", "no en", "no"},
		{"nn", "nb en", "nb"},
		{"iw-IL", "he en", "he"},
		{"es-MX", "es es-419", "es-419"},
		{"pt-AO", "pt pt-PT", "pt-PT"},
		{"pt", "pt-BR en", "pt-BR"},
		{"en-GB", "en en-001", "en-001"},
		{"de-AT-1996", "de-AT de", "de-AT"},
		{"de-u-nu-latn", "de en", "de"},
		{"", "de en", "en"},
		{"%%", "de en", "en"},
	} {
		entries := map[string]string{}
		for _, tag := range strings.Fields(c.has) {
			entries[tag] = tag
		}
		fallback := "en"
		if got, _ := lookupLocale(entries, c.locale, fallback); got != c.want {
			t.Errorf("a reader of %q with parts in %s gets %q, want %q (chain %v)", c.locale, c.has, got, c.want, localeChain(c.locale))
		}
	}
}

func TestWhatATemplateRemembersOfLocalesIsBounded(t *testing.T) {
	c := mustLoad(t, mail("x"))
	req := request("m", notice.MediumEmail, `{}`)
	for i := range 3 * maxChoices {
		req.Locale = "fr-x-" + strconv.Itoa(i)
		if r, err := c.Render(req); err != nil || r.LocaleNote != "rendered in en: no parts for "+req.Locale {
			t.Fatalf("%s: %q, %v", req.Locale, r.LocaleNote, err)
		}
	}
	if m, _ := c.Template("m"); len(m.choices.made) != maxChoices {
		t.Errorf("%d locales are remembered, want %d", len(m.choices.made), maxChoices)
	}
}

func TestPluralFormsFollowTheLanguage(t *testing.T) {
	c := mustLoad(t, mail(`{{t "files" .data.n}}`,
		"_locales/en.yaml", "files: {one: '{1} file', other: '{1} files'}",
		"_locales/pl.yaml", "files: {one: '{1} plik', few: '{1} pliki', many: '{1} plików', other: '{1} pliku'}",
		"_locales/ar.yaml", "files: {zero: z, one: o, two: t, few: f, many: m, other: x}"))
	for _, k := range []struct{ locale, n, want string }{
		{"en", "1", "1 file"}, {"en", "0", "0 files"}, {"en", "1.5", "1.5 files"},
		{"pl", "1", "1 plik"}, {"pl", "3", "3 pliki"}, {"pl", "5", "5 plików"}, {"pl", "22", "22 pliki"}, {"pl", "12", "12 plików"}, {"pl", "1.5", "1.5 pliku"},
		{"ar", "0", "z"}, {"ar", "1", "o"}, {"ar", "2", "t"}, {"ar", "5", "f"}, {"ar", "11", "m"}, {"ar", "100", "x"},
	} {
		if got := written(t, c, k.locale, `{"n":`+k.n+`}`); got != k.want {
			t.Errorf("%s files in %s: %q, want %q", k.n, k.locale, got, k.want)
		}
	}
}

func TestAMessageIsSelectedByAWordAndThenByANumber(t *testing.T) {
	c := mustLoad(t, mail(`{{t "invited" "gender" .data.gender "count" .data.n "name" .data.name}}`, "_locales/en.yaml", `
invited:
  description: a guest brings friends
  select: gender
  female: {one: "{name} brings her friend", other: "{name} brings her {count} friends"}
  male: {one: "{name} brings his friend", other: "{name} brings his {count} friends"}
  other: "{name} brings guests"
`))
	for data, want := range map[string]string{
		`{"gender":"female","n":1,"name":"Ada"}`: "Ada brings her friend",
		`{"gender":"male","n":2,"name":"Bob"}`:   "Bob brings his 2 friends",
		`{"gender":"x","n":2,"name":"{count}"}`:  "{count} brings guests",
	} {
		if got := written(t, c, "en", data); got != want {
			t.Errorf("%s: %q, want %q", data, got, want)
		}
	}
}

func TestCataloguesOfGoI18nAreRead(t *testing.T) {
	c := mustLoad(t, mail(`{{t "unread" "count" .data.n "name" .to.name}}; {{t "plain"}}`, "_locales/active.en.yaml", `
unread:
  description: The number of unread mails
  hash: sha1-5e7f
  one: "{{.Name}} has {{.PluralCount}} unread mail"
  other: "{{.Name}} has {{.PluralCount}} unread mails"
plain:
  other: Hello
`))
	if got, want := written(t, c, "en", `{"n":2}`), "Ada has 2 unread mails; Hello"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestTheCheckNamesMessagesThatALanguageLacks(t *testing.T) {
	c := mustLoad(t, mail(`{{t "files" .data.n}} {{t "bye" "name" .to.name}}`,
		"_locales/en.yaml", "files: {one: a, few: b, other: c}\nbye: 'Bye {name}'\nunused: '{name}'",
		"_locales/pl.yaml", "files: {one: a, few: b, other: c}\nbye: 'Pa {name}'\nunused: '{nme}'",
		"_locales/de.yaml", "files: {one: a, other: c}",
		"_locales/de-AT.yaml", "files: {one: a, other: c}"))
	faults := c.Examine()
	wantFault(t, faults, "_locales/en.yaml:1:22", `"few"`, "no number takes in en")
	wantFault(t, faults, "_locales/pl.yaml:1:8", `"many"`, "like 0")
	wantFault(t, faults, "_locales/de.yaml:1:1", `"bye"`, "_locales/en.yaml:2:6")
	wantFault(t, faults, "_locales/de-AT.yaml:1:1", `"bye"`)
	wantFault(t, faults, "_locales/pl.yaml:3:9", `nme`)
	for _, f := range faults {
		if f.Severity != SeverityWarning {
			t.Errorf("%v refuses the catalogue", f)
		}
	}
}

func TestNumbersMoneyDatesAndListsFollowTheReader(t *testing.T) {
	const source = `{{number .data.n}} {{number 2 .data.n}} {{percent .data.p}} {{money .data.c .data.m}} {{"12.5" | money "JPY"}} {{date "long" .data.d}} ` +
		`{{date "short-datetime" .data.at}} {{date "Mon 2 January" .data.d}} {{list .data.l}} {{listOr .data.l}}`
	c := mustLoad(t, mail(source, "m/de/email.subject.txt", "s", "m/de/email.txt", source))
	const data = `{"n":1234.5,"p":0.25,"c":"eur","m":123456,"d":"2027-01-05","at":"2027-01-05T16:04:00Z","l":["a","b","c"]}`
	for locale, want := range map[string]string{
		"en":    "1,234.5 1,234.50 25% €1,234.56 ¥12.5 January 5, 2027 1/5/27, 5:04\u202fPM Tue 5 January a, b, and c a, b, or c",
		"en-GB": "1,234.5 1,234.50 25% €1,234.56 JP¥12.5 5 January 2027 05/01/2027, 17:04 Tue 5 January a, b and c a, b or c",
		"de":    "1.234,5 1.234,50 25\u00a0% 1.234,56\u00a0€ 12,5\u00a0¥ 5. Januar 2027 05.01.27, 17:04 Di. 5 Januar a, b und c a, b oder c",
		"de-AT": "1\u00a0234,5 1\u00a0234,50 25\u00a0% €\u00a01.234,56 ¥\u00a012,5 5. Jänner 2027 05.01.27, 17:04 Di. 5 Jänner a, b und c a, b oder c",
		// There are no French parts, so a French reader gets English ones, whole.
		"fr": "1,234.5 1,234.50 25% €1,234.56 ¥12.5 January 5, 2027 1/5/27, 5:04\u202fPM Tue 5 January a, b, and c a, b, or c",
	} {
		if got := written(t, c, locale, data); got != want {
			t.Errorf("%s:\n got %q\nwant %q", locale, got, want)
		}
	}
}

func TestMoneyIsNeverABinaryFraction(t *testing.T) {
	c := mustLoad(t, mail(`{{money .data.c .data.m}}`))
	for data, want := range map[string]string{
		`{"c":"EUR","m":1250}`:                              "€12.50",
		`{"c":"JPY","m":1250}`:                              "¥1,250",
		`{"c":"KWD","m":1250}`:                              "KWD\u00a01.250",
		`{"c":"EUR","m":"12.5"}`:                            "€12.50",
		`{"c":"EUR","m":"-0.1"}`:                            "-€0.10",
		`{"c":"EUR","m":"90071992547409931.23"}`:            "€90,071,992,547,409,931.23",
		`{"c":"EUR","m":9223372036854775807}`:               "€92,233,720,368,547,758.07",
		`{"c":"EUR","m":12.5}`:                              "error: may not be exact",
		`{"c":"EUR","m":"1e400000"}`:                        "error: no decimal number",
		`{"c":"EUR","m":"12,50"}`:                           "error: no decimal number",
		`{"c":"EUR","m":92233720368547758079}`:              "error: may not be exact",
		`{"c":"secret","m":1}`:                              "error: no code of ISO 4217",
		`{"c":"EUR","m":"` + strings.Repeat("9", 50) + `"}`: "error: no decimal number",
	} {
		r, err := c.Render(request("m", notice.MediumEmail, data))
		if words, bad := strings.CutPrefix(want, "error: "); bad {
			if err == nil || !strings.Contains(err.Error(), words) || strings.Contains(err.Error(), "secret") {
				t.Errorf("%s: error %v, want one that says %q and quotes nothing", data, err, words)
			}
		} else if err != nil || r.Content.Email.Text != want {
			t.Errorf("%s: %q, %v; want %q", data, r.Content.Email, err, want)
		}
	}
}

func TestAPartialThatWasGivenAnItemKnowsTheReader(t *testing.T) {
	c := mustLoad(t, mail(`{{range .data.items}}{{template "item" .}};{{end}}{{template "none"}}`,
		"_partials/item.txt", `{{$x := .name}}{{template "price" .}} {{$x}} {{$.name}} {{date "short-time" .at}}`,
		"_partials/price.txt", `{{with .price}}{{money "EUR" .}} of {{$.name}}{{end}}`,
		"_partials/none.txt", `{{number 1}}{{with .}}bad{{end}}`))
	got := written(t, c, "en-GB", `{"items":[{"name":"tea","price":1250,"at":"2027-01-01T16:04:00Z"},{"name":"cup","price":1,"at":"2027-01-01T16:04:00Z"}]}`)
	if want := "€12.50 of tea tea tea 17:04;€0.01 of cup cup cup 17:04;1"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestPartialsThatDoubleTheirCallsAreRefused(t *testing.T) {
	pairs := []string{"_partials/p0.txt", `{{number 1}}`}
	for i := 1; i < 40; i++ {
		call := `{{template "p` + string(rune('0'+(i-1)/10)) + string(rune('0'+(i-1)%10)) + `" .data}}`
		pairs = append(pairs, "_partials/p"+string(rune('0'+i/10))+string(rune('0'+i%10))+".txt", call+call)
	}
	pairs[0] = "_partials/p00.txt"
	wantFault(t, loadFaults(t, mail(`{{template "p39" .data}}`, pairs...)), "m/en/email.txt:1:1", "1000")
}

func TestTheRootSaysWhichWayTheTextRuns(t *testing.T) {
	c := mustLoad(t, folder("m/en/email.subject.txt", "s", "m/en/email.html", `<html lang="{{.lang}}" dir="{{.dir}}">{{isolate .to.name}}`,
		"m/he/email.subject.txt", "s", "m/he/email.html", `<html lang="{{.lang}}" dir="{{.dir}}">`))
	for locale, want := range map[string]string{"en-GB": `<html lang="en" dir="ltr">` + "\u2068Ada\u2069", "iw": `<html lang="he" dir="rtl">`} {
		req := request("m", notice.MediumEmail, `{}`)
		req.Locale = locale
		if r, err := c.Render(req); err != nil || r.Content.Email.HTML != want {
			t.Errorf("%s: %q, %v; want %q", locale, r.Content.Email, err, want)
		}
	}
	for locale, want := range map[string]string{"ar": "rtl", "fa-IR": "rtl", "uz-AF": "rtl", "uz": "ltr", "az-Arab": "rtl", "dv": "rtl", "yi": "rtl", "zh-Hant": "ltr"} {
		if got := direction(locale); got != want {
			t.Errorf("%s runs %s, want %s", locale, got, want)
		}
	}
}

func TestPseudoTextsLeaveWhatIsNotText(t *testing.T) {
	for _, c := range []struct{ locale, text, want string }{
		{pseudoLong, "Shipped", "[Šĥîþþéð one]"},
		{pseudoLong, " See https://acme.example/a?b=c now &amp; {1} ", " [Šéé https://acme.example/a?b=c ñöŵ &amp; {1} one two three] "},
		{pseudoLong, "12 – 34", "12 – 34"},
		{pseudoRTL, "Hi you", "\u200f\u202eHi\u202c\u200f \u200f\u202eyou\u202c\u200f"},
		{"de", "Hallo", "Hallo"},
	} {
		if got := pseudoText(c.locale, c.text); got != c.want {
			t.Errorf("%q in %s: %q, want %q", c.text, c.locale, got, c.want)
		}
	}
}

func TestAPseudoLocaleShowsTextsAndIsNeverServed(t *testing.T) {
	source := `<style>p{top:0}</style><p title="Title">Hello {{.to.name}} &amp; <a href="https://acme.example/a">friends</a></p>{{if .data.x}}Yes{{end}}{{t "bye" .to.name}}{{template "f" .}}`
	c := mustLoad(t, folder("m/en/email.subject.txt", "Hi {{.to.name}}", "m/en/email.html", source, "m/en/webhook.json", `{"a":"Text"}`,
		"_locales/en.yaml", "bye: 'Bye {1}'", "_partials/f.html", "<b>Foot</b>", "m/de/email.subject.txt", "s", "m/de/email.html", "h"))
	req := request("m", notice.MediumEmail, `{"x":1}`)
	req.Locale = pseudoLong
	if r, err := c.Render(req); err != nil || r.Locale != "en" || !strings.Contains(r.Content.Email.HTML, "Hello Ada") {
		t.Errorf("the catalogue itself serves %+v, %v", r.Content.Email, err)
	}
	p, err := c.Pseudo("m", pseudoLong)
	if err != nil {
		t.Fatal(err)
	}
	r, err := p.Render(req)
	if err != nil {
		t.Fatal(err)
	}
	want := `<style>p{top:0}</style><p title="Title">[Ĥéļļö one] Ada &amp; <a href="https://acme.example/a">[ƒŕîéñðš one]</a></p>[Ýéš one][Ɓýé Åðå one]<b>[Ƒööţ one]</b>`
	if got := r.Content.Email.HTML; got != want || r.Content.Email.Subject != "[Ĥî] Ada" {
		t.Errorf("subject %q\n got %s\nwant %s", r.Content.Email.Subject, got, want)
	}
	if p, err = c.Pseudo("m", pseudoRTL); err != nil {
		t.Fatal(err)
	}
	req.Locale = pseudoRTL
	if r, err = p.Render(req); err != nil || !strings.Contains(r.Content.Email.HTML, "\u202eFoot\u202c") {
		t.Errorf("%q, %v", r.Content.Email, err)
	}
	if _, err := c.Pseudo("m", "en"); err == nil {
		t.Error("en is a pseudo-locale")
	}
	if _, err := Load(folder("m/en-XA/email.subject.txt", "s")); err == nil {
		t.Error("a catalogue has parts in a pseudo-locale")
	}
}

func FuzzMessages(f *testing.F) {
	for _, seed := range []string{"a: b", "a: {one: x, other: y}", "a: {select: g, other: '{n}'}", "a: {b: {c: d}}", "a: {plural: 1, one: {{.X}}}", "a: {select: g, other: {select: h, other: {one: 1, other: 2}}}"} {
		f.Add(seed, "de-AT")
	}
	f.Fuzz(func(t *testing.T, text, locale string) {
		var faults Faults
		all := map[string]messages{"en": parseMessages("_locales/en.yaml", "en", text, &faults)}
		tr := newTranslator(all, locale, "en")
		for key, m := range all["en"] {
			args := []any{int64(2)}
			if m.byName {
				args = nil
				for _, name := range keys(m.arguments()) {
					args = append(args, name, int64(2))
				}
			}
			if _, err := tr.translate(key, args...); err != nil && faults.errors() == 0 && len(args) > 1 {
				t.Errorf("%q passed and failed: %v", key, err)
			}
		}
		if chain := localeChain(locale); len(chain) > 80 || slices.Contains(chain, "") {
			t.Errorf("chain of %q: %v", locale, chain)
		}
	})
}
