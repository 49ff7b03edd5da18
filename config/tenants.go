package config

import "fmt"

// Tenant is what one tenant has of what all share. A tenant that is not listed
// has weight 1 and no rate.
type Tenant struct {
	Tenant string `yaml:"tenant" doc:"the name that its keys have, or that the inbox's entries have" required:"true" pattern:"^[A-Za-z0-9._-]{1,64}$" want:"1 to 64 letters, digits, dots, dashes and underscores"`
	Weight int    `yaml:"weight" doc:"its part beside others that have something waiting: of a channel's slots and pace, and of queue.max_backlog and queue.max_waiting" default:"1" min:"1" max:"100"`
	Rate   Rate   `yaml:"rate" doc:"notifications that all of its keys may send together, over every ingest process, as 500/s; no limit when empty"`
}

// checkTenants checks that each tenant is listed once.
func checkTenants(r *rules, tenants []Tenant) {
	first := map[string]int{}
	for i, t := range tenants {
		checkTime(r, fmt.Sprintf("tenants[%d].rate", i), t.Rate)
		j, taken := first[t.Tenant]
		if !taken {
			first[t.Tenant] = i
			continue
		}
		r.fault(fmt.Sprintf("tenants[%d].tenant", i), t.Tenant, fmt.Sprintf("is listed as tenants[%d] already: put its weight and rate there", j))
	}
}
