package preview

import (
	"crypto/rand"
	"embed"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"golang.org/x/time/rate"

	"github.com/carillonhq/carillon/templates"
)

//go:embed assets
var assets embed.FS

// maxBody bounds what the page may send, in bytes.
const maxBody = 1 << 20

// contentPolicy lets the page load only what this server serves. The email's
// frame inherits it: its inline styles and the catalogue's own images work, and
// showing a mail asks nobody else for anything, not for an image and not for
// the page behind one of its links.
const contentPolicy = "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self' 'unsafe-inline'; " +
	"img-src 'self' data:; font-src 'self' data:; frame-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"

// Page is what the page is given by whoever mounts it. The zero Page
// shows renderings and their sources: no wire formats, and no test is sent.
type Page struct {
	// Dir is the catalogue's folder, whose files the source view shows; empty:
	// those that the served version was made of.
	Dir string
	// App is what pushes are shown as coming from; "Your app" when empty.
	App string
	// Wire writes what adapters would send; nil: mails have no headers, pushes
	// no size, webhooks no signature.
	Wire Wire
	// Sending sends tests; nil: the page says that it cannot.
	Sending *Sending
	// Hosts are further names under which the page may be asked for. Addresses,
	// localhost and names without a dot always may; any other is refused, since
	// a hostile site can point its own name here.
	Hosts []string
	// Now is the clock of what is signed and sent; time.Now when nil.
	Now func() time.Time
}

// server is the page of one store.
type server struct {
	Page
	store *templates.Store
	token string        // what a test must be asked for with, so that no other page can
	tests *rate.Limiter // of tests sent

	warnings warnings
}

// Handler serves the preview of a store's catalogue. It works under any
// prefix that is stripped before it, for all its links are relative.
func Handler(store *templates.Store, p Page) http.Handler {
	if p.Now == nil {
		p.Now = time.Now
	}
	if p.App == "" {
		p.App = "Your app"
	}
	s := &server{Page: p, store: store, token: rand.Text(), tests: newTestLimiter()}
	return s.guard(s.routes())
}

func (s *server) routes() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", asset("index.html"))
	for _, name := range assetNames() {
		mux.HandleFunc("GET /"+name, asset(name))
	}
	mux.HandleFunc("GET /assets/{name}", s.serveAsset)
	mux.HandleFunc("GET /api/catalogue", s.serveCatalogue)
	mux.HandleFunc("GET /api/template", s.serveTemplate)
	mux.HandleFunc("GET /api/source", s.serveSource)
	mux.HandleFunc("GET /api/warnings", s.serveWarnings)
	mux.HandleFunc("GET /api/events", s.serveEvents)
	mux.HandleFunc("POST /api/render", s.serveRender)
	mux.HandleFunc("POST /api/test", s.serveTest)
	mux.HandleFunc("POST /api/webhook", s.receiveWebhook)
	return mux
}

// guard refuses what other sites send, and sends the mount point itself to
// its slash, without which the page's links would lead elsewhere.
func (s *server) guard(next http.Handler) http.Handler {
	origins := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", contentPolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		switch err := origins.Check(r); {
		case !s.knownHost(r.Host):
			fail(w, http.StatusMisdirectedRequest, fmt.Sprintf("the preview is not served under the name %q: ask by address or as localhost, or name it with --host", r.Host))
		case err != nil:
			fail(w, http.StatusForbidden, "this request comes from another site: "+err.Error())
		case r.URL.Path == "": // the prefix without its slash, on which relative links would break
			mount, _, _ := strings.Cut(r.RequestURI, "?")
			h.Set("Location", "./"+path.Base(mount)+"/")
			w.WriteHeader(http.StatusPermanentRedirect)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// knownHost reports whether a browser that asks for host cannot have been led
// here by a stranger's DNS.
func (s *server) knownHost(host string) bool {
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = host
	}
	name = strings.ToLower(strings.Trim(name, "[]"))
	if net.ParseIP(name) != nil || !strings.Contains(name, ".") || strings.HasSuffix(name, ".localhost") {
		return true
	}
	return slices.ContainsFunc(s.Hosts, func(known string) bool { return strings.EqualFold(known, name) })
}

// assetNames lists the page's files; index.html is the page itself.
func assetNames() (names []string) {
	entries, _ := assets.ReadDir("assets") // embedded, so it is there
	for _, e := range entries {
		if e.Name() != "index.html" {
			names = append(names, e.Name())
		}
	}
	return names
}

func asset(name string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		text, err := assets.ReadFile("assets/" + name)
		if err != nil {
			fail(w, http.StatusInternalServerError, "the page is missing from the binary: "+name)
			return
		}
		w.Header().Set("Content-Type", mediaType(name))
		_, _ = w.Write(text) // a browser that went away needs no answer
	}
}

// mediaType does not ask the machine, whose table may call a script text.
func mediaType(name string) string {
	if path.Ext(name) == ".js" {
		return "text/javascript; charset=utf-8"
	}
	return mime.TypeByExtension(path.Ext(name)) // .html and .css are Go's own
}

func answer(w http.ResponseWriter, v any) {
	text, err := json.Marshal(v)
	if err != nil {
		fail(w, http.StatusInternalServerError, err.Error())
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(text) // a browser that went away needs no answer
}

// fail answers with words for people.
func fail(w http.ResponseWriter, status int, what string) { http.Error(w, what, status) }

// readRequest reads what the page sent; false when it has answered that it
// cannot be.
func readRequest(w http.ResponseWriter, r *http.Request, into any, example string) bool {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		fail(w, http.StatusRequestEntityTooLarge, fmt.Sprintf("the request has more than %d bytes", maxBody))
		return false
	}
	if err := json.Unmarshal(body, into); err != nil {
		fail(w, http.StatusBadRequest, "the request is no JSON like "+example)
		return false
	}
	return true
}

// keepAlive is how often an idle event stream is written to, so that proxies
// leave it open and a closed browser is noticed.
const keepAlive = 20 * time.Second

// serveEvents tells the page when the folder has been read again.
func (s *server) serveEvents(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	out := http.NewResponseController(w)
	ticker := time.NewTicker(keepAlive)
	defer ticker.Stop()
	for message := "retry: 1000\n\n"; ; {
		changed := s.store.Changed()
		if _, err := io.WriteString(w, message); err != nil {
			return
		}
		if err := out.Flush(); err != nil {
			return
		}
		select {
		case <-changed:
			message = "event: changed\ndata: {}\n\n"
		case <-ticker.C:
			message = ": still here\n\n"
		case <-r.Context().Done():
			return
		}
	}
}
