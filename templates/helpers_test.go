package templates

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/carillonhq/carillon/notice"
)

func loadTestdata(t testing.TB) *Catalogue {
	t.Helper()
	return mustLoad(t, os.DirFS("testdata/catalogue"))
}

func mustLoad(t testing.TB, fsys fs.FS) *Catalogue {
	t.Helper()
	c, err := Load(fsys)
	if err != nil {
		t.Fatalf("load: %v", err)
	}
	return c
}

// folder makes a catalogue of "path", "text" pairs.
func folder(pairs ...string) fstest.MapFS {
	files := fstest.MapFS{}
	for i := 0; i < len(pairs); i += 2 {
		files[pairs[i]] = &fstest.MapFile{Data: []byte(pairs[i+1])}
	}
	return files
}

// mail makes a catalogue whose one template "m" has the given text as its mail.
func mail(text string, more ...string) fstest.MapFS {
	return folder(append([]string{"m/en/email.subject.txt", "s", "m/en/email.txt", text}, more...)...)
}

// loadFaults loads a catalogue that must be at fault.
func loadFaults(t *testing.T, fsys fs.FS) Faults {
	t.Helper()
	_, err := Load(fsys)
	var faults Faults
	if !errors.As(err, &faults) {
		t.Fatalf("load gave %v, want faults", err)
	}
	return faults
}

// wantFault fails unless one fault has the place and the words.
func wantFault(t *testing.T, faults Faults, place string, words ...string) {
	t.Helper()
	for _, f := range faults {
		text := f.Error()
		if !strings.HasPrefix(text, place+":") {
			continue
		}
		found := true
		for _, w := range words {
			found = found && strings.Contains(f.What, w)
		}
		if found {
			return
		}
	}
	t.Errorf("no fault at %s with %q among:\n%v", place, words, faults)
}

func request(name string, m notice.Medium, data string) Request {
	at := time.Date(2027, 1, 1, 9, 30, 0, 0, time.UTC)
	return Request{
		Template: name, Medium: m, Locale: "en", ID: "3-abc", Data: jsontext.Value(data),
		To:         notice.Person{User: "u1", Name: "Ada", Email: "ada@example.com", Timezone: "Europe/Vienna"},
		AcceptedAt: at, Now: at,
	}
}

// renderText renders the mail of a catalogue made by mail.
func renderText(t *testing.T, fsys fs.FS, data string) string {
	t.Helper()
	r, err := mustLoad(t, fsys).Render(request("m", notice.MediumEmail, data))
	if err != nil {
		t.Fatalf("render: %v", err)
	}
	return r.Content.Email.Text
}
