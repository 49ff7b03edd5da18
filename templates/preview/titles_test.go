package preview

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/carillonhq/carillon/templates"
)

const titled = "title: Cheaper now\ndescription: For who watches a price.\nopt_out: false\npush: {apns: {thread_id: prices}, fcm: {analytics_label: prices}}\n"

// entitle puts settings before those of price-drop.
func entitle(t *testing.T, dir, settings string) {
	t.Helper()
	old, err := os.ReadFile(dir + "/price-drop/template.yaml")
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, "price-drop/template.yaml", settings+string(old))
}

func titlesAreShown(t *testing.T, chromium context.Context) {
	base, dir := serve(t)
	b := open(t, chromium, base, "#price-drop", 1440)
	b.says("#name", "price-drop")
	b.Until(`document.querySelector('#about').hidden`)
	entitle(t, dir, titled)
	b.says("#name", "Cheaper now")
	b.says("#meta", "price-drop")
	b.says("#meta", "nobody can opt out")
	b.says("#about", "For who watches a price.")
	b.says("[data-template=price-drop]", "Cheaper now")
	b.fill("#search", "watches")
	b.Until(`document.querySelectorAll('[data-template]').length === 1`)
	b.fill("#search", "price-drop")
	b.Until(`document.querySelectorAll('[data-template=price-drop]').length === 1`)
}

func TestPushOptionsOfTheSettingsAreInEveryRendering(t *testing.T) {
	dir := copyCatalogue(t)
	entitle(t, dir, titled)
	c, err := templates.Load(os.DirFS(dir))
	if err != nil {
		t.Fatal(err)
	}
	r, err := Render(c, "price-drop", Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"thread_id": "prices"`, `"analytics_label": "prices"`} {
		if shown := pushJSON(r.Content.Push, nil); !strings.Contains(shown, want) {
			t.Errorf("the preview shows %s, want it to have %s", shown, want)
		}
	}
}
