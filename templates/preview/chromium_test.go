package preview

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	devtools "github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// tab is the preview page in a real Chromium.
type tab struct {
	t    *testing.T
	ctx  context.Context
	base string // the page's URL, with its slash

	mu         sync.Mutex
	complaints []string // exceptions, console lines and dialogs
}

// launch starts the browser that the tests of the page share. It ends with the
// test.
func launch(t *testing.T) context.Context {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		if os.Getenv("CARILLON_SKIP_BROWSER") == "1" {
			t.Skip("no chromium on the path, and CARILLON_SKIP_BROWSER=1")
		}
		t.Fatal("this test needs chromium on the path: apt-get install chromium, or set CARILLON_SKIP_BROWSER=1 to do without")
	}
	deadline, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	allocator, stop := chromedp.NewExecAllocator(deadline, append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun,
		chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-sync", true), chromedp.UserDataDir(t.TempDir()))...)
	t.Cleanup(stop)
	ctx, quit := chromedp.NewContext(allocator)
	t.Cleanup(quit)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("starting chromium: %v", err)
	}
	t.Cleanup(func() {
		if err := chromedp.Cancel(ctx); err != nil {
			t.Errorf("closing chromium: %v", err)
		}
	})
	return ctx
}

// open shows the page at base, connected, with fragment saying what to look
// at.
func open(t *testing.T, chromium context.Context, base, fragment string, width int64) *tab {
	t.Helper()
	ctx, _ := chromedp.NewContext(chromium) // ended by tab.end
	b := &tab{t: t, ctx: ctx, base: base}
	t.Cleanup(b.end) // before the server goes, which would be a complaint
	if err := chromedp.Listen(ctx, b.listen); err != nil {
		t.Fatalf("opening a tab: %v", err)
	}
	b.do(chromedp.EmulateViewport(width, 900), chromedp.Navigate(base+fragment))
	b.connected()
	return b
}

func (b *tab) connected() {
	b.t.Helper()
	b.until(`document.querySelector('#live')?.dataset.state === 'live' && !document.querySelector('main').hidden`)
}

// press clicks the first button that is to be seen with these words.
func (b *tab) press(words string) {
	b.t.Helper()
	b.until(fmt.Sprintf(`(() => { const x = [...document.querySelectorAll('button')].find((x) => x.checkVisibility() && x.textContent === %q); x?.click(); return x })()`, words))
}

// visit goes to another address of the same page, as a pasted link does.
func (b *tab) visit(fragment string) {
	b.t.Helper()
	b.is(fmt.Sprintf(`location.hash = %q`, fragment))
}

// key presses a key where the keyboard's place is: a character, or Tab, Home,
// ArrowLeft and the like.
func (b *tab) key(name string) {
	b.t.Helper()
	named := map[string]string{"Tab": kb.Tab, "Home": kb.Home, "ArrowRight": kb.ArrowRight, "ArrowLeft": kb.ArrowLeft, "\x1b": kb.Escape}
	if code, ok := named[name]; ok {
		name = code
	}
	b.do(chromedp.KeyEvent(name))
}

// text is what an element says.
func (b *tab) text(css string) string {
	b.t.Helper()
	got, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](fmt.Sprintf(`document.querySelector(%q)?.textContent || ''`, css)))
	if err != nil {
		b.t.Fatalf("%s: %v", css, err)
	}
	return got
}

// number evaluates to a number.
func (b *tab) number(expression string) float64 {
	b.t.Helper()
	got, err := chromedp.Run(b.ctx, chromedp.Evaluate[float64](expression))
	if err != nil {
		b.t.Fatalf("%s: %v", expression, err)
	}
	return got
}

// reload asks for the page again, at its present address.
func (b *tab) reload() {
	b.t.Helper()
	b.is(`window.before = true`)
	b.do(chromedp.Reload())
	b.until(`!window.before`)
	b.connected()
}

// listen gathers what a page that is well never does.
func (b *tab) listen(event any) {
	complaint := ""
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		complaint = "exception: " + e.ExceptionDetails.Text
	case *runtime.EventConsoleAPICalled:
		complaint = fmt.Sprint("console: ", e.Type)
	case *devtools.EventJavascriptDialogOpening:
		complaint = "dialog: " + e.Message
	default:
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.complaints = append(b.complaints, complaint)
}

// end closes the tab, and fails the test for what the page complained of.
func (b *tab) end() {
	if err := chromedp.Cancel(b.ctx); err != nil {
		b.t.Errorf("closing the tab: %v", err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.complaints) > 0 {
		b.t.Errorf("the page complained: %q", b.complaints)
	}
}

// do runs steps, or ends the test.
func (b *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, steps...); err != nil {
		b.t.Fatal(err)
	}
}

// until waits for a condition on the page, 10 seconds at most.
func (b *tab) until(condition string) {
	b.t.Helper()
	_, err := chromedp.Run(b.ctx, chromedp.Poll[bool]("Boolean("+condition+")",
		chromedp.WithPollingTimeout(10*time.Second), chromedp.WithPollingInterval(20*time.Millisecond)))
	if err != nil {
		b.t.Fatalf("%s: %v", condition, err)
	}
}

// says waits until the first such element contains words.
func (b *tab) says(css, words string) {
	b.t.Helper()
	b.until(fmt.Sprintf(`document.querySelector(%q)?.textContent.includes(%q)`, css, words))
}

// is evaluates a condition on the page.
func (b *tab) is(condition string) bool {
	b.t.Helper()
	got, err := chromedp.Run(b.ctx, chromedp.Evaluate[bool]("Boolean("+condition+")"))
	if err != nil {
		b.t.Fatalf("%s: %v", condition, err)
	}
	return got
}

func (b *tab) click(css string) {
	b.t.Helper()
	b.do(chromedp.Click(chromedp.CSS(css)))
}

// pick chooses from a select, as a person's choice would.
func (b *tab) pick(css, value string) {
	b.t.Helper()
	b.is(fmt.Sprintf(`(() => { const s = document.querySelector(%q); s.value = %q; s.dispatchEvent(new Event('change', {bubbles: true})); return s.value })()`, css, value))
}

// fill puts words in place of what is in a field, as pasting them does.
func (b *tab) fill(css, words string) {
	b.t.Helper()
	b.is(fmt.Sprintf(`(() => { const f = document.querySelector(%q); f.focus(); f.select(); return document.execCommand('insertText', false, %q) })()`, css, words))
}

// frame is where the mail's frame is on the screen.
func (b *tab) frame() image.Rectangle {
	b.t.Helper()
	at, err := chromedp.Run(b.ctx, chromedp.Evaluate[[4]float64](
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
	_, err := chromedp.Run(b.ctx, chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
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
	ctx, cancel := context.WithTimeout(b.ctx, time.Second)
	defer cancel()
	_ = chromedp.Do(ctx, chromedp.MouseClickXY(float64(frame.Min.X+frame.Dx()/2), float64(frame.Min.Y+frame.Dy()/2)))
}

// shows waits until the frame has from least to most pixels of a colour, 10
// seconds at most.
func (b *tab) shows(want color.RGBA, least, most int) {
	b.t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for got := b.pixels(want); got < least || got > most; got = b.pixels(want) {
		if time.Now().After(deadline) {
			b.t.Fatalf("the frame has %d pixels of %v, want %d to %d", got, want, least, most)
		}
	}
}
