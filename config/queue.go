package config

import "fmt"

// Durability is what a 202 promises.
type Durability string

// The durabilities of an acceptance.
const (
	DurabilityMemory  Durability = "memory"  // the master has it
	DurabilityReplica Durability = "replica" // one replica has it too
	DurabilityDisk    Durability = "disk"    // it is in the master's synced append-only file
)

// Queue sizes the queue.
type Queue struct {
	Namespace    string     `yaml:"namespace" doc:"the prefix of every key" default:"carillon" required:"true" pattern:"^[A-Za-z0-9._-]{1,64}$" want:"1 to 64 letters, digits, dots, dashes and underscores"`
	Partitions   int        `yaml:"partitions" doc:"slots that recipients are spread over; fixed once data exists" default:"8" min:"1" max:"4096"`
	Visibility   Duration   `yaml:"visibility" doc:"how long a consumer may hold a delivery before another takes it over; longer than every channel's timeout" default:"60s" min:"2s" max:"12h"`
	Retention    Duration   `yaml:"retention" doc:"how long a finished notification's record stays in Redis" default:"24h" min:"1m" max:"3650d"`
	Finals       int        `yaml:"finals" doc:"about how many final states each partition keeps for an archive to follow; 0 for none" default:"10000" min:"0" max:"100000000"`
	MaxBacklog   int        `yaml:"max_backlog" doc:"past it ingest answers 429 with Retry-After; where several tenants have something waiting, each may fill its part of it, and critical ones go a quarter beyond" live:"true" default:"1000000" min:"1"`
	MaxWaiting   int        `yaml:"max_waiting" doc:"the same for deliveries that are parked for their provider's sake: between two attempts, or while it is paused; 0 for no bound" live:"true" default:"1000000" min:"0"`
	MaxScheduled int        `yaml:"max_scheduled" doc:"the most notifications that wait for their send_at; past it those with a send_at are refused; 0 for no bound" live:"true" default:"10000000" min:"0"`
	MaxMemory    Bound      `yaml:"max_memory" doc:"how much memory Redis may use before ingest refuses, bulk first: a share of its maxmemory, as 70%, or a size, as 2GiB; the rest is for working off what was accepted; no bound when empty" live:"true" default:"70%"`
	Durability   Durability `yaml:"durability" doc:"what 202 promises: memory, replica (WAIT for one) or disk (WAITAOF, Redis 7.2+); on a Redis Cluster of every master that took part" default:"memory" enum:"memory,replica,disk"`
}

// leastMemory is a bound that leaves room beside what Redis takes for itself,
// which is about 1 MB. A share without its sign, 70, is far below.
const leastMemory Size = 2 << 20

// check holds visibility against the channels: a delivery whose lease ends
// while it is being sent would be sent by two consumers.
func (c *Queue) check(r *rules, channels *Channels) {
	if most := c.MaxMemory.Bytes; most > 0 && most < leastMemory {
		r.fault("queue.max_memory", c.MaxMemory.String(), fmt.Sprintf("is less than Redis takes when it is empty, so everything would be refused: want %s or more, or a share, as 70%%", leastMemory))
	}
	for channel, timeout := range channels.timeouts() {
		if *timeout >= c.Visibility {
			r.fault("queue.visibility", c.Visibility.String(),
				fmt.Sprintf("is not longer than channels.%s.timeout, which is %s: a delivery would be taken over while it is being sent", channel, *timeout))
		}
	}
}
