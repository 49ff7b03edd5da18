package sandbox_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/carillonhq/carillon/channels/sandbox"
	"github.com/carillonhq/carillon/e2e/browser"
	"github.com/carillonhq/carillon/notice"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

func TestPageInARealBrowser(t *testing.T) {
	chromium := browser.Launch(t)
	for name, test := range map[string]func(*testing.T, context.Context){
		"hostile content never runs":                        hostileContentNeverRuns,
		"messages appear live as their recipient sees them": messagesAppearLive,
		"the newest message opens by itself":                newestOpensByItself,
		"the misbehave form tells the stand-in":             misbehaveFormTells,
		"the keyboard is enough, and a phone's screen":      keyboardOnAPhone,
	} {
		t.Run(name, func(t *testing.T) { test(t, chromium) })
	}
}

// trap is a server that nothing on the page may ever ask.
func trap(t *testing.T) (url string, asked *atomic.Int32) {
	asked = new(atomic.Int32)
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	t.Cleanup(server.Close)
	return server.URL, asked
}

// hostile is markup that tries every usual way to run or to phone home. The
// link covers all of it, so that a click anywhere is a click on it.
func hostile(trap string) string {
	return strings.ReplaceAll(`<script>top.pwned=1;parent.pwned=1;fetch('TRAP/script')</script>`+
		`<img src=x onerror="top.pwned=2"><img src="TRAP/image"><svg onload="top.pwned=3"></svg>`+
		`<a href="javascript:top.pwned=4" style="position:fixed;inset:0;z-index:9;background:#c00">click</a>`+
		`<iframe srcdoc="<script>top.pwned=5</script>"></iframe><iframe src="TRAP/frame"></iframe>`+
		`<link rel="stylesheet" href="TRAP/style"><style>@import 'TRAP/import';body{background:url(TRAP/background)}</style>`+
		`<form action="TRAP/form"><button autofocus onfocus="top.pwned=6">x</button></form>`+
		`<meta http-equiv="refresh" content="0;url=TRAP/refresh"><base href="TRAP/">`+
		`<object data="TRAP/object"></object><video src="TRAP/video" autoplay></video>`, "TRAP", trap)
}

// sendHostile has markup in every field that the page shows: a mail, a
// webhook, a push and a refusal.
func sendHostile(t *testing.T, box *sandbox.Sandbox, evil string) {
	t.Helper()
	raw := "From: \"" + strings.ReplaceAll(evil[:60], `"`, "") + "\" <a@acme.example>\nSubject: " + evil[:300] +
		"\nMessage-ID: <x@y>\nMIME-Version: 1.0\nContent-Type: text/html\n\n" + evil
	if err := mail(box, "ada@example.com", raw); err != nil {
		t.Fatal(err)
	}
	quoted := strings.ReplaceAll(evil, `"`, `\"`)
	c := client(t, box, false)
	fcm := box.FCMURL + "/v1/projects/p/messages:send"
	must(t, c, "POST", box.WebhookURL+"/%3Cscript%3E", `{"type":"`+quoted+`","`+quoted+`":1}`, map[string]string{"X-Evil": evil})
	must(t, c, "POST", fcm, `{"message":{"token":"`+quoted+`","notification":{"title":"`+quoted+`","body":"`+quoted+`"}}}`, nil)
	misbehave(t, box, notice.ChannelFCM, sandbox.Behaviour{Status: 500, Reason: evil[:100]})
	must(t, c, "POST", fcm, `{"message":{"token":"`+quoted+`"}}`, nil)
}

func hostileContentNeverRuns(t *testing.T, chromium context.Context) {
	box := start(t, sandbox.Options{})
	b := open(t, chromium, box, 1200)
	trapURL, asked := trap(t)
	sendHostile(t, box, hostile(trapURL))
	b.Until(`document.querySelectorAll('.row').length === 3`)
	for seq := 3; seq >= 1; seq-- { // the mail last
		b.Click(fmt.Sprintf(`.row[data-seq="%d"]`, seq))
		b.Until(fmt.Sprintf(`document.querySelector('.row[data-seq="%d"]').getAttribute('aria-current') === 'true'`, seq))
		if !b.Is(`document.querySelectorAll('[role=tab]').length >= 3 && [...document.querySelectorAll('[role=tab]')].every((tab) => { tab.click(); return document.querySelector('.pane').textContent !== null })`) {
			t.Errorf("message %d has too few tabs", seq)
		}
	}
	b.Is(`document.addEventListener('load', (event) => { window.frameLoaded = event.target.tagName === 'IFRAME' }, true)`)
	b.Click(`#tab-HTML`)
	b.Until(`window.frameLoaded`)
	b.Do(chromedp.Click(chromedp.CSS(`iframe`))) // its middle, which the link covers
	b.Click(`nav [data-view=refused]`)
	b.Until(`document.querySelectorAll('#refusals tbody tr').length === 1`)
	b.Click(`nav [data-view=misbehave]`)
	b.Click(`nav [data-view=inbox]`)

	if b.Is(`'pwned' in window`) || !b.Is(fmt.Sprintf(`location.href === %q`, b.base)) || asked.Load() != 0 {
		t.Errorf("code ran: %v, the page left: %v, requests to strangers: %d",
			b.Is(`'pwned' in window`), !b.Is(fmt.Sprintf(`location.href === %q`, b.base)), asked.Load())
	}
	if got := b.text(".head h2"); !strings.Contains(got, "<script>top.pwned=1") {
		t.Errorf("the subject is not shown as it is: %q", got)
	}
}

func messagesAppearLive(t *testing.T, chromium context.Context) {
	box := start(t, sandbox.Options{})
	b := open(t, chromium, box, 1200)
	if got := b.text("#empty"); !strings.Contains(got, "Nothing has arrived yet") || !strings.Contains(got, "curl") {
		t.Errorf("the empty inbox says %q", got)
	}
	b.Is(`window.sameDocument = true`)
	if err := mail(box, "ada@example.com", multipart); err != nil {
		t.Fatal(err)
	}
	for _, c := range httpChannels() {
		if _, err := send(t, box, c); err != nil {
			t.Fatal(err)
		}
	}
	b.Until(`document.querySelectorAll('.row').length === 5 && window.sameDocument`)
	for _, tc := range []struct{ channel, css, shows string }{
		{"email", ".head", "Grüße"},
		{"apns", ".push.ios", "Order A-1"},
		{"fcm", ".push.android", "Hi"},
		{"webpush", ".push.web", "Hi"},
		{"webhook", ".pane .code .j-key", `"type"`},
		{"webhook", ".head .badge.warn", "unsigned"},
	} {
		b.Click(`.row[data-channel="` + tc.channel + `"]`)
		b.Do(chromedp.WaitVisible(chromedp.CSS(tc.css)))
		b.Until(fmt.Sprintf(`document.querySelector(%q).textContent.includes(%q)`, tc.css, tc.shows))
	}
	b.Click(`[data-filter=email]`)
	b.Until(`document.querySelectorAll('.row').length === 1`)
	b.Click(`[data-filter=all]`)
	b.fill(`#search`, "order a-1")
	b.Until(`document.querySelectorAll('.row').length === 1`)
	b.Click(`#clear`)
	b.Until(`document.querySelectorAll('.row').length === 0 && !document.querySelector('.head')`)
	if n := len(box.Messages(sandbox.Filter{})); n != 0 {
		t.Errorf("Clear left %d messages", n)
	}
}

func newestOpensByItself(t *testing.T, chromium context.Context) {
	box := start(t, sandbox.Options{})
	b := open(t, chromium, box, 1200)
	b.Do(chromedp.Focus(chromedp.CSS(`#search`)))
	if err := mail(box, "ada@example.com", multipart); err != nil {
		t.Fatal(err)
	}
	for _, c := range httpChannels() { // newer than the mail, but of the same moment
		if _, err := send(t, box, c); err != nil {
			t.Fatal(err)
		}
	}
	b.Until(`document.querySelectorAll('.row').length === 5 && document.querySelector('.row[data-seq="1"]').getAttribute('aria-current') === 'true'`)
	if !b.Is(`document.querySelector('.head h2').textContent.includes('Grüße') && document.querySelector('iframe.frame') && document.activeElement.id === 'search'`) {
		t.Error("the mail did not open, or it took the focus")
	}
	b.Click(`[data-filter=webhook]`)
	b.Until(`document.querySelector('.head h2').textContent.includes('Webhook') || document.querySelector('.pane .code')`)
	b.Click(`[data-filter=all]`)
	b.Until(`document.querySelector('iframe.frame')`)

	b.Click(`.row[data-channel=apns]`)
	b.Until(`document.querySelector('.push.ios') && document.activeElement.id === 'detail'`)
	b.Click(`#search`) // nobody is reading, and still it is what somebody chose
	if err := mail(box, "ada@example.com", multipart); err != nil {
		t.Fatal(err)
	}
	b.Until(`document.querySelectorAll('.row').length === 6 && (window.since ??= performance.now()) + 600 < performance.now()`) // four times as long as it takes
	if !b.Is(`document.querySelector('.push.ios') && document.activeElement.id === 'search'`) {
		t.Error("what somebody chose was replaced")
	}
	b.Do(chromedp.EmulateViewport(360, 800), chromedp.Reload())
	b.Until(`document.querySelectorAll('.row').length === 6 && (window.since ??= performance.now()) + 600 < performance.now()`)
	if b.Is(`document.querySelector('.head')`) {
		t.Error("on a phone a message opened over the list")
	}
}

func misbehaveFormTells(t *testing.T, chromium context.Context) {
	box := start(t, sandbox.Options{})
	b := open(t, chromium, box, 1200)
	b.Click(`nav [data-view=misbehave]`)
	b.fill(`#panel-webhook [name=status]`, "99"+kb.Enter)
	b.Until(`document.querySelector('#panel-webhook .error').textContent.includes('webhook wants 200 to 599')`)
	b.fill(`#panel-webhook [name=status]`, "503")
	b.fill(`#panel-webhook [name=retry_after]`, "30s")
	b.fill(`#panel-webhook [name=times]`, "2"+kb.Enter)
	b.Until(`document.querySelector('#panel-webhook .now').textContent === 'Now answers 503, Retry-After 30s, 2 more times.'`)
	if got, err := send(t, box, notice.ChannelWebhook); err != nil || got.status != 503 || got.header.Get("Retry-After") != "30" {
		t.Errorf("the stand-in answers %+v, %v", got, err)
	}
	b.Until(`document.querySelector('#refused-count').textContent === '1'`)
	b.Until(`document.querySelector('#panel-webhook .now').textContent.includes('once more')`)
	b.Click(`#panel-webhook .quiet`)
	b.Until(`document.querySelector('#panel-webhook .now').textContent === 'Behaves.'`)
	if got, err := send(t, box, notice.ChannelWebhook); err != nil || got.status != 200 {
		t.Errorf("told to behave, the stand-in answers %+v, %v", got, err)
	}
}

func keyboardOnAPhone(t *testing.T, chromium context.Context) {
	box := start(t, sandbox.Options{})
	for range 2 {
		if _, err := send(t, box, notice.ChannelAPNs); err != nil {
			t.Fatal(err)
		}
	}
	b := open(t, chromium, box, 360)
	b.Until(`document.querySelectorAll('.row').length === 2`)
	b.Do(chromedp.Focus(chromedp.CSS(`.row`)), chromedp.KeyEvent(kb.ArrowDown))
	b.Until(`document.activeElement.dataset.seq === '1'`)
	b.Do(chromedp.KeyEvent(kb.Enter), chromedp.WaitVisible(chromedp.CSS(`.push.ios`)), chromedp.WaitNotVisible(chromedp.CSS(`.listing`)))
	b.Do(chromedp.Focus(chromedp.CSS(`[role=tab][aria-selected=true]`)), chromedp.KeyEvent(kb.ArrowRight))
	b.Until(`document.activeElement.textContent === 'JSON' && document.querySelector('.pane .code')`)
	for _, view := range []string{"misbehave", "refused", "api", "inbox"} {
		b.Click(`nav [data-view=` + view + `]`)
		if b.Is(`document.documentElement.scrollWidth > innerWidth`) {
			t.Errorf("the %s view is wider than a phone's screen", view)
		}
	}
	b.Click(`.back`)
	b.Until(`document.activeElement.dataset.seq === '1'`)
}
