package config

import "fmt"

// Ingest is the HTTP API.
type Ingest struct {
	Listen    string `yaml:"listen" doc:"host:port; an empty host is every interface, port 0 any free one" default:"127.0.0.1:8080" required:"true" want:"host:port, as 127.0.0.1:8080"`
	MaxBody   Size   `yaml:"max_body" doc:"the largest request body; over it 413" default:"1MiB" min:"1KiB" max:"64MiB"`
	MaxBatch  int    `yaml:"max_batch" doc:"the most notifications in one batch" default:"1000" min:"1" max:"100000"`
	MaxInHand Size   `yaml:"max_in_hand" doc:"the memory that all requests under way may take together, about 16KiB and four times the body each; past it 503 with Retry-After" default:"256MiB" min:"16MiB" max:"64GiB"`
	// AccessLog is for ingest alone; what fails for our own fault is logged anyhow.
	AccessLog bool `yaml:"access_log" doc:"logs one line for each call: its id, pattern, tenant, status, size and time, and nothing that is personal" default:"false"`
}

// Admin is the listener for /healthz, /readyz, /metrics and /debug/pprof.
type Admin struct {
	Listen string `yaml:"listen" doc:"host:port; an empty host is every interface, port 0 any free one" default:"127.0.0.1:9090" required:"true" want:"host:port, as 127.0.0.1:9090"`
}

// checkListeners checks both listen addresses, and that one process can hold
// both.
func (c *Config) checkListeners(r *rules) {
	ingestHost, ingestPort, wrongIngest := listenHost(c.Ingest.Listen)
	if wrongIngest != "" {
		r.fault("ingest.listen", c.Ingest.Listen, wrongIngest)
	}
	adminHost, adminPort, wrongAdmin := listenHost(c.Admin.Listen)
	if wrongAdmin != "" {
		r.fault("admin.listen", c.Admin.Listen, wrongAdmin)
	}
	if wrongIngest == "" && wrongAdmin == "" && ingestPort == adminPort && ingestPort != 0 && overlap(ingestHost, adminHost) {
		r.fault("admin.listen", c.Admin.Listen, "is ingest.listen's address too: give it another port")
	}
}

// overlap reports whether two hosts cannot both listen on one port.
func overlap(a, b string) bool {
	return a == b || isEveryInterface(a) || isEveryInterface(b)
}

func isEveryInterface(host string) bool { return host == "" || host == "0.0.0.0" || host == "::" }

// Auth is who may call the API.
type Auth struct {
	Disabled bool  `yaml:"disabled" doc:"no keys at all; only on a loopback listen address" default:"false"`
	Keys     []Key `yaml:"keys" doc:"API keys" live:"true"`
}

// Scope is something that a key may do.
type Scope string

// The scopes of a key.
const (
	ScopeSend  Scope = "send"  // accept notifications and events
	ScopeRead  Scope = "read"  // read notifications, recipients, templates
	ScopeAdmin Scope = "admin" // change recipients, suppressions and dead letters
	// ScopeFeedback is for a relay that reports what became of mails.
	ScopeFeedback Scope = "feedback"
)

// Key is one API key.
type Key struct {
	Tenant string  `yaml:"tenant" doc:"whose key it is: letters, digits, dots, dashes and underscores" required:"true" pattern:"^[A-Za-z0-9._-]{1,64}$" want:"1 to 64 letters, digits, dots, dashes and underscores"`
	Key    Secret  `yaml:"key" doc:"the key itself, at least 16 bytes" required:"true" want:"at least 16 bytes that nobody guesses, as openssl rand -hex 32 prints"`
	Scopes []Scope `yaml:"scopes" doc:"send, read, admin, feedback; all of them when empty" enum:"send,read,admin,feedback"`
	Rate   Rate    `yaml:"rate" doc:"calls that the key may make over every ingest process, as 500/s; a batch counts as its items; no limit when empty"`
}

// minKey is the fewest bytes of an API key: 128 bits.
const minKey = 16

func (c *Auth) check(r *rules, listen string) {
	if host, _, wrong := listenHost(listen); c.Disabled && wrong == "" && !isLoopback(host) {
		r.fault("auth.disabled", "true", fmt.Sprintf("opens the API to everybody who reaches ingest.listen, %q: set auth.keys, or ingest.listen to 127.0.0.1:8080", listen))
	}
	if c.Disabled && len(c.Keys) > 0 {
		r.fault("auth.disabled", "true", "is set beside auth.keys: keep one of them")
	}
	first := map[string]int{}
	for i, key := range c.Keys {
		checkTime(r, fmt.Sprintf("auth.keys[%d].rate", i), key.Rate)
		at := fmt.Sprintf("auth.keys[%d].key", i)
		secret := key.Key.Reveal()
		if n := len(secret); n > 0 && n < minKey {
			r.fault(at, "", fmt.Sprintf("has %d bytes, want %d or more: make one with openssl rand -hex 32", n, minKey))
		}
		if j, taken := first[secret]; taken && secret != "" {
			r.fault(at, "", fmt.Sprintf("is the same as auth.keys[%d].key: a key must tell one tenant and set of scopes", j))
			continue
		}
		first[secret] = i
	}
}
