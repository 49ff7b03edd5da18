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

// slack is by how much callers' clocks may differ, in milliseconds.
const slack = 5000

// model is the caps as one would explain them: the places of every rule in
// lists, and every moment tried in turn.
type model struct {
	caps   []config.Cap
	places map[held]map[string]int64 // id → ms
}

// held names a list of places: one person's under one rule.
type held struct{ tenant, user, rule string }

func newModel(caps []config.Cap) *model {
	return &model{caps: caps, places: map[held]map[string]int64{}}
}

func (m *model) list(a throttle.Ask, c config.Cap) map[string]int64 {
	h := held{a.Tenant, a.User, c.Name}
	if m.places[h] == nil {
		m.places[h] = map[string]int64{}
	}
	return m.places[h]
}

func (m *model) matching(a throttle.Ask) (caps []config.Cap) {
	for _, c := range m.caps {
		lane := c.Lane == string(a.Lane) || c.Lane == "*" && a.Lane != notice.LaneCritical
		if lane && one(c.Tenant, a.Tenant) && one(c.Category, a.Category) && one(c.Channel, string(a.Medium)) {
			caps = append(caps, c)
		}
	}
	return caps
}

func one(wanted, is string) bool { return wanted == "*" || wanted == is }

// rates are the windows of a cap.
func rates(c config.Cap) []config.Rate {
	if c.Burst.IsZero() {
		return []config.Rate{c.Limit}
	}
	return []config.Rate{c.Limit, c.Burst}
}

// refuses words the window of c that one more place at t would overfill; empty
// when it keeps all of them.
func (m *model) refuses(a throttle.Ask, c config.Cap, t int64) string {
	all := []int64{t}
	for _, at := range m.list(a, c) {
		all = append(all, at)
	}
	slices.Sort(all)
	for i, r := range rates(c) {
		if !fits(all, t, r) {
			return []string{"", "burst "}[i] + r.String()
		}
	}
	return ""
}

// fits reports whether r allows the place at t that is among the sorted moments.
// Of those elsewhere there may be too many: the limit was another then.
func fits(sorted []int64, t int64, r config.Rate) bool {
	for i := 0; i+r.Count < len(sorted); i++ {
		first, last := sorted[i], sorted[i+r.Count]
		if first <= t && t <= last && last-first < r.Per.Milliseconds() {
			return false
		}
	}
	return true
}

// within reports whether no more than r allows of the sorted moments lie in
// less than its time.
func within(sorted []int64, r config.Rate) bool {
	for i := 0; i+r.Count < len(sorted); i++ {
		if sorted[i+r.Count]-sorted[i] < r.Per.Milliseconds() {
			return false
		}
	}
	return true
}

// refusal is what a cap does that has no room at t, and does not put off what
// is asked: drop it, or else collect it. It names no rule when none does.
func (m *model) refusal(a throttle.Ask, t int64) throttle.Answer {
	for _, one := range []struct {
		over   config.Over
		action throttle.Action
	}{{config.OverDrop, throttle.Drop}, {config.OverDigest, throttle.Collect}} {
		for _, c := range m.matching(a) {
			if c.Over != one.over || one.action == throttle.Collect && !a.Collect {
				continue
			}
			if window := m.refuses(a, c, t); window != "" {
				return throttle.Answer{Action: one.action, Until: time.UnixMilli(t), Rule: c.Name, Limit: window}
			}
		}
	}
	return throttle.Answer{}
}

// earliest tries every moment at which anything changes: now, and whenever a
// place leaves a window.
func (m *model) earliest(a throttle.Ask, from int64) int64 {
	moments := []int64{from}
	var waiting []config.Cap
	for _, c := range m.matching(a) {
		if c.Over == config.OverDrop || c.Over == config.OverDigest && a.Collect {
			continue
		}
		waiting = append(waiting, c)
		for _, at := range m.list(a, c) {
			for _, r := range rates(c) {
				moments = append(moments, at+r.Per.Milliseconds())
			}
		}
	}
	slices.Sort(moments)
	for _, t := range moments {
		if t >= from && !slices.ContainsFunc(waiting, func(c config.Cap) bool { return m.refuses(a, c, t) != "" }) {
			return t
		}
	}
	panic("the last moment is behind every window")
}

// decide answers one ask. A delivery that has a place keeps it.
func (m *model) decide(a throttle.Ask) throttle.Answer {
	now := a.At.UnixMilli()
	from := max(now, a.NotBefore.UnixMilli())
	if len(m.matching(a)) == 0 {
		return going(from, now)
	}
	if m.clean(a) {
		defer m.forgetEnded(a)
	}
	for _, c := range m.matching(a) {
		if at, has := m.list(a, c)[a.DeliveryID]; has {
			return going(at, now)
		}
	}
	if got := m.refusal(a, from); got.Rule != "" {
		return got
	}
	t := m.earliest(a, from)
	if !a.ExpiresAt.IsZero() && t >= a.ExpiresAt.UnixMilli() {
		return throttle.Answer{Action: throttle.Expire, Until: time.UnixMilli(t)}
	}
	if got := m.refusal(a, t); got.Rule != "" {
		return got
	}
	for _, c := range m.matching(a) {
		m.list(a, c)[a.DeliveryID] = t
	}
	m.forgetEnded(a)
	return going(t, now)
}

func going(t, now int64) throttle.Answer {
	if t > now {
		return throttle.Answer{Action: throttle.Wait, Until: time.UnixMilli(t)}
	}
	return throttle.Answer{Action: throttle.Go, Until: time.UnixMilli(t)}
}

// clean forgets what no clock within the slack counts any more, which shows only
// when a clock is set back by more: of full rules, and where it is everything.
func (m *model) clean(a throttle.Ask) (changed bool) {
	for _, c := range m.matching(a) {
		list := m.list(a, c)
		if len(list) < c.Limit.Count && !ended(list, a.At.UnixMilli()-c.Limit.Per.Milliseconds()-slack) {
			continue
		}
		for id, at := range list {
			if at <= a.At.UnixMilli()-c.Limit.Per.Milliseconds()-slack {
				delete(list, id)
				changed = true
			}
		}
	}
	return changed
}

// forgetEnded forgets, now that something has changed for a user, the rules of
// which every place has left its window.
func (m *model) forgetEnded(a throttle.Ask) {
	for _, c := range m.caps {
		if list := m.list(a, c); ended(list, a.At.UnixMilli()-c.Limit.Per.Milliseconds()-slack) {
			clear(list)
		}
	}
}

func ended(list map[string]int64, horizon int64) bool {
	for _, at := range list {
		if at > horizon {
			return false
		}
	}
	return true
}

func (m *model) release(a throttle.Ask) {
	found := false
	for _, c := range m.caps {
		_, has := m.list(a, c)[a.DeliveryID]
		found = found || has
		delete(m.list(a, c), a.DeliveryID)
	}
	if found {
		m.forgetEnded(a)
	}
}

// agrees compares an answer with the model's. Which of several caps made
// somebody wait is not the model's to say.
func agrees(got, want throttle.Answer) bool {
	return got.Action == want.Action && got.Until.Equal(want.Until) &&
		(want.Action != throttle.Drop && want.Action != throttle.Collect || got.Rule == want.Rule && got.Limit == want.Limit)
}

func TestCapsAgreeWithAModelThatKeepsEverything(t *testing.T) {
	eachStore(t, func(t *testing.T, rdb redis.UniversalClient) {
		run := 0
		rapid.Check(t, func(t *rapid.T) {
			run++
			w := newWorld(t, rdb, fmt.Sprint("run", run))
			t.Repeat(map[string]func(*rapid.T){
				"":           w.stayWithinLimits,
				"ask":        w.ask,
				"ask more":   w.ask,
				"ask again":  w.askAgain,
				"release":    w.release,
				"time":       w.pass,
				"a step":     w.step,
				"new limits": w.reload,
			})
		})
	})
}

// consumers is how many tell the story of a world.
const consumers = 8

// world drives the caps and the model through the same story, told by eight
// consumers whose clocks differ by up to five seconds.
type world struct {
	name    string
	rdb     redis.UniversalClient
	caps    *throttle.Caps
	model   *model
	clock   time.Time
	skew    [consumers]time.Duration
	next    int
	asked   []throttle.Ask // of whatever answer
	placed  []placed       // what has a place
	changed bool           // the limits, or a clock by more than it may: what went before may be more than is allowed
}

type placed struct {
	ask throttle.Ask
	at  time.Time
}

func newWorld(t *rapid.T, rdb redis.UniversalClient, name string) *world {
	rules := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) config.Cap { return drawCap(t, name) }), 1, 4).Draw(t, "caps")
	for i := range rules {
		rules[i].Name = fmt.Sprint("rule ", i)
	}
	w := &world{name: name, rdb: rdb, model: newModel(rules), clock: base}
	for i := range w.skew {
		w.skew[i] = time.Duration(rapid.IntRange(-slack/2, slack/2).Draw(t, "the consumer's clock is off by")) * time.Millisecond
	}
	var err error
	if w.caps, err = throttle.NewCaps(rdb, "model", onePartition, rules); err != nil {
		t.Fatal(err)
	}
	return w
}

func drawCap(t *rapid.T, world string) config.Cap {
	c := config.Cap{
		Tenant:   rapid.SampledFrom([]string{"*", "*", world + "-a", world + "-b"}).Draw(t, "tenant"),
		Category: rapid.SampledFrom([]string{"*", "*", "news", "offers"}).Draw(t, "category"),
		Channel:  rapid.SampledFrom([]string{"*", "*", "push", "email"}).Draw(t, "channel"),
		Lane:     rapid.SampledFrom([]string{"*", "*", "*", "critical", "normal", "bulk"}).Draw(t, "lane"),
		Over:     rapid.SampledFrom([]config.Over{config.OverDefer, config.OverDefer, config.OverDrop, config.OverDigest}).Draw(t, "over"),
		Limit:    config.Rate{Per: time.Duration(rapid.SampledFrom([]int{1, 700, 2000, 10_000, 60_000}).Draw(t, "window")) * time.Millisecond},
	}
	drawLimits(t, &c)
	return c
}

func drawLimits(t *rapid.T, c *config.Cap) {
	c.Limit.Count, c.Burst = rapid.IntRange(1, 5).Draw(t, "limit"), config.Rate{}
	if c.Limit.Count > 1 && c.Limit.Per > time.Millisecond && rapid.Bool().Draw(t, "with a burst") {
		c.Burst = config.Rate{Count: rapid.IntRange(1, c.Limit.Count-1).Draw(t, "burst"),
			Per: time.Duration(rapid.Int64Range(1, c.Limit.Per.Milliseconds()-1).Draw(t, "burst window")) * time.Millisecond}
	}
}

// now is what the clock of one of the consumers shows.
func (w *world) now(t *rapid.T) time.Time {
	return w.clock.Add(w.skew[rapid.IntRange(0, consumers-1).Draw(t, "consumer")])
}

func (w *world) ask(t *rapid.T) {
	now := w.now(t)
	asks := make([]throttle.Ask, rapid.IntRange(1, 6).Draw(t, "asks"))
	for i := range asks {
		asks[i] = w.draw(t, now)
	}
	w.asked = append(w.asked, asks...)
	w.compare(t, asks)
}

// askAgain is a consumer that died, or lost the reply, before it could act on
// it: what has a place has it still, and the rest may have better luck.
func (w *world) askAgain(t *rapid.T) {
	if len(w.asked) == 0 {
		t.Skip("nothing to ask again")
	}
	a := rapid.SampledFrom(w.asked).Draw(t, "again")
	a.At = w.now(t)
	w.compare(t, []throttle.Ask{a})
}

// compare tries and decides some asks, and holds both against the model.
func (w *world) compare(t *rapid.T, asks []throttle.Ask) {
	trials, err := w.caps.Try(t.Context(), asks)
	if err != nil {
		t.Fatal(err)
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
		if !trials[i].Answer.Until.Equal(got[i].Until) || trials[i].Answer.Action != got[i].Action || trials[i].Answer.Rule != got[i].Rule {
			t.Fatalf("ask %d %+v:\n tried %+v\n was then %+v", i, a, trials[i].Answer, got[i])
		}
		w.note(a, want)
	}
}

// note keeps what has a place now, once.
func (w *world) note(a throttle.Ask, got throttle.Answer) {
	same := func(p placed) bool { return p.ask.DeliveryID == a.DeliveryID && p.at.Equal(got.Until) }
	if got.Action <= throttle.Wait && len(w.model.matching(a)) > 0 && !slices.ContainsFunc(w.placed, same) {
		w.placed = append(w.placed, placed{a, got.Until})
	}
}

func (w *world) draw(t *rapid.T, now time.Time) throttle.Ask {
	w.next++
	a := throttle.Ask{
		Tenant:     w.name + rapid.SampledFrom([]string{"-a", "-b"}).Draw(t, "tenant"),
		User:       rapid.SampledFrom([]string{"u1", "u1", "u2"}).Draw(t, "user"),
		Category:   rapid.SampledFrom([]string{"news", "offers", ""}).Draw(t, "category"),
		Medium:     rapid.SampledFrom(notice.Media()).Draw(t, "medium"),
		Lane:       rapid.SampledFrom([]notice.Lane{notice.LaneNormal, notice.LaneBulk, notice.LaneNormal, notice.LaneCritical}).Draw(t, "lane"),
		DeliveryID: fmt.Sprint(w.name, "-d", w.next), At: now,
	}
	if rapid.IntRange(0, 3).Draw(t, "held back") == 0 {
		a.NotBefore = now.Add(time.Duration(rapid.IntRange(-1000, 90_000).Draw(t, "not before")) * time.Millisecond)
	}
	a.Collect = rapid.Bool().Draw(t, "may be collected")
	if rapid.IntRange(0, 3).Draw(t, "expires") == 0 {
		a.ExpiresAt = now.Add(time.Duration(rapid.IntRange(0, 90_000).Draw(t, "expires in")) * time.Millisecond)
	}
	return a
}

func (w *world) release(t *rapid.T) {
	if len(w.placed) == 0 {
		t.Skip("nothing to release")
	}
	a := w.placed[rapid.IntRange(0, len(w.placed)-1).Draw(t, "release")].ask
	if err := w.caps.Release(t.Context(), []throttle.Ask{a}); err != nil {
		t.Fatal(err)
	}
	w.model.release(a)
	w.placed = slices.DeleteFunc(w.placed, func(p placed) bool { return p.ask.DeliveryID == a.DeliveryID })
}

func (w *world) pass(t *rapid.T) {
	w.clock = w.clock.Add(time.Duration(rapid.IntRange(0, 30_000).Draw(t, "passes")) * time.Millisecond)
}

// step sets the clock, of which one consumer may not have heard yet.
func (w *world) step(t *rapid.T) {
	by := time.Duration(rapid.IntRange(-90_000, 90_000).Draw(t, "steps by")) * time.Millisecond
	w.clock, w.changed = w.clock.Add(by), true
	w.skew[0] = -by
}

// reload puts other limits in force under the same names. The windows stay: of
// a longer one the model would know more than was kept.
func (w *world) reload(t *rapid.T) {
	rules := slices.Clone(w.model.caps)
	for i := range rules {
		drawLimits(t, &rules[i])
		rules[i].Over = rapid.SampledFrom([]config.Over{config.OverDefer, config.OverDrop, config.OverDigest}).Draw(t, "over")
	}
	if err := w.caps.Replace(rules); err != nil {
		t.Fatal(err)
	}
	w.model.caps, w.changed = rules, true
}

// stayWithinLimits holds what was placed, by the answers alone, against every
// cap: it would find a fault that the model shares.
func (w *world) stayWithinLimits(t *rapid.T) {
	if w.changed {
		return
	}
	for _, c := range w.model.caps {
		lists := map[held][]int64{}
		for _, p := range w.placed {
			if slices.Contains(w.model.matching(p.ask), c) {
				h := held{p.ask.Tenant, p.ask.User, c.Name}
				lists[h] = append(lists[h], p.at.UnixMilli())
			}
		}
		for h, all := range lists {
			slices.Sort(all)
			for _, r := range rates(c) {
				if !within(all, r) {
					t.Fatalf("%s gets more than %v: %v", h.user, r, all)
				}
			}
		}
	}
}
