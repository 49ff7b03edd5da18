package templates

import (
	"hash/maphash"
	"sync"
	"sync/atomic"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/maypok86/otter/v2"
)

// Cache keeps content that renderings share: the fragments of parts that do
// not depend on who reads them, and data that was decoded before. One cache
// serves every catalogue and version; what nobody asks for any more gives way.
// A nil Cache keeps nothing. It is safe for use by many goroutines.
type Cache struct {
	bound  uint64
	seed   maphash.Seed
	store  *otter.Cache[cacheKey, *cached]
	ids    atomic.Uint64 // of records
	sights []atomic.Uint32

	mu      sync.Mutex
	flights map[cacheKey]*flight
}

// cacheKey says what a stored text is made of. It is compared whole, so that
// no two texts are ever taken for each other, whoever chooses the data.
type cacheKey struct {
	fragment *fragment // of a record: any of its group's
	known    bool      // a record
	data     uint64    // the id of the record that the fragment reads; of a record: its hash
	zone     string    // the reader's, where the fragment writes times
	locale   string    // the reader's, where the fragment asks for it
	manner   string    // the locale by which numbers and times are written, where it writes any
	args     string    // the values after the name of {{cached}}, exactly or as their SHA-256
}

// cached is what the store holds: a fragment's text, or a record.
type cached struct {
	text   string
	steps  int // that rendering it took
	record *record
}

// record is a notification's data as the parts of one group read it. The hash that
// it is found by is only where to look: data is the same when all of it is.
type record struct {
	id       uint64 // never given twice
	category string
	raw      string
	data     any // decoded; nobody changes it
	weight   int
}

// flight is a fragment that is being rendered.
type flight struct {
	done chan struct{} // closes when it has ended
	got  *cached       // nil: it failed
}

// CacheUse counts what became of the fragments of renderings.
type CacheUse struct {
	Hits   int // taken from the cache
	Joined int // taken from a rendering that was under way elsewhere
	Misses int // rendered, and kept
	Unseen int // rendered and not kept: nobody has asked for their like before
}

// Result is one word for a rendering: hit when all that is shared came from
// the cache, partial when some of it did, miss when it was rendered and kept,
// unseen when it was rendered only, and none when nothing is shared.
func (u CacheUse) Result() string {
	taken, made := u.Hits+u.Joined, u.Misses+u.Unseen
	switch {
	case taken > 0 && made > 0:
		return "partial"
	case taken > 0:
		return "hit"
	case u.Misses > 0:
		return "miss"
	case u.Unseen > 0:
		return "unseen"
	}
	return "none"
}

const (
	// entryOverhead is what an entry costs beside its bytes: the key, the
	// store's node and its place in the store's tables.
	entryOverhead = 320
	// heaviest is the share of the bound that one entry may take.
	heaviest = 8
	// fewestSights and mostSights bound the memory of what was asked for once:
	// four bytes each, and one for every 256 bytes of the bound in between.
	fewestSights, mostSights = 1 << 10, 1 << 16
)

// NewCache makes a cache that holds at most bound bytes, its own overhead
// included; nil, which is no cache, when bound is not positive.
func NewCache(bound int64) *Cache {
	if bound <= 0 {
		return nil
	}
	sights := fewestSights
	for sights < mostSights && int64(sights) < bound/256 {
		sights *= 2
	}
	return &Cache{
		bound: uint64(bound), seed: maphash.MakeSeed(), sights: make([]atomic.Uint32, sights), flights: map[cacheKey]*flight{},
		store: otter.Must(&otter.Options[cacheKey, *cached]{
			MaximumWeight: uint64(bound),
			Weigher:       func(k cacheKey, e *cached) uint32 { return uint32(weigh(k, e)) },
			Executor:      func(task func()) { task() }, // no goroutine outlives a call
		}),
	}
}

func weigh(k cacheKey, e *cached) int {
	weight := entryOverhead + len(e.text) + len(k.args) + len(k.zone) + len(k.locale) + len(k.manner)
	if e.record != nil {
		weight += e.record.weight
	}
	return weight
}

// Bytes is what the cache holds now, by its own reckoning.
func (c *Cache) Bytes() int64 {
	if c == nil {
		return 0
	}
	return int64(c.store.WeightedSize())
}

// find is the record of data that was seen before; nil when there is none. The
// hash is for sighted and remember.
func (c *Cache) find(group *fragment, category string, data jsontext.Value) (r *record, hash uint64) {
	hash = maphash.Bytes(c.seed, data) ^ maphash.String(c.seed, category) ^ maphash.Comparable(c.seed, group)
	e, ok := c.store.GetIfPresent(cacheKey{fragment: group, known: true, data: hash})
	if ok && e.record.is(category, data) {
		return e.record, hash
	}
	return nil, hash
}

func (r *record) is(category string, data jsontext.Value) bool {
	return r.category == category && r.raw == string(data)
}

// hash is where sighted looks for a fragment's key.
func (c *Cache) hash(k cacheKey) uint64 { return maphash.Comparable(c.seed, k) }

// sighted reports whether a hash was asked about lately, and notes that it is
// now. Content that is made once, as most is that speaks of one person's
// affairs, would only drive out what is shared.
func (c *Cache) sighted(hash uint64) bool {
	tag := uint32(hash>>32) | 1
	slot := &c.sights[hash%uint64(len(c.sights))]
	return slot.Load() == tag || slot.Swap(tag) == tag
}

// remember keeps decoded data; nil when that is more than the cache holds, or
// its hash is another's already.
func (c *Cache) remember(group *fragment, hash uint64, r *record) *record {
	key := cacheKey{fragment: group, known: true, data: hash}
	r.id, r.weight = c.ids.Add(1), len(r.raw)+len(r.category)+sizeOf(r.data)
	e := &cached{record: r}
	if c.tooHeavy(key, e) {
		return nil
	}
	if e, _ = c.store.SetIfAbsent(key, e); !e.record.is(r.category, jsontext.Value(r.raw)) {
		return nil
	}
	return e.record
}

func (c *Cache) tooHeavy(k cacheKey, e *cached) bool {
	return uint64(weigh(k, e)) > c.bound/heaviest
}

// sizeOf is about what a decoded value takes in memory.
func sizeOf(v any) int {
	const boxed = 16 // an interface
	size := boxed
	switch v := v.(type) {
	case string:
		size += boxed + len(v)
	case []any:
		size += 24
		for _, item := range v {
			size += sizeOf(item)
		}
	case map[string]any:
		size += 400 // as decoder.object makes one
		for name, item := range v {
			size += 2*boxed + len(name) + 2*sizeOf(item) // tables are half empty
		}
	}
	return size
}

// get is a stored text.
func (c *Cache) get(key cacheKey) (*cached, bool) { return c.store.GetIfPresent(key) }

// begin is a text that is stored, or that another goroutine is about to have:
// then begin waits for it. With neither, the flight is the caller's, who must
// end it; there is none when the other one has failed.
//
// Waiting cannot go in circles: who waits inside a fragment holds only those
// that lie around it, and those are never waited for from within.
func (c *Cache) begin(key cacheKey) (hit *cached, f *flight, joined bool) {
	if e, ok := c.store.GetIfPresent(key); ok {
		return e, nil, false
	}
	c.mu.Lock()
	if f := c.flights[key]; f != nil {
		c.mu.Unlock()
		<-f.done
		return f.got, nil, true
	}
	defer c.mu.Unlock()
	if e, ok := c.store.GetIfPresent(key); ok { // it ended just before
		return e, nil, true
	}
	f = &flight{done: make(chan struct{})}
	c.flights[key] = f
	return nil, f, false
}

// end keeps what a flight has made, nil when it failed, and hands it to who
// waits for it.
func (c *Cache) end(key cacheKey, f *flight, made *cached) {
	if made != nil && !c.tooHeavy(key, made) {
		c.store.Set(key, made)
	}
	f.got = made
	c.mu.Lock()
	delete(c.flights, key)
	c.mu.Unlock()
	close(f.done)
}

// UseCache makes renderings of c, and of the catalogues that a Store puts in
// its place, keep what they share in cache; nil ends that.
func (c *Catalogue) UseCache(cache *Cache) { c.cache.Store(cache) }
