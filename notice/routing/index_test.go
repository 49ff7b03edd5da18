package routing

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestIndexFindsEveryMatchingRouteInOrder holds the look-up against a scan of
// all routes, for sets of patterns and types made of few short segments, so
// that they meet often.
func TestIndexFindsEveryMatchingRouteInOrder(t *testing.T) {
	segment := rapid.SampledFrom([]string{"a", "b", "ab", "", "*", "**", "a*", "*b"})
	plain := rapid.SampledFrom([]string{"a", "b", "ab", "", "abb"})
	rapid.Check(t, func(t *rapid.T) {
		var routes []*route
		for i, segments := range rapid.SliceOfN(rapid.SliceOfN(segment, 1, 4), 0, 8).Draw(t, "patterns") {
			g, err := compileGlob(strings.Join(segments, "."), '.')
			if err == nil {
				routes = append(routes, &route{position: i, typ: g})
			}
		}
		ix := newIndex(routes)
		typ := strings.Join(rapid.SliceOfN(plain, 1, 5).Draw(t, "type"), ".")

		want := keep(routes, func(r *route) bool { return r.typ.match(typ) })
		got := keep(ix.find(typ), func(r *route) bool { return r.typ.match(typ) })
		if len(got) != len(want) {
			t.Fatalf("%q: found %d routes, want %d", typ, len(got), len(want))
		}
		for i := range got {
			if got[i] != want[i] {
				t.Fatalf("%q: route %d is number %d of the configuration, want %d", typ, i, got[i].position, want[i].position)
			}
		}
	})
}

func TestIndexLeavesRoutesOfOtherSegmentsAlone(t *testing.T) {
	var routes []*route
	for _, pattern := range []string{"com.github.issues.*", "com.github.**", "org.shop.order.shipped", "net.*"} {
		g, err := compileGlob(pattern, '.')
		if err != nil {
			t.Fatal(err)
		}
		routes = append(routes, &route{typ: g})
	}
	ix := newIndex(routes)
	for typ, want := range map[string]int{
		"com.github.issues.opened": 2,
		"com.github.push":          1,
		"com.gitlab.push":          0,
		"com":                      0,
		"org.shop.order.shipped":   1,
		"org.shop.order.paid":      0,
		"net.ping":                 1,
		"":                         0,
		strings.Repeat(".", 1<<20): 0,
	} {
		if got := len(ix.find(typ)); got != want {
			t.Errorf("%.40q: %d candidates, want %d", typ, got, want)
		}
	}
}
