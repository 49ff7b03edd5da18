package routing

import (
	"slices"
	"strings"
)

// index finds the routes that may match a type with a few map look-ups,
// however many routes there are. Every list is in the order of the
// configuration and complete: one list answers for one type.
type index struct {
	exact map[string][]*route // by a type that some route names exactly: all that match it
	under map[string][]*route // by whole leading segments ("com.github"): all patterns that may match below
	depth int                 // the most segments of a key of under
}

func newIndex(routes []*route) index {
	ix := index{exact: map[string][]*route{}, under: map[string][]*route{}}
	for _, r := range routes {
		if r.typ.exact() {
			ix.exact[r.typ.prefix] = nil
			continue
		}
		key := r.typ.segments()
		ix.under[key] = nil
		ix.depth = max(ix.depth, countSegments(key))
	}
	for name := range ix.exact {
		ix.exact[name] = keep(routes, func(r *route) bool { return r.typ.match(name) })
	}
	for key := range ix.under {
		ix.under[key] = keep(routes, func(r *route) bool { return !r.typ.exact() && isUnder(key, r.typ.segments()) })
	}
	return ix
}

// find is every route whose type pattern matches typ, in order, and perhaps
// some that do not.
func (ix *index) find(typ string) []*route {
	if found, ok := ix.exact[typ]; ok {
		return found
	}
	// The longest known segments first: its list holds the shorter ones' too.
	for key := cutSegments(typ, ix.depth); key != ""; key = key[:max(0, strings.LastIndexByte(key, '.'))] {
		if found, ok := ix.under[key]; ok {
			return found
		}
	}
	return ix.under[""]
}

// cutSegments is the first n segments of typ, so that a type of a million dots
// costs no more than a short one.
func cutSegments(typ string, n int) string {
	end := 0
	for range n {
		next := strings.IndexByte(typ[end:], '.')
		if next < 0 {
			break
		}
		end += next + 1
	}
	return typ[:max(0, end-1)]
}

func countSegments(key string) int {
	if key == "" {
		return 0
	}
	return strings.Count(key, ".") + 1
}

// isUnder reports whether key is root or lies below it.
func isUnder(key, root string) bool {
	rest, ok := strings.CutPrefix(key, root)
	return ok && (rest == "" || root == "" || rest[0] == '.')
}

func keep(routes []*route, want func(*route) bool) []*route {
	return slices.DeleteFunc(slices.Clone(routes), func(r *route) bool { return !want(r) })
}
