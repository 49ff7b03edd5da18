package ingest

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/carillonhq/carillon/templates"
)

// Assets finds an image or a font of the catalogue by its name in URLs; false
// when there is none of that name.
type Assets func(ctx context.Context, name string) (templates.Asset, bool, error)

// assetPolicy lets an SVG that is opened by itself neither run nor load
// anything; where it is an image, browsers see to that themselves.
const assetPolicy = "default-src 'none'; style-src 'unsafe-inline'; sandbox"

// getAsset serves an asset to whoever reads a mail. Its name has the hash of its
// content, so that it may be kept for ever (RFC 8246).
func (s *API) getAsset(w http.ResponseWriter, r *http.Request) {
	a, ok, err := s.Assets(r.Context(), r.PathValue("name"))
	switch {
	case err != nil:
		s.outage.Do(func() {
			s.Logger.Error("an asset could not be read", "request", w.Header().Get(requestIDHeader), "error", err)
		})
		writeProblem(w, kindUnavailable.problem("the catalogue's store does not answer: try again").after(unavailableRetry))
	case !ok:
		writeProblem(w, kindNotFound.problem("there is no asset of this name: the catalogue has none, or no longer has it"))
	default:
		ServeAsset(w, r, a)
	}
}

// ServeAsset writes an asset, or 304 to who has it, or the range that was asked
// for.
func ServeAsset(w http.ResponseWriter, r *http.Request, a templates.Asset) {
	h := w.Header()
	h.Set("Content-Type", a.Type)
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	h.Set("ETag", `"`+a.Digest()+`"`)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", assetPolicy)
	h.Set("Cross-Origin-Resource-Policy", "cross-origin")
	h.Set("Access-Control-Allow-Origin", "*") // fonts are fetched so
	http.ServeContent(w, r, "", time.Time{}, strings.NewReader(a.Content))
}
