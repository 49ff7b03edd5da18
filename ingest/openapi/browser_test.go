package openapi_test

import (
	"fmt"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/carillonhq/carillon/e2e/browser"
	"github.com/carillonhq/carillon/ingest/openapi"
)

// faint are the texts whose contrast is below WCAG 2.2 AA (1.4.3), 4.5 to 1.
const faint = `(() => {
	const parse = c => { const m = c.match(/[\d.]+/g).map(Number); return m.length < 4 ? [...m, 1] : m };
	const lum = c => { const [r, g, b] = c.map(v => (v /= 255) <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4); return .2126*r + .7152*g + .0722*b };
	const behind = e => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor); if (c[3] === 1) return c.slice(0, 3) } return null };
	document.querySelectorAll('details').forEach(d => d.open = true);
	const bad = new Set(); let seen = 0;
	const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
	while (walk.nextNode()) {
		const e = walk.currentNode.parentElement;
		if (!walk.currentNode.data.trim() || !e.getClientRects().length) continue;
		seen++;
		const ground = behind(e); if (!ground) { bad.add('no ground: ' + e.tagName); continue }
		const a = lum(parse(getComputedStyle(e).color).slice(0, 3)), b = lum(ground);
		const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
		if (ratio < 4.5) bad.add(e.tagName + '.' + e.className + ' ' + ratio.toFixed(2));
	}
	if (seen < 500) bad.add('only ' + seen + ' texts');
	return [...bad].join('; ');
})()`

// wide are the elements that stick out of the screen, but for what scrolls.
const wide = `(() => {
	document.querySelectorAll('details').forEach(d => d.open = true);
	const out = [...document.querySelectorAll('body *')].filter(e => !e.closest('pre') && e.getBoundingClientRect().right > innerWidth + 1);
	return document.scrollingElement.scrollWidth > innerWidth || out.length ? 'scrolls to ' + document.scrollingElement.scrollWidth + ': ' + out.slice(0, 5).map(e => e.tagName + ' ' + e.textContent.slice(0, 40)).join('; ') : '';
})()`

func TestThePageInARealBrowser(t *testing.T) {
	server := httptest.NewServer(openapi.NewSite())
	t.Cleanup(server.Close)
	page := browser.Open(t, browser.Launch(t), server.URL+openapi.PathDocs, 1440, 800)
	for _, width := range []int64{360, 1440} {
		for _, colours := range []string{"light", "dark"} {
			t.Run(fmt.Sprintf("%d pixels, %s", width, colours), func(t *testing.T) {
				page.Do(browser.Scheme(colours), chromedp.EmulateViewport(width, 800), chromedp.Navigate(server.URL+openapi.PathDocs))
				if got := browser.Ask[string](page, faint); got != "" {
					t.Errorf("too faint to read: %s", got)
				}
				if got := browser.Ask[string](page, wide); got != "" {
					t.Errorf("too wide: %s", got)
				}
				if dark := strings.HasPrefix(browser.Ask[string](page, `getComputedStyle(document.body).backgroundColor`), "rgb(20,"); dark != (colours == "dark") {
					t.Errorf("dark: %v", dark)
				}
			})
		}
	}
	t.Run("the keyboard is enough", func(t *testing.T) {
		page.Do(chromedp.EmulateViewport(360, 800), chromedp.Navigate(server.URL+openapi.PathDocs), chromedp.KeyEvent(kb.Tab))
		if got := browser.Ask[string](page, `document.activeElement.className`); got != "skip" {
			t.Errorf("the first Tab leads to %q", got)
		}
		page.Do(chromedp.KeyEvent(kb.Enter))
		if got := browser.Ask[string](page, `document.activeElement.id`); got != "content" {
			t.Errorf("the skip link leads to %q", got)
		}
		browser.Ask[bool](page, `(document.querySelector('#op-createNotification details summary').focus(), true)`)
		page.Do(chromedp.KeyEvent(kb.Enter))
		if !browser.Ask[bool](page, `document.querySelector('#op-createNotification details').open`) {
			t.Error("an answer does not open at Enter")
		}
		if !browser.Ask[bool](page, `[...document.querySelectorAll('pre')].every(e => e.tabIndex === 0 && e.getAttribute('aria-label'))`) {
			t.Error("an example cannot be scrolled by keys")
		}
	})
	t.Run("it asked for nothing but itself", func(t *testing.T) {
		if got := browser.Ask[string](page, `performance.getEntriesByType('resource').map(e => e.name).filter(n => !n.endsWith('/favicon.ico')).join()`); got != "" {
			t.Errorf("it asked for %s", got)
		}
	})
	if dir := os.Getenv("CARILLON_SCREENSHOTS"); dir != "" {
		for _, width := range []int64{360, 1440} {
			page.Do(browser.Scheme("light"), chromedp.EmulateViewport(width, 900), chromedp.Navigate(server.URL+openapi.PathDocs+"#op-createNotification"))
			shot, err := chromedp.Run(page.Context, chromedp.CaptureScreenshot())
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(fmt.Sprintf("%s/docs-%d.png", dir, width), shot, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}
