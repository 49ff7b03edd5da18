package preview

import (
	"errors"
	"net/http"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/templates"
)

// renderRequest is what the page asks for: one template in one or two locales.
type renderRequest struct {
	Template string   `json:"template"`
	Locales  []string `json:"locales"` // none: the default
	Data     string   `json:"data"`    // as it stands in the editor: perhaps no JSON at all
}

const (
	renderExample = `{"template":"order-shipped","locales":["de"],"data":"{}"}`
	mostLocales   = 4
)

// renderedView is the answer: one rendering for each locale that was asked for.
type renderedView struct {
	Renderings []renderView `json:"renderings"`
}

// renderView is a rendering, or what is wrong.
type renderView struct {
	Locale   string                   `json:"locale"` // that was asked for
	Version  string                   `json:"version"`
	Assets   string                   `json:"assets"`  // what stands before the names of the catalogue's own in its URLs
	Locales  map[notice.Medium]string `json:"locales"` // that each channel fell back to
	Content  notice.Content           `json:"content"`
	Mail     *mailView                `json:"mail"`
	Payloads []Payload                `json:"payloads"`
	Webhook  *webhookView             `json:"webhook"`
	Errors   notice.Faults            `json:"errors"` // of the data, or without a pointer of the request
	Faults   faultsView               `json:"faults"` // of the template, where it could not be rendered
}

func (s *server) serveRender(w http.ResponseWriter, r *http.Request) {
	var req renderRequest
	if !readRequest(w, r, &req, renderExample) {
		return
	}
	if len(req.Locales) == 0 {
		req.Locales = []string{""}
	}
	if len(req.Locales) > mostLocales {
		fail(w, http.StatusBadRequest, "locales: ask for four at most")
		return
	}
	c := s.store.Current() // the same for every locale, whatever changes meanwhile
	var view renderedView
	for _, locale := range req.Locales {
		view.Renderings = append(view.Renderings, s.view(c, req.Template, locale, req.Data))
	}
	answer(w, view)
}

// view renders in one locale.
func (s *server) view(c *templates.Catalogue, name, locale, data string) renderView {
	out, err := Render(c, name, typed(locale, data))
	view := renderView{Locale: out.Locale, Version: out.Version, Assets: c.AssetBase(), Locales: out.Locales, Content: out.Content}
	if err != nil {
		view.Locale = locale
		view.explain(err)
		return view
	}
	of := specimen(c, out)
	view.Mail, view.Payloads, view.Webhook = s.viewMail(of), s.viewPush(of), s.viewWebhook(of)
	return view
}

// explain tells faults of the data from those of the template.
func (v *renderView) explain(err error) {
	var data notice.Faults
	var fault templates.Fault
	switch {
	case errors.As(err, &data):
		v.Errors = data
	case errors.As(err, &fault):
		v.Faults = faultsView{fault}
	default:
		v.Errors = notice.Faults{{Detail: err.Error()}}
	}
}

// typed is what somebody typed; nothing at all is no data.
func typed(locale, data string) Options {
	if strings.TrimSpace(data) == "" {
		data = "{}"
	}
	return Options{Locale: locale, Data: jsontext.Value(data)}
}

// specimen is what was rendered as a delivery of the made-up person.
func specimen(c *templates.Catalogue, out Result) Specimen {
	t, _ := c.Template(out.Template) // Render has found it
	made := templates.SampleRequest(t, "", out.Locale)
	return Specimen{ID: made.ID, Template: t.Name, Category: t.Category, Lane: t.Lane, To: made.To, Content: out.Content, At: made.AcceptedAt}
}
