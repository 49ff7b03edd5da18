package templates

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"
	"text/template/parse"
)

const (
	// assetsDir holds images and fonts, in folders as one likes.
	assetsDir = "_assets"
	// maxAsset bounds one of them, in bytes: it is loaded by every reader of a
	// mail. maxAssets bounds all of a catalogue, which lie in every process.
	maxAsset, maxAssets = 2 << 20, 64 << 20
	// localAssets is where a preview, and this API, serve assets.
	localAssets = "/assets"
)

// Asset is an image or a font of a catalogue.
type Asset struct {
	Name    string // in its URL: logo.HASH.png, of which the hash is Digest's
	Path    string // below _assets
	Type    string // its media type
	Content string
}

// Digest is the hash in the asset's name.
func (a Asset) Digest() string { return Digest(a.Content) }

func digestOf(content string, digits int) string {
	sum := sha256.Sum256([]byte(content))
	return hex.EncodeToString(sum[:])[:digits]
}

// assetTypes are the files that may be assets, with their media types and what
// they begin with, as far as that is known.
func assetTypes() map[string]string {
	return map[string]string{
		".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".gif": "image/gif", ".webp": "image/webp",
		".svg": "image/svg+xml", ".ico": "image/x-icon", ".woff": "font/woff", ".woff2": "font/woff2", ".ttf": "font/ttf", ".otf": "font/otf",
	}
}

// AssetType is the media type of an asset by its name; empty when such a file
// cannot be one.
func AssetType(name string) string { return assetTypes()[strings.ToLower(path.Ext(name))] }

// assetName is what an asset is called in its URL.
func assetName(file, digest string) string {
	ext := path.Ext(file)
	return strings.TrimSuffix(path.Base(file), ext) + "." + digest + strings.ToLower(ext)
}

// AssetDigest reads the hash from an asset's name. It is false for what cannot
// be such a name, as one with a slash.
func AssetDigest(name string) (digest string, ok bool) {
	ext := path.Ext(name)
	stem := strings.TrimSuffix(name, ext)
	dot := strings.LastIndexByte(stem, '.')
	if dot < 1 || AssetType(name) == "" || !validName(stem[:dot]) {
		return "", false
	}
	digest = stem[dot+1:]
	return digest, len(digest) == 32 && strings.Trim(digest, "0123456789abcdef") == ""
}

// assets reads a folder of _assets, and those in it.
func (r reader) assets(dir string, into map[string]string) {
	for _, e := range r.list(dir) {
		file := path.Join(dir, e.Name())
		switch {
		case !validName(e.Name()):
			r.faults.add(position{file, 1, 1}, "is no name for an asset: use letters, digits, \"-\", \"_\" and \".\", at most 100, as in logo.png")
		case r.isDir(file, e):
			if strings.Count(file, "/") > maxNest {
				r.faults.add(position{file, 1, 1}, "lies too deep: put assets into fewer folders")
				continue
			}
			r.assets(file, into)
		case AssetType(file) == "":
			r.faults.add(position{file, 1, 1}, "has none of the extensions that an asset may have: %s", strings.Join(keys(assetTypes()), ", "))
		default:
			if content, ok := r.asset(file, e); ok {
				into[file] = content
			}
		}
	}
}

// asset reads one file, and checks that it is what its name says.
func (r reader) asset(file string, e fs.DirEntry) (string, bool) {
	content, ok := r.content(file, e, maxAsset, "make it smaller, for every reader of a mail waits for it")
	if !ok || r.references {
		return content, ok
	}
	if wrong := wrongContent(file, content); wrong != "" {
		r.faults.add(position{file, 1, 1}, "%s", wrong)
		return "", false
	}
	return content, true
}

// wrongContent says how a file is not what its extension says; empty when it
// is. A browser is told not to guess, so a wrong one would show nothing.
func wrongContent(file, content string) string {
	want, ext := AssetType(file), path.Ext(file)
	switch got := http.DetectContentType([]byte(content)); {
	case content == "":
		return "is empty"
	case want == "image/svg+xml":
		return wrongSVG(content)
	case want == "font/ttf" || want == "font/otf":
		if got != "font/ttf" && got != "font/otf" && got != "font/collection" {
			return "is no font that opens as " + ext
		}
	case got != want:
		return fmt.Sprintf("is no %s: its content looks like %s: give it the extension of what it is", ext, strings.SplitN(got, ";", 2)[0])
	}
	return ""
}

// wrongSVG says how a text is no SVG. Scripts are not looked for: it is served
// with a policy that lets none run.
func wrongSVG(content string) string {
	d, first := xml.NewDecoder(strings.NewReader(content)), true
	d.Strict = true
	for {
		token, err := d.Token()
		switch {
		case errors.Is(err, io.EOF) && !first:
			return ""
		case err != nil:
			return "is no SVG: it cannot be read as XML"
		}
		if e, ok := token.(xml.StartElement); ok && first {
			if first = false; e.Name.Local != "svg" {
				return "is no SVG: its first element is " + e.Name.Local
			}
		}
	}
}

// assetIndex is what {{asset}} may name.
type assetIndex struct {
	urls        map[string]string // by the path below _assets
	sums        map[string]string // path in the catalogue → digest
	unreachable bool              // the URLs are no use to who reads a mail
}

// newAssetIndex gives assets their URLs.
func newAssetIndex(src *sources, o options) assetIndex {
	index := assetIndex{urls: map[string]string{}, sums: map[string]string{}, unreachable: o.assets == "" && o.served}
	base := o.assetBase()
	for file, content := range src.assets {
		digest := content // of a version that was kept: see bundle
		if !o.references {
			digest = Digest(content)
		}
		index.sums[file] = digest
		index.urls[strings.TrimPrefix(file, assetsDir+"/")] = base + "/" + assetName(file, digest)
	}
	return index
}

func (o options) assetBase() string { return cmp.Or(strings.TrimRight(o.assets, "/"), localAssets) }

// AssetBase is what stands before a slash and an asset's name in renderings:
// where the world gets assets, or where a preview has them.
func (c *Catalogue) AssetBase() string { return c.options.assetBase() }

// url is {{asset "logo.png"}}. The check has seen to it that there is one.
func (a assetIndex) url(name string) (string, error) {
	url, ok := a.urls[name]
	if !ok {
		return "", fmt.Errorf("there is no asset of that name in %s", assetsDir)
	}
	return url, nil
}

// checkAsset holds a call of asset against the assets that there are.
func (w *walker) checkAsset(f *parse.IdentifierNode, args []parse.Node) {
	name, ok := args[0].(*parse.StringNode)
	if !ok {
		w.faults.add(w.at(f), "asset wants a constant name, so that it can be checked here")
		return
	}
	if _, ok := w.assets.urls[name.Text]; !ok {
		w.faults.add(w.at(name), "there is no %s/%s%s", assetsDir, name.Text, known(name.Text, keys(w.assets.urls)))
		return
	}
	w.usesAssets[path.Join(assetsDir, name.Text)] = true
	if w.assets.unreachable {
		w.faults.warn(w.at(f), "nobody outside could load it: set assets.base_url to where the world gets this API's /assets, or to a CDN that has what carillon catalogue assets wrote")
	}
}

// serveable makes the assets of a catalogue by their names in URLs.
func serveable(src *sources) map[string]Asset {
	all := make(map[string]Asset, len(src.assets))
	for file, content := range src.assets {
		a := Asset{Name: assetName(file, Digest(content)), Path: strings.TrimPrefix(file, assetsDir+"/"), Type: AssetType(file), Content: content}
		all[a.Name] = a
	}
	return all
}

// Asset is the asset that has a name in URLs.
func (c *Catalogue) Asset(name string) (Asset, bool) {
	a, ok := c.assets[name]
	return a, ok
}

// Assets lists the assets by their paths.
func (c *Catalogue) Assets() []Asset {
	all := make([]Asset, 0, len(c.assets))
	for _, a := range c.assets {
		all = append(all, a)
	}
	slices.SortFunc(all, func(a, b Asset) int { return strings.Compare(a.Path, b.Path) })
	return all
}

// IsText reports whether a file's content can be shown as text.
func IsText(content string) bool {
	return !bytes.ContainsRune([]byte(content), 0) && strings.ToValidUTF8(content, "") == content
}

// maxRetired bounds the assets of earlier catalogues in one process, in bytes.
const maxRetired = 32 << 20

// retired are assets of earlier catalogues, which mails that were sent still
// name. Those that went first are forgotten first.
type retired struct {
	mu     sync.Mutex
	assets []Asset
	bytes  int
}

// take remembers what old has and next has not.
func (r *retired) take(old, next *Catalogue) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, a := range old.Assets() {
		if _, stays := next.assets[a.Name]; !stays && r.at(a.Name) < 0 {
			r.assets = append(r.assets, a)
			r.bytes += len(a.Content)
		}
	}
	for r.bytes > maxRetired {
		r.bytes -= len(r.assets[0].Content)
		r.assets = slices.Delete(r.assets, 0, 1)
	}
}

func (r *retired) at(name string) int {
	return slices.IndexFunc(r.assets, func(a Asset) bool { return a.Name == name })
}

func (r *retired) find(name string) (Asset, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if i := r.at(name); i >= 0 {
		return r.assets[i], true
	}
	return Asset{}, false
}

// NamedAsset is the asset that name stands for, if content is it.
func NamedAsset(name, content string) (Asset, bool) {
	digest, ok := AssetDigest(name)
	if !ok || digest != Digest(content) || wrongContent(name, content) != "" {
		return Asset{}, false
	}
	return Asset{Name: name, Type: AssetType(name), Content: content}, true
}
