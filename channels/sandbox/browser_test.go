package sandbox_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/carillonhq/carillon/channels/sandbox"
	"github.com/carillonhq/carillon/notice"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// browser starts a real Chromium for the length of a test, closed by the
// test's deadline at the latest.
func browser(t *testing.T) context.Context {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		if os.Getenv("CARILLON_SKIP_BROWSER") == "1" {
			t.Skip("no chromium on the path, and CARILLON_SKIP_BROWSER=1")
		}
		t.Fatal("this test needs chromium on the path: apt-get install chromium, or set CARILLON_SKIP_BROWSER=1 to do without")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun,
		chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-sync", true), chromedp.UserDataDir(t.TempDir()))
	deadline, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	allocator, stop := chromedp.NewExecAllocator(deadline, options...)
	t.Cleanup(stop)
	ctx, quit := chromedp.NewContext(allocator)
	t.Cleanup(quit)
	t.Cleanup(func() { _ = chromedp.Cancel(ctx) }) // waits until the browser has ended
	return ctx
}

// steps runs actions in the browser, or ends the test.
func steps(t *testing.T, ctx context.Context, actions ...chromedp.Action) {
	t.Helper()
	if err := chromedp.Run(ctx, actions...); err != nil {
		t.Fatal(err)
	}
}

// until waits for a condition on the page.
func until(condition string) chromedp.Action {
	return chromedp.Poll(condition, nil, chromedp.WithPollingTimeout(10*time.Second), chromedp.WithPollingInterval(20*time.Millisecond))
}

// text reads what an element says.
func text(t *testing.T, ctx context.Context, selector string) string {
	t.Helper()
	var got string
	steps(t, ctx, chromedp.Text(selector, &got, chromedp.ByQuery))
	return got
}

// watch gathers whatever the page complains of.
func watch(ctx context.Context, complaint func(string)) {
	chromedp.ListenTarget(ctx, func(event any) {
		switch e := event.(type) {
		case *runtime.EventExceptionThrown:
			complaint("exception: " + e.ExceptionDetails.Error())
		case *runtime.EventConsoleAPICalled:
			complaint("console: " + string(e.Type))
		case *page.EventJavascriptDialogOpening:
			complaint("dialog: " + e.Message)
		}
	})
}

// trap is a server that nothing on the page may ever ask.
func trap(t *testing.T) (url string, asked *atomic.Int32) {
	asked = new(atomic.Int32)
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	t.Cleanup(server.Close)
	return server.URL, asked
}

// hostile is markup that tries every usual way to run or to phone home.
func hostile(trap string) string {
	return strings.ReplaceAll(`<script>top.pwned=1;parent.pwned=1;fetch('TRAP/script')</script>`+
		`<img src=x onerror="top.pwned=2"><img src="TRAP/image"><svg onload="top.pwned=3"></svg>`+
		`<a id="a" href="javascript:top.pwned=4" style="position:fixed;inset:0">click</a>`+
		`<iframe srcdoc="<script>top.pwned=5</script>"></iframe><iframe src="TRAP/frame"></iframe>`+
		`<link rel="stylesheet" href="TRAP/style"><style>@import 'TRAP/import';body{background:url(TRAP/background)}</style>`+
		`<form action="TRAP/form"><button autofocus onfocus="top.pwned=6">x</button></form>`+
		`<meta http-equiv="refresh" content="0;url=TRAP/refresh"><base href="TRAP/">`+
		`<object data="TRAP/object"></object><video src="TRAP/video" autoplay></video>`, "TRAP", trap)
}

func TestHostileContentNeverRuns(t *testing.T) {
	box := start(t, sandbox.Options{})
	base, ctx := mount(t, box), browser(t)
	trapURL, asked := trap(t)
	watch(ctx, func(complaint string) { t.Error("the page says ", complaint) })
	steps(t, ctx, chromedp.Navigate(base), until(`document.querySelector('#live').dataset.state === 'live'`))

	evil := hostile(trapURL)
	raw := "From: " + evil[:60] + " <a@acme.example>\nSubject: " + evil + "\nMessage-ID: <x@y>\nMIME-Version: 1.0\nContent-Type: text/html\n\n" + evil
	if err := mail(box, "ada@example.com", raw); err != nil {
		t.Fatal(err)
	}
	quoted := strings.NewReplacer(`"`, `\"`).Replace(evil)
	must(t, http.DefaultClient, "POST", box.WebhookURL+"/<script>top.pwned=7</script>", `{"type":"`+quoted+`","`+quoted+`":1}`, map[string]string{"X-Evil": evil})
	must(t, http.DefaultClient, "POST", box.FCMURL+"/v1/projects/p/messages:send", `{"message":{"token":"`+quoted+`","notification":{"title":"`+quoted+`","body":"`+quoted+`"}}}`, nil)
	misbehave(t, box, notice.ChannelFCM, sandbox.Behaviour{Status: 500, Reason: evil[:100]})
	must(t, http.DefaultClient, "POST", box.FCMURL+"/v1/projects/p/messages:send", `{"message":{"token":"`+quoted+`"}}`, nil)

	steps(t, ctx, until(`document.querySelectorAll('.row').length === 3`))
	for seq := 1; seq <= 3; seq++ {
		steps(t, ctx, chromedp.Click(fmt.Sprintf(`.row[data-seq="%d"]`, seq), chromedp.ByQuery),
			until(fmt.Sprintf(`document.querySelector('.row[data-seq="%d"]').getAttribute('aria-current') === 'true'`, seq)))
		var tabs int
		steps(t, ctx, chromedp.Evaluate(`document.querySelectorAll('[role=tab]').length`, &tabs))
		for tab := range tabs {
			steps(t, ctx, chromedp.Evaluate(fmt.Sprintf(`document.querySelectorAll('[role=tab]')[%d].click()`, tab), nil))
		}
	}
	steps(t, ctx, chromedp.Click(`.row[data-seq="1"]`, chromedp.ByQuery), until(`document.querySelector('[role=tab]').textContent === 'HTML'`),
		chromedp.Click(`[role=tab]`, chromedp.ByQuery), until(`!!document.querySelector('iframe')`))
	clickIntoFrame(t, ctx)

	var pwned bool
	var where string
	steps(t, ctx, chromedp.Evaluate(`'pwned' in window`, &pwned), chromedp.Location(&where))
	if pwned || where != base || asked.Load() != 0 {
		t.Errorf("code ran: %v; the page is at %s; %d requests left the page", pwned, where, asked.Load())
	}
	if got := text(t, ctx, ".head h2"); !strings.Contains(got, "<script>top.pwned=1") {
		t.Errorf("the subject is not shown as it is: %q", got)
	}
}

// clickIntoFrame clicks the javascript: link that covers the mail. The policy
// is given its time by waiting until the frame has been painted twice.
func clickIntoFrame(t *testing.T, ctx context.Context) {
	t.Helper()
	const settled = `new Promise(done => { const f = document.querySelector('iframe'); const next = () => requestAnimationFrame(() => requestAnimationFrame(done)); f.addEventListener('load', next); setTimeout(next, 300) })`
	var box struct{ X, Y float64 }
	steps(t, ctx,
		chromedp.Evaluate(settled, nil, func(p *runtime.EvaluateParams) *runtime.EvaluateParams { return p.WithAwaitPromise(true) }),
		chromedp.Evaluate(`(() => { const r = document.querySelector('iframe').getBoundingClientRect(); return {X: r.x + 60, Y: r.y + 60} })()`, &box))
	steps(t, ctx, chromedp.MouseClickXY(box.X, box.Y),
		chromedp.Evaluate(settled, nil, func(p *runtime.EvaluateParams) *runtime.EvaluateParams { return p.WithAwaitPromise(true) }))
}

func TestMessagesAppearLiveAsTheirRecipientsSeeThem(t *testing.T) {
	box := start(t, sandbox.Options{})
	base, ctx := mount(t, box), browser(t)
	watch(ctx, func(complaint string) { t.Error("the page says ", complaint) })
	steps(t, ctx, chromedp.Navigate(base), until(`document.querySelector('#live').dataset.state === 'live'`),
		chromedp.Evaluate(`window.notReloaded = true`, nil))
	if got := text(t, ctx, "#empty"); !strings.Contains(got, "Nothing has arrived yet") || !strings.Contains(got, "curl") {
		t.Errorf("the empty inbox says %q", got)
	}
	if err := mail(box, "ada@example.com", multipart); err != nil {
		t.Fatal(err)
	}
	for _, c := range httpChannels() {
		if _, err := send(t, box, c); err != nil {
			t.Fatal(err)
		}
	}
	steps(t, ctx, until(`document.querySelectorAll('.row').length === 5 && window.notReloaded`))
	for _, tc := range []struct{ channel, selector, shows string }{
		{"email", ".head", "Grüße"},
		{"apns", ".push.ios", "Order A-1"},
		{"fcm", ".push.android", "Hi"},
		{"webpush", ".push.web", "Hi"},
		{"webhook", ".pane .code .j-key", `"type"`},
		{"webhook", ".head .badge.warn", "unsigned"},
	} {
		steps(t, ctx, chromedp.Click(`.row[data-channel="`+tc.channel+`"]`, chromedp.ByQuery), chromedp.WaitVisible(tc.selector, chromedp.ByQuery))
		if got := text(t, ctx, tc.selector); !strings.Contains(got, tc.shows) {
			t.Errorf("%s shows %q in %s, want %q", tc.channel, got, tc.selector, tc.shows)
		}
	}
	steps(t, ctx, chromedp.Click(`[data-filter=email]`, chromedp.ByQuery), until(`document.querySelectorAll('.row').length === 1`),
		chromedp.Click(`[data-filter=all]`, chromedp.ByQuery), chromedp.SendKeys(`#search`, "order a-1", chromedp.ByQuery),
		until(`document.querySelectorAll('.row').length === 1`),
		chromedp.SetValue(`#search`, "", chromedp.ByQuery), chromedp.Click(`#clear`, chromedp.ByQuery),
		until(`document.querySelectorAll('.row').length === 0 && !document.querySelector('.head')`))
}

func TestMisbehaveFormTellsTheStandIn(t *testing.T) {
	box := start(t, sandbox.Options{})
	base, ctx := mount(t, box), browser(t)
	watch(ctx, func(complaint string) { t.Error("the page says ", complaint) })
	steps(t, ctx, chromedp.Navigate(base), until(`document.querySelector('#live').dataset.state === 'live'`),
		chromedp.Click(`nav [data-view=misbehave]`, chromedp.ByQuery),
		chromedp.SendKeys(`#panel-webhook [name=status]`, "99", chromedp.ByQuery), chromedp.Submit(`#panel-webhook [name=status]`, chromedp.ByQuery),
		until(`document.querySelector('#panel-webhook .error').textContent.includes('webhook wants 200 to 599')`),
		chromedp.SetValue(`#panel-webhook [name=status]`, "503", chromedp.ByQuery),
		chromedp.SendKeys(`#panel-webhook [name=retry_after]`, "30s", chromedp.ByQuery),
		chromedp.SendKeys(`#panel-webhook [name=times]`, "2"+kb.Enter, chromedp.ByQuery),
		until(`document.querySelector('#panel-webhook .now').textContent === 'Now answers 503, Retry-After 30s, 2 more times.'`))
	if got, err := send(t, box, notice.ChannelWebhook); err != nil || got.status != 503 || got.header.Get("Retry-After") != "30" {
		t.Errorf("the stand-in answers %+v, %v", got, err)
	}
	steps(t, ctx, until(`document.querySelector('#refused-count').textContent === '1'`),
		until(`document.querySelector('#panel-webhook .now').textContent.includes('once more')`),
		chromedp.Click(`#panel-webhook .quiet`, chromedp.ByQuery),
		until(`document.querySelector('#panel-webhook .now').textContent === 'Behaves.'`))
	if got, err := send(t, box, notice.ChannelWebhook); err != nil || got.status != 200 {
		t.Errorf("told to behave, the stand-in answers %+v, %v", got, err)
	}
}

func TestPageIsUsedByKeyboardAndFitsAPhone(t *testing.T) {
	box := start(t, sandbox.Options{})
	base, ctx := mount(t, box), browser(t)
	for range 2 {
		if _, err := send(t, box, notice.ChannelAPNs); err != nil {
			t.Fatal(err)
		}
	}
	var overflow bool
	steps(t, ctx, emulation.SetDeviceMetricsOverride(360, 740, 1, true), chromedp.Navigate(base),
		until(`document.querySelectorAll('.row').length === 2`),
		chromedp.Focus(`.row`, chromedp.ByQuery), chromedp.KeyEvent(kb.ArrowDown),
		until(`document.activeElement.dataset.seq === '1'`), chromedp.KeyEvent(kb.Enter),
		chromedp.WaitVisible(`.push.ios`, chromedp.ByQuery), chromedp.WaitNotVisible(`.listing`, chromedp.ByQuery),
		chromedp.Focus(`[role=tab][aria-selected=true]`, chromedp.ByQuery), chromedp.KeyEvent(kb.ArrowRight),
		until(`document.activeElement.textContent === 'JSON' && !!document.querySelector('.pane .code')`),
		chromedp.Evaluate(`document.documentElement.scrollWidth > innerWidth`, &overflow),
		chromedp.Click(`.back`, chromedp.ByQuery), until(`document.activeElement.dataset.seq === '1'`))
	if overflow {
		t.Error("the page is wider than a phone's screen")
	}
}
