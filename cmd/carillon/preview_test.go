package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

const testCatalogue = "../../templates/testdata/catalogue"

// brokenCatalogue has three faults in two files.
func brokenCatalogue(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "broken")
	if err := os.CopyFS(dir, os.DirFS(testCatalogue)); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"order-shipped/en/email.txt": "{{.data.oder}}\n{{.to.nmae}}",
		"price-drop/template.yaml":   "priorty: bulk",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// warnedCatalogue is the good one with a partial that nobody uses.
func warnedCatalogue(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "warned")
	if err := os.CopyFS(dir, os.DirFS(testCatalogue)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/_partials/unused.html", []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

// otherCatalogue is the good one with another subject, and without a template.
func otherCatalogue(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "other")
	if err := os.CopyFS(dir, os.DirFS(testCatalogue)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/order-shipped/en/email.subject.txt", []byte("Other {{.data.order}}"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(dir + "/account-event"); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestPreviewCommands(t *testing.T) {
	warned, other := warnedCatalogue(t), otherCatalogue(t)
	broken, mail := brokenCatalogue(t), filepath.Join(t.TempDir(), "mail.html")
	for _, w := range []struct {
		name, args, stdin string
		code              int
		stdout, stderr    string // substrings; an empty one wants silence
	}{
		{"render uses the sample", "render order-shipped --catalogue " + testCatalogue, "", 0, "Subject: Your order A-1", ""},
		{"render in a locale and one channel", "render order-shipped --locale de-AT --channel push --format json --catalogue " + testCatalogue, "", 0, `"body": "Order A-1: 2 Artikel"`, ""},
		{"render HTML to a file", "render order-shipped --format html -o " + mail + " --catalogue " + testCatalogue, "", 0, "", ""},
		{"render data from the standard input", "render order-shipped --data - --catalogue " + testCatalogue, `{"order":"Z-9"}`, 0, "Z-9", ""},
		{"render names every fault of the data", "render order-shipped --data - --catalogue " + testCatalogue, `{"oder":"Z-9"}`, 1, "", "/data/oder: is not known to the template: did you mean order?\n/data/order: is required (string)\n"},
		{"render without data on the standard input", "render order-shipped --data - --catalogue " + testCatalogue, "", 2, "", "is empty"},
		{"render of a file that is not there", "render order-shipped --data nothing.json --catalogue " + testCatalogue, "", 2, "", "--data: open nothing.json"},
		{"render of an unknown template names the nearest", "render order-shiped --catalogue " + testCatalogue, "", 1, "", `did you mean order-shipped?`},
		{"render of an unknown channel", "render order-shipped --channel sms --catalogue " + testCatalogue, "", 2, "", `--channel: "sms" is none of email, push, webhook`},
		{"render in what is no locale", "render order-shipped --locale d! --catalogue " + testCatalogue, "", 2, "", `--locale: "d!" is no language tag`},
		{"render says which locale stands in for the one asked for", "render order-shipped --locale fr --catalogue " + testCatalogue, "", 0, "email (en, for want of fr)", ""},
		{"render HTML where there is none", "render price-drop --format html --catalogue " + testCatalogue, "", 1, "", "--format text"},
		{"render as a page", "render order-shipped --format page --catalogue " + testCatalogue, "", 0, "Content-Security-Policy", ""},
		{"render in a locale that is made up", "render order-shipped --locale en-XA --channel push --catalogue " + testCatalogue, "", 0, "push (en-XA)", ""},
		{"render of nothing", "render --catalogue " + testCatalogue, "", 2, "", "which template? name one, or give --all"},
		{"render of one and all", "render order-shipped --all -o x --catalogue " + testCatalogue, "", 2, "", "contradict each other"},
		{"render of all to nowhere", "render --all --catalogue " + testCatalogue, "", 2, "", "give a folder as -o DIR"},
		{"render of all in one format", "render --all --format html -o x --catalogue " + testCatalogue, "", 2, "", "--all writes every format"},
		{"render of all with data", "render --all --data x.json -o x --catalogue " + testCatalogue, "", 2, "", "--data: is one template's"},
		{"render of all into the catalogue", "render --all --catalogue " + testCatalogue + " -o " + testCatalogue + "/out", "", 2, "", "lies in the catalogue"},
		{"render of all into somebody's folder", "render --all --catalogue " + testCatalogue + " -o " + warned, "", 2, "", "was not written by this command"},
		{"render of all in what is no locale", "render --all -o x --locale de,d! --catalogue " + testCatalogue, "", 2, "", `--locale: "d!" is no language tag`},
		{"render of one in two locales", "render order-shipped --locale de,en --catalogue " + testCatalogue, "", 2, "", "are several: name one"},
		{"render with --force alone", "render order-shipped --force --catalogue " + testCatalogue, "", 2, "", "--force: goes with --all"},
		{"diff against itself", "render --all --diff " + testCatalogue + " --catalogue " + testCatalogue, "", 0, "0 added, 0 removed, 0 changed", ""},
		{"diff against another folder", "render order-shipped --diff " + other + " --catalogue " + testCatalogue, "", 1, "+Subject: Your order A-1 is on its way", ""},
		{"diff as JSON", "render order-shipped --channel email --locale en --sample default --format json --diff " + other + " --catalogue " + testCatalogue, "", 1, `"changed": 1`, ""},
		{"diff side by side", "render --all --format html --diff " + other + " --catalogue " + testCatalogue, "", 1, `<td class="gone">Subject: Other A-1`, ""},
		{"diff of the webhook, which is the same", "render order-shipped --channel webhook --diff " + other + " --catalogue " + testCatalogue, "", 0, "0 changed", ""},
		{"diff of a template that is new", "render account-event --diff " + other + " --catalogue " + testCatalogue, "", 1, "1 added", ""},
		{"diff of a template that neither has", "render order-shiped --diff " + other + " --catalogue " + testCatalogue, "", 1, "", "did you mean order-shipped?"},
		{"diff against no revision", "render --all --diff nosuch --catalogue " + testCatalogue, "", 2, "", `--diff: "nosuch" is `},
		{"diff against a broken catalogue", "render --all --diff " + broken + " --catalogue " + testCatalogue, "", 1, "", broken + "/order-shipped/en/email.txt:2:3: unknown name"},
		{"diff as a page of everything", "render --all --format page --diff " + other + " --catalogue " + testCatalogue, "", 2, "", "--format html, side by side"},
		{"an unknown format", "render order-shipped --format xml --catalogue " + testCatalogue, "", 2, "", "--format must be one of"},
		{"check of a good catalogue", "check --catalogue " + testCatalogue, "", 0, "3 templates, 14 renderings, no faults", ""},
		{"check as JSON", "check --format json --catalogue " + testCatalogue, "", 0, `"ok": true`, ""},
		{"check with a warning", "check --catalogue " + warned, "", 0, "no faults, 1 warnings", warned + "/_partials/unused.html:1:1: warning: no part uses it"},
		{"check with a warning as JSON", "check --format json --catalogue " + warned, "", 0, `"severity": "warning"`, ""},
		{"a strict check with a warning", "check --strict --catalogue " + warned, "", 1, "", "unused.html:1:1: warning: "},
		{"a strict check with a warning as JSON", "check --strict --format json --catalogue " + warned, "", 1, `"ok": false`, ""},
		{"a strict check of a good catalogue", "check --strict --catalogue " + testCatalogue, "", 0, "no faults", ""},
		{"check of a broken catalogue", "check --catalogue " + broken, "", 1, "", broken + "/order-shipped/en/email.txt:2:3: unknown name .to.nmae"},
		{"check of a broken catalogue as JSON", "check --format json --catalogue " + broken, "", 1, `"line": 2`, ""},
		{"check of a folder that is not there", "check --catalogue nowhere", "", 1, "", "catalogue nowhere: there is no such folder"},
		{"serve of a broken catalogue", "serve --catalogue " + broken, "", 1, "", "price-drop/template.yaml:1:1: unknown key"},
	} {
		t.Run(w.name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			code := run(t.Context(), append([]string{"preview"}, strings.Fields(w.args)...), nil, strings.NewReader(w.stdin), &stdout, &stderr)
			if code != w.code || !strings.Contains(stdout.String(), w.stdout) || !strings.Contains(stderr.String(), w.stderr) ||
				(w.stdout == "") != (stdout.Len() == 0) || (w.stderr == "") != (stderr.Len() == 0) {
				t.Errorf("code %d, want %d\nstdout: %s\nstderr: %s", code, w.code, stdout.String(), stderr.String())
			}
		})
	}
	if text, err := os.ReadFile(mail); err != nil || !strings.HasPrefix(string(text), "<!doctype html>") {
		t.Errorf("the file has %.40q (%v)", text, err)
	}
}

func TestPreviewSnapshotEndsWithOneUntilItIsUpdated(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "catalogue")
	if err := os.CopyFS(dir, os.DirFS(testCatalogue)); err != nil {
		t.Fatal(err)
	}
	subject := dir + "/order-shipped/en/email.subject.txt"
	for i, w := range []struct {
		args, subject string
		code          int
		want          string
	}{
		{"", "", 1, "no golden files yet"},
		{" --update", "", 0, "14 updated"},
		{"", "", 0, "none differs"},
		{"", "Parcel {{.data.order}}", 1, "+Parcel A-1"},
		{" --update", "", 0, "2 updated"},
		{"", "", 0, "none differs"},
	} {
		if w.subject != "" {
			if err := os.WriteFile(subject, []byte(w.subject), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got := carillon(t, nil, strings.Fields("preview snapshot --catalogue "+dir+w.args)...)
		if got.code != w.code || !strings.Contains(got.stdout+got.stderr, w.want) {
			t.Errorf("step %d: code %d, want %d with %q:\n%s%s", i, got.code, w.code, w.want, got.stdout, got.stderr)
		}
	}
}

// lineWriter passes on what is written.
type lineWriter chan string

func (w lineWriter) Write(p []byte) (int, error) {
	w <- string(p)
	return len(p), nil
}

func TestPreviewServePrintsItsAddressAndStopsWhenTold(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	out, code := make(lineWriter, 1), make(chan int, 1)
	go func() {
		code <- run(ctx, []string{"preview", "serve", "--catalogue", testCatalogue}, nil, strings.NewReader(""), out, &bytes.Buffer{})
	}()
	var line string
	select {
	case line = <-out:
	case <-time.After(time.Minute):
		t.Fatal("no address was printed")
	}
	url := regexp.MustCompile(`http://127\.0\.0\.1:\d+/`).FindString(line)
	response, err := http.Get(url)
	if err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Errorf("%s: %s", url, response.Status)
	}
	stop()
	select {
	case got := <-code:
		if got != 0 {
			t.Errorf("exit code %d, want 0", got)
		}
	case <-time.After(time.Minute):
		t.Fatal("it did not stop")
	}
}

// browserThat puts an opener on the path, which notes what it is to open and
// ends with a code.
func browserThat(t *testing.T, code string) (opened string) {
	t.Helper()
	dir := t.TempDir()
	opened = filepath.Join(dir, "opened")
	script := "#!/bin/sh\necho \"$1\" > " + opened + "\nexit " + code + "\n"
	for _, name := range []string{"xdg-open", "open"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	return opened
}

func TestWhatIsRenderedCanBeOpened(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	opened := browserThat(t, "0")
	dir := filepath.Join(t.TempDir(), "a folder")
	for _, w := range []struct {
		name string
		args []string
		code int
		file string // the end of its address
		want string // in the file
	}{
		{"one, as a page", []string{"order-shipped"}, 0, "/preview.html", "<title>order-shipped"},
		{"one, as it was asked for", []string{"order-shipped", "--format", "json"}, 0, "/preview.json", `"subject"`},
		{"all, with their index", []string{"--all", "-o", dir}, 0, "/a%20folder/index.html", "order-shipped"},
		{"all, in a temporary folder", []string{"--all"}, 0, "/index.html", "order-shipped"},
		{"a diff, side by side", []string{"--all", "--diff", otherCatalogue(t)}, 1, "/preview.html", "<title>"},
	} {
		t.Run(w.name, func(t *testing.T) {
			got := carillon(t, nil, append([]string{"preview", "render", "--open", "--catalogue", testCatalogue}, w.args...)...)
			address, err := os.ReadFile(opened)
			if err != nil || got.code != w.code || got.stderr != "" {
				t.Fatalf("code %d (%v): %s%s", got.code, err, got.stdout, got.stderr)
			}
			u, err := url.Parse(strings.TrimSpace(string(address)))
			if err != nil || !strings.HasPrefix(string(address), "file:///") || !strings.HasSuffix(u.EscapedPath(), w.file) || !strings.Contains(got.stdout, string(address)) {
				t.Errorf("opened %s (%v), and printed %s", address, err, got.stdout)
			}
			if text, err := os.ReadFile(u.Path); err != nil || !strings.Contains(string(text), w.want) {
				t.Errorf("the file has %.80q (%v)", text, err)
			}
		})
	}
}

func TestAMachineWithoutABrowserIsNoFault(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	browserThat(t, "3")
	got := carillon(t, nil, "preview", "render", "order-shipped", "--open", "--catalogue", testCatalogue)
	if got.code != 0 || !strings.HasPrefix(got.stdout, "file:///") || !strings.Contains(got.stderr, "--open: no browser could be started (exit status 3): open the address yourself") {
		t.Errorf("%+v", got)
	}
}

func TestPreviewRenderAllTellsOfEveryFile(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "out")
	for range 2 { // the second time into its own
		got := carillon(t, nil, "preview", "render", "--all", "-o", dir, "--locale", "de,en-XA", "--catalogue", testCatalogue)
		if got.code != 0 || !strings.HasPrefix(got.stdout, dir+"/index.html: ") || !strings.HasSuffix(got.stdout, " 0 not rendered\n") || got.stderr != "" {
			t.Fatalf("%+v", got)
		}
	}
	first, err := os.ReadFile(dir + "/order-shipped/en-XA/default/email.eml")
	if err != nil || !bytes.Contains(first, []byte("boundary=")) {
		t.Fatalf("email.eml has %.100q (%v)", first, err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	carillon(t, nil, "preview", "render", "--all", "-o", dir, "--locale", "de,en-XA", "--catalogue", testCatalogue)
	if second, err := os.ReadFile(dir + "/order-shipped/en-XA/default/email.eml"); !bytes.Equal(first, second) {
		t.Errorf("the same mail differs (%v):\n%s\n%s", err, first, second)
	}
}

func TestColoursAreForPeopleAtTerminals(t *testing.T) {
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0) // a device of characters, as a terminal is
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	file, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, w := range []struct {
		name    string
		out     io.Writer
		environ []string
		want    bool
	}{
		{"a terminal", null, []string{"TERM=xterm"}, true},
		{"who wants none", null, []string{"NO_COLOR=1"}, false},
		{"who left the wish empty", null, []string{"NO_COLOR="}, true},
		{"a terminal that has none", null, []string{"TERM=dumb"}, false},
		{"a file", file, nil, false},
		{"a program", &bytes.Buffer{}, nil, false},
	} {
		if got := isTerminal(w.out, w.environ); got != w.want {
			t.Errorf("%s: colours %v, want %v", w.name, got, w.want)
		}
	}
}
