package templates

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"math"
)

// fragment is a stretch of a part whose text is the same for every reader: one
// that a {{cached}} block marks, or that was found (see placer).
type fragment struct {
	block bool // a {{cached}} block: the values after its name are its key
	needs deps // what its text depends on beside those
}

// frame is what a part with fragments is run over: the root, which it sees as
// $ and dot, and the run, which only what the placer wrote can name.
type frame struct {
	Root map[string]any
	Run  *run
}

// run is the work of the fragments in one rendering.
type run struct {
	*renderer
	cache     *Cache
	record    *record // of the data; nil: it was not seen before
	fragments []*fragment
	open      []capture // fragments that are being rendered, outermost first
	use       CacheUse
}

// capture is a fragment that is being rendered.
type capture struct {
	key    cacheKey
	flight *flight // nil: it will not be kept
	start  int     // where its text begins in the output
	steps  int     // that were taken before it
}

// text runs a part: by what is known of it, or by the engine.
func (r *run) text(p *program) (string, error) {
	r.out.reset()
	r.fragments = p.fragments
	if p.stitch != nil && (r.record != nil || len(p.fragments) == 0) {
		if text, ok := p.stitch.text(r); ok {
			return text, nil
		}
	}
	r.layOut()
	if p.divided == nil || r.cache == nil || r.record == nil && !p.blocks {
		if r.cache != nil {
			r.use.Unseen += len(p.fragments)
		}
		err := p.exec.Execute(&r.out, r.root)
		return r.out.String(), err
	}
	defer r.abandon()
	err := p.divided.Execute(&r.out, &frame{r.root, r})
	return r.out.String(), err
}

// Enter begins fragment i of the part. It writes the fragment's text when that
// is known and reports false; otherwise the text is to be rendered, and Leave
// called after it. A block's args are its name and its key.
func (r *run) Enter(i int, args ...any) (bool, error) {
	f := r.fragments[i]
	key, ok := r.key(f, args)
	c := capture{key: key, start: r.out.Len(), steps: r.out.steps}
	if ok {
		hit, flight, joined := r.cache.begin(key)
		switch {
		case hit != nil && joined:
			r.use.Joined++
			return false, r.out.take(hit)
		case hit != nil:
			r.use.Hits++
			return false, r.out.take(hit)
		}
		r.use.Misses++
		c.flight = flight
	} else {
		r.use.Unseen++
	}
	r.open = append(r.open, c)
	return true, nil
}

// Leave ends the fragment that was begun last. It is a condition that does not
// hold, because a condition writes nothing.
func (r *run) Leave() bool {
	c := r.open[len(r.open)-1]
	r.open = r.open[:len(r.open)-1]
	if c.flight != nil {
		text := string(r.out.Bytes()[c.start:])
		r.cache.end(c.key, c.flight, &cached{text: text, steps: r.out.steps - c.steps})
	}
	return false
}

// abandon gives up what is open, after a fault: what fails is not kept.
func (r *run) abandon() {
	for _, c := range r.open {
		if c.flight != nil {
			r.cache.end(c.key, c.flight, nil)
		}
	}
	r.open = r.open[:0]
}

// key is what a fragment's text is kept under; ok is false when it is not to
// be kept.
func (r *run) key(f *fragment, args []any) (k cacheKey, ok bool) {
	k.fragment = f
	if f.needs.has(onZone) {
		k.zone = r.now.request.To.Timezone
	}
	if f.needs.has(onLocale) {
		k.locale = r.now.request.To.Locale
	}
	if f.needs.has(onManner) {
		k.manner = r.address().locale.Tag
	}
	if !f.block {
		if r.record != nil {
			k.data = r.record.id
		}
		return k, r.record != nil
	}
	if k.args, ok = keyOf(args); !ok {
		return k, false
	}
	if _, known := r.cache.get(k); known {
		return k, true
	}
	return k, r.cache.sighted(r.cache.hash(k))
}

// keyOf spells values so that equal spellings are equal values. A long one is
// hashed with SHA-256, for which nobody can make two values that agree.
func keyOf(args []any) (string, bool) {
	b, ok := make([]byte, 0, 128), true
	for _, arg := range args {
		if b, ok = appendKey(b, arg, 0); !ok {
			return "", false
		}
	}
	if len(b) > 4*sha256.Size {
		sum := sha256.Sum256(b)
		b = append(b[:0], sum[:]...)
		b = append(b, 'H') // no spelling ends so
	}
	return string(b), true
}

// appendKey writes a value's kind, its length where that varies, and its
// bytes.
func appendKey(b []byte, v any, depth int) ([]byte, bool) {
	if depth > maxDataDepth {
		return b, false
	}
	switch v := v.(type) {
	case nil:
		return append(b, 'n'), true
	case bool:
		return append(b, map[bool]byte{true: 'T', false: 'F'}[v]), true
	case string:
		return appendKeyText(b, 's', v), true
	case int:
		return append(binary.BigEndian.AppendUint64(append(b, 'I'), uint64(v)), '.'), true
	case int64:
		return append(binary.BigEndian.AppendUint64(append(b, 'i'), uint64(v)), '.'), true
	case float64:
		return append(binary.BigEndian.AppendUint64(append(b, 'f'), math.Float64bits(v)), '.'), true
	case decimal:
		return append(binary.BigEndian.AppendUint64(append(b, 'd'), math.Float64bits(float64(v))), '.'), true
	case json.Number:
		return appendKeyText(b, 'j', string(v)), true
	case []any:
		return appendKeyList(b, v, depth)
	case map[string]any:
		return appendKeyObject(b, v, depth)
	}
	return b, false // a time, or what a function made
}

func appendKeyText(b []byte, kind byte, s string) []byte {
	b = append(binary.AppendUvarint(append(b, kind), uint64(len(s))), s...)
	return append(b, '.')
}

func appendKeyList(b []byte, list []any, depth int) (_ []byte, ok bool) {
	b = append(b, '[')
	for _, item := range list {
		if b, ok = appendKey(b, item, depth+1); !ok {
			return b, false
		}
	}
	return append(b, ']'), true
}

func appendKeyObject(b []byte, object map[string]any, depth int) (_ []byte, ok bool) {
	b = append(b, '{')
	for _, name := range keys(object) {
		if b, ok = appendKey(appendKeyText(b, 's', name), object[name], depth+1); !ok {
			return b, false
		}
	}
	return append(b, '}'), true
}

// clear forgets a rendering, and with it what it knew of a person.
func (r *run) clear() { *r = run{renderer: r.renderer, open: r.open[:0]} }

// take writes a text that was rendered before, at the cost in steps and bytes
// that it had then.
func (o *output) take(c *cached) error {
	if o.steps += c.steps; o.steps > maxSteps {
		return errSteps
	}
	_, err := o.WriteString(c.text)
	return err
}
