package preview

import (
	"net/http"
	"sync"

	"github.com/carillonhq/carillon/templates"
)

// warnings are what could be better about the catalogue that is served. They
// are looked for once for each catalogue, and apart from everything else: it
// takes every sample's rendering, which nobody waits for.
type warnings struct {
	mu    sync.Mutex // held while looking, so that two pages cost one look
	of    *templates.Catalogue
	found faultsView
}

func (w *warnings) get(c *templates.Catalogue) faultsView {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.of == c {
		return w.found
	}
	w.of, w.found = c, faultsView{}
	for _, f := range c.Examine() {
		if f.Severity == templates.SeverityWarning {
			w.found = append(w.found, f)
		}
	}
	return w.found
}

// warningsView is what the page lists under the faults.
type warningsView struct {
	Warnings faultsView `json:"warnings"`
}

func (s *server) serveWarnings(w http.ResponseWriter, _ *http.Request) {
	answer(w, warningsView{s.warnings.get(s.store.Current())})
}
