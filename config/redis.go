package config

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// Redis says which server or cluster holds the queue: the one server of URL,
// the Redis Cluster found through URL (with Cluster) or URLs, or the master
// that Sentinel names. With Sentinel, URL's user, password, database and TLS
// apply to the master and its host does not.
type Redis struct {
	URL      URL       `yaml:"url" doc:"redis:// or, for TLS, rediss://, or unix:// for a socket" default:"redis://127.0.0.1:6379/0" required:"true" want:"redis://host:6379/0"`
	URLs     []URL     `yaml:"urls" doc:"several addresses of one Redis Cluster, in place of url"`
	Cluster  bool      `yaml:"cluster" doc:"the server at url is a Redis Cluster" default:"false"`
	Sentinel *Sentinel `yaml:"sentinel" doc:"find the master through Sentinel; user, password, database and TLS are taken from url"`
}

// Sentinel names a master that Sentinel watches.
type Sentinel struct {
	Master    string   `yaml:"master" doc:"the master's name" required:"true" want:"the name that the Sentinels know it by, as mymaster"`
	Addresses []string `yaml:"addresses" doc:"host:port of each Sentinel" required:"true" want:"[host:26379, …]"`
}

func (c *Redis) check(r *rules) {
	checkRedisURL(r, "redis.url", c.URL)
	for i, u := range c.URLs {
		checkRedisURL(r, fmt.Sprintf("redis.urls[%d]", i), u)
	}
	c.checkOneWay(r)
	c.checkCluster(r)
	if c.Sentinel != nil {
		c.Sentinel.check(r)
	}
}

// checkOneWay checks that the server is named in one way only.
func (c *Redis) checkOneWay(r *rules) {
	switch {
	case c.Sentinel != nil && c.Cluster:
		r.fault("redis.sentinel", "", "is set beside cluster: true, but Sentinel watches a single master: keep one of them")
	case c.Sentinel != nil && len(c.URLs) > 0:
		r.fault("redis.sentinel", "", "is set beside urls, which are a Redis Cluster's: keep one of them")
	case len(c.URLs) > 0 && c.URL != Default().Redis.URL:
		r.fault("redis.urls", "", "is set beside url: keep one of them")
	}
}

// checkCluster checks what a Redis Cluster cannot do.
func (c *Redis) checkCluster(r *rules) {
	if c.Cluster {
		checkClusterURL(r, "redis.url", c.URL)
	}
	for i, u := range c.URLs {
		key := fmt.Sprintf("redis.urls[%d]", i)
		checkClusterURL(r, key, u)
		if usesTLS(u) != usesTLS(c.URLs[0]) {
			r.fault(key, u.String(), "differs from the first one in TLS: write rediss:// for every address, or for none")
		}
	}
}

func usesTLS(u URL) bool { return strings.HasPrefix(u.Reveal(), "rediss://") }

// checkRedisURL checks one address, as redis.ParseURL will read it.
func checkRedisURL(r *rules, key string, u URL) {
	if u.Reveal() == "" {
		r.fault(key, "", "is missing: want redis://host:6379/0")
		return
	}
	parsed, err := url.Parse(u.Reveal())
	switch {
	case err != nil:
		// The error repeats the address with its password, so it is left out.
		r.fault(key, "", "is no URL: write it as redis://user:password@host:6379/0, with each of @ : / ? # % in the password as %40 %3A %2F %3F %23 %25")
	case parsed.Scheme == "unix":
		if parsed.Path == "" {
			r.fault(key, u.String(), "names no socket: write it as unix:///run/redis.sock?db=0")
		}
	case parsed.Scheme != "redis" && parsed.Scheme != "rediss":
		r.fault(key, u.String(), "is not redis, rediss or unix: write it as redis://host:6379/0")
	case parsed.Hostname() == "":
		r.fault(key, u.String(), "names no host: write it as redis://host:6379/0")
	default:
		checkDatabase(r, key, u, parsed)
	}
}

// checkDatabase checks the number after the host.
func checkDatabase(r *rules, key string, u URL, parsed *url.URL) {
	db := strings.Trim(parsed.Path, "/")
	if db == "" {
		return
	}
	if n, err := strconv.Atoi(db); err != nil || n < 0 {
		r.fault(key, u.String(), "has no database number after the host: write it as redis://host:6379/0")
	}
}

// checkClusterURL checks what holds for an address of a Redis Cluster.
func checkClusterURL(r *rules, key string, u URL) {
	parsed, err := url.Parse(u.Reveal())
	switch {
	case err != nil:
	case parsed.Scheme == "unix":
		r.fault(key, u.String(), "is a socket, which a Redis Cluster cannot be reached by: name a host")
	case strings.Trim(parsed.Path, "/") != "" && strings.Trim(parsed.Path, "/") != "0":
		r.fault(key, u.String(), "names a database, but a Redis Cluster has only 0: leave it out")
	}
}

func (c *Sentinel) check(r *rules) {
	for i, address := range c.Addresses {
		if host, port, wrong := listenHost(address); wrong != "" || host == "" || port == 0 {
			r.fault(fmt.Sprintf("redis.sentinel.addresses[%d]", i), address, "is not host:port: write it as sentinel-1:26379")
		}
	}
}
