package templates

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"testing"

	"github.com/carillonhq/carillon/notice"
)

func liveHeap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// Versions of one template, each rendered, leave no more than the bounds of what
// is held and of the content cache, however many they are.
func TestVersionsStayUnderTheBound(t *testing.T) { holdVersions(t, 1000) }

// BenchmarkTenThousandVersions is the same with ten thousand, for -benchtime 1x.
func BenchmarkTenThousandVersions(b *testing.B) {
	for b.Loop() {
		b.ReportMetric(float64(holdVersions(b, 10_000))/(1<<20), "MiB-grown")
	}
}

// holdVersions is how much the heap grows over so many versions.
func holdVersions(t testing.TB, versions int) (grown int64) {
	const held, shared, spare = 4 << 20, 1 << 20, 8 << 20
	s := newStore("test", slog.New(slog.DiscardHandler), []Option{WithHeld(held)})
	load := func(i int) *Catalogue {
		return mustLoad(t, folder("m/en/email.subject.txt", "s", "m/en/email.html", fmt.Sprintf("<p>%d {{.data.a}} {{range .data.l}}<b>{{.}}</b>{{end}}</p>", i)))
	}
	s.read = func() (*Catalogue, error) { return load(0), nil }
	if err := s.first(); err != nil {
		t.Fatal(err)
	}
	s.UseCache(NewCache(shared))
	before := liveHeap()
	for i := 1; i <= versions; i++ {
		s.mu.Lock()
		s.settle(load(i), nil)
		s.mu.Unlock()
		for range 2 {
			if _, err := s.Current().Render(request("m", notice.MediumEmail, `{"a":"x","l":["y"]}`)); err != nil {
				t.Fatal(err)
			}
		}
	}
	grown = liveHeap() - before
	if grown > held+shared+spare {
		t.Errorf("%d versions hold %d bytes more, bound %d", versions, grown, held+shared+spare)
	}
	if use := s.Past(); use.Held > held || use.Held < held/2 {
		t.Errorf("the store reckons %d bytes of %d", use.Held, held)
	}
	return grown
}

// box is a shelf in memory that counts its questions.
type box struct {
	mu      sync.Mutex
	bundles map[pin]Files
	taken   int
	hold    chan struct{} // answers wait for it to close
}

func (b *box) Take(_ context.Context, template, version string) (Files, error) {
	<-b.hold
	b.mu.Lock()
	defer b.mu.Unlock()
	b.taken++
	return b.bundles[pin{template, version}], nil
}

func (b *box) Put(context.Context, []Bundle) error { return nil }

func TestAVersionFromTheShelfIsAskedForOnceAndRendersWhatItDid(t *testing.T) {
	old := mustLoad(t, folder("m/en/email.subject.txt", "{{t \"hi\"}}", "m/en/email.html", `{{template "foot" .}}{{asset "l.svg"}}`, "m/template.yaml", "layout: base",
		"_partials/foot.html", "<i>old</i>", "_locales/en.yaml", "hi: Hello", "_assets/l.svg", "<svg/>", "other/en/push.title.txt", "x"))
	m, _ := old.Template("m")
	shelf := &box{bundles: map[pin]Files{{"m", m.Version}: m.used}, hold: make(chan struct{})}
	now := mustLoad(t, mail("new"))
	now.past = newPast(optionsOf([]Option{WithShelf(shelf)}))
	req := request("m", notice.MediumEmail, `{}`)
	want, err := old.Render(req)
	if err != nil {
		t.Fatal(err)
	}
	req.Version = m.Version
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			got, err := now.Render(req)
			if err != nil || got.Fallback != "" || got.Content.Email.HTML != want.Content.Email.HTML || got.Content.Email.Subject != want.Content.Email.Subject {
				t.Errorf("got %+v (%s, %v), want %+v", got.Content.Email, got.Fallback, err, want.Content.Email)
			}
		})
	}
	close(shelf.hold)
	all.Wait()
	if shelf.taken != 1 {
		t.Errorf("the shelf was asked %d times", shelf.taken)
	}
	req.Version = "0123456789ab"
	for range 3 {
		if got, err := now.Render(req); err != nil || got.Fallback == "" {
			t.Errorf("an unknown version: fallback %q, %v", got.Fallback, err)
		}
	}
	if shelf.taken != 2 {
		t.Errorf("the shelf was asked %d times for what it does not have", shelf.taken-1)
	}
}

func TestFaultsOfAssets(t *testing.T) {
	const png = "\x89PNG\r\n\x1a\n\x00\x00"
	for _, c := range []struct{ name, place, words, file, content, text string }{
		{"an asset that is not there", "m/en/email.txt:1:9", "did you mean", "_assets/logo.png", png, `{{asset "logos.png"}}`},
		{"a name that is no constant", "m/en/email.txt:1:3", "constant name", "_assets/logo.png", png, `{{asset .data.x}}`},
		{"a content that is not what it says", "_assets/logo.png:1:1", "image/gif", "_assets/logo.png", "GIF89a;", "t"},
		{"an SVG that is none", "_assets/a/l.svg:1:1", "first element is html", "_assets/a/l.svg", "<html/>", "t"},
		{"a kind that nobody serves", "_assets/x.exe:1:1", "extensions", "_assets/x.exe", "MZ", "t"},
	} {
		t.Run(c.name, func(t *testing.T) {
			wantFault(t, loadFaults(t, mail(c.text, c.file, c.content)), c.place, c.words)
		})
	}
	fsys := mail(`{{asset "a/logo.png"}}`, "_assets/a/logo.png", png)
	served, err := Load(fsys, WithAssets("https://cdn.acme.example/m/"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := served.Render(request("m", notice.MediumEmail, `{}`))
	if want := "https://cdn.acme.example/m/logo." + Digest(png) + ".png"; err != nil || r.Content.Email.Text != want {
		t.Errorf("rendered %q (%v), want %q", r.Content.Email.Text, err, want)
	}
	unserved, _ := Load(fsys, WithAssets(""))
	wantFault(t, unserved.Examine(), "m/en/email.txt:1:3", "assets.base_url")
	a, _ := served.Template("m")
	b, _ := mustLoad(t, mail(`{{asset "a/logo.png"}}`, "_assets/a/logo.png", png+"x")).Template("m")
	if a.Version == b.Version {
		t.Error("another image is no other version")
	}
}
