package throttle_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"

	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/throttle"
)

// model is the caps as one would explain them: every place ever taken, kept in
// lists for ever, and every moment tried in turn.
type model struct {
	caps   []config.Cap
	places map[string]map[string]int64 // user and window → id → ms
}

func newModel(caps []config.Cap) *model {
	return &model{caps: caps, places: map[string]map[string]int64{}}
}

// window names the places that a cap counts: caps that count the same, over the
// same time, count together.
func (m *model) window(a throttle.Ask, c config.Cap) map[string]int64 {
	name := fmt.Sprint(a.Tenant, a.User, c.Category, c.Channel, c.Limit.Per)
	if m.places[name] == nil {
		m.places[name] = map[string]int64{}
	}
	return m.places[name]
}

func (m *model) matching(a throttle.Ask) (caps []config.Cap) {
	for _, c := range m.caps {
		if a.Lane != notice.LaneCritical && (c.Category == "*" || c.Category == a.Category) && (c.Channel == "*" || c.Channel == string(a.Medium)) {
			caps = append(caps, c)
		}
	}
	return caps
}

// fits reports whether one more place at t keeps every window within its limit:
// of the sorted places, no limit+1 in a row lie within less than the window.
func (m *model) fits(a throttle.Ask, c config.Cap, t int64) bool {
	all := []int64{t}
	for _, at := range m.window(a, c) {
		all = append(all, at)
	}
	slices.Sort(all)
	return within(all, c)
}

func within(sorted []int64, c config.Cap) bool {
	for i := 0; i+c.Limit.Count < len(sorted); i++ {
		if sorted[i+c.Limit.Count]-sorted[i] < c.Limit.Per.Milliseconds() {
			return false
		}
	}
	return true
}

// refusing is the name of the first drop cap without room at t.
func (m *model) refusing(a throttle.Ask, t int64) string {
	for _, c := range m.matching(a) {
		if c.Over == config.OverDrop && !m.fits(a, c, t) {
			return c.Name
		}
	}
	return ""
}

// earliest tries every moment at which anything changes: now, and whenever a
// place leaves a window.
func (m *model) earliest(a throttle.Ask, from int64) int64 {
	moments := []int64{from}
	var waiting []config.Cap
	for _, c := range m.matching(a) {
		if c.Over == config.OverDrop {
			continue
		}
		waiting = append(waiting, c)
		for _, at := range m.window(a, c) {
			moments = append(moments, at+c.Limit.Per.Milliseconds())
		}
	}
	slices.Sort(moments)
	for _, t := range moments {
		if t >= from && !slices.ContainsFunc(waiting, func(c config.Cap) bool { return !m.fits(a, c, t) }) {
			return t
		}
	}
	panic("the last moment is behind every window")
}

func (m *model) decide(a throttle.Ask) throttle.Answer {
	now := a.At.UnixMilli()
	from := max(now, a.NotBefore.UnixMilli())
	if rule := m.refusing(a, from); rule != "" {
		return answer(throttle.Drop, from, rule)
	}
	t := m.earliest(a, from)
	if !a.ExpiresAt.IsZero() && t >= a.ExpiresAt.UnixMilli() && len(m.matching(a)) > 0 {
		return answer(throttle.Expire, t, "")
	}
	if rule := m.refusing(a, t); rule != "" {
		return answer(throttle.Drop, t, rule)
	}
	for _, c := range m.matching(a) {
		m.window(a, c)[a.DeliveryID] = t
	}
	if t > now {
		return answer(throttle.Wait, t, "")
	}
	return answer(throttle.Go, t, "")
}

func (m *model) release(a throttle.Ask) {
	for _, c := range m.matching(a) {
		delete(m.window(a, c), a.DeliveryID)
	}
}

func answer(action throttle.Action, t int64, rule string) throttle.Answer {
	return throttle.Answer{Action: action, Until: time.UnixMilli(t), Rule: rule}
}

// agrees compares an answer with the model's. Which of several caps made
// somebody wait is not the model's to say.
func agrees(got, want throttle.Answer) bool {
	return got.Action == want.Action && got.Until.Equal(want.Until) && (want.Action != throttle.Drop || got.Rule == want.Rule)
}

func TestCapsAgreeWithAModelThatKeepsEverything(t *testing.T) {
	eachStore(t, func(t *testing.T, rdb redis.UniversalClient) {
		run := 0
		rapid.Check(t, func(t *rapid.T) {
			run++
			w := newWorld(t, rdb, fmt.Sprint("tenant-", run))
			t.Repeat(map[string]func(*rapid.T){
				"":          w.stayWithinLimits,
				"ask":       w.ask,
				"ask again": w.askAgain,
				"release":   w.release,
				"time":      w.pass,
			})
		})
	})
}

// world drives the caps and the model through the same story, told by several
// callers whose clocks differ by up to five seconds.
type world struct {
	tenant string
	caps   *throttle.Caps
	model  *model
	clock  time.Time
	next   int
	placed []placed
}

type placed struct {
	ask throttle.Ask
	at  time.Time
}

func newWorld(t *rapid.T, rdb redis.UniversalClient, tenant string) *world {
	rules := rapid.SliceOfN(rapid.Custom(drawCap), 1, 3).Draw(t, "caps")
	for i := range rules {
		rules[i].Name = fmt.Sprint("rule ", i)
	}
	caps, err := throttle.NewCaps(rdb, "model", onePartition, rules)
	if err != nil {
		t.Fatal(err)
	}
	return &world{tenant: tenant, caps: caps, model: newModel(rules), clock: base}
}

func drawCap(t *rapid.T) config.Cap {
	return config.Cap{
		Category: rapid.SampledFrom([]string{"*", "*", "news", "offers"}).Draw(t, "category"),
		Channel:  rapid.SampledFrom([]string{"*", "*", "push", "email"}).Draw(t, "channel"),
		Limit: config.Rate{
			Count: rapid.IntRange(1, 4).Draw(t, "limit"),
			Per:   time.Duration(rapid.SampledFrom([]int{1, 700, 2000, 10_000, 60_000}).Draw(t, "window")) * time.Millisecond,
		},
		Over: rapid.SampledFrom([]config.Over{config.OverDefer, config.OverDefer, config.OverDrop}).Draw(t, "over"),
	}
}

func (w *world) now(t *rapid.T) time.Time {
	skew := rapid.IntRange(-2500, 2500).Draw(t, "the caller's clock is off by")
	return w.clock.Add(time.Duration(skew) * time.Millisecond)
}

func (w *world) ask(t *rapid.T) {
	now := w.now(t)
	asks := make([]throttle.Ask, rapid.IntRange(1, 6).Draw(t, "asks"))
	for i := range asks {
		asks[i] = w.draw(t, now)
	}
	got, err := w.caps.Decide(t.Context(), asks)
	if err != nil {
		t.Fatal(err)
	}
	for i, a := range asks {
		want := w.model.decide(a)
		if !agrees(got[i], want) {
			t.Fatalf("ask %d %+v:\n got %+v\nwant %+v", i, a, got[i], want)
		}
		if want.Action <= throttle.Wait && w.caps.Applies(a) {
			w.placed = append(w.placed, placed{a, want.Until})
		}
	}
}

func (w *world) draw(t *rapid.T, now time.Time) throttle.Ask {
	w.next++
	a := throttle.Ask{
		Tenant: w.tenant, User: rapid.SampledFrom([]string{"u1", "u1", "u2"}).Draw(t, "user"),
		Category:   rapid.SampledFrom([]string{"news", "offers", ""}).Draw(t, "category"),
		Medium:     rapid.SampledFrom(notice.Media()).Draw(t, "medium"),
		Lane:       rapid.SampledFrom([]notice.Lane{notice.LaneNormal, notice.LaneBulk, notice.LaneNormal, notice.LaneCritical}).Draw(t, "lane"),
		DeliveryID: fmt.Sprint("d", w.next), At: now,
	}
	if rapid.IntRange(0, 3).Draw(t, "held back") == 0 {
		a.NotBefore = now.Add(time.Duration(rapid.IntRange(-1000, 90_000).Draw(t, "not before")) * time.Millisecond)
	}
	if rapid.IntRange(0, 3).Draw(t, "expires") == 0 {
		a.ExpiresAt = now.Add(time.Duration(rapid.IntRange(0, 90_000).Draw(t, "expires in")) * time.Millisecond)
	}
	return a
}

// askAgain is a caller that died before it could act on its answer.
func (w *world) askAgain(t *rapid.T) {
	if len(w.placed) == 0 {
		t.Skip("nothing to ask again")
	}
	p := rapid.SampledFrom(w.placed).Draw(t, "again")
	p.ask.At = w.now(t)
	for _, c := range w.model.matching(p.ask) {
		if p.at.Add(c.Limit.Per).Before(p.ask.At) {
			t.Skip("out of its window, and forgotten")
		}
	}
	got, err := w.caps.Decide(t.Context(), []throttle.Ask{p.ask})
	if err != nil {
		t.Fatal(err)
	}
	want := throttle.Answer{Action: throttle.Go, Until: p.at}
	if p.at.After(p.ask.At) {
		want.Action = throttle.Wait
	}
	if !agrees(got[0], want) {
		t.Fatalf("asked again %+v:\n got %+v\nwant %+v", p.ask, got[0], want)
	}
}

func (w *world) release(t *rapid.T) {
	if len(w.placed) == 0 {
		t.Skip("nothing to release")
	}
	i := rapid.IntRange(0, len(w.placed)-1).Draw(t, "release")
	if err := w.caps.Release(t.Context(), []throttle.Ask{w.placed[i].ask}); err != nil {
		t.Fatal(err)
	}
	w.model.release(w.placed[i].ask)
	w.placed = slices.Delete(w.placed, i, i+1)
}

func (w *world) pass(t *rapid.T) {
	w.clock = w.clock.Add(time.Duration(rapid.IntRange(0, 30_000).Draw(t, "passes")) * time.Millisecond)
}

// stayWithinLimits holds what was placed, by the answers alone, against every
// cap: it would find a fault that the model shares.
func (w *world) stayWithinLimits(t *rapid.T) {
	for _, c := range w.model.caps {
		byUser := map[string][]int64{}
		for _, p := range w.placed {
			if slices.Contains(w.model.matching(p.ask), c) {
				byUser[p.ask.User] = append(byUser[p.ask.User], p.at.UnixMilli())
			}
		}
		for user, all := range byUser {
			slices.Sort(all)
			if !within(all, c) {
				t.Fatalf("%s gets more than %v: %v", user, c.Limit, all)
			}
		}
	}
}
