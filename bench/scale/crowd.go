package main

import (
	"math/rand/v2"
	"strings"
	"time"

	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/recipients"
)

// kind is one kind of notification of the played day: a template, and a
// category of the same name.
type kind struct {
	name  string
	lane  notice.Lane
	share float64 // of what is caused
}

// toldKind is the one that the broadcast is of.
const toldKind = "news"

// kinds are what a day is made of, besides the broadcast.
func kinds() []kind {
	return []kind{{"social", notice.LaneNormal, 0.45}, {"orders", notice.LaneNormal, 0.30}, {"offers", notice.LaneBulk, 0.20}, {"login", notice.LaneCritical, 0.05}}
}

// The caps of the played day. What is critical is under none of them.
const (
	pushesAnHour = 4 // of whatever kind; the rest waits
	socialAnHour = 2 // the rest is collected
	offersADay   = 1 // the rest is dropped
)

func dayCaps() []config.Cap {
	return []config.Cap{
		{Name: "pushes", Channel: "push", Limit: config.Rate{Count: pushesAnHour, Per: time.Hour}, Over: config.OverDefer},
		{Name: "social", Category: "social", Limit: config.Rate{Count: socialAnHour, Per: time.Hour}, Over: config.OverDigest},
		{Name: "offers", Category: "offers", Limit: config.Rate{Count: offersADay, Per: 24 * time.Hour}, Over: config.OverDrop},
	}
}

// dayParts are the files of the played day's catalogue: parts, for each kind.
func dayParts() map[string]string {
	out := map[string]string{}
	for name, text := range parts() {
		out[name] = text
		for _, k := range kinds() {
			out[strings.ReplaceAll(name, "news/", k.name+"/")] = strings.ReplaceAll(text, "category: news", "category: "+k.name)
		}
	}
	out["social/template.yaml"] += "digest: socials\n"
	out["socials/template.yaml"] = "category: social\nschema:\n  type: object\n  required: [items, count, more]\n" +
		"  properties: {items: {type: array, items: {type: object, required: [n], properties: {n: {type: integer}}}}, count: {type: integer}, more: {type: integer}}\n" +
		"samples: {default: {items: [{n: 1}, {n: 2}], count: 2, more: 0}}\n"
	out["socials/en/push.title.txt"] = "{{.data.count}} of your friends"
	out["socials/en/push.body.txt"] = "{{range .data.items}}{{.n}} {{end}}"
	return out
}

// person is what matters of one of the crowd.
type person struct {
	region int
	quiet  bool // keeps quiet hours
}

// crowd is a sample of the users.
type crowd struct {
	day    day // with as many users as there are in the crowd
	people []person
	living [][]int // of each region: who lives there
	called [][]int // of each region: everybody there, as often as they are active
}

// levels are how active people are: what they get in a day comes to five each.
func levels() []struct {
	share float64
	each  int
} {
	return []struct {
		share float64
		each  int
	}{{0.80, 3}, {0.18, 10}, {0.02, 40}}
}

// gather draws n people of a day.
func (d day) gather(n int, random *rand.Rand) *crowd {
	d.Users = float64(n)
	c := &crowd{day: d, people: make([]person, n), living: make([][]int, len(d.Regions)), called: make([][]int, len(d.Regions))}
	for i := range c.people {
		p := person{region: d.regionOf((float64(i) + 0.5) / float64(n)), quiet: random.Float64() < d.Quiet}
		c.people[i] = p
		c.living[p.region] = append(c.living[p.region], i)
		for range activity(random.Float64()) {
			c.called[p.region] = append(c.called[p.region], i)
		}
	}
	return c
}

// regionOf is where whoever stands so far along the line of all users lives.
func (d day) regionOf(along float64) int {
	for i, r := range d.Regions {
		if along -= r.Share; along < 0 {
			return i
		}
	}
	return len(d.Regions) - 1
}

func activity(of float64) int {
	all := levels()
	for _, l := range all {
		if of -= l.share; of < 0 {
			return l.each
		}
	}
	return all[0].each
}

// profile is one of them as the gateway knows them.
func (c *crowd) profile(i int) *recipients.Profile {
	p := profile(i, int(c.day.Devices))
	p.Timezone = c.day.Regions[c.people[i].region].Zone
	if c.people[i].quiet {
		p.QuietHours = &recipients.QuietHours{From: "22:00", To: "08:00"}
	}
	return p
}

// message is one notification that somebody is to get.
type message struct {
	to   int
	kind string
	lane notice.Lane
}

// minute draws what is caused in a minute of the day, in no order; the
// broadcast is part of it when told.
func (c *crowd) minute(minute int, told bool, random *rand.Rand) (out []message) {
	for r, region := range c.day.Regions {
		if len(c.called[r]) == 0 {
			continue
		}
		for range poisson(random, c.day.fresh(region, minute)) {
			k := draw(random)
			out = append(out, message{c.called[r][random.IntN(len(c.called[r]))], k.name, k.lane})
		}
		if told {
			out = append(out, c.toldIn(r, minute)...)
		}
	}
	random.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}

// toldIn is the broadcast's part of a region and a minute: everybody's turn
// comes once.
func (c *crowd) toldIn(region, minute int) (out []message) {
	if c.day.told(c.day.Regions[region], minute) == 0 {
		return nil
	}
	here, k := c.living[region], minute-c.day.Broadcast
	for _, i := range here[len(here)*k/c.day.BroadcastOver : len(here)*(k+1)/c.day.BroadcastOver] {
		out = append(out, message{i, toldKind, notice.LaneBulk})
	}
	return out
}

func draw(random *rand.Rand) kind {
	of, all := random.Float64(), kinds()
	for _, k := range all {
		if of -= k.share; of < 0 {
			return k
		}
	}
	return all[0]
}
