package preview

import (
	"context"
	"fmt"
	"image/color"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestPageInARealBrowser(t *testing.T) {
	chromium := launch(t)
	for _, test := range []struct {
		name string
		run  func(*testing.T, context.Context)
	}{
		{"the mail is on the screen, in every choice of template, locale and sample", mailIsOnTheScreen},
		{"data is checked while it is typed, and kept", dataIsCheckedWhileTyped},
		{"a file that changes on disk changes the page, which keeps its state", changesOnDiskAreFollowed},
		{"hostile templates and data never run and ask nobody", hostileMailNeverRuns},
		{"a link in the mail leaves the mail where it is", linksLeadNowhere},
		{"a phone's screen is wide enough", phoneIsWideEnough},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, chromium) })
	}
}

var (
	blue  = color.RGBA{0x10, 0x20, 0xe0, 0xff}
	green = color.RGBA{0x10, 0xa0, 0x30, 0xff}
)

// painted is a mail whose items are stripes, 40 pixels high, of a colour; in
// a dark frame of another.
func painted(c, inDark color.RGBA) string {
	hex := func(c color.RGBA) string { return fmt.Sprintf("#%02x%02x%02x", c.R, c.G, c.B) }
	return `<!doctype html><meta name="color-scheme" content="light dark"><style>p{margin:0;height:40px;background:` + hex(c) +
		`}@media (prefers-color-scheme:dark){p{background:` + hex(inDark) + `}}</style>{{range .data.items}}<p></p>{{end}}`
}

// The pixels of one item, at least and at most, on a wide screen.
const (
	stripe = 40 * 600
	wide   = 40 * 800
)

// write changes a file of the catalogue as an editor does.
func write(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// servePainted serves the test catalogue with order-shipped as painted in
// blue, in both its locales and without a layout.
func servePainted(t *testing.T, html string) (base, dir string) {
	t.Helper()
	base, dir = serve(t)
	settings, err := os.ReadFile(dir + "/order-shipped/template.yaml")
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, "order-shipped/template.yaml", strings.Replace(string(settings), "layout: email\n", "", 1))
	write(t, dir, "order-shipped/en/email.html", html)
	write(t, dir, "order-shipped/de/email.html", html)
	return base, dir
}

func mailIsOnTheScreen(t *testing.T, chromium context.Context) {
	base, _ := servePainted(t, painted(blue, green))
	b := open(t, chromium, base, "#order-shipped", 1440)
	b.shows(blue, 2*stripe, 2*wide) // the default sample's two items
	b.says("#email .subject", "Your order A-1 is on its way")
	b.click("#dark")
	b.shows(green, 2*stripe, 2*wide)
	b.click("#dark")

	b.pick("#locale", "de")
	b.says("#email .subject", "Ihre Bestellung A-1")
	b.pick("#locale", "other…")
	b.fill("#wanted", "de-AT")
	b.says("#email h3", "de, for want of de-AT")
	b.says("#webhook h3", "en, for want of de-AT")
	b.pick("#sample", "bare")
	b.says("#email .subject", "Ihre Bestellung A-2")
	b.until(`document.querySelector('#webhook pre').textContent.includes('"A-2"')`)
	b.shows(blue, 0, 0)

	b.reload()
	b.says("#email .subject", "Ihre Bestellung A-2") // the address remembers
	b.click(`#templates li:last-child button`)
	b.says("#name", "price-drop")
	b.until(`document.querySelector('#email').hidden && document.querySelector('#push strong').textContent !== ''`)
	if !b.is(`document.querySelector('#wanted').value === 'de-AT' && document.activeElement.textContent === 'price-drop'`) {
		t.Error("another template forgot the locale, or lost the keyboard's place")
	}
}

func dataIsCheckedWhileTyped(t *testing.T, chromium context.Context) {
	base, _ := servePainted(t, painted(blue, green))
	b := open(t, chromium, base, "#order-shipped", 1440)
	b.shows(blue, 2*stripe, 2*wide)
	b.fill("#data", `{"items":["one","two","three"]}`)
	b.says("#errors", "/data/order")
	b.says("#errors", "is required")
	if !b.is(`document.querySelector('#data').ariaInvalid === 'true' && document.querySelector('#output.stale')`) {
		t.Error("the old rendering looks as if it were that of the data")
	}
	b.fill("#data", `{"order":`)
	b.says("#errors", "/data")
	b.fill("#data", `{"order":"<img src=x onerror=top.pwned=1>","items":["one","two","three"]}`)
	b.says("#email .subject", "Your order <img src=x onerror=top.pwned=1> is on its way")
	b.until(`document.querySelector('#errors').childElementCount === 0 && !document.querySelector('#output.stale')`)
	b.shows(blue, 3*stripe, 3*wide)

	b.click(`#templates li:last-child button`)
	b.says("#name", "price-drop")
	b.is(`window.typed = document.querySelector('#data').value`)
	b.click(`#templates li:nth-child(2) button`)
	b.until(`document.querySelector('#data').value.includes('three') && !window.typed.includes('three')`)
	b.click("#reset")
	b.says("#email .subject", "Your order A-1")
	b.until(`document.querySelector('#data').value.includes('cake') && document.querySelector('#reset').hidden`)
	if b.is(`'pwned' in window`) {
		t.Error("data ran")
	}
}

func changesOnDiskAreFollowed(t *testing.T, chromium context.Context) {
	base, dir := servePainted(t, painted(blue, blue))
	b := open(t, chromium, base, "#order-shipped/de", 1440)
	b.fill("#data", `{"order":"B-7","items":["one","two","three"]}`)
	b.shows(blue, 3*stripe, 3*wide)
	b.is(`window.sameDocument = document.querySelector('#data').selectionStart = 5`)

	start := time.Now()
	write(t, dir, "order-shipped/de/email.html", painted(green, green))
	b.shows(green, 3*stripe, 3*wide)
	t.Logf("on the screen %v after the file was written", time.Since(start).Round(time.Millisecond))

	write(t, dir, "order-shipped/de/email.subject.txt", "{{.data.order")
	b.says("#failure", "order-shipped/de/email.subject.txt:1:")
	b.says("#email .subject", "Ihre Bestellung B-7") // the last good one
	write(t, dir, "order-shipped/de/email.subject.txt", "Neu: {{.data.order}}")
	b.says("#email .subject", "Neu: B-7")
	if !b.is(`window.sameDocument === 5 && document.querySelector('#data').selectionStart === 5 && document.querySelector('#failure').hidden && document.querySelector('#locale').value === 'de'`) {
		t.Error("the page loaded again, or lost the caret or the locale")
	}
}

// hostileMail tries every usual way to run or to phone home.
func hostileMail(trap string) string {
	return strings.ReplaceAll(painted(blue, blue)+`<script>top.pwned=1;parent.pwned=1;fetch('TRAP/script')</script>`+
		`<img src=x onerror="top.pwned=2"><img src="TRAP/image"><svg onload="top.pwned=3"></svg>`+
		`<iframe srcdoc="<script>top.pwned=5</script>"></iframe><iframe src="TRAP/frame"></iframe>`+
		`<link rel="stylesheet" href="TRAP/style"><style>@import 'TRAP/import';body{background:url(TRAP/background)}</style>`+
		`<form action="TRAP/form"><button autofocus onfocus="top.pwned=6">x</button></form>`+
		`<meta http-equiv="refresh" content="0;url=TRAP/refresh"><base href="TRAP/">`+
		`<object data="TRAP/object"></object><video src="TRAP/video" autoplay></video>`, "TRAP", trap)
}

// trap is a server that nothing on the page may ever ask.
func trap(t *testing.T) (url string, asked *atomic.Int32) {
	asked = new(atomic.Int32)
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	t.Cleanup(server.Close)
	return server.URL, asked
}

func hostileMailNeverRuns(t *testing.T, chromium context.Context) {
	trapURL, asked := trap(t)
	base, dir := servePainted(t, hostileMail(trapURL))
	evil := `<script>top.pwned=7</script><img src="` + trapURL + `/data" onerror="top.pwned=8">`
	write(t, dir, "order-shipped/en/push.title.txt", evil+"{{with .data.note}}{{.}}{{end}}")
	b := open(t, chromium, base, "#order-shipped", 1440)
	quoted := strings.ReplaceAll(evil, `"`, `\"`)
	b.fill("#data", `{"order":"<script>top.pwned=9</script>","items":["`+quoted+`"],"note":"`+quoted+`"}`)
	b.shows(blue, stripe, wide)
	b.says("#push strong", evil+evil)
	b.says("#webhook pre", `onerror=`)
	b.pick("#locale", "other…")
	b.fill("#wanted", evil) // as a locale, which the address repeats
	b.says("#errors", "is no language tag")
	b.reload()
	b.says("#errors", "is no language tag")
	if b.is(`'pwned' in window`) || !b.is(fmt.Sprintf(`location.href.startsWith(%q)`, base)) || asked.Load() != 0 {
		t.Errorf("code ran: %v, led away: %v, requests to strangers: %d", b.is(`'pwned' in window`), !b.is(fmt.Sprintf(`location.href.startsWith(%q)`, base)), asked.Load())
	}
}

func linksLeadNowhere(t *testing.T, chromium context.Context) {
	trapURL, asked := trap(t)
	link := `<a href="` + trapURL + `"{{if not .data.items}} target="_top"{{end}} style="position:fixed;inset:0"></a>`
	base, _ := servePainted(t, painted(blue, blue)+link)
	b := open(t, chromium, base, "#order-shipped", 1440)
	b.shows(blue, 2*stripe, 2*wide)
	b.is(`(window.loads = 0, document.querySelector('#html').addEventListener('load', () => window.loads++))`)
	b.pick("#sample", "bare") // whose link wants the whole window
	b.until(`window.loads === 1`)
	b.clickMail()
	b.pick("#sample", "default")
	b.until(`window.loads === 2`)
	for deadline := time.Now().Add(10 * time.Second); !b.is(`window.loads >= 4`) && time.Now().Before(deadline); {
		b.clickMail() // gives the browser's notice, and the mail again
	}
	b.shows(blue, 2*stripe, 2*wide)
	if asked.Load() != 0 || !b.is(fmt.Sprintf(`location.href.startsWith(%q)`, base)) {
		t.Errorf("a click on a link asked strangers %d times, or led the page away", asked.Load())
	}
}

func phoneIsWideEnough(t *testing.T, chromium context.Context) {
	base, _ := servePainted(t, painted(blue, blue))
	b := open(t, chromium, base, "#order-shipped", 360)
	b.shows(blue, 2*40*280, 2*40*360)
	b.pick("#locale", "other…")
	b.fill("#wanted", strings.Repeat("x", 60))
	b.fill("#data", `{"`+strings.Repeat("x", 200)+`":1}`)
	b.says("#errors", "xxx")
	if b.is(`document.documentElement.scrollWidth > innerWidth`) {
		t.Error("the page is wider than a phone's screen")
	}
}
