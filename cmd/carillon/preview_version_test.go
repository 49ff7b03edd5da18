package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/carillonhq/carillon/queue/queuetest"
)

// shelved is a catalogue that is pushed in two versions.
type shelved struct {
	server      *queuetest.Server
	config, dir string
	versions    [2]string // the second is current
}

func newShelved(t *testing.T) *shelved {
	t.Helper()
	s := &shelved{server: queuetest.Start(t), dir: filepath.Join(t.TempDir(), "catalogue")}
	s.config = writeConfig(t, fmt.Sprintf("redis: {url: %q}\nauth: {disabled: true}\nassets: {base_url: 'https://cdn.acme.example/mail'}", s.server.URL()))
	if err := os.CopyFS(s.dir, os.DirFS(testCatalogue)); err != nil {
		t.Fatal(err)
	}
	s.write(t, "_assets/logo.svg", `<svg xmlns="http://www.w3.org/2000/svg"/>`)
	s.write(t, "order-shipped/en/email.html", `<img src="{{asset "logo.svg"}}"><p>{{.data.order}}</p>`)
	for i, subject := range []string{"First {{.data.order}}", "Second {{.data.order}}"} {
		s.versions[i] = s.push(t, subject)
	}
	return s
}

func (s *shelved) write(t *testing.T, name, text string) {
	t.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// push pushes the catalogue with a subject, and returns its version.
func (s *shelved) push(t *testing.T, subject string) string {
	t.Helper()
	s.write(t, "order-shipped/en/email.subject.txt", subject)
	got := carillon(t, nil, "catalogue", "push", "--config", s.config, "--catalogue", s.dir)
	version := regexp.MustCompile(`^version ([0-9a-f]{12}) is current`).FindStringSubmatch(got.stdout)
	if got.code != 0 || version == nil {
		t.Fatalf("push: %+v", got)
	}
	return version[1]
}

func TestEveryVersionThatIsRememberedCanBePreviewed(t *testing.T) {
	s := newShelved(t)
	first, second := s.versions[0], s.versions[1]
	near := first[:11] + "x"
	for name, w := range map[string]struct {
		args           string
		code           int
		stdout, stderr string // substrings; an empty one wants silence
	}{
		"current is what was pushed last":            {"render order-shipped --version current", 0, "Subject: Second A-1", ""},
		"a version by its whole name":                {"render order-shipped --version " + first, 0, "Subject: First A-1", ""},
		"a version by its beginning":                 {"render order-shipped --version " + first[:7], 0, "Subject: First A-1", ""},
		"assets are named as mails that are sent do": {"render order-shipped --format html --channel email --version current", 0, `src="https://cdn.acme.example/mail/logo.`, ""},
		"a template that the version does not have":  {"render order-shiped --version current", 1, "", "did you mean order-shipped?"},
		"a version that nobody remembers":            {"render order-shipped --version 000000000000", 1, "", `version "000000000000": no such version is remembered: carillon catalogue list shows those that are`},
		"a version that is near one":                 {"render order-shipped --version " + near, 1, "", "did you mean " + first + "?"},
		"the difference of two versions":             {"render order-shipped --version current --diff " + first[:7], 1, "+Subject: Second A-1", ""},
		"a version is no different from itself":      {"render --all --version " + second + " --diff current", 0, "0 changed", ""},
		"a folder and a version":                     {"render order-shipped --catalogue " + s.dir + " --diff " + first, 1, "-Subject: First A-1", ""},
		"a folder as it was pushed":                  {"render --all --catalogue " + s.dir + " --diff current", 0, "0 added, 0 removed, 0 changed", ""},
		"a difference from no version":               {"render --all --version current --diff HEAD~1", 1, "", `version "HEAD~1": no such version`},
		"serving no version":                         {"serve --version 000000000000", 1, "", "carillon catalogue list"},
		"a folder beside a version":                  {"render order-shipped --version current --catalogue " + s.dir, 2, "", "contradict each other"},
	} {
		t.Run(name, func(t *testing.T) {
			got := carillon(t, nil, append(strings.Fields("preview "+w.args), "--config", s.config)...)
			if got.code != w.code || !strings.Contains(got.stdout, w.stdout) || !strings.Contains(got.stderr, w.stderr) ||
				(w.stdout == "") != (got.stdout == "") || (w.stderr == "") != (got.stderr == "") {
				t.Errorf("got %+v", got)
			}
		})
	}
	diff := carillon(t, nil, "catalogue", "diff", first[:7], "current", "--config", s.config)
	if diff.code != 0 || !strings.Contains(diff.stdout, "+Second") {
		t.Errorf("catalogue diff by a beginning: %+v", diff)
	}
	s.server.Kill()
	for _, args := range []string{"render order-shipped --version current", "serve --version current", "render --all --diff current --catalogue " + s.dir} {
		if got := carillon(t, nil, append(strings.Fields("preview "+args), "--config", s.config)...); got.code != 3 || !strings.Contains(got.stderr, "is redis.url right") {
			t.Errorf("%s with Redis away: %+v", args, got)
		}
	}
}

func TestAVersionHasToBeSomewhere(t *testing.T) {
	empty := queuetest.Start(t)
	for args, want := range map[string]outcome{
		"render order-shipped --version current":      {2, "", "name the gateway's configuration as --config FILE"},
		"serve --version current":                     {2, "", "name the gateway's configuration as --config FILE"},
		"render order-shipped --config carillon.yaml": {2, "", "--config: goes with --version or --diff"},
		"render order-shipped --version current --config " + writeConfig(t, fmt.Sprintf("redis: {url: %q}\nauth: {disabled: true}", empty.URL())): {1, "", "nothing has been pushed yet"},
	} {
		if got := carillon(t, nil, append([]string{"preview"}, strings.Fields(args)...)...); got.code != want.code || got.stdout != "" || !strings.Contains(got.stderr, want.stderr) {
			t.Errorf("%s: %+v", args, got)
		}
	}
}

func TestAVersionIsChosenByItsBeginning(t *testing.T) {
	versions := []string{"3f9c1a0b77de", "3f9d00000000", "81d00c2be4aa"}
	for word, want := range map[string]string{"3f9c1a0b77de": "3f9c1a0b77de", "8": "81d00c2be4aa", "3f9d": "3f9d00000000"} {
		if got, err := chooseVersion(versions, word); got != want || err != nil {
			t.Errorf("%q: %q (%v), want %q", word, got, err, want)
		}
	}
	for word, want := range map[string]string{
		"3f9":           `"3f9" is the beginning of 3f9c1a0b77de and of 3f9d00000000: write more of it`,
		"":              "no such version is remembered",
		"3f9c1a0b77de0": "did you mean 3f9c1a0b77de?",
	} {
		if got, err := chooseVersion(versions, word); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %q (%v), want %q", word, got, err, want)
		}
	}
}

// served starts preview serve, and returns its address.
func served(t *testing.T, args ...string) string {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	out, ended := make(lineWriter, 1), make(chan struct{})
	t.Cleanup(func() { stop(); <-ended })
	var stderr bytes.Buffer
	go func() {
		defer close(ended)
		run(ctx, append([]string{"preview", "serve"}, args...), nil, strings.NewReader(""), out, &stderr)
	}()
	select {
	case line := <-out:
		return regexp.MustCompile(`http://127\.0\.0\.1:\d+/`).FindString(line)
	case <-ended:
		t.Fatalf("it ended: %s", stderr.String())
	case <-time.After(time.Minute):
		t.Fatal("no address was printed")
	}
	return ""
}

// subject is the subject of a rendering that the page gets.
func subject(t *testing.T, base string) string {
	t.Helper()
	return regexp.MustCompile(`"subject":"(\w+) A-1"`).FindString(fetched(t, http.MethodPost, base+"api/render", `{"template":"order-shipped","locales":["en"],"data":"{\"order\":\"A-1\"}"}`))
}

func fetched(t *testing.T, method, url, body string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s %s (%v)", url, res.Status, text, err)
	}
	return string(text)
}

func TestAServedVersionStaysAndTheCurrentOneFollowsWhatIsPushed(t *testing.T) {
	s := newShelved(t)
	fixed, current := served(t, "--config", s.config, "--version", s.versions[0][:6]), served(t, "--config", s.config, "--version", "current")
	if got := subject(t, fixed); got != `"subject":"First A-1"` {
		t.Errorf("the first version says %s", got)
	}
	if got := subject(t, current); got != `"subject":"Second A-1"` {
		t.Errorf("the current version says %s", got)
	}
	if source := fetched(t, http.MethodGet, fixed+"api/source?template=order-shipped", ""); !strings.Contains(source, "First {{.data.order}}") {
		t.Errorf("the sources are not the version's own: %.300s", source)
	}
	s.push(t, "Third {{.data.order}}")
	for deadline := time.Now().Add(15 * time.Second); subject(t, current) != `"subject":"Third A-1"`; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("what was pushed is not shown: %s", subject(t, current))
		}
	}
	if got := subject(t, fixed); got != `"subject":"First A-1"` {
		t.Errorf("after a push the first version says %s", got)
	}
}
