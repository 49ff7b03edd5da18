package templates

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/carillonhq/carillon/notice"
)

// The folders of a catalogue that hold no template.
const (
	layoutsDir  = "_layouts"
	partialsDir = "_partials"
	localesDir  = "_locales"
	// golden renderings; not read here
	snapshotsDir = "_snapshots"
)

// part is one file of a locale's folder.
type part uint8

// The parts, by what they become of a notice.Content.
const (
	partSubject   part = iota
	partPreheader      // what a list of mails shows beside the subject
	partHTML
	partText
	partTitle
	partBody
	partPushData
	partPushOptions
	partWebhook
	partCount
)

// partNames are the parts' file names, in the order of the constants.
func partNames() []string {
	return []string{"email.subject.txt", "email.preheader.txt", "email.html", "email.txt", "push.title.txt", "push.body.txt", "push.data.json", "push.options.json", "webhook.json"}
}

func (p part) medium() notice.Medium {
	switch {
	case p <= partText:
		return notice.MediumEmail
	case p <= partPushOptions:
		return notice.MediumPush
	}
	return notice.MediumWebhook
}

// sources are the files of a catalogue as they were read, before any is
// understood. Paths are relative to the catalogue's folder.
type sources struct {
	catalogue string
	layouts   map[string]string // path → text
	partials  map[string]string
	locales   map[string]string          // canonical locale → text
	templates map[string]*templateSource // by name
	assets    map[string]string          // path → content
}

// templateSource is one template's folder.
type templateSource struct {
	name     string
	settings string
	locales  map[string]map[part]sourceFile
}

// sourceFile is one file, with the path that faults name.
type sourceFile struct{ path, text string }

// reader walks a catalogue's folder.
type reader struct {
	fsys   fs.FS
	links  fs.FS // follows links, but not out of the folder
	faults *Faults
	budget *budget
	images *budget // the assets' own
	// references: assets hold their digests in place of their contents.
	references bool
}

// maxFiles and maxBytes bound a catalogue.
const (
	maxFiles = 200_000
	maxBytes = 512 << 20
)

// budget is what the readers of one catalogue may still read.
type budget struct {
	files, bytes atomic.Int64
	most         int64 // bytes
}

// spend reports whether a file of a size may be read yet.
func (b *budget) spend(size int64) bool {
	return b.files.Add(1) <= maxFiles && b.bytes.Add(size) <= b.most
}

// folderFS is a folder of the disk. Links are followed only within it: a
// template that is a link to /etc/passwd would send that to somebody.
type folderFS struct {
	fs.FS
	inside fs.FS
}

// readSources reads the whole folder. The error tells that the folder itself
// cannot be read; what is wrong with single files goes to faults.
func readSources(fsys fs.FS, o options, faults *Faults) (*sources, error) {
	r := reader{fsys, fsys, faults, &budget{most: maxBytes}, &budget{most: maxAssets}, o.references}
	if folder, ok := fsys.(folderFS); ok {
		r.fsys, r.links = folder.FS, folder.inside
	}
	entries, err := fs.ReadDir(fsys, ".")
	if err != nil {
		return nil, fmt.Errorf("read the catalogue's folder: %w", err)
	}
	s := &sources{templates: map[string]*templateSource{}, locales: map[string]string{}, assets: map[string]string{}}
	var templates []string
	for _, e := range entries {
		switch name := e.Name(); {
		case hidden(name):
		case r.leadsOut(name, e):
			faults.add(position{name, 1, 1}, "is a link that cannot be followed within the catalogue: put what it leads to there itself")
		case !r.isDir(name, e):
			if name == catalogueFile {
				s.catalogue = r.text(name, e)
			}
		case name == layoutsDir:
			s.layouts = r.folder(name, ".html", ".txt")
		case name == partialsDir:
			s.partials = r.folder(name, ".html", ".txt", ".json")
		case name == localesDir:
			r.messages(s.locales)
		case name == assetsDir:
			r.assets(name, s.assets)
		case name == snapshotsDir:
		case name[0] == '_':
			faults.add(position{name, 1, 1}, "a folder of that name has no meaning%s", known(name, []string{layoutsDir, partialsDir, localesDir, assetsDir, snapshotsDir}))
		case !validName(name):
			faults.add(position{name, 1, 1}, "is no name for a template: use letters, digits, \"-\", \"_\" and \".\", at most 100, as in order-shipped")
		default:
			templates = append(templates, name)
		}
	}
	r.templates(templates, s)
	return s, nil
}

// templates reads the folders of many templates at once.
func (r reader) templates(names []string, into *sources) {
	read, found := make([]*templateSource, len(names)), make([]Faults, len(names))
	each(len(names), func(i int) {
		own := r
		own.faults = &found[i]
		read[i] = own.template(names[i])
	})
	for i, t := range read {
		into.templates[names[i]] = t
		*r.faults = append(*r.faults, found[i]...)
	}
}

// hidden tells files that editors, version control and mounted volumes leave.
func hidden(name string) bool { return name[0] == '.' || strings.HasSuffix(name, "~") }

// validName keeps names to what is safe in a URL, a path and a metric.
func validName(name string) bool {
	return len(name) <= 100 && strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") == ""
}

// isDir follows links, as mounted volumes need.
func (r reader) isDir(name string, e fs.DirEntry) bool {
	if e.Type()&fs.ModeSymlink == 0 {
		return e.IsDir()
	}
	info, err := fs.Stat(r.links, name)
	return err == nil && info.IsDir()
}

// leadsOut reports whether an entry is a link that cannot be followed within
// the catalogue.
func (r reader) leadsOut(name string, e fs.DirEntry) bool {
	if e.Type()&fs.ModeSymlink == 0 {
		return false
	}
	_, err := fs.Stat(r.links, name)
	return err != nil
}

func (r reader) list(dir string) []fs.DirEntry {
	entries, err := fs.ReadDir(r.links, dir)
	if err != nil {
		r.faults.add(position{dir, 1, 1}, "cannot be read: %v", reason(err))
	}
	return slices.DeleteFunc(entries, func(e fs.DirEntry) bool { return hidden(e.Name()) })
}

// text reads one source.
func (r reader) text(name string, e fs.DirEntry) string {
	text, _ := r.content(name, e, maxSource, "move what repeats into a partial")
	return strings.TrimPrefix(text, "\ufeff")
}

// content reads one file, but never more than it may have.
func (r reader) content(name string, e fs.DirEntry, most int, mend string) (content string, ok bool) {
	fsys, kind := r.fsys, e.Type()
	if kind&fs.ModeSymlink != 0 {
		info, err := fs.Stat(r.links, name)
		if err != nil {
			r.faults.add(position{name, 1, 1}, "is a link that cannot be followed within the catalogue (%v): put the file itself there", reason(err))
			return "", false
		}
		fsys, kind = r.links, info.Mode().Type()
	}
	if kind != 0 { // opening a pipe would wait for its other end
		r.faults.add(position{name, 1, 1}, "is no regular file: put one there")
		return "", false
	}
	text, err := readAll(fsys, name, most)
	budget := r.budget
	if most == maxAsset {
		budget = r.images
	}
	switch {
	case err != nil:
		r.faults.add(position{name, 1, 1}, "cannot be read: %v", reason(err))
	case len(text) > most:
		r.faults.add(position{name, 1, 1}, "the file has more than the %d bytes that a file may have: %s", most, mend)
	case !budget.spend(int64(len(text))):
		r.faults.add(position{".", 1, 1}, "the catalogue has more than %d files or %d bytes: split it", maxFiles, budget.most)
	default:
		return string(text), true
	}
	return "", false
}

// readAll reads a file, or one byte more than it may have.
func readAll(fsys fs.FS, name string, most int) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	buffer := make([]byte, 0, 4<<10)
	for len(buffer) <= most {
		buffer = slices.Grow(buffer, 512)
		n, err := f.Read(buffer[len(buffer):min(cap(buffer), most+1)])
		buffer = buffer[:len(buffer)+n]
		if errors.Is(err, io.EOF) {
			return buffer, nil
		}
		if err != nil {
			return nil, err
		}
	}
	return buffer, nil
}

// reason is err without the path, which the fault names already.
func reason(err error) error {
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		return pathErr.Err
	}
	return err
}

// folder reads the files of dir that have one of the extensions.
func (r reader) folder(dir string, extensions ...string) map[string]string {
	files := map[string]string{}
	for _, e := range r.list(dir) {
		file := path.Join(dir, e.Name())
		switch {
		case !slices.Contains(extensions, path.Ext(file)):
			r.faults.add(position{file, 1, 1}, "has none of the extensions %s", strings.Join(extensions, ", "))
		default:
			files[file] = r.text(file, e)
		}
	}
	return files
}

func (r reader) messages(into map[string]string) {
	for file, text := range r.folder(localesDir, ".yaml") {
		locale := localeOf(file)
		if !validLocale(locale) {
			r.faults.add(position{file, 1, 1}, "%q is no BCP 47 language tag: name the file like de.yaml or de-AT.yaml", locale)
			continue
		}
		if _, twice := into[locale]; twice {
			r.faults.add(position{file, 1, 1}, "locale %s has two files: keep one", locale)
		}
		into[locale] = text
	}
}

func (r reader) template(name string) *templateSource {
	t := &templateSource{name: name, locales: map[string]map[part]sourceFile{}}
	for _, e := range r.list(name) {
		file := path.Join(name, e.Name())
		switch {
		case r.isDir(file, e):
			r.locale(t, e.Name())
		case e.Name() == "template.yaml":
			t.settings = r.text(file, e)
		case strings.HasSuffix(file, ".md"):
		default:
			r.faults.add(position{file, 1, 1}, "unknown file: a template has template.yaml and one folder a locale, like %s/en/email.txt", name)
		}
	}
	return t
}

func (r reader) locale(t *templateSource, folder string) {
	dir, locale := path.Join(t.name, folder), canonicalLocale(folder)
	if !validLocale(locale) {
		r.faults.add(position{dir, 1, 1}, "%q is no BCP 47 language tag: name the folder like en or de-AT", folder)
		return
	}
	if _, twice := t.locales[locale]; twice {
		r.faults.add(position{dir, 1, 1}, "locale %s has two folders: keep one", locale)
	}
	parts := map[part]sourceFile{}
	for _, e := range r.list(dir) {
		name := e.Name()
		file := path.Join(dir, name)
		i := slices.Index(partNames(), name)
		if i < 0 {
			r.faults.add(position{file, 1, 1}, "unknown part%s", known(name, partNames()))
			continue
		}
		parts[part(i)] = sourceFile{file, r.text(file, e)}
	}
	t.locales[locale] = parts
}

// texts are all the files that hold templates, by path.
func (s *sources) texts() map[string]string {
	all := maps.Clone(s.layouts)
	if all == nil {
		all = map[string]string{}
	}
	maps.Copy(all, s.partials)
	for _, t := range s.templates {
		for _, parts := range t.locales {
			for _, f := range parts {
				all[f.path] = f.text
			}
		}
	}
	return all
}

// files is everything that was read, by path; of a locale's messages the path
// is the one that faults and versions name.
func (s *sources) files() Files {
	all := Files(s.texts())
	maps.Copy(all, s.assets)
	for locale, text := range s.locales {
		all[path.Join(localesDir, locale+".yaml")] = text
	}
	for _, t := range s.templates {
		if t.settings != "" {
			all[path.Join(t.name, "template.yaml")] = t.settings
		}
	}
	if s.catalogue != "" {
		all[catalogueFile] = s.catalogue
	}
	return all
}

// localeOf is the locale of a file of _locales: de.yaml, and active.de.yaml
// as go-i18n's tool names it.
func localeOf(file string) string {
	name := strings.TrimSuffix(path.Base(file), ".yaml")
	return canonicalLocale(name[strings.LastIndexByte(name, '.')+1:])
}
