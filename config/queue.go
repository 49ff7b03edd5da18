package config

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
	Namespace  string     `yaml:"namespace" doc:"the prefix of every key" default:"carillon"`
	Partitions int        `yaml:"partitions" doc:"slots that recipients are spread over; fixed once data exists" default:"8"`
	Visibility Duration   `yaml:"visibility" doc:"how long a consumer may hold a delivery before another takes it over" default:"60s"`
	Retention  Duration   `yaml:"retention" doc:"how long a finished notification's record stays in Redis" default:"24h"`
	MaxBacklog int        `yaml:"max_backlog" doc:"past it ingest answers 429 with Retry-After" default:"1000000"`
	Durability Durability `yaml:"durability" doc:"what 202 promises: memory, replica (WAIT for one) or disk (WAITAOF, Redis 7.2+)" default:"memory"`
}
