package config

// Ingest is the HTTP API.
type Ingest struct {
	Listen   string `yaml:"listen" doc:"host:port" default:"127.0.0.1:8080"`
	MaxBody  Size   `yaml:"max_body" doc:"the largest request body; over it 413" default:"1MiB"`
	MaxBatch int    `yaml:"max_batch" doc:"the most notifications in one batch" default:"1000"`
}

// Admin is the listener for /healthz, /readyz, /metrics and /debug/pprof.
type Admin struct {
	Listen string `yaml:"listen" doc:"host:port" default:"127.0.0.1:9090"`
}

// Auth is who may call the API.
type Auth struct {
	Disabled bool  `yaml:"disabled" doc:"no keys at all; only on a loopback listen address"`
	Keys     []Key `yaml:"keys" doc:"API keys"`
}

// Scope is something that a key may do.
type Scope string

// The scopes of a key.
const (
	ScopeSend  Scope = "send"  // accept notifications and events
	ScopeRead  Scope = "read"  // read notifications, recipients, templates
	ScopeAdmin Scope = "admin" // change recipients, suppressions and dead letters
)

// Key is one API key.
type Key struct {
	Tenant string  `yaml:"tenant" doc:"whose key it is"`
	Key    Secret  `yaml:"key" doc:"the key itself, at least 16 bytes"`
	Scopes []Scope `yaml:"scopes" doc:"send, read, admin; all of them when empty"`
	Rate   Rate    `yaml:"rate" doc:"requests the key may make, as 500/s; no limit when empty"`
}
