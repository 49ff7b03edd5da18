package shelf

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/redis/go-redis/v9"

	"github.com/carillonhq/carillon/templates"
)

// Manifest is what a version of the catalogue consists of.
type Manifest struct {
	Files     map[string]File   `json:"files"`     // by path
	Templates map[string]string `json:"templates"` // name → version
}

// File is one file of a version.
type File struct {
	Digest string `json:"digest"` // templates.Digest of its content
	Bytes  int    `json:"bytes"`
}

// Entry is one change of the current version.
type Entry struct {
	Seq       int64  `json:"seq"` // from 1
	Version   string `json:"version"`
	At        int64  `json:"at"`     // milliseconds since 1970, by Redis' clock
	Action    string `json:"action"` // push or rollback
	By        string `json:"by"`
	Message   string `json:"message"`
	Templates int    `json:"templates"`
	Files     int    `json:"files"`
	Bytes     int    `json:"bytes"`
}

// Time is At.
func (e Entry) Time() time.Time { return time.UnixMilli(e.At).UTC() }

// The actions of an Entry.
const (
	ActionPush     = "push"
	ActionRollback = "rollback"
)

const (
	// uploadLife is how long a file stays that was uploaded for a push that
	// never came to its end.
	uploadLife = time.Hour
	// batchFiles and batchBytes bound one round trip of files.
	batchFiles, batchBytes = 500, 4 << 20
	// pushTries bounds how often files are uploaded that went in between.
	pushTries = 3
)

// Change says who changes the catalogue, and on what condition.
type Change struct {
	By, Message string
	Expect      string // the version that must be current, None for no version; empty: any
}

// ManifestOf describes a catalogue.
func ManifestOf(c *templates.Catalogue) Manifest {
	m := Manifest{Files: map[string]File{}, Templates: map[string]string{}}
	for path, content := range c.Files() {
		m.Files[path] = File{templates.Digest(content), len(content)}
	}
	for _, name := range c.Names() {
		t, _ := c.Template(name)
		m.Templates[name] = t.Version
	}
	return m
}

// blobName is the name of a file's content in Redis. Those of assets are apart,
// since anybody may ask for them.
func blobName(path, digest string) string {
	if strings.HasPrefix(path, "_assets/") {
		return "asset:" + digest
	}
	return "file:" + digest
}

// bytes is how much the files are together.
func (m Manifest) bytes() (total int) {
	for _, f := range m.Files {
		total += f.Bytes
	}
	return total
}

// Push makes a catalogue current that the caller has checked. It is false when
// it was current already. A *RacedError says that it is not, because the
// condition did not hold.
func (s *Shelf) Push(ctx context.Context, c *templates.Catalogue, by Change) (Entry, bool, error) {
	files, m := c.Files(), ManifestOf(c)
	text, err := json.Marshal(m, json.Deterministic(true))
	if err != nil {
		return Entry{}, false, fmt.Errorf("write the manifest: %w", err)
	}
	contents := make(map[string]string, len(files))
	for path, content := range files {
		contents[blobName(path, m.Files[path].Digest)] = content
	}
	e := Entry{Version: files.Version(), Action: ActionPush, By: by.By, Message: by.Message, Templates: len(m.Templates), Files: len(m.Files), Bytes: m.bytes()}
	names := slices.Sorted(maps.Keys(contents))
	absent, err := s.absent(ctx, names)
	for try := 0; err == nil; try++ {
		if err = s.upload(ctx, absent, contents); err != nil {
			break
		}
		var done bool
		if e, done, absent, err = s.apply(ctx, e, by.Expect, string(text), names); err != nil || len(absent) == 0 {
			return e, done, err
		}
		if try == pushTries {
			err = errors.New("files that were uploaded went away again: does Redis evict keys (maxmemory-policy)?")
		}
	}
	return e, false, err
}

// Rollback makes a version current again that is remembered.
func (s *Shelf) Rollback(ctx context.Context, version string, by Change) (Entry, bool, error) {
	m, err := s.Manifest(ctx, version)
	if err != nil {
		return Entry{}, false, err
	}
	e := Entry{Version: version, Action: ActionRollback, By: by.By, Message: by.Message, Templates: len(m.Templates), Files: len(m.Files), Bytes: m.bytes()}
	e, done, _, err := s.apply(ctx, e, by.Expect, "", nil)
	return e, done, err
}

// apply runs the change. absent are blobs without which it was not done.
func (s *Shelf) apply(ctx context.Context, e Entry, expect, manifest string, names []string) (_ Entry, done bool, absent []string, err error) {
	entry, err := json.Marshal(e)
	if err != nil {
		return e, false, nil, fmt.Errorf("write the history's entry: %w", err)
	}
	args := []any{s.keys.prefix, s.keys.changed(), e.Version, expect, s.Keep, string(entry), manifest}
	for _, name := range names {
		args = append(args, name)
	}
	said, err := s.change.Run(ctx, s.rdb, []string{s.keys.current(), s.keys.history(), s.keys.refs()}, args...).StringSlice()
	if err != nil {
		return e, false, nil, wrap("switch the catalogue", err)
	}
	switch said[0] {
	case "same":
		return e, false, nil, nil
	case "raced":
		return e, false, nil, &RacedError{Expected: expect, Current: said[1]}
	case "unknown":
		return e, false, nil, fmt.Errorf("version %s: %w: carillon catalogue list shows those that are", e.Version, ErrUnknown)
	case "missing":
		return e, false, said[1:], nil
	}
	if err := json.Unmarshal([]byte(said[1]), &e); err != nil {
		return e, true, nil, fmt.Errorf("read the history's entry: %w", err)
	}
	return e, true, nil, nil
}

// absent are those of the blobs that Redis does not have.
func (s *Shelf) absent(ctx context.Context, names []string) (missing []string, err error) {
	for batch := range slices.Chunk(names, batchFiles) {
		pipe := s.rdb.Pipeline()
		found := make([]*redis.IntCmd, len(batch))
		for i, name := range batch {
			found[i] = pipe.Exists(ctx, s.keys.blob(name))
		}
		if _, err := pipe.Exec(ctx); err != nil {
			return nil, wrap("ask which files are there", err)
		}
		for i, name := range batch {
			if found[i].Val() == 0 {
				missing = append(missing, name)
			}
		}
	}
	return missing, nil
}

// upload writes blobs that no version has yet.
func (s *Shelf) upload(ctx context.Context, names []string, contents map[string]string) error {
	for len(names) > 0 {
		pipe, n, size := s.rdb.Pipeline(), 0, 0
		for n < len(names) && n < batchFiles && size < batchBytes {
			content := contents[names[n]]
			// Not over one that is there: it may belong to a version, and be for ever.
			pipe.SetNX(ctx, s.keys.blob(names[n]), content, uploadLife)
			size += len(content)
			n++
		}
		if _, err := pipe.Exec(ctx); err != nil {
			return wrap("upload files", err)
		}
		names = names[n:]
	}
	return nil
}

// Current is the version that everybody is to serve; empty before the first
// push.
func (s *Shelf) Current(ctx context.Context) (string, error) {
	version, err := s.rdb.HGet(ctx, s.keys.current(), "version").Result()
	if errors.Is(err, redis.Nil) {
		return "", nil
	}
	return version, wrap("ask for the current catalogue", err)
}

// History lists the changes that are remembered, newest first.
func (s *Shelf) History(ctx context.Context) ([]Entry, error) {
	texts, err := s.rdb.LRange(ctx, s.keys.history(), 0, -1).Result()
	if err != nil {
		return nil, wrap("read the catalogue's history", err)
	}
	entries := make([]Entry, len(texts))
	for i, text := range texts {
		if err := json.Unmarshal([]byte(text), &entries[i]); err != nil {
			return nil, fmt.Errorf("read the catalogue's history: %w", err)
		}
	}
	return entries, nil
}

// Manifest is what a version consists of; ErrUnknown when it is not
// remembered.
func (s *Shelf) Manifest(ctx context.Context, version string) (m Manifest, err error) {
	text, err := s.rdb.Get(ctx, s.keys.version(version)).Result()
	if errors.Is(err, redis.Nil) {
		return m, fmt.Errorf("version %s: %w: carillon catalogue list shows those that are", version, ErrUnknown)
	}
	if err != nil {
		return m, wrap("read version "+version, err)
	}
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		return m, fmt.Errorf("read version %s: %w", version, err)
	}
	return m, nil
}

// fetched are the files that were read last: a new version mostly has the same
// ones, and the catalogue that was made of them holds them anyhow.
type fetched struct {
	mu    sync.Mutex
	files map[string]string // by blob name
}

// Files is what a version is made of, each file held against its digest.
func (s *Shelf) Files(ctx context.Context, version string) (templates.Files, error) {
	m, err := s.Manifest(ctx, version)
	if err != nil {
		return nil, err
	}
	s.last.mu.Lock()
	defer s.last.mu.Unlock()
	blobs, missing := map[string]string{}, []string{}
	for path, f := range m.Files {
		name := blobName(path, f.Digest)
		if _, twice := blobs[name]; twice {
			continue
		}
		content, known := s.last.files[name]
		if blobs[name] = content; !known {
			missing = append(missing, name)
		}
	}
	if err := s.fetch(ctx, missing, blobs); err != nil {
		return nil, fmt.Errorf("read version %s: %w", version, err)
	}
	s.last.files = blobs
	files := make(templates.Files, len(m.Files))
	for path, f := range m.Files {
		files[path] = blobs[blobName(path, f.Digest)]
	}
	return files, nil
}

// fetch reads blobs.
func (s *Shelf) fetch(ctx context.Context, names []string, into map[string]string) error {
	for batch := range slices.Chunk(names, batchFiles) {
		pipe := s.rdb.Pipeline()
		got := make([]*redis.StringCmd, len(batch))
		for i, name := range batch {
			got[i] = pipe.Get(ctx, s.keys.blob(name))
		}
		if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
			return wrap("read files", err)
		}
		for i, name := range batch {
			content, err := got[i].Result()
			_, digest, _ := strings.Cut(name, ":")
			if err != nil || templates.Digest(content) != digest {
				return fmt.Errorf("the file %s is gone or damaged: push the catalogue again", digest)
			}
			into[name] = content
		}
	}
	return nil
}

// Asset is an asset of a version that is remembered, by its name in URLs.
func (s *Shelf) Asset(ctx context.Context, name string) (templates.Asset, bool, error) {
	digest, ok := templates.AssetDigest(name)
	if !ok {
		return templates.Asset{}, false, nil
	}
	content, err := s.rdb.Get(ctx, s.keys.blob("asset:"+digest)).Result()
	if errors.Is(err, redis.Nil) {
		return templates.Asset{}, false, nil
	}
	if err != nil {
		return templates.Asset{}, false, wrap("read an asset", err)
	}
	a, ok := templates.NamedAsset(name, content)
	return a, ok, nil
}
