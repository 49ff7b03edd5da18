package main

import "math"

// costs are what one of each takes, as measured.
type costs struct {
	Bytes bytesEach `json:"bytes"`
	Redis work      `json:"redis"`    // processor time in microseconds
	Own   work      `json:"consumer"` // the same, of the consumer, with an adapter that does nothing
	Calls work      `json:"commands"` // commands that Redis ran, those of scripts too
	// Idle is what one consumer costs that has nothing to do.
	Idle idleCost `json:"idle"`
}

// bytesEach is of Redis' memory.
type bytesEach struct {
	Profile   float64 `json:"profile"`
	CapUser   float64 `json:"cap_user"`  // a user who has any places, without them
	CapPlace  float64 `json:"cap_place"` // a notification under all caps
	Queued    float64 `json:"queued"`    // with its open record
	Parked    float64 `json:"parked"`    // the same
	Record    float64 `json:"record"`    // finished
	Partition float64 `json:"partition"` // empty
}

// work is what a notification takes at each step.
type work struct {
	Admit   float64 `json:"admit"`
	Deliver float64 `json:"deliver"` // planned, profile looked up, caps decided, handed over, settled
	Park    float64 `json:"park"`    // planned, profile looked up, caps decided, put away
	Promote float64 `json:"promote"` // put back, read again, settled
}

// idleCost is of one consumer, in the microseconds of a second.
type idleCost struct {
	Redis float64 `json:"redis"` // a partition
	Own   float64 `json:"consumer"`
	Calls float64 `json:"commands"` // a partition
}

// memory is what Redis needs for a state, in bytes.
func (c *costs) memory(s state) float64 {
	b := &c.Bytes
	return s.Profiles*b.Profile + s.CapUsers*b.CapUser + s.Places*b.CapPlace + s.Queued*b.Queued +
		s.Parked*b.Parked + s.Records*b.Record + s.Partitions*b.Partition
}

// times is what some rates come to in a second.
func (w work) times(r rates) float64 {
	return r.Admitted*w.Admit + r.Planned*w.Deliver + r.Parked*w.Park + r.Promoted*w.Promote
}

// plant is what sends: how much of a machine may be used, and what the
// measurement leaves out.
type plant struct {
	Cores      float64 // of a consumer
	Busy       float64 // share of a core, or of Redis' only one, that may be used
	Memory     float64 // bytes of a Redis master that may be used
	Send       float64 // microseconds of a consumer for a send, beside what costs.Own has
	Door       float64 // microseconds of an ingest process for a notification
	Partitions int
}

// aPlant is the one that docs/scale.md sizes.
func aPlant() plant {
	return plant{Cores: 2, Busy: 0.6, Memory: 24 << 30 * 0.7, Door: 55, Partitions: 64}
}

// need is how many of everything some rates ask for.
type need struct {
	Consumers, Ingest, Masters int
	Commands                   float64 // a second, over all masters
	RedisCores                 float64
}

// needs works a second's rates out. Consumers cost Redis something even when
// they have nothing to do.
func (c *costs) needs(r rates, p plant) need {
	own := c.Own
	own.Admit = 0 // the door's
	per := func(us, cores float64) int { return max(1, int(math.Ceil(us/1e6/cores/p.Busy))) }
	n := need{
		Consumers: per(own.times(r)+r.sent()*p.Send, p.Cores),
		Ingest:    per(r.Admitted*(p.Door), p.Cores),
	}
	listening := float64(n.Consumers * p.Partitions)
	busy := c.Redis.times(r) + listening*c.Idle.Redis
	n.Commands = c.Calls.times(r) + listening*c.Idle.Calls
	n.RedisCores = busy / 1e6
	n.Masters = per(busy, 1)
	return n
}

// perConsumer is how many notifications a second one consumer sends when it
// does nothing else.
func (c *costs) perConsumer(p plant) float64 {
	return 1e6 * p.Cores * p.Busy / (c.Own.Deliver + p.Send)
}

// masters is how many a state's memory asks for.
func (c *costs) masters(s state, p plant) int {
	return max(1, int(math.Ceil(c.memory(s)/p.Memory)))
}
