package config

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Over is what happens to a delivery over a cap.
type Over string

// What a full cap does.
const (
	OverDrop  Over = "drop"  // status capped
	OverDefer Over = "defer" // parked until the cap has room
	// OverDigest collects until the cap has room, and then sends one digest. For
	// what cannot be digested it is OverDefer.
	OverDigest Over = "digest"
)

// Throttle is what a recipient is spared.
type Throttle struct {
	PerUser    []Cap       `yaml:"per_user" doc:"caps a recipient sees, by category and channel"`
	QuietHours *QuietHours `yaml:"quiet_hours" doc:"when nobody is disturbed, in the recipient's time zone"`
}

// Cap is one limit on what one recipient gets.
type Cap struct {
	Name     string `yaml:"name" doc:"the rule's name in records, under which its counts survive a change of the rest; made of the other fields when empty" pattern:"^[^\\p{C}\\s]([^\\p{C}]{0,198}[^\\p{C}\\s])?$" want:"a name: 1 to 200 characters that can be printed, with no space at an end"`
	Tenant   string `yaml:"tenant" doc:"whose notifications it counts; * for everybody's" default:"\"*\"" pattern:"^([A-Za-z0-9._-]{1,64}|\\*)$" want:"a tenant, or * for any"`
	Category string `yaml:"category" doc:"the category it counts; * for any" default:"\"*\"" required:"true" want:"a category, or * for any"`
	Channel  string `yaml:"channel" doc:"email, push or webhook; * for any" default:"\"*\"" enum:"*,email,push,webhook"`
	Lane     string `yaml:"lane" doc:"the priority it counts; * for any but critical, which no rule counts that does not name it" default:"\"*\"" enum:"*,critical,normal,bulk"`
	Limit    Rate   `yaml:"limit" doc:"how many in which sliding window, as 3/24h" required:"true" want:"how many in which time, as 3/24h"`
	Burst    Rate   `yaml:"burst" doc:"how many of them in a shorter window, as 2/10m"`
	Over     Over   `yaml:"over" doc:"drop, defer or digest" default:"defer" enum:"drop,defer,digest"`

	DigestMax DigestMax `yaml:"digest_max" doc:"what one digest holds, with over: digest; what is beyond is only counted"`
}

// DigestMax bounds what one digest holds.
type DigestMax struct {
	Items int  `yaml:"items" doc:"notifications, with the one that opens it" default:"50" min:"2" max:"1000"`
	Size  Size `yaml:"size" doc:"bytes of what is collected, as it is kept in Redis" default:"64KiB" min:"1KiB" max:"1MiB"`
}

// QuietHours is a time of day in which deliveries wait.
type QuietHours struct {
	From   string   `yaml:"from" doc:"HH:MM" required:"true" pattern:"^([01][0-9]|2[0-3]):[0-5][0-9]$" want:"a time of day, as \"22:00\""`
	To     string   `yaml:"to" doc:"HH:MM, the next day's when it is before from" required:"true" pattern:"^([01][0-9]|2[0-3]):[0-5][0-9]$" want:"a time of day, as \"08:00\""`
	Except []string `yaml:"except" doc:"lanes or categories that do not wait" pattern:"." want:"a lane or a category"`
}

// What a cap may count: it keeps the time of each delivery in its window.
const (
	MaxCapCount  = 1000                // deliveries
	MaxCapWindow = 31 * 24 * time.Hour // in which they are counted
)

func (c *Throttle) check(r *rules, keys []Key) {
	first := map[string]int{}
	for i := range c.PerUser {
		at := fmt.Sprintf("throttle.per_user[%d]", i)
		c.PerUser[i].check(r, at)
		c.PerUser[i].checkTenant(r, at, keys)
		name := c.PerUser[i].Called()
		if c.PerUser[i].Limit.IsZero() && name == c.PerUser[i].described() {
			continue // its name is made of a limit that could not be read
		}
		if j, taken := first[name]; taken {
			r.fault(at+".name", name, fmt.Sprintf("is throttle.per_user[%d]'s name too: give each rule a name of its own", j))
			continue
		}
		first[name] = i
	}
	if c.QuietHours != nil {
		c.QuietHours.check(r)
	}
}

func (q *QuietHours) check(r *rules) {
	if q.From == q.To {
		r.fault("throttle.quiet_hours.to", q.To, "is the same as from, which might mean always or never: make them differ, or delete quiet_hours")
	}
	for i, name := range q.Except {
		if name == "" {
			r.fault(fmt.Sprintf("throttle.quiet_hours.except[%d]", i), "", "is empty: want a lane or a category, as critical")
		}
	}
}

func (c *Cap) check(r *rules, at string) {
	if c.Limit.Count > MaxCapCount || c.Limit.Per > MaxCapWindow {
		r.fault(at+".limit", c.Limit.String(), fmt.Sprintf("is too large: want at most %d in at most 31d", MaxCapCount))
	}
	if !c.Limit.IsZero() && c.Limit.Per < time.Millisecond {
		r.fault(at+".limit", c.Limit.String(), "is too fine: want a window of at least 1ms")
	}
	if c.Burst.IsZero() {
		return
	}
	switch limit := c.Limit.String(); {
	case c.Burst.Per < time.Millisecond:
		r.fault(at+".burst", c.Burst.String(), "is too fine: want a window of at least 1ms")
	case c.Burst.Per >= c.Limit.Per:
		r.fault(at+".burst", c.Burst.String(), "has no shorter window than the limit "+limit+": shorten it, or make it a rule of its own")
	case c.Burst.Count >= c.Limit.Count:
		r.fault(at+".burst", c.Burst.String(), "bounds nothing that the limit "+limit+" does not: want fewer, or delete it")
	}
}

// checkTenant finds a tenant that nobody can be. Where there are no keys, as in
// a consumer's own file, any may be.
func (c *Cap) checkTenant(r *rules, at string, keys []Key) {
	if c.Tenant == "" || c.Tenant == "*" || len(keys) == 0 {
		return
	}
	var known []string
	for _, k := range keys {
		known = append(known, k.Tenant)
	}
	slices.Sort(known)
	known = slices.Compact(known)
	if !slices.Contains(known, c.Tenant) {
		r.fault(at+".tenant", c.Tenant, notOneOf(c.Tenant, append(known, "*"))+" (a tenant is known by its key in auth.keys)")
	}
}

// Called is the cap's name, or where it has none what it does, as
// "marketing/*:3/24h" or "*/push:20/24h,burst:2/10m,tenant:acme,lane:bulk".
func (c *Cap) Called() string {
	return cmp.Or(c.Name, c.described())
}

// described is what the cap does, for one that has no name.
func (c *Cap) described() string {
	name := cmp.Or(c.Category, "*") + "/" + cmp.Or(c.Channel, "*") + ":" + c.Limit.String()
	if !c.Burst.IsZero() {
		name += ",burst:" + c.Burst.String()
	}
	if c.Tenant != "" && c.Tenant != "*" {
		name += ",tenant:" + c.Tenant
	}
	if c.Lane != "" && c.Lane != "*" {
		name += ",lane:" + c.Lane
	}
	return name
}
