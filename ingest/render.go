package ingest

import (
	"fmt"
	"net/http"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/templates"
)

// renderBody is what POST /v1/templates/{name}/render takes; every member may
// be left out, and so may the body.
type renderBody struct {
	Data    jsontext.Value `json:"data"`   // the template's default sample when left out
	Locale  string         `json:"locale"` // to.locale, then the catalogue's, when left out
	Channel notice.Medium  `json:"channel"`
	To      *notice.Person `json:"to"` // a made-up person when left out
}

// renderAnswer holds a rendering: Content is what a notification's `content`
// may be.
type renderAnswer struct {
	Template string         `json:"template"`
	Version  string         `json:"version"`
	Locale   string         `json:"locale"` // of the parts that were used
	Content  notice.Content `json:"content"`
}

// postRender renders a template exactly as it would be sent, and sends
// nothing.
func (s *API) postRender(w http.ResponseWriter, r *http.Request, who *caller) error {
	var body renderBody
	if r.ContentLength != 0 {
		if err := s.decodeBody(w, r, &body); err != nil {
			return err
		}
	}
	catalogue := s.Templates.Current()
	tpl, ok := catalogue.Template(r.PathValue("name"))
	if !ok {
		return kindNotFound.problem(noTemplate(r.PathValue("name"), catalogue.Names()))
	}
	if err := body.complete(tpl); err != nil {
		return err
	}
	answer, err := s.render(catalogue, tpl, &body)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, answer)
}

// complete checks the body and takes what is left out from the template.
func (b *renderBody) complete(tpl *templates.Template) error {
	var r refusal
	if b.Channel != "" && !tpl.Renders(b.Channel) {
		r.add(kindInvalid, "/channel", fmt.Sprintf("the template has no part for %q: it renders %s", clip(string(b.Channel)), join(tpl.Channels())))
	}
	if b.Locale != "" {
		if detail := notice.CheckLocale(b.Locale); detail != "" {
			r.add(kindInvalid, "/locale", detail)
		}
	}
	if b.Data == nil || b.Data.Kind() == 'n' {
		b.Data = sample(tpl)
	}
	_, faults := tpl.CheckData(b.Data)
	r.addAll(kindData, faults)
	if r.faults != nil {
		return r.problem()
	}
	return nil
}

// sample is the data of the template's first sample, an empty object when it
// has none.
func sample(tpl *templates.Template) jsontext.Value {
	if len(tpl.Samples) == 0 || tpl.Samples[0].Data == nil {
		return jsontext.Value(emptyObject)
	}
	return tpl.Samples[0].Data
}

// render renders the asked channel, or every one that the template has.
func (s *API) render(catalogue *templates.Catalogue, tpl *templates.Template, body *renderBody) (renderAnswer, error) {
	media := tpl.Channels()
	if body.Channel != "" {
		media = []notice.Medium{body.Channel}
	}
	answer := renderAnswer{Template: tpl.Name, Version: tpl.Version}
	for _, m := range media {
		out, err := catalogue.Render(s.renderRequest(tpl, m, body))
		if err != nil {
			return answer, kindData.problem(err.Error())
		}
		answer.Locale = out.Locale
		switch m {
		case notice.MediumEmail:
			answer.Content.Email = out.Content.Email
		case notice.MediumPush:
			answer.Content.Push = out.Content.Push
		case notice.MediumWebhook:
			answer.Content.Webhook = out.Content.Webhook
		}
	}
	return answer, nil
}

func (s *API) renderRequest(tpl *templates.Template, m notice.Medium, body *renderBody) templates.Request {
	req := templates.SampleRequest(tpl, m, body.Locale)
	req.Data = body.Data
	req.Now = s.Clock()
	req.AcceptedAt = req.Now
	if body.To != nil {
		req.To = *body.To
	}
	return req
}
