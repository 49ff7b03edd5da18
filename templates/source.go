package templates

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/carillonhq/carillon/notice"
)

// The folders of a catalogue that hold no template.
const (
	layoutsDir   = "_layouts"
	partialsDir  = "_partials"
	localesDir   = "_locales"
	snapshotsDir = "_snapshots" // golden renderings; not read here
)

// part is one file of a locale's folder.
type part uint8

// The parts, by what they become of a notice.Content.
const (
	partSubject part = iota
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
	return []string{"email.subject.txt", "email.html", "email.txt", "push.title.txt", "push.body.txt", "push.data.json", "push.options.json", "webhook.json"}
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
	faults *Faults
}

// readSources reads the whole folder. The error tells that the folder itself
// cannot be read; what is wrong with single files goes to faults.
func readSources(fsys fs.FS, faults *Faults) (*sources, error) {
	r := reader{fsys, faults}
	entries, err := fs.ReadDir(fsys, ".")
	if err != nil {
		return nil, fmt.Errorf("read the catalogue's folder: %w", err)
	}
	s := &sources{templates: map[string]*templateSource{}, locales: map[string]string{}}
	for _, e := range entries {
		switch name := e.Name(); {
		case hidden(name):
		case !r.isDir(name):
			if name == catalogueFile {
				s.catalogue = r.text(name)
			}
		case name == layoutsDir:
			s.layouts = r.folder(name, ".html", ".txt")
		case name == partialsDir:
			s.partials = r.folder(name, ".html", ".txt", ".json")
		case name == localesDir:
			r.messages(s.locales)
		case name == snapshotsDir:
		case name[0] == '_':
			faults.add(position{name, 1, 1}, "a folder of that name has no meaning%s", known(name, []string{layoutsDir, partialsDir, localesDir, snapshotsDir}))
		case !validName(name):
			faults.add(position{name, 1, 1}, "is no name for a template: use letters, digits, \"-\", \"_\" and \".\", at most 100, as in order-shipped")
		default:
			s.templates[name] = r.template(name)
		}
	}
	return s, nil
}

// hidden tells files that editors, version control and mounted volumes leave.
func hidden(name string) bool { return name[0] == '.' || strings.HasSuffix(name, "~") }

// validName keeps names to what is safe in a URL, a path and a metric.
func validName(name string) bool {
	return len(name) <= 100 && strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") == ""
}

func (r reader) isDir(name string) bool {
	info, err := fs.Stat(r.fsys, name) // follows links, as mounted volumes need
	return err == nil && info.IsDir()
}

func (r reader) list(dir string) []string {
	entries, err := fs.ReadDir(r.fsys, dir)
	if err != nil {
		r.faults.add(position{dir, 1, 1}, "cannot be read: %v", reason(err))
	}
	var names []string
	for _, e := range entries {
		if !hidden(e.Name()) {
			names = append(names, e.Name())
		}
	}
	return names
}

// text reads one file, but never more than a source may have.
func (r reader) text(name string) string {
	info, err := fs.Stat(r.fsys, name)
	if err == nil && info.Size() > maxSource {
		r.faults.add(position{name, 1, 1}, "the file has %d bytes, more than the %d that a file may have: move what repeats into a partial", info.Size(), maxSource)
		return ""
	}
	text, err := fs.ReadFile(r.fsys, name)
	if err != nil {
		r.faults.add(position{name, 1, 1}, "cannot be read: %v", reason(err))
	}
	return strings.TrimPrefix(string(text), "\ufeff")
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
	for _, name := range r.list(dir) {
		file := path.Join(dir, name)
		switch {
		case !slices.Contains(extensions, path.Ext(name)):
			r.faults.add(position{file, 1, 1}, "has none of the extensions %s", strings.Join(extensions, ", "))
		default:
			files[file] = r.text(file)
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
	for _, entry := range r.list(name) {
		file := path.Join(name, entry)
		switch {
		case r.isDir(file):
			r.locale(t, entry)
		case entry == "template.yaml":
			t.settings = r.text(file)
		case strings.HasSuffix(entry, ".md"):
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
	for _, name := range r.list(dir) {
		file := path.Join(dir, name)
		i := slices.Index(partNames(), name)
		if i < 0 {
			r.faults.add(position{file, 1, 1}, "unknown part%s", known(name, partNames()))
			continue
		}
		parts[part(i)] = sourceFile{file, r.text(file)}
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

// localeOf is the locale of a file of _locales: de.yaml, and active.de.yaml
// as go-i18n's tool names it.
func localeOf(file string) string {
	name := strings.TrimSuffix(path.Base(file), ".yaml")
	return canonicalLocale(name[strings.LastIndexByte(name, '.')+1:])
}
