package config

// Redis says which server or cluster holds the queue.
type Redis struct {
	URL      URL       `yaml:"url" doc:"redis:// or, for TLS, rediss://" default:"redis://127.0.0.1:6379/0"`
	URLs     []URL     `yaml:"urls" doc:"several addresses of one cluster"`
	Cluster  bool      `yaml:"cluster" doc:"the server is a Redis Cluster"`
	Sentinel *Sentinel `yaml:"sentinel" doc:"find the master through Sentinel"`
}

// Sentinel names a master that Sentinel watches.
type Sentinel struct {
	Master    string   `yaml:"master" doc:"the master's name"`
	Addresses []string `yaml:"addresses" doc:"host:port of each Sentinel"`
}
