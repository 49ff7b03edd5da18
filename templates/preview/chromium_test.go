package preview

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"testing"
	"time"

	devtools "github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/carillonhq/carillon/e2e/browser"
)

// tab is the preview page in a real Chromium.
type tab struct {
	*browser.Tab
	t    *testing.T
	base string // the page's URL, with its slash
}

// open shows the page at base, connected, with fragment saying what to look
// at.
func open(t *testing.T, chromium context.Context, base, fragment string, width int64) *tab {
	t.Helper()
	b := &tab{browser.Open(t, chromium, base+fragment, width, 900), t, base}
	b.connected()
	return b
}

func (b *tab) connected() {
	b.t.Helper()
	b.Until(`document.querySelector('#live')?.dataset.state === 'live' && !document.querySelector('main').hidden`)
}

// press clicks the first button that is to be seen with these words.
func (b *tab) press(words string) {
	b.t.Helper()
	b.Until(fmt.Sprintf(`(() => { const x = [...document.querySelectorAll('button')].find((x) => x.checkVisibility() && x.textContent === %q); x?.click(); return x })()`, words))
}

// visit goes to another address of the same page, as a pasted link does.
func (b *tab) visit(fragment string) {
	b.t.Helper()
	b.Is(fmt.Sprintf(`location.hash = %q`, fragment))
}

// key presses a key where the keyboard's place is: a character, or Tab, Home,
// ArrowLeft and the like.
func (b *tab) key(name string) {
	b.t.Helper()
	named := map[string]string{"Tab": kb.Tab, "Home": kb.Home, "ArrowRight": kb.ArrowRight, "ArrowLeft": kb.ArrowLeft, "\x1b": kb.Escape}
	if code, ok := named[name]; ok {
		name = code
	}
	b.Do(chromedp.KeyEvent(name))
}

// text is what an element says.
func (b *tab) text(css string) string {
	b.t.Helper()
	return browser.Ask[string](b.Tab, fmt.Sprintf(`document.querySelector(%q)?.textContent || ''`, css))
}

// number evaluates to a number.
func (b *tab) number(expression string) float64 {
	b.t.Helper()
	return browser.Ask[float64](b.Tab, expression)
}

// reload asks for the page again, at its present address.
func (b *tab) reload() {
	b.t.Helper()
	b.Is(`window.before = true`)
	b.Do(chromedp.Reload())
	b.Until(`!window.before`)
	b.connected()
}

// says waits until the first such element contains words.
func (b *tab) says(css, words string) {
	b.t.Helper()
	b.Until(fmt.Sprintf(`document.querySelector(%q)?.textContent.includes(%q)`, css, words))
}

// pick chooses from a select, as a person's choice would.
func (b *tab) pick(css, value string) {
	b.t.Helper()
	b.Is(fmt.Sprintf(`(() => { const s = document.querySelector(%q); s.value = %q; s.dispatchEvent(new Event('change', {bubbles: true})); return s.value })()`, css, value))
}

// fill puts words in place of what is in a field, as pasting them does.
func (b *tab) fill(css, words string) {
	b.t.Helper()
	b.Is(fmt.Sprintf(`(() => { const f = document.querySelector(%q); f.focus(); f.select(); return document.execCommand('insertText', false, %q) })()`, css, words))
}

// frame is where the mail's frame is on the screen.
func (b *tab) frame() image.Rectangle {
	b.t.Helper()
	at, err := chromedp.Run(b.Context, chromedp.Evaluate[[4]float64](
		`(() => { const f = document.querySelector('iframe.mail, .card:not([hidden]) iframe, section > iframe'); f.scrollIntoView({block: 'nearest'}); const r = f.getBoundingClientRect(); return [r.left, r.top, Math.min(r.right, innerWidth), Math.min(r.bottom, innerHeight)] })()`))
	if err != nil {
		b.t.Fatalf("looking for the frame: %v", err)
	}
	return image.Rect(int(at[0]), int(at[1]), int(at[2]), int(at[3]))
}

// pixels is how many pixels of the mail's frame have a colour, as the screen
// shows them: the one thing about the frame that no page can only pretend.
func (b *tab) pixels(want color.RGBA) (n int) {
	b.t.Helper()
	picture := b.picture(b.frame())
	for i := 0; i+4 <= len(picture.Pix); i += 4 {
		if p := picture.Pix[i : i+4 : i+4]; p[0] == want.R && p[1] == want.G && p[2] == want.B {
			n++
		}
	}
	return n
}

// picture is a part of what the screen shows. No more of it is taken, and it
// is read as it comes: pixels one by one are what these tests take longest for.
func (b *tab) picture(of image.Rectangle) *image.RGBA {
	b.t.Helper()
	fast := true
	clip := &devtools.Viewport{X: float64(of.Min.X), Y: float64(of.Min.Y), Width: float64(of.Dx()), Height: float64(of.Dy()), Scale: 1}
	var shot []byte
	_, err := chromedp.Run(b.Context, chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		got, err := chromedp.Call(ctx, devtools.CaptureScreenshot, devtools.CaptureScreenshotParams{Clip: clip, OptimizeForSpeed: &fast})
		shot = got.Data
		return err
	}))
	if err != nil {
		b.t.Fatalf("taking a picture: %v", err)
	}
	decoded, err := png.Decode(bytes.NewReader(shot))
	if err != nil {
		b.t.Fatalf("reading the picture: %v", err)
	}
	opaque, ok := decoded.(*image.RGBA)
	if !ok {
		b.t.Fatalf("the picture is a %T, and not opaque", decoded)
	}
	return opaque
}

// clickMail clicks the middle of the mail. A frame that is replaced by what
// the click did may leave it unanswered, so no answer is waited for long.
func (b *tab) clickMail() {
	b.t.Helper()
	frame := b.frame()
	ctx, cancel := context.WithTimeout(b.Context, time.Second)
	defer cancel()
	_ = chromedp.Do(ctx, chromedp.MouseClickXY(float64(frame.Min.X+frame.Dx()/2), float64(frame.Min.Y+frame.Dy()/2)))
}

// shows waits until the frame has from least to most pixels of a colour, a
// minute at most.
func (b *tab) shows(want color.RGBA, least, most int) {
	b.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for got := b.pixels(want); got < least || got > most; got = b.pixels(want) {
		if time.Now().After(deadline) {
			b.t.Fatalf("the frame has %d pixels of %v, want %d to %d", got, want, least, most)
		}
	}
}
