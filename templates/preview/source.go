package preview

import (
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path"
	"strings"
)

const (
	// mostSource is how much of a file the source view shows, in bytes.
	mostSource = 256 << 10
	// mostFiles is how many files it lists.
	mostFiles = 400
)

// sourceView is a template's files and those that every template shares.
type sourceView struct {
	Files []sourceFile `json:"files"`
}

type sourceFile struct {
	Name string `json:"name"` // as faults name it: relative to the catalogue, with slashes
	Text string `json:"text"`
}

// serveSource shows files as they are in the folder now, which is what faults
// speak of, and not as the served version was read; without a folder those of
// the served version.
func (s *server) serveSource(w http.ResponseWriter, r *http.Request) {
	name := r.FormValue("template")
	if !fs.ValidPath(name) || name == "." || strings.ContainsAny(name, `/\`) {
		fail(w, http.StatusNotFound, fmt.Sprintf("there are no files of a template %q to show", name))
		return
	}
	if s.Dir == "" {
		answer(w, sourcesOf(s.store.Current().Files(), name))
		return
	}
	// A root is opened for each request, since a checkout may replace the
	// folder, and no link in it leads out of it.
	root, err := os.OpenRoot(s.Dir)
	if err != nil {
		fail(w, http.StatusInternalServerError, "the catalogue's folder cannot be read")
		return
	}
	defer root.Close()
	answer(w, sourcesOf(root.FS(), name))
}

// sourcesOf are the files of one template and of all.
func sourcesOf(fsys fs.FS, template string) (view sourceView) {
	for _, folder := range []string{template, "_layouts", "_partials", "_locales"} {
		view.add(fsys, folder)
	}
	view.addFile(fsys, "catalogue.yaml")
	return view
}

// add lists a folder's files. A folder that is not there has none.
func (v *sourceView) add(fsys fs.FS, folder string) {
	_ = fs.WalkDir(fsys, folder, func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil || strings.HasPrefix(path.Base(name), "."):
			return nil // the list is of what can be read
		case len(v.Files) >= mostFiles:
			return fs.SkipAll
		case !d.IsDir():
			v.addFile(fsys, name)
		}
		return nil
	})
}

func (v *sourceView) addFile(fsys fs.FS, name string) {
	f, err := fsys.Open(name)
	if err != nil {
		return
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, mostSource+1))
	if err != nil {
		return
	}
	shown := strings.ToValidUTF8(string(text[:min(len(text), mostSource)]), "\uFFFD")
	if len(text) > mostSource {
		shown += "\n… the rest is not shown"
	}
	v.Files = append(v.Files, sourceFile{name, shown})
}
