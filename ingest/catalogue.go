package ingest

import (
	"net/http"

	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/notice"
)

// templateAnswer is one template of GET /v1/templates.
type templateAnswer struct {
	Name        string          `json:"name"`
	Title       string          `json:"title,omitzero"`
	Description string          `json:"description,omitzero"`
	Category    string          `json:"category,omitzero"`
	Priority    notice.Lane     `json:"priority,omitzero"`
	Channels    []notice.Medium `json:"channels"`
	ExpiresIn   string          `json:"expires_in,omitzero"`
	OptOut      bool            `json:"opt_out"`
}

type templatesAnswer struct {
	Templates []templateAnswer `json:"templates"`
}

// getTemplates lists the catalogue.
func (s *API) getTemplates(w http.ResponseWriter, r *http.Request, who *caller) error {
	catalogue := s.Templates.Current()
	names := catalogue.Names()
	out := templatesAnswer{Templates: make([]templateAnswer, 0, len(names))}
	for _, name := range names {
		tpl, ok := catalogue.Template(name)
		if !ok {
			continue
		}
		a := templateAnswer{Name: name, Title: tpl.Title, Description: tpl.Description, Category: tpl.Category, Priority: tpl.Lane,
			Channels: tpl.Channels(), OptOut: !tpl.Mandatory}
		if tpl.ExpiresIn > 0 {
			a.ExpiresIn = config.Duration(tpl.ExpiresIn).String()
		}
		out.Templates = append(out.Templates, a)
	}
	return writeJSON(w, http.StatusOK, out)
}
