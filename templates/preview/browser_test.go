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

	"github.com/carillonhq/carillon/e2e/browser"
)

func TestPageInARealBrowser(t *testing.T) {
	chromium := browser.Launch(t)
	for _, test := range []struct {
		name string
		run  func(*testing.T, context.Context)
	}{
		{"the mail is on the screen, in every choice of template, locale, sample, width and look", mailIsOnTheScreen},
		{"a mail's text, headers and source are beside it", mailHasItsSource},
		{"two locales stand side by side", localesStandSideBySide},
		{"a push is shown on two phones with what it costs", pushIsShown},
		{"a webhook's command line works as it is pasted", curlWorksAsPasted},
		{"the form is the schema's, and says at the field what is wrong", formFollowsTheSchema},
		{"every kind of value has its field", everyKindHasItsField},
		{"data is checked while it is typed, and kept", dataIsCheckedWhileTyped},
		{"a file that changes on disk changes the page, which keeps its state", changesOnDiskAreFollowed},
		{"a fault stands at its source line until it is mended", faultsStandAtTheirLine},
		{"a link leads to everything, and back leads back", linksLeadToEverything},
		{"the keyboard reaches everything", keyboardReachesEverything},
		{"a test is sent to where the page says", testsAreSent},
		{"hostile templates and data never run and ask nobody", hostileMailNeverRuns},
		{"a link in the mail leaves the mail where it is", linksLeadNowhere},
		{"a made-up locale shows what a translation will do", madeUpLocalesAreShown},
		{"on a phone the list opens by a button and closes behind a choice", listOpensOnAPhone},
		{"a title stands for the name, and what it is for below", titlesAreShown},
		{"an export is searched from the disk, and asks nobody", exportIsSearched},
		{"it fits a phone and a desktop, in the light and in the dark", fitsEveryScreen},
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

// address is the page looking at a template.
const address = "#order-shipped?data=json"

func mailIsOnTheScreen(t *testing.T, chromium context.Context) {
	base, _ := servePainted(t, painted(blue, green))
	b := open(t, chromium, base, address, 1440)
	b.shows(blue, 2*stripe, 2*wide) // the default sample's two items
	b.says(".subject", "Your order A-1 is on its way")
	b.press("Dark")
	b.shows(green, 2*stripe, 2*wide)
	b.press("Mobile")
	b.shows(green, 2*40*359, 2*40*375) // with a page's margins
	b.press("Desktop")
	b.press("Dark")

	b.pick("#locale", "de")
	b.says(".subject", "Ihre Bestellung A-1")
	b.pick("#locale", "other…")
	b.fill("#wanted", "de-AT")
	b.says(".pane header", "de German for want of de-AT")
	b.pick("#sample", "bare")
	b.says(".subject", "Ihre Bestellung A-2")
	b.shows(blue, 0, 0)

	b.reload()
	b.says(".subject", "Ihre Bestellung A-2") // the address remembers
	b.Click(`[data-template=price-drop]`)
	b.says("#name", "price-drop")
	b.Until(`document.querySelector('#tab-push').ariaSelected === 'true' && document.querySelector('.ios .heading')`)
	if !b.Is(`document.querySelector('#wanted').value === 'de-AT' && document.activeElement.dataset.template === 'price-drop'`) {
		t.Error("another template forgot the locale, or lost the keyboard's place")
	}
}

func mailHasItsSource(t *testing.T, chromium context.Context) {
	base, _ := serve(t)
	b := open(t, chromium, base, "#order-shipped", 1440)
	b.says(".from", "Acme <no-reply@acme.example> to")
	b.press("Text")
	b.says(".email pre.text", "A-1")
	b.press("Headers")
	b.says(".email .headers", "=?UTF-8?q?Your_order")
	b.says(".email .decoded", "Your order A-1 is on its way")
	b.press("Raw")
	b.says(".email .raw", "X-Long: one")
	b.Is(`URL.createObjectURL = (blob) => { window.saved = blob.size; return '#' }`)
	b.Is(`HTMLAnchorElement.prototype.click = function () { window.saved = this.download + ' ' + window.saved }`)
	b.press("Download .eml")
	b.Until(`window.saved === 'order-shipped.en.eml ' + new Blob([document.querySelector('.raw').textContent]).size`)
	b.visit("#order-shipped?view=raw")
	b.says(".email .raw", "X-Long: one")
}

func localesStandSideBySide(t *testing.T, chromium context.Context) {
	base, _ := serve(t)
	b := open(t, chromium, base, "#order-shipped", 1440)
	b.pick("#beside", "de")
	b.says(".pane:nth-child(1) .subject", "Your order A-1")
	b.says(".pane:nth-child(2) .subject", "Ihre Bestellung A-1")
	b.Until(`(() => { const [a, b] = [...document.querySelectorAll('.framebox')].map((x) => x.getBoundingClientRect()); return a.top === b.top && a.right < b.left && a.height > 100 })()`)
	b.pick("#sample", "bare")
	b.says(".pane:nth-child(2) .subject", "A-2")
	b.pick("#beside", "")
	b.Until(`document.querySelectorAll('.pane').length === 1`)
}

func pushIsShown(t *testing.T, chromium context.Context) {
	base, dir := serve(t)
	write(t, dir, "order-shipped/en/push.body.txt", "Order {{.data.order}}{{with .data.note}}: {{.}}{{end}}")
	b := open(t, chromium, base, "#order-shipped?channel=push&data=json", 1440)
	b.says(".ios .body", "Order A-1")
	b.says(".android .app", "Acme")
	b.says(".meter.good[data-service=APNs]", "of 4,096 bytes")
	b.says(".push .options", "apns-push-type")
	note := func(length int) string {
		return `{"order":"A-1","note":"` + strings.Repeat("long word ", length/10) + `"}`
	}
	b.fill("#data", note(370)) // over nine tenths of what the made-up services take
	b.says(".meter.warn[data-service=APNs]", "of 4,096 bytes")
	b.Is(`window.before = document.querySelector('.android .note').offsetHeight`)
	b.press("Expanded")
	b.Until(`document.querySelector('.android .note').offsetHeight > window.before * 1.5 && location.hash.includes('push=expanded')`)
	b.fill("#data", note(500))
	b.says(".meter.bad[data-service=FCM]", "the payload is too large")
	b.Until(`document.querySelector('[role=meter]').getAttribute('aria-valuetext').includes('bytes')`)
}

func curlWorksAsPasted(t *testing.T, chromium context.Context) {
	base, _ := serve(t)
	b := open(t, chromium, base, "#order-shipped?channel=webhook&data=json", 1440)
	b.says(".webhook .headers", "webhook-signature")
	b.fill("#data", `{"order":"it's \"quoted\" $HOME `+"`id`"+` \\ ümlaut"}`)
	b.says(".curl", "ümlaut")
	if answer := shell(t, b.text(".curl")); answer != `{"received":true,"signature":"verified"}` {
		t.Errorf("the shell got %s", answer)
	}
	b.Is(`navigator.clipboard.writeText = (text) => { window.copied = text; return Promise.resolve() }`)
	b.press("Copy")
	b.Until(`window.copied?.startsWith('curl -sS ')`)
}

func formFollowsTheSchema(t *testing.T, chromium context.Context) {
	base, _ := serve(t)
	b := open(t, chromium, base, "#order-shipped", 1440)
	b.says(".subject", "Your order A-1")
	order := `[data-pointer="/data/order"]`
	b.fill(order, "B-2")
	b.says(".subject", "Your order B-2")
	b.fill(order, "")
	b.fill(`[data-pointer="/data/items/0"]`, "one thing")
	b.press("Add to items")
	b.Until(`document.activeElement.dataset.pointer === '/data/items/2'`)
	b.Is(`document.execCommand('insertText', false, 'cocoa')`)
	b.press("JSON")
	b.Until(`JSON.parse(document.querySelector('#data').value).items.join() === 'one thing,<b>cake</b>,cocoa'`)
	b.fill("#data", `{"order":7,"items":["x"]}`)
	b.says("#errors", "/data/order")
	b.press("Form")
	field := `document.querySelector('[data-pointer="/data/order"]')`
	b.Until(field + `?.ariaInvalid === 'true' && document.getElementById(` + field + `.getAttribute('aria-describedby')).textContent.includes('is a number: wants a string')`)
	b.Until(`document.querySelector('.pane.stale .subject')`)
	b.fill(order, `"C-3"`) // as JSON, since it is of another type
	b.says(".subject", "Your order C-3")
	b.Until(`!document.querySelector('.pane.stale') && !document.querySelector('.form [aria-invalid]')`)
	b.Click("#reset")
	b.says(".subject", "Your order A-1")
}

// kinds is a schema with one of everything.
const kinds = `channels: [webhook]
schema:
  type: object
  required: [text, whole, yes, list, when, pick, fixed, ref, shape, maybe]
  properties:
    text: {type: string, title: "A title", description: "What it is for"}
    whole: {type: integer, minimum: 1}
    yes: {type: boolean}
    pick: {enum: [red, 2, null]}
    fixed: {const: always}
    when: {type: string, format: date-time}
    day: {type: string, format: date}
    mail: {type: string, format: email}
    link: {type: string, format: uri}
    maybe: {type: [string, "null"]}
    list: {type: array, items: {type: object, required: [n], properties: {n: {type: number}}}}
    ref: {$ref: "#/$defs/place"}
    shape:
      oneOf:
        - {title: Circle, type: object, required: [kind, r], properties: {kind: {const: circle}, r: {type: number}}}
        - {title: Square, type: object, required: [kind, side], properties: {kind: {const: square}, side: {type: number}}}
    odd: {type: [string, number]}
    more: {type: object, additionalProperties: {type: string}}
  $defs: {place: {type: object, required: [city], properties: {city: {type: string}, near: {$ref: "#/$defs/place"}}}}
samples:
  default: {text: t, whole: 1, yes: true, pick: red, fixed: always, when: "2027-01-05T09:00:00Z", maybe: null, list: [{n: 1.5}], ref: {city: Bern}, shape: {kind: circle, r: 2}, odd: 5, more: {a: b}, extra: [1]}
`

func everyKindHasItsField(t *testing.T, chromium context.Context) {
	base, dir := serve(t)
	if err := os.MkdirAll(filepath.Join(dir, "kinds", "en"), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, dir, "kinds/en/webhook.json", `{"all":{{json .data.text}}}`)
	write(t, dir, "kinds/template.yaml", kinds)
	b := open(t, chromium, base, "#order-shipped", 1440)
	b.Until(`document.querySelector('[data-template=kinds]')`)
	b.Click(`[data-template=kinds]`)
	b.says(".form", "What it is for")
	at := func(pointer string) string { return fmt.Sprintf(`[data-pointer="/data/%s"]`, pointer) }
	b.fill(at("whole"), "12")
	b.pick(at("yes"), "false")
	b.pick(at("pick"), "1")
	b.fill(at("list/0/n"), "-2.5e3")
	b.fill(at("ref/city"), "Basel")
	b.pick(at("shape#choice"), "1")
	b.Until(`document.querySelector('[data-pointer="/data/shape/side"]')`)
	b.fill(at("shape/side"), "9")
	b.Click(`button[aria-label="Add near"], ` + `.form ` + at("ref/near"))
	b.fill(at("ref/near/city"), "Thun")
	b.press("give a value")
	b.fill(at("maybe"), "something")
	b.fill(at("odd"), `"text"`)
	b.fill(at("more/a"), "c")
	b.fill(at("mail"), "ada@example.com")
	b.press("JSON")
	want := `{"text":"t","whole":12,"yes":false,"pick":2,"fixed":"always","when":"2027-01-05T09:00:00Z","maybe":"something","list":[{"n":-2500}],` +
		`"ref":{"city":"Basel","near":{"city":"Thun"}},"shape":{"kind":"square","side":9},"odd":"text","more":{"a":"c"},"extra":[1],"mail":"ada@example.com"}`
	sorted := func(of string) string {
		return `JSON.stringify(Object.entries(JSON.parse(` + of + `)).sort(([a], [b]) => a < b ? -1 : 1))`
	}
	b.Until(sorted(`document.querySelector('#data').value`) + ` === ` + sorted("`"+want+"`"))
	if errors := b.text("#errors"); errors != "" {
		t.Errorf("the server finds fault with what the form made: %s", errors)
	}
	b.fill("#data", `{"whole":12345678901234567890}`)
	b.press("Form")
	b.says(".editor", "a number that a browser would round")
}

func dataIsCheckedWhileTyped(t *testing.T, chromium context.Context) {
	base, _ := servePainted(t, painted(blue, green))
	b := open(t, chromium, base, address, 1440)
	b.shows(blue, 2*stripe, 2*wide)
	b.fill("#data", `{"items":["one","two","three"]}`)
	b.says("#errors", "/data/order")
	b.says("#errors", "is required")
	if !b.Is(`document.querySelector('#data').ariaInvalid === 'true' && document.querySelector('.pane.stale')`) {
		t.Error("the old rendering looks as if it were that of the data")
	}
	b.fill("#data", `{"order":`)
	b.says("#errors", "/data")
	b.fill("#data", `{"order":"<img src=x onerror=top.pwned=1>","items":["one","two","three"]}`)
	b.says(".subject", "Your order <img src=x onerror=top.pwned=1> is on its way")
	b.Until(`document.querySelector('#errors').childElementCount === 0 && !document.querySelector('.pane.stale')`)
	b.shows(blue, 3*stripe, 3*wide)

	b.Click(`[data-template=price-drop]`)
	b.says("#name", "price-drop")
	b.Until(`!document.querySelector('#data').value.includes('three')`)
	b.Click(`[data-template=order-shipped]`)
	b.Until(`document.querySelector('#data').value.includes('three')`)
	b.reload()
	b.Until(`document.querySelector('#data').value.includes('three')`)
	b.Click("#reset")
	b.says(".subject", "Your order A-1")
	b.Until(`document.querySelector('#data').value.includes('cake') && document.querySelector('#reset').hidden`)
	if b.Is(`'pwned' in window`) {
		t.Error("data ran")
	}
}

func changesOnDiskAreFollowed(t *testing.T, chromium context.Context) {
	base, dir := servePainted(t, painted(blue, blue))
	b := open(t, chromium, base, "#order-shipped?data=json&locale=de", 1440)
	b.fill("#data", `{"order":"B-7","items":["one","two","three"]}`)
	b.shows(blue, 3*stripe, 3*wide)
	b.Is(`window.sameDocument = document.querySelector('#data').selectionStart = 5`)
	write(t, dir, "order-shipped/de/email.html", painted(green, green))
	b.shows(green, 3*stripe, 3*wide)

	// The page itself notes when it shows the change, so that nothing of this
	// test's own pace is in the figure.
	b.Is(`new MutationObserver(() => { if (document.querySelector('.subject').textContent === 'Neu: B-7') window.shown ??= Date.now() }).observe(document.querySelector('.subject'), {childList: true, characterData: true, subtree: true})`)
	start := time.Now()
	write(t, dir, "order-shipped/de/email.subject.txt", "Neu: {{.data.order}}")
	b.Until(`window.shown`)
	took := time.Duration(b.number(`window.shown`)-float64(start.UnixMilli())) * time.Millisecond
	t.Logf("in the page %v after the file was written", took)
	if took > 5*time.Second { // 300 ms on a machine of its own
		t.Errorf("the change took %v to be shown", took)
	}
	if !b.Is(`window.sameDocument === 5 && document.querySelector('#data').selectionStart === 5 && document.querySelector('#faults').hidden && document.querySelector('#locale').value === 'de' && document.activeElement.id === 'data'`) {
		t.Error("the page loaded again, or lost the caret, the keyboard's place or the locale")
	}
}

func faultsStandAtTheirLine(t *testing.T, chromium context.Context) {
	base, dir := serve(t)
	b := open(t, chromium, base, "#order-shipped", 1440)
	b.says(".subject", "Your order A-1")
	write(t, dir, "order-shipped/en/email.txt", "Hello\n\nüü {{.data.oder}}\n")
	b.says("#faults", "order-shipped/en/email.txt:3:")
	b.says(".subject", "Your order A-1") // the last good one
	b.Until(`document.querySelector('[data-template=order-shipped] .badge')`)
	b.Click("#faults .place")
	b.says("#source li.jump.faulty[data-line='3'] .mark", "did you mean order?")
	b.Until(`document.querySelector('#source .jump code').textContent === 'üü {{.data.oder}}'`)
	if !b.Is(`document.querySelector('#source .caret').textContent.length < 12 && location.hash.includes('file=order-shipped') && document.querySelector('#source select').value === 'order-shipped/en/email.txt'`) {
		t.Errorf("the caret, the address or the choice of the file is wrong: %q", b.text("#source .caret"))
	}
	write(t, dir, "order-shipped/en/email.txt", "Hello {{.data.order}}\n")
	b.Until(`document.querySelector('#faults').hidden && !document.querySelector('#source .faulty')`)
	b.Click("#tab-email")
	b.press("Text")
	b.says(".email pre.text", "Hello A-1")
}

func linksLeadToEverything(t *testing.T, chromium context.Context) {
	base, _ := serve(t)
	b := open(t, chromium, base, "#order-shipped?locale=de&beside=en&sample=bare&width=mobile&dark=1&data=json", 1440)
	b.says(".pane:nth-child(1) .subject", "Ihre Bestellung A-2")
	b.says(".pane:nth-child(2) .subject", "Your order A-2")
	b.Until(`document.querySelector('iframe.dark') && document.querySelector('iframe').style.width === '375px' && !document.querySelector('#data').hidden`)
	b.Click("#tab-push")
	b.Until(`document.querySelectorAll('.ios').length === 2`)
	b.pick("#locale", "en")
	b.Until(`location.hash.includes('channel=push') && !location.hash.includes('locale=')`)
	b.Is(`history.back()`)
	b.Until(`document.querySelector('#locale').value === 'de' && document.querySelector('#tab-push').ariaSelected === 'true'`)
	b.Is(`history.back()`)
	b.Until(`document.querySelector('#tab-email').ariaSelected === 'true' && document.querySelector('iframe.dark')`)
	b.Is(`history.forward()`)
	b.Until(`document.querySelector('#tab-push').ariaSelected === 'true'`)
	for _, odd := range []string{"#nothing?channel=fax&view=x&width=y&locale=zz", "#%", "#order-shipped?%%%"} {
		b.visit(odd)
		b.Until(`!document.querySelector('main').hidden && document.querySelector('#name').textContent !== ''`)
	}
}

func keyboardReachesEverything(t *testing.T, chromium context.Context) {
	base, _ := serve(t)
	b := open(t, chromium, base, "#account-event", 1440)
	b.says("#name", "account-event")
	for _, step := range []struct{ key, want string }{
		{"/", `document.activeElement.id === 'search'`},
		{"\x1b", `document.activeElement === document.body`},
		{"j", `document.querySelector('#name').textContent !== 'account-event'`},
		{"k", `document.querySelector('#name').textContent === 'account-event'`},
	} {
		b.key(step.key)
		b.Until(step.want)
	}
	b.visit("#order-shipped")
	for _, step := range []struct{ key, want string }{
		{"2", `document.querySelector('#tab-push').ariaSelected === 'true'`},
		{"e", `document.querySelector('.note.expanded')`},
		{"3", `document.querySelector('#tab-webhook').ariaSelected === 'true'`},
		{"4", `document.querySelector('#source li')`},
		{"1", `document.querySelector('#tab-email').ariaSelected === 'true'`},
		{"l", `document.querySelector('#locale').value === 'de'`},
		{"b", `document.querySelectorAll('.pane').length === 2`},
		{"d", `document.querySelector('iframe.dark')`},
		{"m", `document.querySelector('iframe').style.width === '375px'`},
		{"s", `document.querySelector('#sample').value === 'bare'`},
		{"?", `document.querySelector('dialog[open]')`},
		{"\x1b", `!document.querySelector('dialog')`},
	} {
		b.key(step.key)
		b.Until(step.want)
	}
	b.Until(reached(b)) // by Tab alone
	b.Is(`document.querySelector('[role=treeitem][tabindex="0"]').focus()`)
	b.key("Home")
	b.Until(`document.activeElement.matches('.category')`)
	b.key("ArrowLeft")
	b.Until(`document.activeElement.ariaExpanded === 'false'`)
	b.key("ArrowRight")
	b.key("ArrowRight")
	b.Until(`document.activeElement.matches('.template')`)
	b.Is(`document.querySelector('#tab-email').focus()`)
	b.key("ArrowRight")
	b.Until(`document.activeElement.id === 'tab-push' && document.activeElement.ariaSelected === 'true'`)
}

// reached presses Tab until the focus comes round, and gives a condition that
// everything which can be used has had it, visibly.
func reached(b *tab) string {
	b.t.Helper()
	b.Is(`(document.activeElement.blur(), window.had = new Set(), window.plain = [], addEventListener('focusin', (e) => { had.add(e.target); if (getComputedStyle(e.target).outlineStyle === 'none' && !e.target.matches('[role=treeitem], iframe')) plain.push(e.target.outerHTML) }))`)
	for range 60 {
		b.key("Tab")
	}
	return `[...document.querySelectorAll('main button, main select, main input, main textarea, header button, [role=tree] [tabindex="0"]')].filter((x) => x.checkVisibility() && x.tabIndex >= 0 && !had.has(x)).length === 0 && plain.length === 0`
}

func testsAreSent(t *testing.T, chromium context.Context) {
	box := &sent{}
	base, _ := servePage(t, func(p *Page) { p.Sending = box.sending() })
	b := open(t, chromium, base, "#order-shipped?locale=de", 1440)
	b.says(".subject", "Ihre Bestellung")
	b.Click("#send")
	b.says("dialog", "Send a test to the sandbox")
	b.Click("dialog [type=submit]")
	b.says("#sent", "Sent: the provider took it.")
	b.Until(`document.querySelector('#sent a').getAttribute('href') === '../inbox/'`)
	b.press("Close")
	b.Click("#tab-webhook")
	b.Click("#send")
	b.says("dialog .secret", "the example secret whsec_example")
	b.Until(`document.querySelector('dialog [type=submit]').disabled`) // a real address: it wants to be sure
	b.fill("#to", "https://hooks.example.com/x")
	b.Click("#sure")
	b.Click("dialog [type=submit]")
	b.says("#sent", "Sent")
	box.mu.Lock()
	defer box.mu.Unlock()
	if len(box.tests) != 2 || box.tests[0].Content.Email.Subject != "Ihre Bestellung A-1 ist unterwegs" || box.tests[1].To != "https://hooks.example.com/x" {
		t.Errorf("sent %+v", box.tests)
	}
}

// hostileMail tries every usual way to run or to phone home, but for
// <meta http-equiv="refresh">, with which no catalogue is loaded.
func hostileMail(trap string) string {
	return strings.ReplaceAll(painted(blue, blue)+`<script>top.pwned=1;parent.pwned=1;fetch('TRAP/script')</script>`+
		`<img src=x onerror="top.pwned=2"><img src="TRAP/image" srcset="TRAP/set 2x"><svg onload="top.pwned=3"></svg>`+
		`<iframe srcdoc="<script>top.pwned=5</script>"></iframe><iframe src="TRAP/frame"></iframe>`+
		`<link rel="stylesheet" href="TRAP/style"><style>@import 'TRAP/import';body{background:url(TRAP/background)}@font-face{font-family:f;src:url(TRAP/font)}b{font-family:f}</style><b>x</b>`+
		`<form action="TRAP/form"><button autofocus onfocus="top.pwned=6">x</button></form>`+
		`<base href="TRAP/">`+
		`<object data="TRAP/object"></object><video src="TRAP/video" autoplay></video><link rel="preconnect" href="TRAP"><link rel="prefetch" href="TRAP/prefetch">`+
		`<script src="`+"app.js"+`" type="module"></script>`, "TRAP", trap)
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
	b := open(t, chromium, base, address, 1440)
	quoted := strings.ReplaceAll(evil, `"`, `\"`)
	b.fill("#data", `{"order":"<script>top.pwned=9</script>","items":["`+quoted+`"],"note":"`+quoted+`"}`)
	b.shows(blue, stripe, wide)
	for _, view := range []string{"Text", "Headers", "Raw"} {
		b.press(view)
	}
	b.Click("#tab-push")
	b.says(".ios .heading", evil+evil)
	b.Click("#tab-webhook")
	b.says(".webhook .body", `onerror=`)
	b.fill("#data", `{"order":"A-1","`+quoted+`":1}`)
	b.says("#errors", "onerror=")
	b.press("Form")
	b.says(".form label", "order")
	b.Until(`document.querySelector('.form').textContent.includes('onerror=')`) // a name that the schema does not know
	b.press("JSON")
	b.fill("#data", `{"order":"A-1"}`)
	b.Click("#tab-source")
	b.Until(`document.querySelector('#source li')`)
	b.pick("#locale", "other…")
	b.fill("#wanted", evil) // as a locale, which the address repeats
	b.says("#errors", "is no language tag")
	b.reload()
	b.says("#errors", "is no language tag")
	if b.Is(`'pwned' in window`) || !b.Is(fmt.Sprintf(`location.href.startsWith(%q)`, base)) || asked.Load() != 0 {
		t.Errorf("code ran: %v, requests to strangers: %d", b.Is(`'pwned' in window`), asked.Load())
	}
}

func linksLeadNowhere(t *testing.T, chromium context.Context) {
	trapURL, asked := trap(t)
	link := `<a href="` + trapURL + `"{{if not .data.items}} target="_top"{{end}} style="position:fixed;inset:0"></a>`
	base, _ := servePainted(t, painted(blue, blue)+link)
	b := open(t, chromium, base, address, 1440)
	b.shows(blue, 2*stripe, 2*wide)
	b.clickMail()
	b.says("#announce", "The link leads to "+trapURL)
	b.pick("#sample", "bare") // whose link wants the whole window
	b.shows(blue, 0, 0)
	b.Is(`document.querySelector('#announce').textContent = ''`)
	b.clickMail()
	b.says("#announce", "The link leads to "+trapURL)
	b.Is(`document.querySelector('iframe').contentWindow.location = '` + trapURL + `'`) // as if the click had not been caught
	b.pick("#sample", "default")
	b.shows(blue, 2*stripe, 2*wide)
	if asked.Load() != 0 || !b.Is(fmt.Sprintf(`location.href.startsWith(%q)`, base)) {
		t.Errorf("a click on a link asked strangers %d times, or led the page away", asked.Load())
	}
}
