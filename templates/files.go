package templates

import (
	"cmp"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"time"
)

// Files are the files of a catalogue, or of one template, by their path with
// slashes. It is a folder for Load, and never changes.
type Files map[string]string

// Digest names the content of a file: the first 128 bits of its SHA-256, in 32
// hex digits.
func Digest(content string) string { return digestOf(content, 32) }

// Version is 12 hex digits over all names and contents.
func (f Files) Version() string {
	var all strings.Builder
	for _, name := range slices.Sorted(maps.Keys(f)) {
		all.WriteString(Digest(f[name]) + " " + name + "\n")
	}
	return digestOf(all.String(), 12)
}

// Bytes is how much the contents are together.
func (f Files) Bytes() (total int) {
	for _, content := range f {
		total += len(content)
	}
	return total
}

// Open opens a file, or a folder, which exists when something lies in it.
func (f Files) Open(name string) (fs.File, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	if content, ok := f[name]; ok {
		return &openFile{fileInfo{path.Base(name), len(content), 0}, strings.NewReader(content)}, nil
	}
	entries, err := f.ReadDir(name)
	if err != nil {
		return nil, err
	}
	return &openFolder{fileInfo{path.Base(name), 0, fs.ModeDir}, entries}, nil
}

// ReadDir lists a folder.
func (f Files) ReadDir(name string) ([]fs.DirEntry, error) {
	prefix := name + "/"
	if name == "." {
		prefix = ""
	}
	found := map[string]fs.DirEntry{}
	for file, content := range f {
		rest, below := strings.CutPrefix(file, prefix)
		if !below {
			continue
		}
		if child, _, deeper := strings.Cut(rest, "/"); deeper {
			found[child] = fs.FileInfoToDirEntry(fileInfo{child, 0, fs.ModeDir})
		} else {
			found[child] = fs.FileInfoToDirEntry(fileInfo{child, len(content), 0})
		}
	}
	if len(found) == 0 && name != "." {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return slices.SortedFunc(maps.Values(found), func(a, b fs.DirEntry) int { return cmp.Compare(a.Name(), b.Name()) }), nil
}

// fileInfo describes a file or a folder of Files.
type fileInfo struct {
	name string
	size int
	mode fs.FileMode
}

func (i fileInfo) Name() string       { return i.name }
func (i fileInfo) Size() int64        { return int64(i.size) }
func (i fileInfo) Mode() fs.FileMode  { return i.mode | 0o444 }
func (i fileInfo) ModTime() time.Time { return time.Time{} }
func (i fileInfo) IsDir() bool        { return i.mode.IsDir() }
func (i fileInfo) Sys() any           { return nil }

type openFile struct {
	fileInfo
	*strings.Reader
}

func (o *openFile) Size() int64                { return o.fileInfo.Size() }
func (o *openFile) Stat() (fs.FileInfo, error) { return o.fileInfo, nil }
func (o *openFile) Close() error               { return nil }

type openFolder struct {
	fileInfo
	rest []fs.DirEntry
}

func (o *openFolder) Stat() (fs.FileInfo, error) { return o.fileInfo, nil }
func (o *openFolder) Close() error               { return nil }

// Read fails: a folder has entries.
func (o *openFolder) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: o.name, Err: fs.ErrInvalid}
}

// ReadDir gives the next n entries, or all that are left.
func (o *openFolder) ReadDir(n int) ([]fs.DirEntry, error) {
	if n > 0 && len(o.rest) == 0 {
		return nil, io.EOF
	}
	if n <= 0 || n > len(o.rest) {
		n = len(o.rest)
	}
	next := o.rest[:n]
	o.rest = o.rest[n:]
	return next, nil
}
