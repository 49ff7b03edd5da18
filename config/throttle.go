package config

import (
	"fmt"
	"time"
)

// Over is what happens to a delivery over a cap.
type Over string

// What a full cap does.
const (
	OverDrop  Over = "drop"  // status capped
	OverDefer Over = "defer" // parked until the cap has room
)

// Throttle is what a recipient is spared.
type Throttle struct {
	PerUser    []Cap       `yaml:"per_user" doc:"caps a recipient sees, by category and channel"`
	QuietHours *QuietHours `yaml:"quiet_hours" doc:"when nobody is disturbed, in the recipient's time zone"`
}

// Cap is one limit on what one recipient gets.
type Cap struct {
	Name     string `yaml:"name" doc:"the rule's name in records; made of the other fields when empty"`
	Category string `yaml:"category" doc:"the category it counts; * for any" default:"\"*\"" required:"true" want:"a category, or * for any"`
	Channel  string `yaml:"channel" doc:"email, push or webhook; * for any" default:"\"*\"" enum:"*,email,push,webhook"`
	Limit    Rate   `yaml:"limit" doc:"how many in which sliding window, as 3/24h" required:"true" want:"how many in which time, as 3/24h"`
	Over     Over   `yaml:"over" doc:"drop or defer" default:"defer" enum:"drop,defer"`
}

// QuietHours is a time of day in which deliveries wait.
type QuietHours struct {
	From   string   `yaml:"from" doc:"HH:MM" required:"true" pattern:"^([01][0-9]|2[0-3]):[0-5][0-9]$" want:"a time of day, as \"22:00\""`
	To     string   `yaml:"to" doc:"HH:MM, the next day's when it is before from" required:"true" pattern:"^([01][0-9]|2[0-3]):[0-5][0-9]$" want:"a time of day, as \"08:00\""`
	Except []string `yaml:"except" doc:"lanes or categories that do not wait" pattern:"." want:"a lane or a category"`
}

// What a cap may count: it keeps the time of each delivery in its window.
const (
	maxCapCount  = 1000
	maxCapWindow = 31 * 24 * time.Hour
)

func (c *Throttle) check(r *rules) {
	first := map[string]int{}
	for i := range c.PerUser {
		c.PerUser[i].check(r, fmt.Sprintf("throttle.per_user[%d]", i))
		name := c.PerUser[i].Name
		if j, taken := first[name]; taken && name != "" {
			r.fault(fmt.Sprintf("throttle.per_user[%d].name", i), name, fmt.Sprintf("is throttle.per_user[%d]'s name too: give each rule a name of its own", j))
			continue
		}
		first[name] = i
	}
	if q := c.QuietHours; q != nil && q.From == q.To {
		r.fault("throttle.quiet_hours.to", q.To, "is the same as from, which might mean always or never: make them differ, or delete quiet_hours")
	}
}

func (c *Cap) check(r *rules, at string) {
	if c.Limit.Count > maxCapCount || c.Limit.Per > maxCapWindow {
		r.fault(at+".limit", c.Limit.String(), fmt.Sprintf("is too large: want at most %d in at most 31d", maxCapCount))
	}
}

// setName names the cap after what it does, as "marketing/*:3/24h", when it
// has no name.
func (c *Cap) setName() {
	if c.Name == "" {
		c.Name = c.Category + "/" + c.Channel + ":" + c.Limit.String()
	}
}
