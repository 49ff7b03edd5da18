package templates

import (
	"strings"
	"testing"

	"github.com/carillonhq/carillon/notice"
)

func TestABlockThatReadsMoreThanItsKeyIsRefusedWithItsPlaceAndTheMend(t *testing.T) {
	for _, w := range []struct {
		name, html, place string
		words             []string
	}{
		{"the reader's name", "a\n" + `{{cached "hero" .data.c}}{{.data.c.x}}{{.to.name}}{{end}}`, "2:41", []string{".to.name", "each reader", "end the block before it"}},
		{"the id", `{{cached "hero" .data.c}}{{.id}}{{end}}`, "1:28", []string{".id", "each reader"}},
		{"the time", `{{cached "hero"}}{{date "date" .now}}{{end}}`, "1:32", []string{".now", "each reader"}},
		{"the unsubscribe link", `{{cached "hero"}}<a href="{{.unsubscribe_url}}">x</a>{{end}}`, "1:29", []string{"each reader"}},
		{"other data", `{{cached "hero" .data.c}}{{.data.d}}{{end}}`, "1:28", []string{".data.d", "key does not hold", "$.data.d"}},
		{"more of the data than its key", `{{cached "hero" .data.c.x}}{{range .data.c}}{{.}}{{end}}{{end}}`, "1:36", []string{".data.c", "key does not hold"}},
		{"the data of a partial", `{{cached "hero" .data.c}}{{template "p" .}}{{end}}`, "_partials/p.html:1:3", []string{".data.d"}},
		{"the whole root", `{{cached "hero" .data.c}}{{json .}}{{end}}`, "1:33", []string{"each reader"}},
		{"the reader's name as its key", `{{cached "hero" .to.name}}x{{end}}`, "1:17", []string{".to.name", "leave it out"}},
		{"the name of an outer with", `{{with .to.name}}{{cached "hero" .}}x{{end}}{{end}}`, "1:34", []string{"leave it out"}},
		{"another round's element", `{{range $a := .data.l}}{{range $b := $.data.l}}{{cached "x" $a}}{{$b.x}}{{end}}{{end}}{{end}}`, "1:67", []string{"$b.x", "key does not hold"}},
		{"an outer loop's counter", `{{range $i, $a := .data.l}}{{cached "x" $a}}{{$i}}{{end}}{{end}}`, "1:47", []string{"$i", "key does not hold"}},
		{"a variable that it sets", `{{$v := 1}}{{cached "x" .data.c}}{{$v = 2}}{{end}}{{$v}}`, "1:36", []string{"sets $v"}},
		{"the end of a loop around it", `{{range .data.l}}{{cached "x" .}}{{break}}{{end}}{{end}}`, "1:36", []string{"leaves a loop"}},
		{"an else", `{{cached "x" .data.c}}a{{else}}b{{end}}`, "1:3", []string{"no else"}},
		{"no name", `{{cached .data.c}}a{{end}}`, "1:3", []string{"wants a name first"}},
		{"nothing at all", `{{cached}}a{{end}}`, "1:3", []string{"wants a name first"}},
		{"a context that it leaves open", `{{cached "x" .data.c}}<a href="{{end}}">`, "1:", []string{"context"}},
	} {
		t.Run(w.name, func(t *testing.T) {
			_, err := Load(folder("m/en/email.subject.txt", "s", "m/en/email.html", w.html, "_partials/p.html", "{{.data.d}}"))
			if err == nil {
				t.Fatal("it loads")
			}
			place := w.place
			if !strings.HasPrefix(place, "_") {
				place = "m/en/email.html:" + place
			}
			for _, word := range append(w.words, place) {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("%v\nlacks %q", err, word)
				}
			}
		})
	}
}

func TestABlockInAPartialWithoutTheRootIsRefused(t *testing.T) {
	faults := loadFaults(t, mail(`{{range .data.l}}{{template "p" .}}{{end}}`, "_partials/p.txt", `{{cached "x" .}}{{.}}{{end}}`))
	wantFault(t, faults, "_partials/p.txt:1:3", `around the call`, `{{template "p" .}}`)
}

func TestWhatOnlyLooksLikeABlockIsLeftAlone(t *testing.T) {
	for text, want := range map[string]string{
		`cached {{/* {{cached "x"}} */}}{{"{{cached}}"}}`: `cached {{cached}}`,
		"{{`{{cached \"x\" }}`}}":                         `{{cached "x" }}`,
		`{{.data.cached}}`:                                "c",
		`{{$cached := 1}}{{$cached}}`:                     "1",
		"{{- \n cached \"x\" .data.cached -}} y {{end}}":  "y ",
	} {
		if got := renderText(t, mail(text), `{"cached":"c"}`); got != want {
			t.Errorf("%s gives %q, want %q", text, got, want)
		}
	}
}

func TestFaultsBehindABlockKeepTheirPlaces(t *testing.T) {
	faults := loadFaults(t, mail(`{{cached "x" .data.c}}{{.data.c}}{{end}} {{.dta.x}}`))
	wantFault(t, faults, "m/en/email.txt:1:44", "did you mean .data")
	faults = loadFaults(t, mail(`{{$x := cached "x" .data.c}}`))
	wantFault(t, faults, "m/en/email.txt:1:1", "cached")
}

// A block's key decides: not the rest of the data, nor the reader.
func TestABlockIsSharedByEqualKeysAlone(t *testing.T) {
	c := mustLoad(t, mail(`{{range .data.items}}{{cached "item" .}}{{.n}}={{number .p}};{{end}}{{$.to.name}}{{end}}`))
	c.UseCache(NewCache(1 << 20))
	render := func(data, locale string) (string, CacheUse) {
		req := request("m", notice.MediumEmail, data)
		req.Locale = locale
		r, err := c.Render(req)
		if err != nil {
			t.Fatal(err)
		}
		return r.Content.Email.Text, r.Cache
	}
	for i, w := range []struct {
		data, locale, want string
		use                CacheUse
	}{
		{`{"items":[{"n":"a","p":1000}]}`, "en", "a=1,000;Ada", CacheUse{Unseen: 1}},
		{`{"items":[{"n":"a","p":1000}],"other":1}`, "en", "a=1,000;Ada", CacheUse{Misses: 1}},
		{`{"items":[{"n":"a","p":1000}],"other":2}`, "en", "a=1,000;Ada", CacheUse{Hits: 1}},
		{`{"items":[{"p":1000,"n":"a"},{"n":"a","p":1001}]}`, "en", "a=1,000;Adaa=1,001;Ada", CacheUse{Hits: 1, Unseen: 1}},
		{`{"items":[{"n":"a","p":1000.5}]}`, "en", "a=1,000.5;Ada", CacheUse{Unseen: 1}},
		{`{"items":[{"n":"a","p":"1000"}]}`, "en", "a=1,000;Ada", CacheUse{Unseen: 1}},
		{`{"items":[{"n":"a","p":1000}],"other":3}`, "en-IN", "a=1,000;Ada", CacheUse{Unseen: 1}},
	} {
		if got, use := render(w.data, w.locale); got != w.want || use != w.use {
			t.Errorf("rendering %d: %q %+v, want %q %+v", i, got, use, w.want, w.use)
		}
	}
}
