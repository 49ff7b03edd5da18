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
		out = append(out, c.Throttle.PerUser[i].idleDigest(fmt.Sprintf("throttle.per_user[%d]", i))...)
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
	return append(out, c.strangeTenants()...)
}

// idleDigest doubts the bounds of a digest that there is not.
func (c *Cap) idleDigest(at string) Faults {
	if c.Over == OverDigest || c.DigestMax == (DigestMax{50, 64 << 10}) {
		return nil
	}
	return Faults{{Key: at + ".digest_max", Detail: "bounds nothing, since over is " + string(c.Over) + ": set over to digest, or delete digest_max"}}
}

// strangeTenants doubts weights and rates of tenants that are spelt nearly as
// one with a key. Others may come by the inbox, which takes no key.
func (c *Config) strangeTenants() (out Faults) {
	var known []string
	for _, k := range c.Auth.Keys {
		known = append(known, k.Tenant)
	}
	doubt := func(key, tenant string) {
		if near := nearest(tenant, known); near != "" && near != tenant {
			out = append(out, Fault{Key: key, Value: tenant, Detail: "has no key in auth.keys: did you mean " + near + "?"})
		}
	}
	for i, t := range c.Tenants {
		doubt(fmt.Sprintf("tenants[%d].tenant", i), t.Tenant)
	}
	for channel := range c.Channels.limits() {
		for _, rate := range c.Channels.RatesOf(channel).Tenants {
			doubt(child("channels."+channel+".rates.tenants", plainKey(rate.Name)), rate.Name)
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
