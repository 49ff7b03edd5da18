package preview

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/carillonhq/carillon/e2e/browser"
	"github.com/carillonhq/carillon/templates"
)

// shell pastes a command line.
func shell(t *testing.T, line string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "sh", "-c", line).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", line, err, out)
	}
	return string(out)
}

// prefer has the browser prefer a theme.
func (b *tab) prefer(theme string) {
	b.t.Helper()
	b.Do(browser.Scheme(theme))
}

// pale lists the texts that can be seen and stand out too little from what is
// behind them (WCAG 2.2, 1.4.3: 4.5 to 1, large text 3 to 1), each with its
// ratio. What is behind is the nearest colours that are painted, one over the
// other.
const pale = `(() => {
  const canvas = new OffscreenCanvas(1, 1).getContext('2d', {willReadFrequently: true});
  const known = new Map(); // reading a colour back is what takes long
  const rgba = (css) => { if (!known.has(css)) known.set(css, paint(css)); return known.get(css); };
  const paint = (css) => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = css; canvas.fillRect(0, 0, 1, 1); const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data; return [r, g, b, a / 255]; };
  const over = (top, under) => { const a = top[3]; return [0, 1, 2].map((i) => top[i] * a + under[i] * (1 - a)).concat(1); };
  const behind = (e) => { const layers = []; for (; e; e = e.parentElement) { const c = rgba(getComputedStyle(e).backgroundColor); layers.push(c); if (c[3] === 1) break; } return layers.reduceRight((under, top) => over(top, under), [255, 255, 255, 1]); };
  const light = (c) => { const [r, g, b] = c.slice(0, 3).map((v) => (v /= 255) <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4); return .2126 * r + .7152 * g + .0722 * b; };
  const ratio = (a, b) => { const [x, y] = [light(a), light(b)].sort((p, q) => q - p); return (x + .05) / (y + .05); };
  const found = [];
  const check = (element, css, words) => {
    const ground = behind(element), got = ratio(over(rgba(css.color), ground), ground);
    const large = parseFloat(css.fontSize) >= 24 || parseFloat(css.fontSize) >= 18.66 && css.fontWeight >= 700;
    if (got < (large ? 3 : 4.5)) found.push(got.toFixed(2) + ' ' + words.trim().slice(0, 40) + ' (' + element.className + ')');
  };
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  let texts = 0;
  while (walk.nextNode()) {
    const e = walk.currentNode.parentElement;
    if (!walk.currentNode.data.trim() || !e.checkVisibility() || e.closest('option, :disabled')) continue;
    texts++;
    check(e, getComputedStyle(e), walk.currentNode.data);
  }
  for (const e of document.querySelectorAll('input, select, textarea')) {
    if (!e.checkVisibility()) continue;
    check(e, getComputedStyle(e), 'value of ' + (e.id || e.dataset.pointer));
    if (e.placeholder) check(e, getComputedStyle(e, '::placeholder'), 'placeholder ' + e.placeholder);
  }
  return texts > 30 ? found.join('\n') : 'only ' + texts + ' texts are to be seen';
})()`

// widest names what is wider than the screen.
const widest = `document.documentElement.scrollWidth <= innerWidth ? '' : innerWidth + ' < ' + document.documentElement.scrollWidth + ': ' +
  [...document.querySelectorAll('body *')].filter((e) => e.getBoundingClientRect().right > innerWidth + 1).map((e) => e.tagName + '.' + e.className).slice(0, 5)`

func (b *tab) evaluate(script string) string {
	b.t.Helper()
	return browser.Ask[string](b.Tab, script)
}

// fitsEveryScreen looks at every view in both themes on a phone and a desktop.
func fitsEveryScreen(t *testing.T, chromium context.Context) {
	base, dir := serve(t)
	write(t, dir, "order-shipped/en/push.options.json", `{"apns":{"badge":3,"thread_id":"orders","interruption_level":"time-sensitive"},"fcm":{"image":"https://img.example/`+strings.Repeat("x", 80)+`.png"}}`)
	b := open(t, chromium, base, "#order-shipped", 360)
	b.says(".subject", "Your order")
	// A theme changes no width, and a width no colour: two looks show all four.
	looks := []struct {
		theme string
		width int64
	}{{"light", 360}, {"dark", 1440}}
	visit := func(name, address, ready string) {
		b.visit(address)
		b.Until(ready)
		for _, look := range looks {
			b.prefer(look.theme)
			b.Do(chromedp.EmulateViewport(look.width, 900))
			if wide := b.evaluate(widest); wide != "" {
				t.Errorf("%s, %s, %d: wider than the screen: %s", name, look.theme, look.width, wide)
			}
			if found := b.evaluate(pale); found != "" {
				t.Errorf("%s, %s, %d: hard to read:\n%s", name, look.theme, look.width, found)
			}
		}
	}
	visit("email", "#order-shipped?beside=de", `document.querySelectorAll('.pane').length === 2 && document.querySelector('.framebox').offsetHeight > 100`)
	visit("headers", "#order-shipped?view=headers&data=json", `document.querySelector('.email .headers tr')`)
	visit("source of the mail", "#order-shipped?view=raw&locale=de-AT", `document.querySelector('.raw').textContent !== '' && document.querySelector('.fallback')`)
	visit("push", "#order-shipped?channel=push&push=expanded", `document.querySelector('.android .picture')`)
	visit("webhook", "#order-shipped?channel=webhook", `document.querySelector('.curl').textContent !== ''`)
	b.visit("#order-shipped?data=json")
	b.Until(`document.querySelector('#data').checkVisibility()`)
	b.fill("#data", `{"`+strings.Repeat("x", 200)+`":1}`)
	visit("errors", "#order-shipped?data=json&locale="+strings.Repeat("x", 60), `document.querySelector('#errors li')`)
	b.Click("#reset")
	write(t, dir, "order-shipped/en/email.txt", strings.Repeat("a long line ", 40)+"{{.data.oder}}\n")
	b.says("#faults", "email.txt")
	visit("faults", "#order-shipped?channel=source&file=order-shipped/en/email.txt", `document.querySelector('#source .faulty')`)
	// Where a click lands while the page is drawn anew is nobody's concern here.
	asked := func(button string) {
		b.Until(fmt.Sprintf(`document.querySelector(%q).click() || document.querySelector('dialog[open]')`, button))
	}
	asked("#help")
	visit("help", "#order-shipped", `document.querySelector('dialog[open]')`)
	b.press("Close")
	asked("#send")
	visit("sending", "#order-shipped?view=text", `document.querySelector('dialog[open]')`)
}

func madeUpLocalesAreShown(t *testing.T, chromium context.Context) {
	base, _ := serve(t)
	b := open(t, chromium, base, "#order-shipped", 1440)
	b.pick("#locale", "en-XA")
	b.says(".subject", "Ýöûŕ öŕðéŕ")
	b.Until(`document.querySelector('.pane .tag').textContent === 'en-XA' && document.querySelector('#other').hidden`)
	b.pick("#beside", "ar-XB")
	b.Until(`document.querySelectorAll('.pane').length === 2 && document.querySelector('.pane:nth-child(2) .subject').textContent.includes('\u202e')`)
	b.pick("#locale", "de")
	b.says(".subject", "Ihre Bestellung")
}

func listOpensOnAPhone(t *testing.T, chromium context.Context) {
	base, _ := serve(t)
	b := open(t, chromium, base, "#order-shipped", 360)
	b.says(".subject", "Your order")
	top := func() float64 { return b.number(`document.querySelector('#name').getBoundingClientRect().top`) }
	if got := top(); got > 250 {
		t.Errorf("what is looked at begins %v pixels down", got)
	}
	b.Until(`!document.querySelector('#tree').checkVisibility()`)
	b.Click("#list")
	b.Until(`document.querySelector('#tree').checkVisibility() && document.querySelector('#list').ariaExpanded === 'true'`)
	b.Click("[data-template=price-drop]")
	b.says("#name", "price-drop")
	b.Until(`!document.querySelector('#tree').checkVisibility()`)
	b.key("/")
	b.Until(`document.activeElement.id === 'search'`)
	b.Do(chromedp.EmulateViewport(1440, 900))
	b.Until(`document.querySelector('#tree').checkVisibility() && !document.querySelector('#list').checkVisibility()`)
}

func exportIsSearched(t *testing.T, chromium context.Context) {
	trapURL, asked := trap(t)
	catalogue := copyCatalogue(t)
	settings := "schema: {type: object, required: [order], properties: {order: {type: string}, items: {type: array, items: {type: string}}}}\nsamples: {'a / b': {order: A-1, items: [x]}}\n"
	write(t, catalogue, "order-shipped/template.yaml", settings)
	for _, locale := range []string{"en", "de"} {
		write(t, catalogue, "order-shipped/"+locale+"/email.html", hostileMail(trapURL))
		write(t, catalogue, "order-shipped/"+locale+"/email.txt", "<script>top.pwned=1</script>")
		write(t, catalogue, "order-shipped/"+locale+"/email.subject.txt", locale+` "><script>top.pwned=2</script> </iframe>`)
		_ = os.Remove(filepath.Join(catalogue, "order-shipped", locale, "push.body.txt"))
		write(t, catalogue, "order-shipped/"+locale+"/push.title.txt", "x")
	}
	c, err := templates.LoadDir(catalogue)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	exported(t, dir, c, Selection{})
	b := disk(t, chromium, dir, "index.html#shipped%20de", 1200)
	b.Until(`document.querySelectorAll('.card:not([hidden])').length === 1 && document.querySelector('#found').textContent === '1 found'`)
	b.shows(blue, 1, 1<<20) // the mail is in the thumbnail, and small
	b.fill("#search", "nothing that there is")
	b.Until(`!document.querySelector('#nothing').hidden`)
	b.fill("#search", "DROP push")
	b.Until(`[...document.querySelectorAll('section:not([hidden]) h2')].every((x) => x.textContent.startsWith('price-drop'))`)
	b.Is(`(document.querySelector('#search').value = '', document.querySelector('#search').dispatchEvent(new Event('input')))`)
	b.Until(`document.querySelectorAll('.card[hidden]').length === 0 && !document.querySelector('#all').hidden`)
	for _, look := range []struct {
		theme string
		width int64
	}{{"light", 360}, {"dark", 1440}} {
		b.prefer(look.theme)
		b.Do(chromedp.EmulateViewport(look.width, 900))
		if wide := b.evaluate(widest); wide != "" {
			t.Errorf("%s, %d: wider than the screen: %s", look.theme, look.width, wide)
		}
		if found := b.evaluate(strings.Replace(pale, "texts > 30", "texts > 10", 1)); found != "" {
			t.Errorf("%s, %d: hard to read:\n%s", look.theme, look.width, found)
		}
	}
	b.Do(chromedp.Navigate(b.evaluate(`document.querySelector('.card a[href*="order-shipped/de"]').href`)))
	b.Until(`document.querySelector('h1')?.textContent.includes('order-shipped') && document.querySelector('iframe')`)
	b.shows(blue, 40*1300, 40*1392)
	if b.Is(`'pwned' in window`) || asked.Load() != 0 {
		t.Errorf("code ran: %v, requests to strangers: %d", b.Is(`'pwned' in window`), asked.Load())
	}
}

// disk opens a page of a folder, as a person who was sent it does.
func disk(t *testing.T, chromium context.Context, dir, page string, width int64) *tab {
	t.Helper()
	base := "file://" + dir + "/"
	return &tab{browser.Open(t, chromium, base+page, width, 900), t, base}
}
