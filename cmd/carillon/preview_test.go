package main

import (
	"bytes"
	"context"
	"net/http"
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

func TestPreviewCommands(t *testing.T) {
	warned := warnedCatalogue(t)
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
	case <-time.After(10 * time.Second):
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
	case <-time.After(10 * time.Second):
		t.Fatal("it did not stop")
	}
}
