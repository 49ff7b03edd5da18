package sandbox_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/carillonhq/carillon/channels/sandbox"
	"github.com/carillonhq/carillon/e2e/browser"
)

// tab is the inbox page in a real Chromium.
type tab struct {
	*browser.Tab
	base string // the page's URL
}

// open shows the inbox of box, connected, on a screen of the given width.
func open(t *testing.T, chromium context.Context, box *sandbox.Sandbox, width int64) *tab {
	t.Helper()
	base := mount(t, box)
	b := &tab{browser.Open(t, chromium, base, width, 800), base}
	b.Until(`document.querySelector('#live').dataset.state === 'live'`)
	return b
}

// fill types words, and control characters such as kb.Enter, into an empty
// field.
func (b *tab) fill(css, words string) {
	b.Is(fmt.Sprintf(`document.querySelector(%q).value = ''`, css))
	b.Do(chromedp.SendKeys(chromedp.CSS(css), words))
}

// text is what the first such element says.
func (b *tab) text(css string) string {
	return browser.Ask[string](b.Tab, fmt.Sprintf(`document.querySelector(%q).textContent`, css))
}
