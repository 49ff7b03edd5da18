// Package queuetest starts real redis-servers for tests: single ones, a master
// that Sentinels watch, and a cluster; each on ports of its own, in folders of
// its own, gone when the test ends, however it ends. And it tells how late the
// machine is, for tests that judge moments.
package queuetest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// Server is one redis-server on loopback.
type Server struct {
	Addr string // host:port
	Dir  string // its working folder

	t      testing.TB // who is told of a fault
	args   []string
	conf   string // its configuration file, for a Sentinel; empty for none
	cmd    *exec.Cmd
	exited chan struct{} // closed when cmd has ended
}

// Start runs a redis-server that keeps nothing on disk and never evicts;
// further arguments ("--appendonly", "yes") win over these. The test fails
// when there is no redis-server to run.
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	s := &Server{Dir: t.TempDir(), t: t, args: args}
	t.Cleanup(s.Kill)
	for range 5 { // another process may take the port first
		s.Addr = freeAddr(t)
		if s.run() {
			return s
		}
		s.Kill()
	}
	t.Fatal("redis-server does not start")
	return nil
}

// Redis starts a server and returns a client of it.
func Redis(t testing.TB, args ...string) *redis.Client {
	t.Helper()
	return Start(t, args...).Client()
}

// Restart starts the server again on the same address and folder, after Kill.
func (s *Server) Restart() {
	s.t.Helper()
	if !s.run() {
		s.t.Fatalf("redis-server on %s does not answer", s.Addr)
	}
}

// run starts the server and waits until it answers; false when it ended, or
// does not.
func (s *Server) run() bool {
	s.t.Helper()
	logging.Disable() // servers go down on purpose, and tests say themselves what is wrong
	cmd := exec.Command("redis-server", s.arguments()...)
	// A test that is killed must not leave its server behind.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		s.t.Fatalf("redis-server is needed (Debian: apt-get install redis-server): %v", err)
	}
	exited := make(chan struct{})
	go func() {
		defer close(exited)
		_ = cmd.Wait() // it ends by a signal
	}()
	s.cmd, s.exited = cmd, exited
	return s.awaitPong()
}

func (s *Server) arguments() []string {
	_, port, _ := net.SplitHostPort(s.Addr)
	if s.conf != "" {
		return []string{s.conf, "--sentinel", "--port", port, "--bind", "127.0.0.1", "--dir", s.Dir}
	}
	args := []string{"--port", port, "--bind", "127.0.0.1", "--dir", s.Dir, "--save", "", "--appendonly", "no",
		"--maxmemory-policy", "noeviction", "--loglevel", "warning"}
	if slices.Contains(s.args, "--cluster-enabled") && !slices.Contains(s.args, "--cluster-port") {
		// The bus would take the port plus 10,000, which may be no port at all.
		_, bus, _ := net.SplitHostPort(freeAddr(s.t))
		args = append(args, "--cluster-port", bus)
	}
	return append(args, s.args...)
}

func (s *Server) awaitPong() bool {
	s.t.Helper()
	c := s.connect()
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	mine := fmt.Sprintf("process_id:%d\r", s.cmd.Process.Pid)
	for {
		// Whoever answers may be another server that had the port first.
		if info, err := c.Info(ctx, "server").Result(); err == nil {
			return strings.Contains(info, mine)
		}
		select {
		case <-s.exited:
			return false
		case <-ctx.Done():
			return false
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// Client connects to the server, with no retries of its own: a test that cuts
// the connection wants to see what its subject does about it.
func (s *Server) Client() *redis.Client {
	c := s.connect()
	s.t.Cleanup(func() { c.Close() })
	return c
}

func (s *Server) connect() *redis.Client {
	return redis.NewClient(&redis.Options{
		Addr: s.Addr, MaxRetries: -1, DialerRetries: 1, ContextTimeoutEnabled: true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
}

// do runs one command on the server, for tests' own business.
func (s *Server) do(args ...any) (any, error) {
	c := s.connect()
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	got, err := c.Do(ctx, args...).Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		return nil, fmt.Errorf("%v on %s: %w", args, s.Addr, err)
	}
	return got, nil
}

// must is do for what cannot fail but for a fault of the test's.
func (s *Server) must(args ...any) any {
	s.t.Helper()
	got, err := s.do(args...)
	if err != nil {
		s.t.Fatal(err)
	}
	return got
}

// URL is the server's address as the configuration spells it.
func (s *Server) URL() string { return "redis://" + s.Addr + "/0" }

// Kill ends the server at once (SIGKILL) and waits for it.
func (s *Server) Kill() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill() // it may have ended by itself
	<-s.exited
	s.cmd = nil
}

// Freeze stops the server without closing its connections (SIGSTOP); Thaw
// lets it go on.
func (s *Server) Freeze() { s.signal(syscall.SIGSTOP) }

// Thaw lets a frozen server go on.
func (s *Server) Thaw() { s.signal(syscall.SIGCONT) }

func (s *Server) signal(sig syscall.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatalf("signal %v to redis-server: %v", sig, err)
	}
}

func freeAddr(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return fmt.Sprintf("127.0.0.1:%s", strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
}
