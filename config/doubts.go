package config

import (
	"fmt"

	"github.com/agnivade/levenshtein"
)

// Doubts are what is allowed and does nothing, or may be a slip: nothing is
// refused for it. They name keys, not places.
func (c *Config) Doubts() (out Faults) {
	for i := range c.Throttle.PerUser {
		if rule := &c.Throttle.PerUser[i]; !c.Channels.sends(rule.Channel) {
			out = append(out, Fault{Key: fmt.Sprintf("throttle.per_user[%d].channel", i), Value: rule.Channel,
				Detail: "is off here, so the rule counts nothing: add the channel's section under channels, or delete the rule"})
		}
	}
	if q := c.Throttle.QuietHours; q != nil {
		lanes := []string{"critical", "normal", "bulk"}
		const slip = 2 // letters; "social", a good category, is three from "normal"
		for i, name := range q.Except {
			if near := nearest(name, lanes); near != "" && near != name && levenshtein.ComputeDistance(name, near) <= slip {
				out = append(out, Fault{Key: fmt.Sprintf("throttle.quiet_hours.except[%d]", i), Value: name,
					Detail: "is taken for a category: did you mean the lane " + near + "?"})
			}
		}
	}
	return out
}

// sends reports whether a cap's channel has anything that is on.
func (c *Channels) sends(channel string) bool {
	switch channel {
	case "email":
		return c.Email != nil
	case "push":
		return c.APNs != nil || c.FCM != nil || c.WebPush != nil
	case "webhook":
		return c.Webhook != nil
	}
	return true
}
