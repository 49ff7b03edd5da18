package templates

import (
	"container/list"
	"context"
	"fmt"
	"sync"
	"time"
)

// Shelf keeps versions of templates beyond one process, for as long as
// deliveries that were planned with them may live.
type Shelf interface {
	// Take is what a version was made of; nil when the shelf has none.
	Take(ctx context.Context, template, version string) (Files, error)
	// Put keeps versions, or keeps those that it has for longer.
	Put(ctx context.Context, versions []Bundle) error
}

// Bundle is a version of a template, as a shelf keeps it: the template's own
// files and the shared ones that it uses, with the digest of an asset in the
// place of its content.
type Bundle struct {
	Template, Version string
	Files             Files
}

// Bundles are all templates, sorted.
func (c *Catalogue) Bundles() []Bundle {
	all := make([]Bundle, 0, len(c.templates))
	for _, name := range c.Names() {
		t := c.templates[name]
		all = append(all, Bundle{t.Name, t.Version, t.used})
	}
	return all
}

// LoadBundle is a catalogue of one version that a shelf has kept. It is an error
// when the version comes out as another one, as one of a release does whose
// built-in layouts were others.
func LoadBundle(b Bundle, opts ...Option) (*Catalogue, error) {
	o := optionsOf(opts)
	o.references = true
	c, err := load(b.Files, o)
	if err != nil {
		return nil, fmt.Errorf("version %s of template %s, as it was kept: %w", b.Version, b.Template, err)
	}
	if t, ok := c.Template(b.Template); !ok || t.Version != b.Version {
		return nil, fmt.Errorf("version %s of template %s was made by another release, whose built-in layouts differ", b.Version, b.Template)
	}
	return c, nil
}

const (
	// takePatience bounds the wait for a shelf, in which a delivery has its slot.
	takePatience = 2 * time.Second
	// absence is how long a shelf is not asked again for what it did not have.
	absence = 10 * time.Second
	// compiledBase and compiledShare are what a compiled template takes: so much
	// by itself, and so many times the bytes of its files (see
	// TestVersionsStayUnderTheBound).
	compiledBase, compiledShare = 24 << 10, 14
)

// pin names a version of a template.
type pin struct{ template, version string }

// past is the earlier versions that one process holds compiled, those that
// were used last. It is safe for use by many goroutines.
type past struct {
	options options
	bound   int64

	mu      sync.Mutex
	known   map[pin]*list.Element // of *earlier
	recent  *list.List            // used last first
	bytes   int64
	flights map[pin]chan struct{} // closed once a shelf has answered
	use     PastUse
}

// earlier is a version, or that there is none.
type earlier struct {
	pin      pin
	template *Template // nil: the shelf had none
	weight   int64
	until    time.Time // of an absence
}

// PastUse counts what became of the search for earlier versions.
type PastUse struct {
	Held   int64 // bytes, by the Store's reckoning
	Hits   uint64
	Taken  uint64 // from the shelf
	Absent uint64 // nowhere: the current version was rendered
	Failed uint64 // the shelf did not answer, or with what cannot be compiled
}

func newPast(o options) *past {
	return &past{options: o, bound: o.held, known: map[pin]*list.Element{}, recent: list.New(), flights: map[pin]chan struct{}{}}
}

// counts is the use so far.
func (p *past) counts() PastUse {
	p.mu.Lock()
	defer p.mu.Unlock()
	use := p.use
	use.Held = p.bytes
	return use
}

// put holds a version that was current until now.
func (p *past) put(t *Template) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.add(&earlier{pin: pin{t.Name, t.Version}, template: t, weight: compiledBase + compiledShare*int64(t.used.Bytes())})
}

// add is called with the lock held.
func (p *past) add(h *earlier) {
	if old := p.known[h.pin]; old != nil {
		p.drop(old)
	}
	if h.weight > p.bound {
		return
	}
	p.known[h.pin] = p.recent.PushFront(h)
	p.bytes += h.weight
	for p.bytes > p.bound {
		p.drop(p.recent.Back())
	}
}

func (p *past) drop(e *list.Element) {
	h := p.recent.Remove(e).(*earlier)
	p.bytes -= h.weight
	delete(p.known, h.pin)
}

// find is a version that was held, or that the shelf has; nil when there is
// none. Those who ask for the same one at once wait for one answer.
func (p *past) find(at pin) *Template {
	if p == nil {
		return nil
	}
	p.mu.Lock()
	for {
		if e := p.known[at]; e != nil {
			if h := e.Value.(*earlier); h.template != nil || time.Now().Before(h.until) {
				p.recent.MoveToFront(e)
				p.count(h.template)
				p.mu.Unlock()
				return h.template
			}
			p.drop(e)
		}
		flight := p.flights[at]
		if flight == nil {
			break
		}
		p.mu.Unlock()
		<-flight
		p.mu.Lock()
	}
	if p.options.shelf == nil {
		p.use.Absent++
		p.mu.Unlock()
		return nil
	}
	flight := make(chan struct{})
	p.flights[at] = flight
	p.mu.Unlock()
	return p.land(at, flight)
}

func (p *past) count(t *Template) {
	if t == nil {
		p.use.Absent++
		return
	}
	p.use.Hits++
}

// land ends a flight with what the shelf has.
func (p *past) land(at pin, flight chan struct{}) *Template {
	t, err := p.take(at)
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.flights, at)
	close(flight)
	switch {
	case err != nil:
		p.use.Failed++
	case t == nil:
		p.use.Absent++
	default:
		p.use.Taken++
		p.add(&earlier{pin: at, template: t, weight: compiledBase + compiledShare*int64(t.used.Bytes())})
		return t
	}
	p.add(&earlier{pin: at, weight: int64(len(at.template)+len(at.version)) + 256, until: time.Now().Add(absence)})
	return nil
}

// take asks the shelf, and compiles what it has.
func (p *past) take(at pin) (*Template, error) {
	ctx, cancel := context.WithTimeout(context.Background(), takePatience)
	defer cancel()
	files, err := p.options.shelf.Take(ctx, at.template, at.version)
	if err != nil || files == nil {
		return nil, err
	}
	c, err := LoadBundle(Bundle{at.template, at.version, files}, WithAssets(p.options.assets))
	if err != nil {
		return nil, err
	}
	return c.templates[at.template], nil
}
