package preview

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/templates"
)

const testdata = "../testdata/catalogue"

func loadTestdata(t *testing.T) *templates.Catalogue {
	t.Helper()
	c, err := templates.LoadDir(testdata)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestRenderPutsEveryChannelTogether(t *testing.T) {
	r, err := Render(loadTestdata(t), "order-shipped", Options{Locale: "de_at"})
	if err != nil {
		t.Fatal(err)
	}
	if r.Content.Email == nil || r.Content.Push == nil || len(r.Content.Webhook) == 0 || r.Locales[notice.MediumEmail] != "de" {
		t.Errorf("rendered %+v in %v", r.Content, r.Locales)
	}
	var text strings.Builder
	if err := r.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"order-shipped, version " + r.Version, "email (de, for want of de_at)", "Subject: Ihre Bestellung A-1", "* tea", "push (de, for want of de_at)", `"type": "order-shipped"`} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the text lacks %q:\n%s", want, text.String())
		}
	}
}

func TestRenderChoosesItsData(t *testing.T) {
	c := loadTestdata(t)
	subject := func(o Options) string {
		t.Helper()
		o.Channel = notice.MediumEmail
		r, err := Render(c, "order-shipped", o)
		if err != nil {
			t.Fatal(err)
		}
		return r.Content.Email.Subject
	}
	for want, o := range map[string]Options{
		"Your order A-1 is on its way": {},
		"Your order A-2 is on its way": {Sample: "bare"},
		"Your order Z is on its way":   {Sample: "bare", Data: jsontext.Value(`{"order":"Z"}`)},
	} {
		if got := subject(o); got != want {
			t.Errorf("%+v: subject %q, want %q", o, got, want)
		}
	}
}

func TestRenderSaysWhatIsNotThere(t *testing.T) {
	for _, w := range []struct {
		name string
		o    Options
		want string
	}{
		{"order-shiped", Options{}, "did you mean order-shipped?"},
		{"order-shipped", Options{Sample: "baer"}, "did you mean bare?"},
		{"order-shipped", Options{Locale: "d!"}, `locale "d!" is no language tag: write it as de or de-AT`},
		{"order-shipped", Options{Channel: "sms"}, "none of email, push, webhook"},
		{"price-drop", Options{Channel: notice.MediumEmail}, "no parts for email"},
	} {
		if _, err := Render(loadTestdata(t), w.name, w.o); err == nil || !strings.Contains(err.Error(), w.want) {
			t.Errorf("%s %+v: error %v, want %q", w.name, w.o, err, w.want)
		}
	}
	_, err := Render(loadTestdata(t), "order-shipped", Options{Data: jsontext.Value(`{}`)})
	var faults notice.Faults
	if !errors.As(err, &faults) || faults[0].Pointer != "/data/order" {
		t.Errorf("data without its order: %v", err)
	}
	r, err := Render(loadTestdata(t), "price-drop", Options{})
	if err != nil || !errors.Is(r.WriteHTML(io.Discard), ErrNoHTML) {
		t.Errorf("HTML of a push was written (%v)", err)
	}
}

func TestUnifiedDiffs(t *testing.T) {
	long := func(replaced map[int]string) string {
		var b strings.Builder
		for i := range 30 {
			line, ok := replaced[i]
			if !ok {
				line = "line"
			}
			b.WriteString(line + string(rune('A'+i)) + "\n")
		}
		return b.String()
	}
	for _, w := range []struct{ name, before, after, want string }{
		{"equal texts differ in nothing", "a\n", "a\n", ""},
		{"a new text", "", "a\nb\n", "--- x\n+++ y\n@@ -0,0 +1,2 @@\n+a\n+b\n"},
		{"a text that is gone", "a\n", "", "--- x\n+++ y\n@@ -1,1 +0,0 @@\n-a\n"},
		{"a changed line keeps three around it", "1\n2\n3\n4\n5\n6\n7\n8\n9\n", "1\n2\n3\n4\nfive\n6\n7\n8\n9\n",
			"--- x\n+++ y\n@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n"},
		{"changes far apart are hunks apart", long(nil), long(map[int]string{2: "two", 25: "far"}),
			"--- x\n+++ y\n@@ -1,6 +1,6 @@\n lineA\n lineB\n-lineC\n+twoC\n lineD\n lineE\n lineF\n@@ -23,7 +23,7 @@\n lineW\n lineX\n lineY\n-lineZ\n+farZ\n line[\n line\\\n line]\n"},
	} {
		t.Run(w.name, func(t *testing.T) {
			if got := unified("x", "y", w.before, w.after); got != w.want {
				t.Errorf("got\n%s\nwant\n%s", got, w.want)
			}
		})
	}
}

// copyCatalogue copies the test catalogue, for tests that change it.
func copyCatalogue(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "catalogue")
	if err := os.CopyFS(dir, os.DirFS(testdata)); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestSnapshotsFollowTheirRenderings(t *testing.T) {
	dir := copyCatalogue(t)
	compare := func() (map[string]string, []Difference) {
		t.Helper()
		c, err := templates.LoadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		rendered, err := Snapshots(c)
		if err != nil {
			t.Fatal(err)
		}
		differences, err := CompareSnapshots(dir, rendered)
		if err != nil && !errors.Is(err, ErrNoSnapshots) {
			t.Fatal(err)
		}
		return rendered, differences
	}
	rendered, differences := compare()
	if len(rendered) == 0 || len(differences) != len(rendered) {
		t.Fatalf("without golden files %d of %d differ, want all", len(differences), len(rendered))
	}
	if err := UpdateSnapshots(dir, rendered, differences); err != nil {
		t.Fatal(err)
	}
	if _, differences = compare(); len(differences) != 0 {
		t.Fatalf("after an update there are differences:\n%v", differences)
	}
	if err := os.WriteFile(dir+"/price-drop/en/push.title.txt", []byte("Less: {{.data.price}}"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(dir + "/account-event"); err != nil {
		t.Fatal(err)
	}
	rendered, differences = compare()
	if len(differences) != 2 || !strings.Contains(differences[0].Diff, "+++ /dev/null") || !strings.Contains(differences[1].Diff, "+Less: 1234567.5\n") {
		t.Fatalf("differences %v, want the removed webhook and the changed title", differences)
	}
	if err := UpdateSnapshots(dir, rendered, differences); err != nil {
		t.Fatal(err)
	}
	if _, differences = compare(); len(differences) != 0 {
		t.Errorf("after the second update there are differences:\n%v", differences)
	}
}
