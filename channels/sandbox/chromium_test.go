package sandbox_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/carillonhq/carillon/channels/sandbox"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// tab is the inbox page in a real Chromium.
type tab struct {
	t    *testing.T
	ctx  context.Context
	base string // the page's URL

	mu         sync.Mutex
	complaints []string // exceptions, console lines and dialogs
}

// launch starts the browser that the tests of one page share. It ends with the
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

// open shows the inbox of box, connected, on a screen of the given width.
func open(t *testing.T, chromium context.Context, box *sandbox.Sandbox, width int64) *tab {
	t.Helper()
	ctx, _ := chromedp.NewContext(chromium) // ended by tab.end
	b := &tab{t: t, ctx: ctx, base: mount(t, box)}
	t.Cleanup(b.end) // before the server goes, which would be a complaint
	if err := chromedp.Listen(ctx, b.listen); err != nil {
		t.Fatalf("opening a tab: %v", err)
	}
	b.do(chromedp.EmulateViewport(width, 800), chromedp.Navigate(b.base))
	b.until(`document.querySelector('#live').dataset.state === 'live'`)
	return b
}

// listen gathers what a page that is well never does.
func (b *tab) listen(event any) {
	complaint := ""
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		complaint = "exception: " + e.ExceptionDetails.Text
	case *runtime.EventConsoleAPICalled:
		complaint = fmt.Sprint("console: ", e.Type)
	case *page.EventJavascriptDialogOpening:
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

// fill types words, and control characters such as kb.Enter, into an empty
// field.
func (b *tab) fill(css, words string) {
	b.t.Helper()
	b.is(fmt.Sprintf(`document.querySelector(%q).value = ''`, css))
	b.do(chromedp.SendKeys(chromedp.CSS(css), words))
}

// text is what the first such element says.
func (b *tab) text(css string) string {
	b.t.Helper()
	got, err := chromedp.Run(b.ctx, chromedp.TextContent(chromedp.CSS(css)))
	if err != nil {
		b.t.Fatalf("%s: %v", css, err)
	}
	return got
}
