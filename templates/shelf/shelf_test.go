package shelf_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/queue/queuetest"
	"github.com/carillonhq/carillon/templates"
	"github.com/carillonhq/carillon/templates/shelf"
)

// eachRedis runs a test on a real redis-server and on the embedded one.
func eachRedis(t *testing.T, run func(t *testing.T, rdb *redis.Client)) {
	t.Run("redis", func(t *testing.T) { run(t, queuetest.Redis(t)) })
	t.Run("embedded", func(t *testing.T) {
		rdb := redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr(), MaxRetries: -1})
		t.Cleanup(func() { rdb.Close() })
		run(t, rdb)
	})
}

func open(rdb redis.UniversalClient, keep int) *shelf.Shelf {
	return shelf.New(rdb, shelf.Options{Namespace: "test", Keep: keep, Bound: 1 << 20, Life: time.Hour})
}

// titled is a catalogue with one push template "m".
func titled(t testing.TB, title string) *templates.Catalogue {
	t.Helper()
	c, err := templates.Load(templates.Files{"m/en/push.title.txt": title, "n/en/push.title.txt": "the same", "_locales/en.yaml": "hi: Hello"})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func push(t testing.TB, s *shelf.Shelf, c *templates.Catalogue, expect string) shelf.Entry {
	t.Helper()
	e, _, err := s.Push(t.Context(), c, shelf.Change{By: "ada", Message: "why", Expect: expect})
	if err != nil {
		t.Fatalf("push: %v", err)
	}
	return e
}

func TestWhatIsPushedIsWhatIsLoaded(t *testing.T) {
	eachRedis(t, func(t *testing.T, rdb *redis.Client) {
		s, c := open(rdb, 5), titled(t, "one")
		e := push(t, s, c, shelf.None)
		current, err := open(rdb, 5).Current(t.Context())
		if err != nil || current != e.Version || e.Seq != 1 || e.By != "ada" || e.At == 0 {
			t.Fatalf("current is %q (%v) after %+v", current, err, e)
		}
		files, err := open(rdb, 5).Files(t.Context(), current)
		if err != nil || files.Version() != e.Version {
			t.Fatalf("the files are of version %s, want %s (%v)", files.Version(), e.Version, err)
		}
		again, err := templates.Load(files)
		if err != nil {
			t.Fatal(err)
		}
		a, _ := c.Template("m")
		if b, ok := again.Template("m"); !ok || a.Version != b.Version {
			t.Errorf("the template's version changed on the way")
		}
		if _, done, err := s.Push(t.Context(), c, shelf.Change{}); done || err != nil {
			t.Errorf("pushing the same again: done %v, %v", done, err)
		}
	})
}

func TestAPushThatExpectsAnotherVersionChangesNothing(t *testing.T) {
	eachRedis(t, func(t *testing.T, rdb *redis.Client) {
		s := open(rdb, 5)
		first := push(t, s, titled(t, "one"), "")
		second := push(t, s, titled(t, "two"), first.Version)
		_, _, err := s.Push(t.Context(), titled(t, "three"), shelf.Change{Expect: first.Version})
		var raced *shelf.RacedError
		if !errors.As(err, &raced) || raced.Current != second.Version || !strings.Contains(err.Error(), "--expect "+second.Version) {
			t.Errorf("error %v, want the race with %s and the mend", err, second.Version)
		}
		if current, _ := s.Current(t.Context()); current != second.Version {
			t.Errorf("current is %s", current)
		}
	})
}

func TestOfManyPushesWithOneExpectationOneWins(t *testing.T) {
	rdb := queuetest.Redis(t)
	first := push(t, open(rdb, 5), titled(t, "first"), "")
	var won sync.Map
	var all sync.WaitGroup
	for i := range 8 {
		c := titled(t, fmt.Sprint("racer ", i))
		all.Go(func() {
			_, done, err := open(rdb, 5).Push(t.Context(), c, shelf.Change{Expect: first.Version})
			if done {
				won.Store(i, true)
			} else if !errors.As(err, new(*shelf.RacedError)) {
				t.Errorf("a loser's error: %v", err)
			}
		})
	}
	all.Wait()
	winners := 0
	won.Range(func(any, any) bool { winners++; return true })
	if winners != 1 {
		t.Errorf("%d pushes won", winners)
	}
}

func TestRollingBackIsAChangeOfItsOwn(t *testing.T) {
	eachRedis(t, func(t *testing.T, rdb *redis.Client) {
		s := open(rdb, 5)
		first := push(t, s, titled(t, "one"), "")
		push(t, s, titled(t, "two"), "")
		e, done, err := s.Rollback(t.Context(), first.Version, shelf.Change{By: "bo"})
		if err != nil || !done || e.Action != shelf.ActionRollback || e.Seq != 3 {
			t.Fatalf("rollback: %+v %v %v", e, done, err)
		}
		if current, _ := s.Current(t.Context()); current != first.Version {
			t.Errorf("current is %s", current)
		}
		if h, _ := s.History(t.Context()); len(h) != 3 || h[0].Version != first.Version || h[2].Version != first.Version {
			t.Errorf("history %+v", h)
		}
		if _, _, err := s.Rollback(t.Context(), "0123456789ab", shelf.Change{}); !errors.Is(err, shelf.ErrUnknown) {
			t.Errorf("a version that nobody knows: %v", err)
		}
	})
}

// Any number of pushes leaves what the history names, and nothing else; with
// CARILLON_LONG=1 there are ten thousand.
func TestAThousandPushesLeaveWhatIsKept(t *testing.T) {
	rdb, pushes := queuetest.Redis(t), 1_000
	if os.Getenv("CARILLON_LONG") != "" {
		pushes = 10_000
	}
	s := open(rdb, 3)
	for i := range pushes {
		push(t, s, titled(t, fmt.Sprint("push ", i)), "")
	}
	keys, err := rdb.Keys(t.Context(), "*").Result()
	if err != nil {
		t.Fatal(err)
	}
	// current, history, refs; three manifests; three of m's texts, and two files that all share.
	if len(keys) != 3+3+3+2 {
		t.Errorf("%d keys after %d pushes: %v", len(keys), pushes, keys)
	}
	for _, e := range must(s.History(t.Context())) {
		if _, err := open(rdb, 3).Files(t.Context(), e.Version); err != nil {
			t.Errorf("version %s: %v", e.Version, err)
		}
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestTheShelfKeepsWhatWasPutThereLastWithinItsBound(t *testing.T) {
	eachRedis(t, func(t *testing.T, rdb *redis.Client) {
		const bound = 10_000
		s := shelf.New(rdb, shelf.Options{Namespace: "test", Bound: bound, Life: time.Hour})
		last := 0
		for i := range 100 {
			if err := s.Put(t.Context(), []templates.Bundle{{Template: "m", Version: fmt.Sprint(i), Files: templates.Files{"m/x": fmt.Sprint(i)}}}); err != nil {
				t.Fatal(err)
			}
			last = i
		}
		files, err := s.Take(t.Context(), "m", fmt.Sprint(last))
		if err != nil || files["m/x"] != fmt.Sprint(last) {
			t.Errorf("the last one is %v (%v)", files, err)
		}
		if files, err := s.Take(t.Context(), "m", "0"); files != nil || err != nil {
			t.Errorf("the first one is still there: %v %v", files, err)
		}
		if bytes, _ := rdb.HGet(t.Context(), "{test:catalogue}:sizes", "").Int(); bytes > bound || bytes < bound/2 {
			t.Errorf("the shelf reckons %d bytes of %d", bytes, bound)
		}
		for _, key := range must(rdb.Keys(t.Context(), "*").Result()) {
			if rdb.PTTL(t.Context(), key).Val() <= 0 {
				t.Errorf("%s is for ever", key)
			}
		}
	})
}

// Two processes follow one catalogue; a broken version is refused by both, and
// a version that is gone from both is had from the shelf.
func TestProcessesFollowWhatIsPushed(t *testing.T) {
	rdb := queuetest.Redis(t)
	s := open(rdb, 5)
	first := titled(t, "one")
	push(t, s, first, "")
	var stores []*templates.Store
	for range 2 {
		store, err := templates.OpenShared(t.Context(), open(rdb, 5), "test", slog.New(slog.DiscardHandler), templates.WithShelf(open(rdb, 5)))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { store.Close() })
		stores = append(stores, store)
	}
	await(t, "the shelf has the first version", func() bool {
		files, err := s.Take(t.Context(), "m", versionOf(first))
		return err == nil && files != nil
	})
	push(t, s, titled(t, "two"), "")
	for _, store := range stores {
		await(t, "the second version is served", func() bool { return title(t, store.Current(), "") == "two" })
	}
	broken := titled(t, "three")
	e := push(t, s, broken, "")
	rdb.Set(t.Context(), "{test:catalogue}:version:"+e.Version, "", 0) // and now one that cannot be read
	push(t, s, titled(t, "four"), "")
	await(t, "the fourth version is served", func() bool { return title(t, stores[0].Current(), "") == "four" })
	late, err := templates.OpenShared(t.Context(), open(rdb, 5), "test", slog.New(slog.DiscardHandler), templates.WithShelf(open(rdb, 5)))
	if err != nil {
		t.Fatal(err)
	}
	defer late.Close()
	if got := title(t, late.Current(), versionOf(first)); got != "one" {
		t.Errorf("a process that never served the first version renders %q for it", got)
	}
	if use := late.Past(); use.Taken != 1 {
		t.Errorf("use %+v, want one taken from the shelf", use)
	}
}

func TestRedisThatIsAwayIsSaidSo(t *testing.T) {
	rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", MaxRetries: -1, DialTimeout: time.Second})
	defer rdb.Close()
	_, err := templates.OpenShared(t.Context(), open(rdb, 5), "test", slog.New(slog.DiscardHandler))
	if !errors.Is(err, shelf.ErrUnavailable) {
		t.Errorf("error %v, want that it does not answer", err)
	}
}

func TestAnAssetIsHadByItsNameFromAnyVersionThatIsKept(t *testing.T) {
	rdb := queuetest.Redis(t)
	s := open(rdb, 5)
	const svg = `<svg xmlns="http://www.w3.org/2000/svg"/>`
	c, err := templates.Load(templates.Files{"m/en/push.title.txt": "t", "_assets/logo.svg": svg})
	if err != nil {
		t.Fatal(err)
	}
	push(t, s, c, "")
	push(t, s, titled(t, "without"), "")
	name := "logo." + templates.Digest(svg) + ".svg"
	if a, ok, err := s.Asset(t.Context(), name); err != nil || !ok || a.Content != svg || a.Type != "image/svg+xml" {
		t.Errorf("asset %+v %v %v", a, ok, err)
	}
	for _, other := range []string{"logo.svg", "../" + name, "logo." + templates.Digest("t") + ".svg", "logo." + templates.Digest(svg) + ".png"} {
		if _, ok, err := s.Asset(t.Context(), other); ok || err != nil {
			t.Errorf("%s is served (%v)", other, err)
		}
	}
}

func versionOf(c *templates.Catalogue) string {
	m, _ := c.Template("m")
	return m.Version
}

func title(t *testing.T, c *templates.Catalogue, version string) string {
	t.Helper()
	r, err := c.Render(templates.Request{Template: "m", Version: version, Medium: notice.MediumPush, Data: []byte("{}")})
	if err != nil {
		t.Fatal(err)
	}
	return r.Content.Push.Title
}

func await(t *testing.T, what string, good func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	for !good() {
		select {
		case <-poll.C:
		case <-ctx.Done():
			t.Fatalf("waited for this in vain: %s", what)
		}
	}
}
