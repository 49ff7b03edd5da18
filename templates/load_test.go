package templates

import (
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/carillonhq/carillon/notice"
)

func TestLoadReadsWhatTemplateYAMLSays(t *testing.T) {
	c := loadTestdata(t)
	if got, want := c.Names(), []string{"account-event", "order-shipped", "price-drop"}; !slices.Equal(got, want) {
		t.Fatalf("names %v, want %v", got, want)
	}
	o, _ := c.Template("order-shipped")
	if o.Category != "shipping" || o.Lane != notice.LaneNormal || o.ExpiresIn != 24*time.Hour {
		t.Errorf("order-shipped: category %q, lane %q, expires in %v", o.Category, o.Lane, o.ExpiresIn)
	}
	if got, want := o.Channels(), []notice.Medium{notice.MediumEmail, notice.MediumPush, notice.MediumWebhook}; !slices.Equal(got, want) {
		t.Errorf("order-shipped: channels %v, want %v as template.yaml lists them", got, want)
	}
	if len(o.Samples) != 2 || o.Samples[0].Name != "default" || string(o.Samples[1].Data) != `{"order":"A-2"}` {
		t.Errorf("samples %v, want default first", o.Samples)
	}
	p, _ := c.Template("price-drop")
	if got := p.Channels(); !slices.Equal(got, []notice.Medium{notice.MediumPush}) {
		t.Errorf("price-drop has parts for push only, but channels are %v", got)
	}
	if p.Renders(notice.MediumEmail) || !p.Renders(notice.MediumWebhook) {
		t.Error("price-drop must render no email, and a webhook's default body")
	}
	a, _ := c.Template("account-event")
	if a.Category != "" && a.Category != "service" {
		t.Errorf("account-event: category %q, want the catalogue's default", a.Category)
	}
}

func TestLoadReportsFaultsWithPlaceAndMend(t *testing.T) {
	shop := func(pairs ...string) fs.FS {
		return folder(append([]string{"m/en/email.subject.txt", "s", "m/en/email.txt", "t"}, pairs...)...)
	}
	closed := "schema: {type: object, required: [order], properties: {order: {type: string}, note: {type: string}, gone: {type: [string, 'null']}}}"
	for _, c := range []struct {
		name  string
		fsys  fs.FS
		place string
		words []string
	}{
		{"an unclosed action", mail("one\n{{if .data.x}}"), "m/en/email.txt:2:1", []string{"unexpected EOF"}},
		{"a function that does not exist", mail("{{ shout .data.x }}"), "m/en/email.txt:1:1", []string{`"shout" not defined`}},
		{"call, which could only fail", mail("{{ call .data.x }}"), "m/en/email.txt:1:1", []string{`"call" not defined`}},
		{"a misspelt root name", mail("x {{ .dta.order }}"), "m/en/email.txt:1:6", []string{".data"}},
		{"data without .data", mail("{{ .order }}"), "m/en/email.txt:1:4", []string{".data.order"}},
		{"a misspelt field of the person", mail("{{ .to.nmae }}"), "m/en/email.txt:1:4", []string{"name"}},
		{"a partial that does not exist", mail(`{{template "foter" .}}`, "_partials/footer.txt", "f"), "m/en/email.txt:1:12", []string{`"foter"`, "footer"}},
		{"partials that call each other", mail(`{{template "a" .}}`, "_partials/a.txt", `{{template "b" .}}`, "_partials/b.txt", `{{template "a" .}}`), "_partials/b.txt:1:12", []string{"circle", "a → b → a"}},
		{"a variable that the schema lacks", mail("{{.data.oder}}", "m/template.yaml", closed), "m/en/email.txt:1:3", []string{"not in the schema", "order"}},
		{"an optional variable printed bare", mail("{{.data.note}}", "m/template.yaml", closed), "m/en/email.txt:1:3", []string{"optional", "required", "{{with .data.note}}"}},
		{"a nullable variable printed bare", mail("{{.data.gone}}", "m/template.yaml", strings.Replace(closed, "[order]", "[order, gone]", 1)), "m/en/email.txt:1:3", []string{"null"}},
		{"an optional variable printed after its test", mail("{{if .data.note}}x{{end}}{{.data.note}}", "m/template.yaml", closed), "m/en/email.txt:1:28", []string{"optional"}},
		{"an unknown message", mail(`{{t "greting"}}`, "_locales/en.yaml", "greeting: hi"), "m/en/email.txt:1:5", []string{"greeting"}},
		{"a plural message without its number", mail(`{{t "n"}}`, "_locales/en.yaml", "n: {one: a, other: b}"), "m/en/email.txt:1:5", []string{"plural"}},
		{"a plural message without other", mail("x", "_locales/en.yaml", "n: {one: a, few: b}"), "_locales/en.yaml:1:4", []string{"other"}},
		{"a date format that is none", mail(`{{date "lang" .now}}`), "m/en/email.txt:1:8", []string{"lang", "long-datetime"}},
		{"a currency that is none", mail(`{{money "EUX" 1250}}`), "m/en/email.txt:1:9", []string{"EUX", "ISO 4217"}},
		{"a message without an argument that it reads", mail(`{{t "hi" "who" .to.name}}`, "_locales/en.yaml", "hi: 'Hi {name}, {who}'"), "m/en/email.txt:1:5", []string{"name", "_locales/en.yaml:1:5"}},
		{"a message's names and values that do not pair", mail(`{{t "hi" .to.name}}`, "_locales/en.yaml", "hi: 'Hi {name}'"), "m/en/email.txt:1:5", []string{"by name"}},
		{"a select without other", mail("x", "_locales/en.yaml", "n: {select: gender, female: b}"), "_locales/en.yaml:1:4", []string{"other"}},
		{"a bare value in JSON", folder("m/en/webhook.json", `{"a": {{.data.a}}}`), "m/en/webhook.json:1:9", []string{"{{json"}},
		{"HTML whose branches end in different contexts", folder("m/en/email.subject.txt", "s", "m/en/email.html", "<p>\n{{if .data.x}}<a href='{{end}}{{.data.x}}"), "m/en/email.html:2:6", []string{"different contexts"}},
		{"a layout that does not exist", folder("m/en/email.subject.txt", "s", "m/en/email.html", "h", "m/template.yaml", "category: a\nlayout: emial", "_layouts/email.html", `{{template "content" .}}`), "m/template.yaml:2:9", []string{"email"}},
		{"a sender's name that is an address", mail("x", "m/template.yaml", "from: {en: boss@bank.example}"), "m/template.yaml:1:12", []string{"from", "channel's"}},
		{"a sender for a locale that is none", mail("x", "m/template.yaml", "from: {english: Acme}"), "m/template.yaml:1:8", []string{"english", "BCP 47"}},
		{"a reply_to that is no mailbox", mail("x", "m/template.yaml", "reply_to: help"), "m/template.yaml:1:11", []string{"help@acme.example"}},
		{"a css that is none", mail("x", "m/template.yaml", "css: inlined"), "m/template.yaml:1:6", []string{"inline, keep"}},
		{"an unknown part", shop("m/en/email.subjct.txt", "s"), "m/en/email.subjct.txt:1:1", []string{"email.subject.txt"}},
		{"an email without a subject", folder("m/en/email.txt", "t"), "m/en:1:1", []string{"email.subject.txt"}},
		{"a subject without an email", folder("m/en/email.subject.txt", "t"), "m/en:1:1", []string{"email.html"}},
		{"parts that the default locale lacks", folder("m/de/push.title.txt", "t"), "m/de:1:1", []string{"default locale en", "m/en"}},
		{"a folder that is no locale", shop("m/german-language/email.txt", "t"), "m/german-language:1:1", []string{"BCP 47"}},
		{"two folders of one locale", shop("m/de-at/email.txt", "t", "m/de_AT/email.txt", "t"), "m/de_AT:1:1", []string{"two folders"}},
		{"an unknown key", shop("m/template.yaml", "category: a\npriorty: bulk"), "m/template.yaml:2:1", []string{"priorty", "priority"}},
		{"a priority that is none", shop("m/template.yaml", "priority: urgent"), "m/template.yaml:1:11", []string{"urgent", "critical, normal, bulk"}},
		{"a channel that is none", shop("m/template.yaml", "channels: [email, sms]"), "m/template.yaml:1:19", []string{"sms"}},
		{"a channel without parts", shop("m/template.yaml", "channels: [email, push]"), "m/template.yaml:1:1", []string{"push", "no parts"}},
		{"an expiry that is no duration", shop("m/template.yaml", "expires_in: soon"), "m/template.yaml:1:13", []string{"soon", "24h"}},
		{"an expiry of nothing", shop("m/template.yaml", "expires_in: 0s"), "m/template.yaml:1:13", []string{"0s"}},
		{"broken YAML", shop("m/template.yaml", "category: a\n  b: [\n"), "m/template.yaml", []string{"YAML"}},
		{"a list where keys belong", shop("m/template.yaml", "- a"), "m/template.yaml:1:1", []string{"keys and values"}},
		{"a key that stands twice", shop("m/template.yaml", "category: a\ncategory: b"), "m/template.yaml:2:1", []string{"twice"}},
		{"a schema that is none", shop("m/template.yaml", "schema:\n  type: objekt"), "m/template.yaml:2:9", []string{"schema"}},
		{"a schema that reaches for a file", shop("m/template.yaml", `schema: {$ref: "file:///etc/passwd"}`), "m/template.yaml:1:9", []string{"$defs"}},
		{"a sample against the schema", mail("{{.data.order}}", "m/template.yaml", closed+"\nsamples:\n  default: {order: 5}"), "m/template.yaml:3:20", []string{"sample default", "/data/order", "a string"}},
		{"a sample without what a part reads", mail("{{.data.order}}", "m/template.yaml", "samples: {default: {oder: a}}"), "m/template.yaml:1:20", []string{"/data/order"}},
		{"a folder with a misspelt underscore name", shop("_layout/email.html", "x"), "_layout:1:1", []string{"_layouts"}},
		{"a default locale that is none", shop("catalogue.yaml", "default_locale: english_language"), "catalogue.yaml:1:17", []string{"BCP 47"}},
		{"a template without parts", folder("m/template.yaml", "category: a"), "m/template.yaml:1:1", []string{"no parts"}},
		{"blocks nested too deep", mail(strings.Repeat("{{if .data.x}}", 100_00/14) + strings.Repeat("{{end}}", 100_00/14)), "m/en/email.txt:1:897", []string{"nested more than 64"}},
		{"else-ifs chained too long", mail("{{if .data.x}}" + strings.Repeat("{{else if .data.x}}", 5000) + "{{end}}"), "m/en/email.txt", []string{"nested more than 64"}},
		{"parentheses nested too deep", mail("{{" + strings.Repeat("(", 50_000) + ".data" + strings.Repeat(")", 50_000) + "}}"), "m/en/email.txt:1:1", []string{"nested more than 64"}},
		{"a file that is too large", mail(strings.Repeat("x", maxSource+1)), "m/en/email.txt:1:1", []string{"262144"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			wantFault(t, loadFaults(t, c.fsys), c.place, c.words...)
		})
	}
}

func TestLoadReportsEveryFaultAtOnceAndOnce(t *testing.T) {
	faults := loadFaults(t, folder(
		"_partials/f.txt", "{{.to.nam}}",
		"a/en/email.subject.txt", "{{", "a/en/email.txt", `{{template "f" .}}`,
		"b/template.yaml", "priority: x", "b/en/push.title.txt", `{{template "f" .}}`,
	))
	var places []string
	for _, f := range faults {
		places = append(places, f.File)
	}
	if want := []string{"_partials/f.txt", "a/en/email.subject.txt", "b/template.yaml"}; !slices.Equal(places, want) {
		t.Errorf("faults in %v, want one each in %v:\n%v", places, want, faults)
	}
}

func TestLoadFollowsWhatMountedVolumesAndEditorsLeave(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.MkdirAll(dir+"/"+name[:strings.LastIndex(name, "/")], 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(dir+"/"+name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("..2027/m/en/push.title.txt", "hello")
	write("..2027/m/en/.push.title.txt.swp", "\x00")
	write("..2027/m/en/push.title.txt~", "{{")
	if err := os.Symlink("..2027/m", dir+"/m"); err != nil {
		t.Fatal(err)
	}
	c := mustLoad(t, os.DirFS(dir))
	if got := c.Names(); !slices.Equal(got, []string{"m"}) {
		t.Errorf("names %v, want the linked folder m alone", got)
	}
}

func TestVersionChangesWithWhatARenderingDependsOnAndNothingElse(t *testing.T) {
	base := func() fstest.MapFS {
		return folder("_layouts/l.html", `{{template "content" .}}`, "_layouts/other.html", "o",
			"_partials/f.html", "f", "_partials/unused.html", "u", "_locales/en.yaml", "k: v",
			"m/template.yaml", "layout: l", "m/en/email.subject.txt", `{{t "k"}}`, "m/en/email.html", `{{template "f" .}}`,
			"n/en/push.title.txt", "n")
	}
	version := func(fsys fs.FS) string {
		m, _ := mustLoad(t, fsys).Template("m")
		return m.Version
	}
	first := version(base())
	if len(first) != 12 || strings.Trim(first, "0123456789abcdef") != "" {
		t.Fatalf("version %q, want 12 hex digits", first)
	}
	for file, changes := range map[string]bool{
		"_layouts/l.html": true, "_partials/f.html": true, "m/template.yaml": true, "m/en/email.subject.txt": true,
		"m/de/email.subject.txt": true, "_layouts/other.html": false, "_partials/unused.html": false, "n/en/push.title.txt": false,
	} {
		fsys := base()
		text := "{{/* changed */}}"
		if old, ok := fsys[file]; ok {
			text = string(old.Data) + text
		}
		if file == "m/template.yaml" {
			text = "layout: l\ncategory: c"
		}
		fsys[file] = &fstest.MapFile{Data: []byte(text)}
		if file == "m/de/email.subject.txt" {
			fsys["m/de/email.txt"] = fsys[file]
		}
		if got := version(fsys) != first; got != changes {
			t.Errorf("changing %s changes the version: %v, want %v", file, got, changes)
		}
	}
	fsys := base()
	fsys["_locales/en.yaml"] = &fstest.MapFile{Data: []byte("k: w")}
	if version(fsys) == first {
		t.Error("changing a message that the template uses must change its version")
	}
}
