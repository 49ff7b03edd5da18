package queuetest

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// sentinelMaster is the name under which the Sentinels know their master.
const sentinelMaster = "notices"

// Sentinels are a master and its replica, and three Sentinels that watch them.
type Sentinels struct {
	t        testing.TB
	data     []*Server
	watchers []*Server
}

// StartSentinels runs the set until the test ends. Further arguments are of
// the master's and the replica's servers.
func StartSentinels(t testing.TB, args ...string) *Sentinels {
	t.Helper()
	s := &Sentinels{t: t}
	master := Start(t, args...)
	host, port, _ := net.SplitHostPort(master.Addr)
	s.data = []*Server{master, Start(t, append(args, "--replicaof", host+" "+port, "--repl-diskless-sync-delay", "0")...)}
	await(t, "a replica in step", func() bool { return infoHas(master, "state=online") })
	for range 3 {
		s.watchers = append(s.watchers, startSentinel(t, host, port))
	}
	await(t, "Sentinels that know each other", s.introduced)
	return s
}

func startSentinel(t testing.TB, host, port string) *Server {
	t.Helper()
	s := &Server{Dir: t.TempDir(), t: t}
	t.Cleanup(s.Kill)
	s.conf = filepath.Join(s.Dir, "sentinel.conf")
	for range 5 { // another process may take the port first
		s.Addr = freeAddr(t)
		conf := fmt.Sprintf("sentinel monitor %[1]s %[2]s %[3]s 2\nsentinel down-after-milliseconds %[1]s 1500\nsentinel failover-timeout %[1]s 2000\n",
			sentinelMaster, host, port)
		if err := os.WriteFile(s.conf, []byte(conf), 0o600); err != nil {
			t.Fatal(err)
		}
		if s.run() {
			return s
		}
		s.Kill()
	}
	t.Fatal("the Sentinel does not start")
	return nil
}

func infoHas(s *Server, words string) bool {
	got, err := s.do("INFO", "replication")
	text, _ := got.(string)
	return err == nil && strings.Contains(text, words)
}

// introduced reports whether every Sentinel knows both others and the replica.
func (s *Sentinels) introduced() bool {
	for _, w := range s.watchers {
		got, err := w.do("INFO", "sentinel")
		text, _ := got.(string)
		if err != nil || !strings.Contains(text, "status=ok") || !strings.Contains(text, "slaves=1,sentinels=3") {
			return false
		}
	}
	return true
}

// Name is what the Sentinels call their master.
func (s *Sentinels) Name() string { return sentinelMaster }

// Addrs are the addresses of the Sentinels.
func (s *Sentinels) Addrs() (out []string) {
	for _, w := range s.watchers {
		out = append(out, w.Addr)
	}
	return out
}

// Master is the server that is the master now.
func (s *Sentinels) Master() *Server {
	s.t.Helper()
	var found *Server
	await(s.t, "a master", func() bool {
		for _, d := range s.data {
			if d.role() == "master" {
				found = d
				return true
			}
		}
		return false
	})
	return found
}

// KillMaster ends the master at once, and waits until the Sentinels have put
// the replica in its place.
func (s *Sentinels) KillMaster() {
	s.t.Helper()
	master := s.Master()
	replica := s.other(master)
	master.Kill()
	await(s.t, "the replica in the dead master's place", func() bool { return replica.role() == "master" })
}

// Failover has the Sentinels put the replica in the place of a master that is
// well, and waits until both are what they shall be.
func (s *Sentinels) Failover() {
	s.t.Helper()
	master := s.Master()
	replica := s.other(master)
	await(s.t, "a failover", func() bool {
		if replica.role() == "master" && master.role() == "slave" {
			return true
		}
		if replica.role() != "master" {
			_, _ = s.watchers[0].do("SENTINEL", "FAILOVER", sentinelMaster) // refused while one is under way
		}
		return false
	})
}

func (s *Sentinels) other(than *Server) *Server {
	if s.data[0] == than {
		return s.data[1]
	}
	return s.data[0]
}
