package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/carillonhq/carillon/config"
)

// standIn is FCM, as far as a consumer can tell: it takes everything at once.
type standIn struct {
	*httptest.Server
	taken atomic.Int64
}

func newStandIn() *standIn {
	s := &standIn{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		s.taken.Add(1)
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"name":"projects/scale/messages/1"}`))
	}))
	return s
}

// consumer is `carillon consume`, a process of its own.
type consumer struct {
	cmd   *exec.Cmd
	admin string // address
	log   string // path
}

// build builds the gateway, unless a binary is given.
func (l *lab) build(ctx context.Context, binary string) (string, error) {
	if binary != "" {
		return binary, nil
	}
	binary = filepath.Join(l.dir, "carillon")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", binary, "github.com/carillonhq/carillon/cmd/carillon")
	if said, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the gateway: %w\n%s", err, said)
	}
	return binary, nil
}

// startConsumer starts a consumer of the lab's queue that sends to an FCM, and
// waits until it is ready. It does not outlive this process.
func (l *lab) startConsumer(ctx context.Context, binary string, partitions int, fcm string) (*consumer, error) {
	path, err := l.configure(partitions, fcm)
	if err != nil {
		return nil, fmt.Errorf("writing the consumer's configuration: %w", err)
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	c := &consumer{cmd: exec.Command(binary, "consume", "--config", path), admin: net.JoinHostPort("127.0.0.1", port), log: filepath.Join(l.dir, "consumer.log")}
	log, err := os.Create(c.log)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	c.cmd.Env = append(os.Environ(), "CARILLON_ADMIN_LISTEN="+c.admin)
	c.cmd.Stderr = log
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting the consumer: %w", err)
	}
	if err := await(ctx, 30*time.Second, "consumer that is ready", func() (bool, error) { return c.ready(ctx), nil }); err != nil {
		said, _ := os.ReadFile(c.log)
		return nil, errors.Join(fmt.Errorf("%w; it said: %s", err, said), c.stop())
	}
	return c, nil
}

// configure writes what a consumer needs to know; the rest is the default.
func (l *lab) configure(partitions int, fcm string) (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "redis: {url: \"redis://%s\", cluster: true}\nqueue: {namespace: %s, partitions: %d, retention: %s, finals: 100}\ntemplates: {dir: catalogue}\nthrottle:\n  per_user:\n",
		l.addr, namespace, partitions, retention)
	for _, c := range threeCaps() {
		fmt.Fprintf(&b, "    - {name: %s, category: %q, channel: %q, limit: %s, over: %s}\n", c.Name, anyOr(c.Category), anyOr(c.Channel), perOf(c.Limit), c.Over)
	}
	fmt.Fprintf(&b, "channels: {fcm: {project: scale, endpoint: %q}}\n", fcm)
	path := filepath.Join(l.dir, "carillon.yaml")
	return path, os.WriteFile(path, []byte(b.String()), 0o600)
}

func anyOr(s string) string {
	if s == "" {
		return "*"
	}
	return s
}

func perOf(r config.Rate) string { return fmt.Sprintf("%d/%s", r.Count, r.Per) }

func (c *consumer) ready(ctx context.Context) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+c.admin+"/readyz", nil)
	if err != nil {
		return false
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	res.Body.Close()
	return res.StatusCode == http.StatusOK
}

// stop asks it to end, and waits for that.
func (c *consumer) stop() error {
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	if err := c.cmd.Wait(); err != nil {
		said, _ := os.ReadFile(c.log)
		return fmt.Errorf("the consumer: %w; it said: %s", err, said)
	}
	return nil
}

// userHZ is the kernel's ticks a second in /proc, on every architecture that Go
// runs on.
const userHZ = 100

// cpu is the processor time that it has used so far: utime and stime, fields 14
// and 15 of proc_pid_stat(5), counted from behind the name in brackets.
func (c *consumer) cpu() (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", c.cmd.Process.Pid))
	if err != nil {
		return 0, fmt.Errorf("the consumer's processor time: %w", err)
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 13 {
		return 0, fmt.Errorf("/proc/PID/stat has %d fields after the name, want 13 or more", len(fields))
	}
	ticks := 0
	for _, f := range fields[11:13] {
		n, err := strconv.Atoi(f)
		if err != nil {
			return 0, fmt.Errorf("/proc/PID/stat: %w", err)
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / userHZ, nil
}
