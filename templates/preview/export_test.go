package preview

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/templates"
)

// randomly is madeUp with boundaries as mail libraries draw them.
type randomly struct {
	madeUp
	drawn *int
}

func (r randomly) Mail(Specimen) ([]byte, error) {
	b := fmt.Sprintf("%060x", *r.drawn)
	*r.drawn++
	return fmt.Appendf(nil, "Content-Type: multipart/alternative;\r\n boundary=%s\r\n\r\n--%s\r\n\r\nx\r\n--%s--\r\n", b, b, b), nil
}

// exported writes a catalogue into a folder and returns what lies there.
func exported(t *testing.T, dir string, c *templates.Catalogue, s Selection) map[string]string {
	t.Helper()
	items, err := RenderAll(c, s)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := (Export{Dir: dir, Wire: madeUp{}}).Write(items); err != nil {
		t.Fatal(err)
	}
	return filesOf(t, dir)
}

func filesOf(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(filepath.Join(dir, name))
		files[name] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestAnExportHasAFileForEveryChannelAndFormat(t *testing.T) {
	dir := t.TempDir()
	files := exported(t, dir, loadTestdata(t), Selection{})
	for name, want := range map[string]string{
		"order-shipped/de/default/email.html":   "A-1",
		"order-shipped/de/default/email.txt":    "A-1",
		"order-shipped/de/default/email.eml":    "Subject: =?UTF-8?q?Ihre_Bestellung_A-1",
		"order-shipped/en/bare/push.json":       `"service": "APNs"`,
		"order-shipped/en/default/webhook.json": `"type": "order-shipped"`,
		"order-shipped/en/default/view.html":    "Content-Security-Policy",
		"account-event/en/default/webhook.json": "{",
		"index.html":                            `href="order-shipped/de/default/view.html"`,
		"carillon-preview.txt":                  "\norder-shipped/de/default/email.eml\n",
	} {
		if !strings.Contains(files[name], want) {
			t.Errorf("%s lacks %q:\n%.300s", name, want, files[name])
		}
	}
	listed := strings.Split(strings.TrimSpace(files[Manifest]), "\n")[1:]
	if there := slices.Sorted(maps.Keys(files)); !slices.Equal(listed, there) {
		t.Errorf("the manifest lists\n%v\nand there are\n%v", listed, there)
	}
}

func TestTwoExportsAreTheSameBytes(t *testing.T) {
	c := loadTestdata(t)
	items, err := RenderAll(c, Selection{})
	if err != nil {
		t.Fatal(err)
	}
	wire := randomly{drawn: new(int)}
	write := func() map[string]string {
		dir := t.TempDir()
		for i := range items { // one after the other, since the wire counts
			w := exporter{Export: Export{Dir: dir, Wire: wire}}
			if w.root, err = os.OpenRoot(dir); err != nil {
				t.Fatal(err)
			}
			if w.pages, err = parsePages(); err != nil {
				t.Fatal(err)
			}
			if err := w.item(items[i]); err != nil {
				t.Fatal(err)
			}
			w.root.Close()
		}
		return filesOf(t, dir)
	}
	first := write()
	if mail := first["order-shipped/en/default/email.eml"]; strings.Count(mail, "\r\n--") != 2 || strings.Contains(mail, "000000000000") {
		t.Errorf("the boundaries are not those of the mail's place:\n%s", mail)
	}
	if second := write(); !maps.Equal(first, second) {
		for name := range first {
			if first[name] != second[name] {
				t.Errorf("%s differs:\n%s\n%s", name, first[name], second[name])
			}
		}
	}
}

func TestAnExportRemovesItsOwnStaleFilesAndNoOthers(t *testing.T) {
	dir, catalogue := t.TempDir(), copyCatalogue(t)
	load := func() *templates.Catalogue {
		c, err := templates.LoadDir(catalogue)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	exported(t, dir, load(), Selection{})
	write(t, dir, "order-shipped/notes.md", "mine")
	write(t, dir, "account-event/en/default/mine.txt", "mine")
	if err := os.RemoveAll(filepath.Join(catalogue, "account-event")); err != nil {
		t.Fatal(err)
	}
	files := exported(t, dir, load(), Selection{Locales: []string{"de"}})
	if files["order-shipped/notes.md"] != "mine" || files["account-event/en/default/mine.txt"] != "mine" {
		t.Error("somebody's own file is gone")
	}
	for name := range files {
		if strings.Contains(name, "/en/") && !strings.HasSuffix(name, "mine.txt") {
			t.Errorf("%s is still there", name)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "order-shipped/en")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an empty folder is left (%v)", err)
	}
}

func TestAFolderOfSomebodyElseIsLeftAlone(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "thesis.tex", "years of work")
	items, err := RenderAll(loadTestdata(t), Selection{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := (Export{Dir: dir}).Write(items); !errors.Is(err, ErrForeign) || len(filesOf(t, dir)) != 1 {
		t.Errorf("error %v, and there are %d files", err, len(filesOf(t, dir)))
	}
	if _, err := (Export{Dir: dir, Force: true}).Write(items); err != nil {
		t.Fatal(err)
	}
	if _, err := (Export{Dir: dir}).Write(nil); err != nil {
		t.Fatal(err)
	}
	if files := filesOf(t, dir); files["thesis.tex"] != "years of work" || len(files) != 3 {
		t.Errorf("after an empty export there are %v", slices.Sorted(maps.Keys(files)))
	}
}

func TestAManifestLeadsNowhereElse(t *testing.T) {
	outside := t.TempDir()
	write(t, outside, "kept.txt", "kept")
	dir := t.TempDir()
	if err := os.Symlink(outside, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	write(t, dir, Manifest, manifestHead+"\n../"+filepath.Base(outside)+"/kept.txt\n"+outside+"/kept.txt\nlink/kept.txt\n")
	_, err := Export{Dir: dir}.Write(nil)
	if text, _ := os.ReadFile(outside + "/kept.txt"); string(text) != "kept" {
		t.Errorf("a file outside was removed (%v)", err)
	}
}

func TestSamplesHaveFoldersWhateverTheirNames(t *testing.T) {
	for name, want := range map[string]string{"default": "default", "..": "%2E.", "a/b": "a%2Fb", "C:": "C%3A", "ü ä": "%C3%BC%20%C3%A4"} {
		if got := escapeName(name); got != want {
			t.Errorf("%q lies in %q, want %q", name, got, want)
		}
	}
}

func TestRenderAllSelects(t *testing.T) {
	c := loadTestdata(t)
	for _, w := range []struct {
		name string
		s    Selection
		want string // template/locale/sample of each, or the error's words
	}{
		{"one template", Selection{Template: "order-shipped"}, "order-shipped/de/default order-shipped/de/bare order-shipped/en/default order-shipped/en/bare order-shipped/pl/default order-shipped/pl/bare"},
		{"a locale and a sample", Selection{Template: "order-shipped", Locales: []string{"de-AT"}, Sample: "bare"}, "order-shipped/de-AT/bare"},
		{"a channel that few have", Selection{Channel: notice.MediumEmail, Locales: []string{"de"}, Sample: "default"}, "order-shipped/de/default"},
		{"an unknown template", Selection{Template: "order-shiped"}, "did you mean order-shipped?"},
		{"a sample that the template does not have", Selection{Template: "order-shipped", Sample: "baer"}, "did you mean bare?"},
		{"a sample that none has", Selection{Sample: "nothing"}, "no template of the catalogue has"},
	} {
		t.Run(w.name, func(t *testing.T) {
			items, err := RenderAll(c, w.s)
			got := fmt.Sprint(err)
			if err == nil {
				var places []string
				for _, i := range items {
					if i.Err != nil {
						t.Error(i.Err)
					}
					places = append(places, i.folder())
				}
				got = strings.Join(places, " ")
			}
			if got != w.want && (err == nil || !strings.Contains(got, w.want)) {
				t.Errorf("got %s, want %s", got, w.want)
			}
		})
	}
}

func TestATemplateWithoutASampleIsNamed(t *testing.T) {
	dir := copyCatalogue(t)
	write(t, dir, "price-drop/template.yaml", "schema: {type: object, required: [price], properties: {price: {type: number}, product: {type: string}}}\n")
	write(t, dir, "price-drop/en/push.title.txt", "{{.data.price}}")
	write(t, dir, "price-drop/en/push.body.txt", "now")
	c, err := templates.LoadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	items, err := RenderAll(c, Selection{Template: "price-drop"})
	if err != nil || len(items) != 1 || !errors.Is(items[0].Err, ErrNoSample) {
		t.Fatalf("rendered %+v (%v)", items, err)
	}
	out := t.TempDir()
	if _, err := (Export{Dir: out}).Write(items); err != nil {
		t.Fatal(err)
	}
	if index := filesOf(t, out)[IndexPage]; !strings.Contains(index, "has no sample to render") {
		t.Errorf("the index does not say so:\n%s", index)
	}
}

func TestCompareSaysWhatDiffersAndHow(t *testing.T) {
	dir := copyCatalogue(t)
	before, err := RenderAll(loadTestdata(t), Selection{})
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, "order-shipped/en/email.subject.txt", "Parcel {{.data.order}}")
	if err := os.RemoveAll(dir + "/account-event"); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(dir+"/fresh/en", 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, dir, "fresh/template.yaml", "category: x\n")
	write(t, dir, "fresh/en/webhook.json", `{"a":1}`)
	c, err := templates.LoadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	after, err := RenderAll(c, Selection{})
	if err != nil {
		t.Fatal(err)
	}
	same := Compare("a", "b", before, before)
	if same.Differs() || same.Same == 0 {
		t.Errorf("a catalogue differs from itself: %s", same.Summary())
	}
	got := Compare("old", "new", before, after)
	if got.Added != 1 || got.Removed != 1 || got.Changed != 4 || got.Same != same.Same-5 {
		t.Errorf("%s of %d", got.Summary(), same.Same)
	}
	var text, page strings.Builder
	if err := errors.Join(got.WriteText(&text, false), got.WritePage(&page)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"--- order-shipped/en/default/email.headers\told\n+++ order-shipped/en/default/email.headers\tnew\n@@ -1,1 +1,1 @@\n-Subject: Your order A-1 is on its way\n+Subject: Parcel A-1\n",
		"--- /dev/null\n+++ fresh/en/default/webhook.json\tnew\n@@ -0,0 +1,3 @@\n+{\n",
		"+++ /dev/null\n",
		"old → new: 1 added, 1 removed, 4 changed, ",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the text lacks %q:\n%s", want, text.String())
		}
	}
	for _, want := range []string{`<td class="gone">Subject: Your order A-1 is on its way`, `<td class="come">Subject: Parcel A-1`, `class="added">added`} {
		if !strings.Contains(page.String(), want) {
			t.Errorf("the page lacks %q", want)
		}
	}
}

func TestDiffsAreColouredForTerminalsAlone(t *testing.T) {
	diff := "--- a\n+++ b\n@@ -1,1 +1,1 @@\n-x\x1b[2J\n+y\n"
	if got := Coloured(diff, false); got != diff {
		t.Errorf("for a file: %q", got)
	}
	if got := Coloured(diff, true); strings.Contains(got, "\x1b[2J") || !strings.Contains(got, "\x1b[32m+y\x1b[0m\n") {
		t.Errorf("for a terminal: %q", got)
	}
}

// repositoryOf makes a repository of a copy of the test catalogue, below its
// top, with two commits.
func repositoryOf(t *testing.T) (dir string) {
	t.Helper()
	top := t.TempDir()
	dir = filepath.Join(top, "mail", "catalogue")
	if err := os.CopyFS(dir, os.DirFS(testdata)); err != nil {
		t.Fatal(err)
	}
	git := func(args ...string) {
		t.Helper()
		cmd := exec.Command("git", append([]string{"-C", top, "-c", "user.name=Ada", "-c", "user.email=ada@example.com", "-c", "commit.gpgsign=false"}, args...)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	git("init", "-q", "-b", "main")
	write(t, top, ".gitattributes", "*.html export-ignore\n") // which archives obey
	if err := os.Symlink("footer.txt", dir+"/_partials/same.txt"); err != nil {
		t.Fatal(err)
	}
	git("add", ".")
	git("commit", "-q", "-m", "one")
	git("tag", "-a", "v1", "-m", "v1")
	write(t, dir, "order-shipped/en/email.subject.txt", "Two {{.data.order}}")
	git("commit", "-q", "-a", "-m", "two")
	git("rm", "-q", "-r", "mail/catalogue/price-drop")
	git("commit", "-q", "-m", "three")
	git("mv", "mail", "post")
	git("commit", "-q", "-m", "four")
	return filepath.Join(top, "post", "catalogue")
}

func TestCheckoutIsTheFolderAsItWas(t *testing.T) {
	dir := repositoryOf(t)
	if err := os.Rename(filepath.Dir(dir), filepath.Join(filepath.Dir(filepath.Dir(dir)), "mail")); err != nil {
		t.Fatal(err)
	}
	dir = filepath.Join(filepath.Dir(filepath.Dir(dir)), "mail", "catalogue")
	for revision, want := range map[string]string{"v1": "Your order", "HEAD~2": "Two"} {
		folder, err := Checkout(t.Context(), dir, revision)
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(folder)
		if text, err := os.ReadFile(folder + "/order-shipped/en/email.subject.txt"); !strings.HasPrefix(string(text), want) {
			t.Errorf("%s: the subject is %q (%v)", revision, text, err)
		}
		if _, err := templates.LoadDir(folder); err != nil {
			t.Errorf("%s: %v", revision, err)
		}
	}
	for revision, want := range map[string]string{
		"HEAD": "was not there then", "nosuch": "neither a folder nor a revision", "--output=x": "neither a folder nor a revision", "HEAD:README": "neither a folder nor a revision",
	} {
		if _, err := Checkout(t.Context(), dir, revision); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", revision, err, want)
		}
	}
	if _, err := Checkout(t.Context(), t.TempDir(), "HEAD"); err == nil || !strings.Contains(err.Error(), "in no git repository") {
		t.Errorf("outside of a repository: %v", err)
	}
	t.Setenv("PATH", t.TempDir())
	if _, err := Checkout(t.Context(), dir, "HEAD"); err == nil || !strings.Contains(err.Error(), "no git on the path") {
		t.Errorf("without git: %v", err)
	}
}
