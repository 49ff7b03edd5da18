package templates

import (
	"fmt"
	"sync"

	"github.com/carillonhq/carillon/notice"
)

// maxChoices bounds the locales of readers that a template remembers; there
// are some hundreds that people have, and more that somebody may invent.
const maxChoices = 1000

// choices remember which parts the readers of a locale get: finding it out
// anew takes as long as rendering a small mail.
type choices struct {
	mu   sync.RWMutex
	made map[asking]choice
}

type asking struct {
	medium notice.Medium
	locale string
}

type choice struct {
	group *group // nil: there are no parts for the medium
	note  string // see Rendering.LocaleNote
}

func (c *choices) get(t *Template, req *Request) (*group, string) {
	key := asking{req.Medium, req.locale()}
	if g, ok := t.groups[key.medium][key.locale]; ok {
		return g, ""
	}
	c.mu.RLock()
	found, ok := c.made[key]
	c.mu.RUnlock()
	if !ok {
		found = t.choose(key)
		c.keep(key, found)
	}
	return found.group, found.note
}

func (c *choices) keep(key asking, found choice) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.made == nil {
		c.made = map[asking]choice{}
	}
	if len(c.made) < maxChoices {
		c.made[key] = found
	}
}

// choose looks for the parts, and says what a delivery's record is to say of a
// language that was missing. A webhook has none.
func (t *Template) choose(key asking) choice {
	g, ok := lookupLocale(t.groups[key.medium], key.locale, t.defaultLocale)
	if !ok || key.medium == notice.MediumWebhook || isServed(key.locale, g.locale) {
		return choice{group: g}
	}
	return choice{g, fmt.Sprintf("rendered in %s: no parts for %s", g.locale, canonicalLocale(key.locale))}
}
