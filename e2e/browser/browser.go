// Package browser shows pages in a real Chromium, for the tests of the rooms
// that have pages.
package browser

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

const (
	// life bounds what all the tests of one browser take.
	life = 2 * time.Minute
	// patience is how long a page may take to become what a test waits for.
	patience, lookEvery = 10 * time.Second, 20 * time.Millisecond
)

// Launch starts a Chromium, which ends with the test. Without one on the path
// the test fails, or is skipped with CARILLON_SKIP_BROWSER=1.
func Launch(t *testing.T) context.Context {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		if os.Getenv("CARILLON_SKIP_BROWSER") == "1" {
			t.Skip("no chromium on the path, and CARILLON_SKIP_BROWSER=1")
		}
		t.Fatal("this test needs chromium on the path: apt-get install chromium, or set CARILLON_SKIP_BROWSER=1 to do without")
	}
	deadline, cancel := context.WithTimeout(context.Background(), life)
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

// Scheme makes pages believe that the reader prefers "light" or "dark".
func Scheme(name string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}}})
		return err
	})
}

// Tab is one page. What it complains of fails the test: an exception, a line on
// the console, a dialog.
type Tab struct {
	Context context.Context // of chromedp's actions
	t       *testing.T

	mu         sync.Mutex
	complaints []string
}

// Open shows a page in a tab of its own, on a screen of so many pixels. It is
// closed with the test, before what was begun earlier.
func Open(t *testing.T, chromium context.Context, url string, width, height int64) *Tab {
	t.Helper()
	ctx, _ := chromedp.NewContext(chromium) // ended by close
	b := &Tab{t: t, Context: ctx}
	t.Cleanup(b.close)
	if err := chromedp.Listen(ctx, b.listen); err != nil {
		t.Fatalf("opening a tab: %v", err)
	}
	b.Do(chromedp.EmulateViewport(width, height), chromedp.Navigate(url))
	return b
}

// listen gathers what a page that is well never does.
func (b *Tab) listen(event any) {
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

func (b *Tab) close() {
	if err := chromedp.Cancel(b.Context); err != nil {
		b.t.Errorf("closing the tab: %v", err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.complaints) > 0 {
		b.t.Errorf("the page complained: %q", b.complaints)
	}
}

// Do runs steps, or ends the test.
func (b *Tab) Do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b.Context, steps...); err != nil {
		b.t.Fatal(err)
	}
}

// Until waits for a condition on the page, 10 seconds at most.
func (b *Tab) Until(condition string) {
	b.t.Helper()
	_, err := chromedp.Run(b.Context, chromedp.Poll[bool]("Boolean("+condition+")",
		chromedp.WithPollingTimeout(patience), chromedp.WithPollingInterval(lookEvery)))
	if err != nil {
		b.t.Fatalf("%s: %v", condition, err)
	}
}

// Is evaluates a condition on the page.
func (b *Tab) Is(condition string) bool {
	b.t.Helper()
	return Ask[bool](b, "Boolean("+condition+")")
}

// Click clicks the first such element, once it stands still: a click is at a
// place, where something else may lie by the time that it comes.
func (b *Tab) Click(css string) {
	b.t.Helper()
	b.Until(fmt.Sprintf(`(() => {
		const e = document.querySelector(%q);
		if (!e?.checkVisibility()) return false;
		const r = e.getBoundingClientRect(), at = [r.x, r.y, r.width, r.height].join(), was = e.stoodAt;
		e.stoodAt = at;
		return was === at;
	})()`, css))
	b.Do(chromedp.Click(chromedp.CSS(css)))
}

// Ask evaluates an expression on the page.
func Ask[T any](b *Tab, expression string) T {
	b.t.Helper()
	got, err := chromedp.Run(b.Context, chromedp.Evaluate[T](expression))
	if err != nil {
		b.t.Fatalf("%s: %v", expression, err)
	}
	return got
}
