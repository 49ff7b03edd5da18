package preview

import (
	"context"
	"fmt"
	"image/color"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/carillonhq/carillon/e2e/browser"
	"github.com/carillonhq/carillon/templates"
)

var red = color.RGBA{0xd0, 0x20, 0x10, 0xff}

// picture is a mail that shows an asset, and tries a picture of a stranger's.
const picture = `<!doctype html><img src="{{asset "brand/logo.svg"}}" width="120" height="80"><img src="TRAP/x.0123456789abcdef0123456789abcdef.png" width="60" height="60">`

// withLogo puts an asset into a catalogue: a red picture.
func withLogo(t *testing.T, dir string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(dir, "_assets", "brand"), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, dir, "_assets/brand/logo.svg", fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" width="120" height="80"><rect width="120" height="80" fill="#%02x%02x%02x"/></svg>`, red.R, red.G, red.B))
}

func TestAssetsAreServedUnderTheirNamesAlone(t *testing.T) {
	dir := copyCatalogue(t)
	withLogo(t, dir)
	store, err := templates.OpenStore(dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	server := httptest.NewServer(Handler(store, Page{}))
	t.Cleanup(server.Close)
	logo, base := store.Current().Assets()[0], server.URL+"/"
	response, body := get(t, base+"assets/"+logo.Name)
	h := response.Header
	if response.StatusCode != 200 || body != logo.Content || h.Get("Content-Type") != "image/svg+xml" || !strings.Contains(h.Get("Content-Security-Policy"), "sandbox") || h.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("%s %v %q", response.Status, h, body)
	}
	for _, name := range []string{"logo.svg", "brand%2Flogo.svg", "..%2Fcatalogue.yaml", strings.Replace(logo.Name, "logo", "lego", 1)} {
		if response, _ := get(t, base+"assets/"+name); response.StatusCode != 404 {
			t.Errorf("%s: %s", name, response.Status)
		}
	}
}

func TestAssetsInARealBrowser(t *testing.T) {
	chromium := browser.Launch(t)
	t.Run("the page shows them, and nobody else's pictures", func(t *testing.T) { assetsAreShown(t, chromium) })
	t.Run("an export shows them from the disk", func(t *testing.T) { assetsAreShownFromTheDisk(t, chromium) })
}

func assetsAreShown(t *testing.T, chromium context.Context) {
	trapURL, asked := trap(t)
	base, dir := servePainted(t, painted(blue, blue))
	withLogo(t, dir)
	write(t, dir, "order-shipped/en/email.html", strings.ReplaceAll(picture, "TRAP", trapURL))
	b := open(t, chromium, base, address, 1440)
	b.shows(red, 120*80-400, 120*80+400)
	if asked.Load() != 0 {
		t.Errorf("a stranger's picture was asked for %d times", asked.Load())
	}
}

func assetsAreShownFromTheDisk(t *testing.T, chromium context.Context) {
	trapURL, asked := trap(t)
	catalogue := copyCatalogue(t)
	withLogo(t, catalogue)
	write(t, catalogue, "order-shipped/en/email.html", strings.ReplaceAll(picture, "TRAP", trapURL))
	c, err := templates.LoadDir(catalogue)
	if err != nil {
		t.Fatal(err)
	}
	items, err := RenderAll(c, Selection{Template: "order-shipped"})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if _, err := (Export{Dir: dir, Catalogue: c, Wire: madeUp{}}).Write(items); err != nil {
		t.Fatal(err)
	}
	b := disk(t, chromium, dir, "order-shipped/en/default/view.html", 1440)
	b.shows(red, 120*80-400, 120*80+400)
	b.Do(chromedp.Navigate(b.base + "index.html#en%20default"))
	b.Until(`document.querySelectorAll('.card:not([hidden])').length === 1`)
	b.shows(red, 500, 120*80) // small, in the thumbnail
	if asked.Load() != 0 {
		t.Errorf("a stranger's picture was asked for %d times", asked.Load())
	}
}

func TestAnExportHasTheAssetsAndItsMailsNameThem(t *testing.T) {
	catalogue := copyCatalogue(t)
	withLogo(t, catalogue)
	write(t, catalogue, "order-shipped/en/email.html", picture)
	c, err := templates.LoadDir(catalogue, templates.WithAssets("https://cdn.acme.example/mail/"))
	if err != nil {
		t.Fatal(err)
	}
	items, err := RenderAll(c, Selection{})
	if err != nil {
		t.Fatal(err)
	}
	dir, logo := t.TempDir(), c.Assets()[0]
	if _, err := (Export{Dir: dir, Catalogue: c, Wire: madeUp{}}).Write(items); err != nil {
		t.Fatal(err)
	}
	files := filesOf(t, dir)
	local := "../../../_assets/" + logo.Name
	if files["_assets/"+logo.Name] != logo.Content || !strings.Contains(files[Manifest], "\n_assets/"+logo.Name+"\n") ||
		!strings.Contains(files["order-shipped/en/default/email.html"], `src="`+local+`"`) || !strings.Contains(files["order-shipped/en/default/view.html"], local) {
		t.Errorf("%s\n%s", files[Manifest], files["order-shipped/en/default/email.html"])
	}
	for _, i := range items {
		if e := i.Content.Email; e != nil && strings.Contains(e.HTML, local) {
			t.Errorf("what was rendered has changed: %s", e.HTML)
		}
	}
	empty, err := templates.LoadDir(copyCatalogue(t))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := (Export{Dir: dir, Catalogue: empty, Wire: madeUp{}}).Write(items); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, AssetsDir)); !os.IsNotExist(err) {
		t.Errorf("the assets that are no more are still there (%v)", err)
	}
}
