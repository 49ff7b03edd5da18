package preview

import (
	"embed"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/templates"
)

//go:embed assets
var assets embed.FS

// maxBody bounds what the page may send to be rendered, in bytes.
const maxBody = 1 << 20

// contentPolicy lets the page load only what this binary serves. The email's
// frame inherits it: its inline styles work, and showing a mail asks nobody
// for anything, not for an image and not for the page behind one of its links.
const contentPolicy = "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self' 'unsafe-inline'; " +
	"img-src data:; font-src data:; frame-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"

// Handler serves the preview of a store's catalogue. It works under any
// prefix that is stripped before it, for all its links are relative.
func Handler(store *templates.Store) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", page("index.html", "text/html; charset=utf-8"))
	mux.HandleFunc("GET /style.css", page("style.css", "text/css; charset=utf-8"))
	mux.HandleFunc("GET /app.js", page("app.js", "text/javascript; charset=utf-8"))
	mux.HandleFunc("GET /catalogue.json", func(w http.ResponseWriter, _ *http.Request) { answer(w, describe(store)) })
	mux.HandleFunc("POST /render", func(w http.ResponseWriter, r *http.Request) { serveRender(store, w, r) })
	mux.HandleFunc("GET /events", func(w http.ResponseWriter, r *http.Request) { serveEvents(store, w, r) })
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "" { // the prefix without its slash, on which relative links would break
			path, _, _ := strings.Cut(r.RequestURI, "?")
			http.Redirect(w, r, path+"/", http.StatusPermanentRedirect)
			return
		}
		h := w.Header()
		h.Set("Content-Security-Policy", contentPolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		mux.ServeHTTP(w, r)
	})
}

func page(name, contentType string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		text, err := assets.ReadFile("assets/" + name)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", contentType)
		_, _ = w.Write(text) // a browser that went away needs no answer
	}
}

func answer(w http.ResponseWriter, v any) {
	text, err := json.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(text) // a browser that went away needs no answer
}

// catalogueView is what the page lists.
type catalogueView struct {
	DefaultLocale string         `json:"default_locale"`
	Templates     []templateView `json:"templates"`
	Failure       []string       `json:"failure"` // why the folder's present state is not served
}

type templateView struct {
	Name     string          `json:"name"`
	Version  string          `json:"version"`
	Category string          `json:"category"`
	Priority notice.Lane     `json:"priority"`
	Channels []notice.Medium `json:"channels"`
	Locales  []string        `json:"locales"`
	Samples  []sampleView    `json:"samples"`
}

type sampleView struct {
	Name string `json:"name"`
	Data string `json:"data"` // indented JSON, as the editor shows it
}

func describe(store *templates.Store) catalogueView {
	c := store.Current()
	view := catalogueView{DefaultLocale: c.DefaultLocale(), Failure: failureLines(store.Failure())}
	for _, name := range c.Names() {
		t, _ := c.Template(name)
		tv := templateView{Name: name, Version: t.Version, Category: t.Category, Priority: t.Lane, Channels: t.Channels(), Locales: t.Locales()}
		for _, s := range t.Samples {
			tv.Samples = append(tv.Samples, sampleView{s.Name, indented(s.Data)})
		}
		view.Templates = append(view.Templates, tv)
	}
	return view
}

func failureLines(err error) []string {
	if err == nil {
		return nil
	}
	return strings.Split(err.Error(), "\n")
}

// renderRequest is what the page asks for.
type renderRequest struct {
	Template string `json:"template"`
	Locale   string `json:"locale"`
	Data     string `json:"data"` // as it stands in the editor: perhaps no JSON at all
}

// renderView is a rendering, or what is wrong.
type renderView struct {
	Version string                   `json:"version"`
	Locales map[notice.Medium]string `json:"locales"`
	Content notice.Content           `json:"content"`
	Webhook string                   `json:"webhook"` // indented
	Errors  notice.Faults            `json:"errors"`
}

func serveRender(store *templates.Store, w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		http.Error(w, fmt.Sprintf("the request has more than %d bytes", maxBody), http.StatusRequestEntityTooLarge)
		return
	}
	var req renderRequest
	if err := json.Unmarshal(body, &req); err != nil {
		http.Error(w, `the request is no JSON like {"template":"order-shipped","locale":"de","data":"{}"}`, http.StatusBadRequest)
		return
	}
	answer(w, render(store.Current(), req))
}

func render(c *templates.Catalogue, req renderRequest) renderView {
	data := jsontext.Value(req.Data)
	if strings.TrimSpace(req.Data) == "" {
		data = jsontext.Value("{}")
	}
	out, err := Render(c, req.Template, Options{Locale: req.Locale, Data: data})
	var faults notice.Faults
	switch {
	case errors.As(err, &faults):
		return renderView{Errors: faults}
	case err != nil:
		return renderView{Errors: notice.Faults{{Detail: err.Error()}}}
	}
	view := renderView{Version: out.Version, Locales: out.Locales, Content: out.Content}
	if len(out.Content.Webhook) > 0 {
		view.Webhook = indented(out.Content.Webhook)
	}
	return view
}

// keepAlive is how often an idle event stream is written to, so that proxies
// leave it open and a closed browser is noticed.
const keepAlive = 20 * time.Second

// serveEvents tells the page when the folder has been read again.
func serveEvents(store *templates.Store, w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	out := http.NewResponseController(w)
	ticker := time.NewTicker(keepAlive)
	defer ticker.Stop()
	for message := ": open\n\n"; ; {
		changed := store.Changed()
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
