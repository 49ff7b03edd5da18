package preview

import (
	"context"
	"os/exec"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
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
	_, err := chromedp.Run(b.ctx, chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: theme}}})
		return err
	}))
	if err != nil {
		b.t.Fatalf("preferring %s: %v", theme, err)
	}
}

// pale lists the texts that can be seen and stand out too little from what is
// behind them (WCAG 2.2, 1.4.3: 4.5 to 1, large text 3 to 1), each with its
// ratio. What is behind is the nearest colours that are painted, one over the
// other.
const pale = `(() => {
  const canvas = new OffscreenCanvas(1, 1).getContext('2d', {willReadFrequently: true});
  const rgba = (css) => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = css; canvas.fillRect(0, 0, 1, 1); const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data; return [r, g, b, a / 255]; };
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
	got, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](script))
	if err != nil {
		b.t.Fatal(err)
	}
	return got
}

// fitsEveryScreen looks at every view in both themes on a phone and a desktop.
func fitsEveryScreen(t *testing.T, chromium context.Context) {
	base, dir := serve(t)
	write(t, dir, "order-shipped/en/push.options.json", `{"apns":{"badge":3,"thread_id":"orders","interruption_level":"time-sensitive"},"fcm":{"image":"https://img.example/`+strings.Repeat("x", 80)+`.png"}}`)
	b := open(t, chromium, base, "#order-shipped", 360)
	b.says(".subject", "Your order")
	visit := func(name, address, ready string) {
		b.visit(address)
		b.until(ready)
		for _, theme := range []string{"light", "dark"} {
			b.prefer(theme)
			for _, width := range []int64{360, 1440} {
				b.do(chromedp.EmulateViewport(width, 900))
				if wide := b.evaluate(widest); wide != "" {
					t.Errorf("%s, %s, %d: wider than the screen: %s", name, theme, width, wide)
				}
				if found := b.evaluate(pale); found != "" {
					t.Errorf("%s, %s, %d: hard to read:\n%s", name, theme, width, found)
				}
			}
		}
	}
	visit("email", "#order-shipped?beside=de", `document.querySelectorAll('.pane').length === 2 && document.querySelector('.framebox').offsetHeight > 100`)
	visit("headers", "#order-shipped?view=headers&data=json", `document.querySelector('.email .headers tr')`)
	visit("source of the mail", "#order-shipped?view=raw&locale=de-AT", `document.querySelector('.raw').textContent !== '' && document.querySelector('.fallback')`)
	visit("push", "#order-shipped?channel=push&push=expanded", `document.querySelector('.android .picture')`)
	visit("webhook", "#order-shipped?channel=webhook", `document.querySelector('.curl').textContent !== ''`)
	b.visit("#order-shipped?data=json")
	b.until(`document.querySelector('#data').checkVisibility()`)
	b.fill("#data", `{"`+strings.Repeat("x", 200)+`":1}`)
	visit("errors", "#order-shipped?data=json&locale="+strings.Repeat("x", 60), `document.querySelector('#errors li')`)
	b.click("#reset")
	write(t, dir, "order-shipped/en/email.txt", strings.Repeat("a long line ", 40)+"{{.data.oder}}\n")
	b.says("#faults", "email.txt")
	visit("faults", "#order-shipped?channel=source&file=order-shipped/en/email.txt", `document.querySelector('#source .faulty')`)
	b.click("#help")
	visit("help", "#order-shipped", `document.querySelector('dialog[open]')`)
	b.press("Close")
	b.click("#send")
	visit("sending", "#order-shipped?view=text", `document.querySelector('dialog[open]')`)
}
