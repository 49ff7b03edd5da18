package main

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/carillonhq/carillon/notice"
)

// TestAPlayedDayLosesNothingAndBreaksNoRule plays one with few people, who are
// told more than usual, so that every rule has something to do.
func TestAPlayedDayLosesNothingAndBreaksNoRule(t *testing.T) {
	t.Parallel()
	l, err := newLab(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.close() })
	d := aDay()
	d.Users, d.Each = 1e6, 25
	p, err := l.play(t.Context(), d, 30, 100, func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	total := p.total()
	if p.lost() != 0 || p.breaches.total() != 0 {
		t.Errorf("%g are lost, and rules broken: %+v", p.lost(), p.breaches)
	}
	for what, n := range map[string]float64{"sent": total.Sent, "put off by quiet hours": total.Quiet, "held by a cap": total.Held,
		"tried again": total.Retried, "digested": total.Digested, "capped": total.Capped, "put back": total.Promoted} {
		if n < 1 {
			t.Errorf("nothing was %s: %+v", what, total)
		}
	}
	if parked := p.before + total.put() - total.Promoted; parked != p.after {
		t.Errorf("%g should be parked at the end, and %g are", parked, p.after)
	}
	testPlayedReport(t, p)
}

// testPlayedReport wants the day in words and in a picture.
func testPlayedReport(t *testing.T, p *played) {
	c := &costs{Redis: work{Admit: 10, Deliver: 90, Park: 100, Promote: 50}, Own: work{Deliver: 100}, Calls: work{Admit: 2, Deliver: 10}}
	r := &result{day: aDay(), plant: aPlant(), costs: []*costs{c, c}, at: []int{1, 64}, played: p}
	r.plan = r.day.simulate(1e6, 64)
	hours := p.hours(c, r.plant)
	if told, before := hours[aDay().Broadcast/60], hours[aDay().Broadcast/60-1]; told.Offered < before.Offered+0.8e6 {
		t.Errorf("the broadcast's hour has %g, the one before %g", told.Offered, before.Offered)
	}
	var text strings.Builder
	if err := r.write(&text); err != nil {
		t.Fatal(err)
	}
	for _, says := range []string{"30 users, each for 33,333 of all", "; 0 are missing", "| 13 | ", "| profiles | 1,000,000 |"} {
		if !strings.Contains(text.String(), says) {
			t.Errorf("nothing is said of %q:\n%s", says, text.String())
		}
	}
	if plot := r.plot(); strings.Count(plot, `<path fill="none"`) != 8 || !strings.Contains(plot, "millions parked") {
		t.Errorf("the picture is %.300s", plot)
	}
}

func TestTheCrowdIsToldOfEverythingOnceAndAsOftenAsTheDaySays(t *testing.T) {
	d, random := aDay(), rand.New(rand.NewPCG(1, 1))
	c := d.gather(4000, random)
	told, all := map[int]int{}, 0.0
	for m := range minutes {
		for _, msg := range c.minute(m, true, random) {
			if msg.kind == toldKind {
				told[msg.to]++
			} else {
				all++
			}
		}
	}
	for i := range c.people {
		if told[i] != 1 {
			t.Fatalf("user %d is told %d times", i, told[i])
		}
	}
	if mean := all / 4000; mean < 4.9 || mean > 5.1 {
		t.Errorf("%g notifications each, want 5", mean)
	}
}

func TestTheZonesAreAsFarFromUTCAsTheModelSays(t *testing.T) {
	for _, r := range aDay().Regions {
		zone, err := time.LoadLocation(r.Zone)
		if err != nil {
			t.Fatal(err)
		}
		if _, offset := playedDay().In(zone).Zone(); offset != r.Offset*60 {
			t.Errorf("%s is %d s ahead, want %d min", r.Zone, offset, r.Offset)
		}
	}
}

func TestLevelsOfActivityComeToFiveNotificationsAUser(t *testing.T) {
	sum, share := 0.0, 0.0
	for _, l := range levels() {
		sum, share = sum+l.share*float64(l.each), share+l.share
	}
	near(t, "notifications", sum, 5)
	near(t, "of the users", share, 1)
	share = 0
	for _, k := range kinds() {
		share += k.share
	}
	near(t, "of the notifications", share, 1)
}

func TestTheWatcherSeesARuleThatIsBroken(t *testing.T) {
	d := aDay()
	c := d.gather(10, rand.New(rand.NewPCG(1, 1)))
	c.people[3] = person{region: 1, quiet: true} // Europe
	at := func(hour, minute int) time.Time {
		return playedDay().Add(time.Duration(hour)*time.Hour + time.Duration(minute)*time.Minute)
	}
	push := func(kind string, hour, minute int) receipt {
		return receipt{at(hour, minute), kind, notice.LaneNormal, false}
	}
	for name, is := range map[string]struct {
		got  []receipt
		want breaches
	}{
		"as many as may be":                  {[]receipt{push("orders", 12, 0), push("orders", 12, 1), push("orders", 12, 2), push("orders", 12, 3), push("orders", 13, 0)}, breaches{}},
		"a fifth push in an hour":            {[]receipt{push("orders", 12, 0), push("orders", 12, 1), push("orders", 12, 2), push("orders", 12, 3), push("orders", 12, 50)}, breaches{Pushes: 1}},
		"a third of friends, out of order":   {[]receipt{push("social", 12, 40), push("social", 12, 0), push("social", 12, 20)}, breaches{Social: 1}},
		"two offers in a day":                {[]receipt{push("offers", 9, 0), push("offers", 20, 0)}, breaches{Offers: 1}},
		"at night":                           {[]receipt{push("orders", 22, 0)}, breaches{Quiet: 1}},
		"in the last minute of quiet hours":  {[]receipt{push("orders", 6, 59)}, breaches{Quiet: 1}},
		"in the first minute that is not":    {[]receipt{push("orders", 7, 0)}, breaches{}},
		"at night, but critical":             {[]receipt{{at(22, 0), "login", notice.LaneCritical, false}}, breaches{}},
		"a second offer, at another attempt": {[]receipt{push("offers", 9, 0), {at(20, 0), "offers", notice.LaneNormal, true}}, breaches{}},
	} {
		t.Run(name, func(t *testing.T) {
			w := &watcher{got: map[int][]receipt{3: is.got}}
			if got := w.breaches(c); got != is.want {
				t.Errorf("%+v, want %+v", got, is.want)
			}
		})
	}
}

func TestTimePassesInRedisForWhatExpiresAndNotTooEarlyForCaps(t *testing.T) {
	t.Parallel()
	l, err := newLab(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.close() })
	p := &player{rooms: &rooms{lab: l}}
	for key, life := range map[string]time.Duration{"{s:0}:n:record": time.Hour, "{s:0}:k:caps": time.Hour, "{s:0}:u:profile": 0} {
		if err := l.node.Set(t.Context(), key, "x", life).Err(); err != nil {
			t.Fatal(err)
		}
	}
	left := func(key string) time.Duration { return l.node.PTTL(t.Context(), key).Val() }
	if err := p.older(t.Context(), 10*time.Minute); err != nil {
		t.Fatal(err)
	}
	if r, c := left("{s:0}:n:record"), left("{s:0}:k:caps"); r < 54*time.Minute || r > 56*time.Minute || c < 59*time.Minute || c > 61*time.Minute {
		t.Errorf("after the first ten minutes %v are left of the record, %v of the caps", r, c)
	}
	for range 6 {
		if err := p.older(t.Context(), 10*time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	if n := l.node.Exists(t.Context(), "{s:0}:n:record").Val(); n != 0 {
		t.Error("the record is there after 70 minutes")
	}
	if c := left("{s:0}:k:caps"); c > time.Minute {
		t.Errorf("%v are left of the caps after 70 minutes", c)
	}
	if n := l.node.Exists(t.Context(), "{s:0}:u:profile").Val(); n != 1 {
		t.Error("the profile has expired")
	}
}

func TestAPageGetsEverySectionBetweenItsMarks(t *testing.T) {
	c := &costs{}
	r := &result{day: aDay(), plant: aPlant(), costs: []*costs{c, c}, at: []int{1, 64}, checks: []checked{{"x", 1, 2, "y"}}}
	r.plan = r.day.simulate(1e6, 64)
	page := "before\n"
	for _, s := range r.sections() {
		page += "<!-- begin " + s.name + " -->\nold\n<!-- end " + s.name + " -->\nbetween\n"
	}
	page += "<!-- begin day -->\nkept, since no day was played\n<!-- end day -->\n"
	got, err := r.fillIn(page)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(got, "old") || !strings.Contains(got, "| x, y | 1 | 2 | −50 % |\n<!-- end checks -->\nbetween\n") || !strings.Contains(got, "kept, since") {
		t.Errorf("the page is %s", got)
	}
	if again, err := r.fillIn(got); err != nil || again != got {
		t.Errorf("filling it in once more changes it: %v", err)
	}
	if _, err := r.fillIn("a page without marks"); err == nil || !strings.Contains(err.Error(), "<!-- begin run -->") {
		t.Errorf("a page without marks: %v", err)
	}
}
