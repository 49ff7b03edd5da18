package preview

import (
	"errors"
	"net/http"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/templates"
)

// catalogueView is what the page lists.
type catalogueView struct {
	App           string         `json:"app"`
	DefaultLocale string         `json:"default_locale"`
	Pseudo        []string       `json:"pseudo"` // locales that are made up, to try a layout
	Templates     []templateView `json:"templates"`
	Faults        faultsView     `json:"faults"` // why the folder's present state is not served
	Sending       *sendingView   `json:"sending"`
	Token         string         `json:"token"`
}

// templateView is one line of the list.
type templateView struct {
	Name        string          `json:"name"`
	Title       string          `json:"title,omitzero"`
	Description string          `json:"description,omitzero"`
	Version     string          `json:"version"`
	Category    string          `json:"category"`
	Priority    notice.Lane     `json:"priority"`
	Channels    []notice.Medium `json:"channels"`
	Locales     []string        `json:"locales"`
	Mandatory   bool            `json:"mandatory"` // nobody can leave it
}

// detailView is what is asked for of the one template that is looked at.
type detailView struct {
	templateView
	Schema  jsontext.Value `json:"schema,omitzero"`
	Samples []sampleView   `json:"samples"`
}

type sampleView struct {
	Name string `json:"name"`
	Data string `json:"data"` // indented JSON, as the editor shows it
}

// faultsView is a failure in places that the source view can jump to.
type faultsView []templates.Fault

// viewFaults puts an error without a place at the catalogue's own.
func viewFaults(err error) faultsView {
	var faults templates.Faults
	var fault templates.Fault
	switch {
	case err == nil:
		return nil
	case errors.As(err, &faults):
		return faultsView(faults)
	case errors.As(err, &fault):
		return faultsView{fault}
	}
	return faultsView{{What: err.Error()}}
}

func (s *server) serveCatalogue(w http.ResponseWriter, _ *http.Request) {
	c := s.store.Current()
	view := catalogueView{App: s.App, DefaultLocale: c.DefaultLocale(), Pseudo: templates.PseudoLocales(), Faults: viewFaults(s.store.Failure()), Token: s.token, Sending: s.sendingView()}
	for _, name := range c.Names() {
		t, _ := c.Template(name)
		view.Templates = append(view.Templates, viewTemplate(t))
	}
	answer(w, view)
}

func viewTemplate(t *templates.Template) templateView {
	return templateView{Name: t.Name, Title: t.Title, Description: t.Description, Version: t.Version, Category: t.Category, Priority: t.Lane,
		Channels: t.Channels(), Locales: t.Locales(), Mandatory: t.Mandatory}
}

func (s *server) serveTemplate(w http.ResponseWriter, r *http.Request) {
	c := s.store.Current()
	name := r.FormValue("name")
	t, ok := c.Template(name)
	if !ok {
		fail(w, http.StatusNotFound, unknown("template", name, c.Names()).Error())
		return
	}
	view := detailView{templateView: viewTemplate(t), Schema: t.Schema}
	for _, sample := range t.Samples {
		view.Samples = append(view.Samples, sampleView{sample.Name, indented(sample.Data)})
	}
	answer(w, view)
}
