package templates

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/carillonhq/carillon/notice"
)

// needsOf compiles one part and tells what each of its fragments depends on.
func needsOf(t *testing.T, text string) []deps {
	t.Helper()
	c := mustLoad(t, mail(text, "_partials/mixed.txt", "{{.data.a}}{{.to.name}}", "_partials/shared.txt", "{{.data.a}}"))
	m, _ := c.Template("m")
	var needs []deps
	for _, f := range m.groups[notice.MediumEmail]["en"].parts[partText].fragments {
		needs = append(needs, f.needs)
	}
	return needs
}

func TestFragmentsAreAsLongAsWhatIsPersonalLetsThem(t *testing.T) {
	for _, w := range []struct {
		name, text string
		want       []deps
	}{
		{"a part without a reader is one", "{{.data.a}} x {{.data.b}}{{.category}}", []deps{onData}},
		{"a reader's name divides it", "{{.data.a}} {{.to.name}} {{.data.b}}", []deps{onData, onData}},
		{"text alone is none", "a text {{.to.name}} and another", nil},
		{"the part's own words depend on nothing", "{{.template}}{{.lang}}", []deps{0}},
		{"a date takes the reader's zone and manner into the key", `{{date "date" .data.a}}`, []deps{onData | onZone | onManner}},
		{"a number takes the manner", `{{number 1000}}`, []deps{onManner}},
		{"a zone that is written is a key too", `{{.to.timezone}}{{.data.a}}`, []deps{onZone | onData}},
		{"and so is a locale", `{{if eq .to.locale "de"}}{{.data.a}}{{end}}`, []deps{onLocale | onData}},
		{"the time is personal", `{{date "date" .now}}`, nil},
		{"the id is personal", `{{.id}}{{.unsubscribe_url}}`, nil},
		{"a loop with a reader in it is the reader's", `{{range .data.l}}{{.}}{{$.to.name}}{{end}}`, nil},
		{"a loop without is shared", `{{range .data.l}}{{.}}{{$.data.a}}{{end}}{{.to.name}}`, []deps{onData}},
		{"inside a condition on the reader there are fragments again", `{{if .to.name}}{{.data.a}}{{else}}{{.data.b}}{{end}}`, []deps{onData, onData}},
		{"a variable of the reader is the reader's", `{{$n := .to.name}}{{.data.a}}{{$n}}`, []deps{onData}},
		{"a shared variable that only shared nodes read is shared", `{{$n := .data.a}}{{$n}}{{.to.name}}`, []deps{onData}},
		{"one that is read beyond stays outside", `{{$n := .data.a}}x{{.data.b}}{{.to.name}}{{$n}}`, []deps{onData, onData}},
		{"a variable that is set again is personal", `{{$n := 0}}{{range .data.l}}{{$n = .}}{{end}}{{$n}}`, nil},
		{"a partial is divided where it stands", `{{template "mixed" .}}{{.data.b}}`, []deps{onData, onData}},
		{"a shared partial joins what is around it", `{{.data.b}}{{template "shared" .}}{{.data.b}}`, []deps{onData}},
		{"a partial of an element is shared by its argument", `{{range .data.l}}{{template "shared" $}}{{end}}`, []deps{onData}},
		{"the whole root is personal", `{{json .}}`, nil},
		{"the whole reader is personal", `{{json .to}}`, nil},
		{"an element of the reader by name is personal", `{{index .to "name"}}`, nil},
	} {
		t.Run(w.name, func(t *testing.T) {
			if got := needsOf(t, w.text); !slices.Equal(got, w.want) {
				t.Errorf("%s has fragments %v, want %v", w.text, got, w.want)
			}
		})
	}
}

// A new function counts as personal until somebody has said what it depends
// on, in pureFunctions or readerDeps.
func TestOfEachFunctionItIsKnownWhatItDependsOn(t *testing.T) {
	for name := range functionNames() {
		compiled := name
		if isReaderFunction(name) {
			compiled = readerCall(name)
		}
		if functionDeps(compiled).has(onPerson) {
			t.Errorf("%s: say what it depends on, in pureFunctions or readerDeps", name)
		}
	}
	if functionDeps("unheard_of") != onPerson {
		t.Error("a function that nobody knows is taken for a pure one")
	}
}

// cachedMail renders the mail of a catalogue made by mail, with a cache.
func cachedMail(t *testing.T, text string, bound int64) (c *Catalogue, render func(name, data string) (Rendering, error)) {
	t.Helper()
	c = mustLoad(t, mail(text))
	c.UseCache(NewCache(bound))
	return c, func(name, data string) (Rendering, error) {
		req := request("m", notice.MediumEmail, data)
		req.To.Name = name
		return c.Render(req)
	}
}

func TestDataIsKeptWhenItIsSeenAgain(t *testing.T) {
	_, render := cachedMail(t, "{{.data.a}} for {{.to.name}}", 1<<20)
	for i, want := range []string{"unseen", "miss", "hit", "hit"} {
		r, err := render(fmt.Sprintf("reader %d", i), `{"a":"x"}`)
		if err != nil || r.Cache.Result() != want || r.Content.Email.Text != fmt.Sprintf("x for reader %d", i) {
			t.Errorf("rendering %d: %q %s %v, want %s", i, r.Content.Email.Text, r.Cache.Result(), err, want)
		}
	}
	if r, _ := render("a", `{"a":"x" }`); r.Cache.Result() != "unseen" {
		t.Errorf("other bytes are %s", r.Cache.Result())
	}
}

func TestWithoutABoundNothingIsKept(t *testing.T) {
	c, render := cachedMail(t, "{{.data.a}}", 0)
	for range 3 {
		if r, err := render("a", `{"a":"x"}`); err != nil || r.Cache.Result() != "none" {
			t.Errorf("%s, %v", r.Cache.Result(), err)
		}
	}
	if n := c.cache.Load().Bytes(); n != 0 {
		t.Errorf("holds %d bytes", n)
	}
}

func TestWhatFailsIsNotKept(t *testing.T) {
	_, render := cachedMail(t, `{{.data.a}}{{range .data.n}}{{end}}`, 1<<20)
	for range 4 {
		r, err := render("a", `{"a":"x","n":9000000000}`)
		if err == nil || !strings.Contains(err.Error(), "takes more than 100000 steps") || r.Cache.Hits > 0 {
			t.Errorf("%v, %+v", err, r.Cache)
		}
	}
	if r, err := render("a", `{"a":"x","n":1}`); err != nil || r.Content.Email.Text != "x" {
		t.Errorf("the next one: %v", err)
	}
}

// Three fragments of 45,000 steps are too many, whether they are executed or
// known; and so are three of 400,000 bytes.
func TestBudgetsHoldForWhatIsKnown(t *testing.T) {
	for _, w := range []struct{ name, once, want string }{
		{"steps", `{{cached "x" .data.a}}{{range 45000}}{{end}}{{end}}{{.to.name}}`, "takes more than 100000 steps"},
		{"bytes", `{{cached "x" .data.a}}{{range 400}}` + strings.Repeat("x", 1000) + `{{end}}{{end}}{{.to.name}}`, "makes more than 1048576 bytes"},
	} {
		t.Run(w.name, func(t *testing.T) {
			cache := NewCache(64 << 20)
			for times, good := range map[int]bool{2: true, 3: false} {
				c := mustLoad(t, mail(strings.Repeat(w.once, times)))
				c.UseCache(cache)
				for round := range 4 {
					_, err := c.Render(request("m", notice.MediumEmail, `{"a":"x"}`))
					if good && err != nil || !good && (err == nil || !strings.Contains(err.Error(), w.want)) {
						t.Errorf("%d times, round %d: %v", times, round, err)
					}
				}
			}
		})
	}
}

// While one goroutine renders a fragment, those that want the same one wait
// for it and take it over.
func TestMissesAtOnceAreOneRendering(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewCache(1 << 20)
		key := cacheKey{fragment: &fragment{}, data: 1}
		_, leader, _ := c.begin(key)
		if leader == nil {
			t.Fatal("nobody renders")
		}
		var got [8]*cached
		var wg sync.WaitGroup
		for i := range got {
			wg.Go(func() {
				hit, flight, joined := c.begin(key)
				if flight != nil || !joined {
					t.Errorf("%d renders too", i)
				}
				got[i] = hit
			})
		}
		synctest.Wait()
		c.end(key, leader, &cached{text: "x"})
		wg.Wait()
		for i, hit := range got {
			if hit == nil || hit.text != "x" {
				t.Errorf("%d got %v", i, hit)
			}
		}
	})
}

func TestWhoWaitsForARenderingThatFailsRendersItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewCache(1 << 20)
		key := cacheKey{fragment: &fragment{}, data: 1}
		_, leader, _ := c.begin(key)
		var wg sync.WaitGroup
		wg.Go(func() {
			if hit, flight, _ := c.begin(key); hit != nil || flight != nil {
				t.Errorf("got %v %v", hit, flight)
			}
		})
		synctest.Wait()
		c.end(key, leader, nil)
		wg.Wait()
		if _, flight, _ := c.begin(key); flight == nil {
			t.Error("the key is blocked")
		}
	})
}

// Many readers of a few contents at once, with a cache that cannot hold them
// all, each get what they get alone.
func TestReadersAtOnceGetTheirOwn(t *testing.T) {
	html := `<p>{{cached "c" .data.c}}{{.data.c.x}}{{end}} {{.to.name}} {{range .data.l}}<i>{{.}}</i>{{end}}{{template "p" .}}</p>`
	c := mustLoad(t, folder("m/en/email.subject.txt", "{{.data.c.x}} {{.to.name}}", "m/en/email.html", html, "_partials/p.html", "{{.data.c.x}} {{.to.user}}"))
	c.UseCache(NewCache(16 << 10))
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 300 {
				n := (i + g) % 40
				req := request("m", notice.MediumEmail, fmt.Sprintf(`{"c":{"x":"c%d"},"l":["%s"]}`, n/4, strings.Repeat("x", n)))
				req.To.Name, req.To.User = fmt.Sprintf("<n%d>", g), fmt.Sprintf("u%d", i)
				r, err := c.Render(req)
				want := fmt.Sprintf(`<p>c%d &lt;n%d&gt; <i>%s</i>c%d u%d</p>`, n/4, g, strings.Repeat("x", n), n/4, i)
				if err != nil || r.Content.Email.HTML != want {
					t.Errorf("%v: %q, want %q", err, r.Content.Email.HTML, want)
					return
				}
			}
		})
	}
	wg.Wait()
}

// heap is what is in use after the garbage is gone.
func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func TestTheCacheStaysWithinItsBound(t *testing.T) {
	const bound = 4 << 20
	c, render := cachedMail(t, "{{.data.a}}{{.to.name}}{{.data.a}}", bound)
	before := heap()
	for i := range 10 * bound / 10_000 {
		data := fmt.Sprintf(`{"a":"%d %s","m":{"n":[1,2,3,"x"]}}`, i, strings.Repeat("y", 1000+rand.IntN(2000)))
		for range 3 {
			if _, err := render("a", data); err != nil {
				t.Fatal(err)
			}
		}
	}
	held := c.cache.Load().Bytes()
	if held > bound || held < bound/4 {
		t.Errorf("holds %d bytes, want up to %d", held, bound)
	}
	if grown := heap() - before; grown > bound*3/2 {
		t.Errorf("the heap has grown by %d bytes, the bound is %d", grown, bound)
	}
	runtime.KeepAlive(c)
}

// A key of a block is exact: what prints alike is not taken for the same.
func TestKeysOfDifferentValuesDiffer(t *testing.T) {
	values := []any{nil, true, false, "", "n", "T", int64(1), 1, decimal(1), float64(1), "1", []any{}, []any{nil}, []any{"a", "b"}, []any{"ab"}, []any{[]any{"a"}, "b"},
		map[string]any{}, map[string]any{"a": "b"}, map[string]any{"a": nil}, map[string]any{"a": "b", "c": nil}, strings.Repeat("x", 500), strings.Repeat("x", 501)}
	seen := map[string]any{}
	for _, v := range values {
		key, ok := keyOf([]any{"name", v})
		if !ok {
			t.Errorf("%#v has no key", v)
		}
		if other, twice := seen[key]; twice {
			t.Errorf("%#v and %#v have one key", v, other)
		}
		seen[key] = v
	}
	if _, ok := keyOf([]any{struct{}{}}); ok {
		t.Error("a value that is no JSON has a key")
	}
	one, _ := keyOf([]any{"a", "b"})
	if two, _ := keyOf([]any{"ab"}); one == two {
		t.Error("two values and one have one key")
	}
}

// A reload keeps what was rendered of templates that have not changed, and
// nothing of those that have.
func TestAReloadKeepsWhatHasNotChanged(t *testing.T) {
	s, dir, _ := openStore(t)
	for _, m := range []string{"a", "b"} {
		writeFile(t, dir, m+"/en/push.title.txt", "{{.data.x}} 1")
		writeFile(t, dir, m+"/en/push.body.txt", "body")
	}
	if err := s.Reload(); err != nil {
		t.Fatal(err)
	}
	s.UseCache(NewCache(1 << 20))
	result := func(name string) string {
		r, err := s.Current().Render(request(name, notice.MediumPush, `{"x":"x"}`))
		if err != nil {
			t.Fatal(err)
		}
		return r.Content.Push.Title + " " + r.Cache.Result()
	}
	for _, m := range []string{"a", "b", "a", "b"} {
		result(m)
	}
	writeFile(t, dir, "b/en/push.title.txt", "{{.data.x}} 2")
	if err := s.Reload(); err != nil {
		t.Fatal(err)
	}
	if got := result("a"); got != "x 1 hit" {
		t.Errorf("the one that stayed: %s", got)
	}
	if got := result("b"); got != "x 2 unseen" {
		t.Errorf("the one that changed: %s", got)
	}
}

func FuzzCacheAgainstUncached(f *testing.F) {
	f.Add(`<a href="{{.data.title}}?{{.to.name}}">{{cached "x" .data.o}}{{.data.o.a}}{{end}}</a>`, "Ada", `{"title":"a","o":{"a":"b"}}`)
	f.Add(`<script>var a = {{.data.title}}, b = {{.to.name}};</script>{{range .data.l}}{{.}}{{end}}`, "</script>", `{"title":"a","l":[1,"<"]}`)
	f.Add(`{{$x := .data.title}}{{with .to.name}}{{.}}{{$x}}{{end}}{{template "mixed" .}}`, "'", `{"title":"a","n":1,"at":"2027-01-01","o":{"a":1}}`)
	f.Fuzz(func(t *testing.T, source, name, data string) {
		req := request("m", notice.MediumEmail, data)
		req.To.Name, req.To.Locale = name, "de"
		other := req
		other.To.Name, other.To.Timezone, other.ID = "another", "Asia/Tokyo", "9-z"
		checkAgainstUncached(t, source, source, []Request{req, other})
	})
}
