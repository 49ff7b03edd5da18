package queuetest

import (
	"context"
	"crypto/sha1"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

const (
	clusterMasters = 3
	clusterSlots   = 16384
	// nodeTimeout is how long a node must be silent to be taken for dead: short
	// for a test that waits for it, long for a machine that is busy.
	nodeTimeout = 1500 * time.Millisecond
	// migrateBatch is how many keys move at a time: what redis-cli moves.
	migrateBatch = 10
	// clusterPatience bounds every wait for a cluster or for Sentinels.
	clusterPatience = 2 * time.Minute
)

// Cluster is a Redis Cluster of three masters with a replica each, on
// loopback. A slot that has no master leaves the others serving
// (cluster-require-full-coverage no).
type Cluster struct {
	t     testing.TB
	nodes []*Server
	buses []string // each node's port on the cluster's bus
}

// StartCluster runs a cluster that is gone when the test ends. Further
// arguments of every node win over the defaults.
func StartCluster(t testing.TB, args ...string) *Cluster {
	t.Helper()
	dir := t.TempDir()
	c := &Cluster{t: t}
	t.Cleanup(c.kill)
	c.start(dir, args)
	return c
}

// Lazy is a cluster that starts when a test first needs it and serves all of a
// package's tests, one after the other. TestMain calls its Stop.
type Lazy struct {
	once    sync.Once
	dir     string
	cluster *Cluster
}

// Cluster is the cluster, emptied and with all of its masters in place, for the
// use of one test until it ends.
func (l *Lazy) Cluster(t testing.TB) *Cluster {
	t.Helper()
	l.once.Do(func() {
		l.cluster = &Cluster{t: t}
		var err error
		if l.dir, err = os.MkdirTemp("", "queuetest"); err != nil {
			t.Fatal(err)
		}
		l.cluster.start(l.dir, nil)
	})
	c := l.cluster.of(t)
	c.Heal()
	for _, s := range c.masters() {
		s.must("FLUSHALL")
		s.must("SCRIPT", "FLUSH")
	}
	return c
}

// Stop ends the cluster, if there is one.
func (l *Lazy) Stop() {
	if l.cluster != nil {
		l.cluster.kill()
	}
	if l.dir != "" {
		os.RemoveAll(l.dir)
	}
}

// of binds the cluster's faults to another test.
func (c *Cluster) of(t testing.TB) *Cluster {
	bound := *c
	bound.t = t
	for _, s := range c.nodes {
		s.t = t
	}
	return &bound
}

func (c *Cluster) kill() {
	for _, s := range c.nodes {
		s.Kill()
	}
}

// start brings the nodes up with a map of the cluster that is written
// beforehand: there is nobody to meet and nothing to gossip about first.
func (c *Cluster) start(dir string, args []string) {
	c.t.Helper()
	for try := range 5 { // another process may take a port first
		c.nodes, c.buses = nil, nil
		for i := range 2 * clusterMasters {
			c.addNode(filepath.Join(dir, fmt.Sprint(try, i)), args)
		}
		if c.up() {
			c.Heal()
			return
		}
		c.kill()
	}
	c.t.Fatal("the cluster's servers do not start")
}

func (c *Cluster) addNode(dir string, args []string) {
	c.t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		c.t.Fatal(err)
	}
	_, bus, _ := net.SplitHostPort(freeAddr(c.t))
	args = append([]string{"--cluster-enabled", "yes", "--cluster-port", bus, "--cluster-node-timeout", fmt.Sprint(nodeTimeout.Milliseconds()),
		"--cluster-require-full-coverage", "no", "--cluster-replica-validity-factor", "0", "--cluster-allow-replica-migration", "no",
		"--repl-diskless-sync-delay", "0", "--repl-backlog-size", "16mb"}, args...)
	c.nodes = append(c.nodes, &Server{Addr: freeAddr(c.t), Dir: dir, t: c.t, args: args})
	c.buses = append(c.buses, bus)
}

func (c *Cluster) up() bool {
	c.t.Helper()
	for i, s := range c.nodes {
		if err := os.WriteFile(filepath.Join(s.Dir, "nodes.conf"), []byte(c.nodesConf(i)), 0o600); err != nil {
			c.t.Fatal(err)
		}
	}
	for _, s := range c.nodes {
		if !s.run() {
			return false
		}
	}
	return true
}

// nodesConf is the map of the cluster as node me would have written it.
func (c *Cluster) nodesConf(me int) string {
	var b strings.Builder
	for i, s := range c.nodes {
		flags, master, epoch := "master", "-", i+1
		slots := fmt.Sprintf(" %d-%d", i*clusterSlots/clusterMasters, (i+1)*clusterSlots/clusterMasters-1)
		if i >= clusterMasters {
			flags, master, slots, epoch = "slave", c.id(i-clusterMasters), "", i-clusterMasters+1
		}
		if i == me {
			flags = "myself," + flags
		}
		fmt.Fprintf(&b, "%s %s@%s %s %s 0 0 %d connected%s\n", c.id(i), s.Addr, c.buses[i], flags, master, epoch, slots)
	}
	fmt.Fprintf(&b, "vars currentEpoch %d lastVoteEpoch 0\n", clusterMasters)
	return b.String()
}

// id is the name that a node has in the cluster: 40 hexadecimal digits.
func (c *Cluster) id(i int) string { return fmt.Sprintf("%x", sha1.Sum([]byte(c.nodes[i].Addr))) }

// Addrs are the addresses of all nodes.
func (c *Cluster) Addrs() (out []string) {
	for _, s := range c.nodes {
		out = append(out, s.Addr)
	}
	return out
}

// Client connects to the cluster, with no retries of its own.
func (c *Cluster) Client() *redis.ClusterClient {
	client := redis.NewClusterClient(&redis.ClusterOptions{
		Addrs: c.Addrs(), MaxRetries: -1, DialerRetries: 1, ContextTimeoutEnabled: true, ClusterStateReloadInterval: time.Second,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
	c.t.Cleanup(func() { client.Close() })
	return client
}

// Heal starts every node that was killed, and waits until each slot has a
// master that all agree on and each master a replica in step with it.
func (c *Cluster) Heal() {
	c.t.Helper()
	for _, s := range c.nodes {
		if s.cmd == nil {
			s.Restart()
		}
	}
	c.Await("every node in its place", c.healthy)
}

func (c *Cluster) healthy() bool {
	masters := 0
	for _, s := range c.nodes {
		info, err := s.do("CLUSTER", "INFO")
		if text, _ := info.(string); err != nil || !strings.Contains(text, "cluster_state:ok") || !strings.Contains(text, "cluster_slots_ok:16384") {
			return false
		}
		repl, err := s.do("INFO", "replication")
		text, _ := repl.(string)
		switch {
		case err != nil:
			return false
		case strings.Contains(text, "role:master"):
			masters++
			if !strings.Contains(text, "connected_slaves:1") || !strings.Contains(text, "state=online") {
				return false
			}
		case !strings.Contains(text, "master_link_status:up"):
			return false
		}
	}
	return masters == clusterMasters && c.agreed()
}

// agreed reports whether every node tells the same of who serves what.
func (c *Cluster) agreed() bool {
	first := ""
	for i, s := range c.nodes {
		got, err := s.do("CLUSTER", "SLOTS")
		if err != nil {
			return false
		}
		owners := map[string]bool{}
		for _, r := range got.([]any) {
			e := r.([]any)
			owners[fmt.Sprint(e[0], e[1], e[2].([]any)[1])] = true
		}
		if text := fmt.Sprint(owners); i == 0 {
			first = text // maps are printed in the order of their keys
		} else if text != first {
			return false
		}
	}
	return true
}

// masters are the nodes that serve slots now.
func (c *Cluster) masters() (out []*Server) {
	for _, s := range c.nodes {
		if s.role() == "master" {
			out = append(out, s)
		}
	}
	return out
}

// role is "master" or "slave"; empty of a server that does not answer.
func (s *Server) role() string {
	if s.cmd == nil {
		return ""
	}
	got, err := s.do("ROLE")
	if err != nil {
		return ""
	}
	role, _ := got.([]any)[0].(string)
	return role
}

// Slot is the slot of a key.
func (c *Cluster) Slot(key string) int64 {
	c.t.Helper()
	for _, s := range c.nodes {
		if got, err := s.do("CLUSTER", "KEYSLOT", key); err == nil {
			return got.(int64)
		}
	}
	c.t.Fatal("no node answers")
	return 0
}

// MasterOf is the node that serves a key, by the account of those that live.
func (c *Cluster) MasterOf(key string) *Server {
	c.t.Helper()
	slot := c.Slot(key)
	var found *Server
	c.Await("a master of "+key, func() bool {
		for _, s := range c.masters() {
			if s.serves(slot) {
				found = s
				return true
			}
		}
		return false
	})
	return found
}

// serves reports whether the node takes itself for the slot's master.
func (s *Server) serves(slot int64) bool {
	got, err := s.do("CLUSTER", "SLOTS")
	if err != nil {
		return false
	}
	_, port, _ := net.SplitHostPort(s.Addr)
	for _, r := range got.([]any) {
		e := r.([]any)
		if e[0].(int64) <= slot && slot <= e[1].(int64) && fmt.Sprint(e[2].([]any)[1]) == port {
			return true
		}
	}
	return false
}

// ReplicaOf is the replica of a master.
func (c *Cluster) ReplicaOf(master *Server) *Server {
	c.t.Helper()
	_, port, _ := net.SplitHostPort(master.Addr)
	for _, s := range c.nodes {
		if s.cmd == nil || s == master {
			continue
		}
		if got, err := s.do("ROLE"); err == nil && fmt.Sprint(got.([]any)[0]) == "slave" && fmt.Sprint(got.([]any)[2]) == port {
			return s
		}
	}
	c.t.Fatalf("%s has no replica", master.Addr)
	return nil
}

// Failover has the replica of a key's master take over from it, in agreement
// (CLUSTER FAILOVER), and waits until it has.
func (c *Cluster) Failover(key string) {
	c.t.Helper()
	master := c.MasterOf(key)
	replica := c.ReplicaOf(master)
	c.Await("a failover", func() bool {
		if replica.role() == "master" {
			return true
		}
		_, _ = replica.do("CLUSTER", "FAILOVER") // again, when the first one timed out
		<-time.After(100 * time.Millisecond)
		return replica.role() == "master"
	})
}

// KillMaster ends the node that serves a key, at once, and waits until its
// replica has taken over. Heal brings it back.
func (c *Cluster) KillMaster(key string) {
	c.t.Helper()
	master := c.MasterOf(key)
	replica := c.ReplicaOf(master)
	master.Kill()
	c.Await("the replica in the dead master's place", func() bool { return replica.role() == "master" })
}

// MigrateSlot moves a key's slot to another master, key by key, while traffic
// goes on, and returns once every node knows. halfway, when given, is called
// when some of the slot's keys are there and some are here.
func (c *Cluster) MigrateSlot(key string, halfway func()) {
	c.t.Helper()
	slot, from := c.Slot(key), c.MasterOf(key)
	to := c.anotherMaster(from)
	to.must("CLUSTER", "SETSLOT", slot, "IMPORTING", from.id())
	from.must("CLUSTER", "SETSLOT", slot, "MIGRATING", to.id())
	// One key first, so that there is a half way; one at a time would take a
	// busy machine longer than any sender waits.
	for first, batch := true, 1; ; first, batch = false, migrateBatch {
		keys := from.must("CLUSTER", "GETKEYSINSLOT", slot, batch).([]any)
		if len(keys) > 0 {
			from.migrate(to, keys)
		}
		if first && halfway != nil {
			halfway()
		}
		if len(keys) == 0 {
			break
		}
	}
	// The new owner first: nobody may answer MOVED to a node that does not know
	// that the slot is its own.
	for _, s := range append([]*Server{to, from}, c.masters()...) {
		s.must("CLUSTER", "SETSLOT", slot, "NODE", to.id())
	}
	c.Await("agreement on the slot", c.agreed)
}

func (c *Cluster) anotherMaster(than *Server) *Server {
	c.t.Helper()
	for _, s := range c.masters() {
		if s != than {
			return s
		}
	}
	c.t.Fatal("there is no other master")
	return nil
}

func (s *Server) id() string {
	s.t.Helper()
	return s.must("CLUSTER", "MYID").(string)
}

func (s *Server) migrate(to *Server, keys []any) {
	s.t.Helper()
	host, port, _ := net.SplitHostPort(to.Addr)
	s.must(append([]any{"MIGRATE", host, port, "", 0, 5000, "KEYS"}, keys...)...)
}

// Await polls until done, and fails the test when it takes too long.
func (c *Cluster) Await(what string, done func() bool) {
	c.t.Helper()
	await(c.t, what, done)
}

func await(t testing.TB, what string, done func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), clusterPatience)
	defer cancel()
	for !done() {
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			t.Fatalf("not within %v: %s", clusterPatience, what)
		}
	}
}

// InStep reports whether the replica of a key's master has all that the master
// has.
func (c *Cluster) InStep(key string) bool {
	c.t.Helper()
	master := c.MasterOf(key)
	at := master.offset()
	return at != "" && at == c.ReplicaOf(master).offset()
}

// offset is how far the server has come in the stream of writes.
func (s *Server) offset() string {
	got, err := s.do("INFO", "replication")
	text, _ := got.(string)
	if err != nil {
		return ""
	}
	_, rest, _ := strings.Cut(text, "master_repl_offset:")
	at, _, _ := strings.Cut(rest, "\r")
	return at
}
