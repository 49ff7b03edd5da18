package preview

import (
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/carillonhq/carillon/templates"
)

// assetPolicy lets an SVG that is opened by itself neither run nor load
// anything.
const assetPolicy = "default-src 'none'; style-src 'unsafe-inline'; sandbox"

// serveAsset serves an image or a font of the catalogue. Its name has the hash
// of its content, so that a browser need not ask again.
func (s *server) serveAsset(w http.ResponseWriter, r *http.Request) {
	a, ok := s.store.Asset(r.PathValue("name"))
	if !ok {
		fail(w, http.StatusNotFound, "the catalogue has no asset of this name")
		return
	}
	h := w.Header()
	h.Set("Content-Type", a.Type)
	h.Set("Cache-Control", "private, max-age=31536000, immutable")
	h.Set("Content-Security-Policy", assetPolicy)
	http.ServeContent(w, r, "", time.Time{}, strings.NewReader(a.Content))
}

// AssetsDir is the folder of an export that holds the catalogue's assets. No
// template is called so.
const AssetsDir = "_assets"

// assetFile is an asset in an export.
func assetFile(a templates.Asset) string { return path.Join(AssetsDir, a.Name) }

// beside is an item of which the mail names the assets of an export by where
// they lie from the item's own folder.
func (e Export) beside(item Item) Item {
	if len(e.assets()) == 0 || item.Content.Email == nil {
		return item
	}
	up := strings.Repeat("../", strings.Count(item.folder(), "/")+1)
	var pairs []string
	for _, a := range e.assets() {
		pairs = append(pairs, e.Catalogue.AssetBase()+"/"+a.Name, up+assetFile(a))
	}
	mail := *item.Content.Email
	mail.HTML = strings.NewReplacer(pairs...).Replace(mail.HTML)
	item.Content.Email = &mail // Content is a copy already
	return item
}

// assets are what an export has of the catalogue's.
func (e Export) assets() []templates.Asset {
	if e.Catalogue == nil {
		return nil
	}
	return e.Catalogue.Assets()
}
