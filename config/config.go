// Package config holds the gateway's configuration: one file a section with
// its fields, defaults and rules, and a strict loader that reports every fault
// at once with its key, its value and the mend. A room is handed its own
// section, never the whole.
//
// Field tags: `yaml` is the key, `doc` its line in the schema and in
// docs/configuration.md, `default` its default in YAML's spelling. `required`,
// `enum`, `min`, `max` and `pattern` are its rules, and `want` says what is
// expected in a fault; `path` ("file" or "dir") makes a relative path absolute,
// and a file has to be readable; `live` says that a process that runs follows a
// change, of all keys below it too. Rules between keys are each section's check.
package config

// Config is the whole file.
type Config struct {
	Redis     Redis     `yaml:"redis" doc:"where the queue and all state live"`
	Queue     Queue     `yaml:"queue" doc:"partitions, leases, retention and the backlog's bound"`
	Ingest    Ingest    `yaml:"ingest" doc:"the HTTP API"`
	Admin     Admin     `yaml:"admin" doc:"health, metrics and profiles"`
	Auth      Auth      `yaml:"auth" doc:"API keys"`
	Tenants   []Tenant  `yaml:"tenants" doc:"weights and rates; a tenant that is not listed has weight 1 and no rate" live:"true"`
	Templates Templates `yaml:"templates" doc:"the catalogue and its cache"`
	Assets    Assets    `yaml:"assets" doc:"the catalogue's images and fonts, as readers of mails get them"`
	Throttle  Throttle  `yaml:"throttle" doc:"what a recipient is spared" live:"true"`
	Channels  Channels  `yaml:"channels" doc:"one section a channel; a channel without its section is off"`
	Feedback  Feedback  `yaml:"feedback" doc:"what comes back of mail: bounces and complaints"`
	Routes    []Route   `yaml:"routes" doc:"integration events (CloudEvents) to notifications; the first match wins"`
	Retry     Retry     `yaml:"retry" doc:"when a failed attempt is made again"`
}
