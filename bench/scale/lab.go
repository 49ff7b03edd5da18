package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// lab is a Redis Cluster of one master: what is measured goes the ways that it
// goes on a cluster of many, a command and a script call for each partition.
type lab struct {
	dir  string
	addr string
	cmd  *exec.Cmd
	node *redis.Client // to ask after the server itself
	rdb  *redis.ClusterClient
}

func newLab(ctx context.Context) (l *lab, err error) {
	l = &lab{}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.close())
		}
	}()
	if l.dir, err = os.MkdirTemp("", "carillon-scale-"); err != nil {
		return l, err
	}
	if err := l.startRedis(ctx); err != nil {
		return l, fmt.Errorf("starting redis-server: %w", err)
	}
	l.rdb = redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{l.addr}, PoolSize: 96, ContextTimeoutEnabled: true,
		ReadTimeout:              time.Minute, // a machine that is shared may let a script wait for long
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}})
	return l, nil
}

func (l *lab) startRedis(ctx context.Context) error {
	bus, err := freePort()
	if err != nil {
		return err
	}
	port, err := freePort()
	if err != nil {
		return err
	}
	l.addr = net.JoinHostPort("127.0.0.1", port)
	l.cmd = exec.Command("redis-server", "--port", port, "--bind", "127.0.0.1", "--dir", l.dir, "--save", "", "--appendonly", "no",
		"--cluster-enabled", "yes", "--cluster-port", bus, "--logfile", filepath.Join(l.dir, "log"))
	l.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := l.cmd.Start(); err != nil {
		return err
	}
	l.node = redis.NewClient(&redis.Options{Addr: l.addr, ReadTimeout: time.Minute, MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}})
	if err := await(ctx, 10*time.Second, "answer", func() (bool, error) { return l.node.Ping(ctx).Err() == nil, nil }); err != nil {
		return err
	}
	if err := l.node.ClusterAddSlotsRange(ctx, 0, 16383).Err(); err != nil {
		return err
	}
	return await(ctx, 20*time.Second, "cluster that is whole", func() (bool, error) {
		info, err := l.node.ClusterInfo(ctx).Result()
		return strings.Contains(info, "cluster_state:ok"), err
	})
}

// version is the server's.
func (l *lab) version(ctx context.Context) string {
	info, _ := l.node.Info(ctx, "server").Result()
	_, rest, _ := strings.Cut(info, "redis_version:")
	version, _, _ := strings.Cut(rest, "\r\n")
	return version
}

func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, err
}

// close ends the server and removes its files.
func (l *lab) close() error {
	if l.rdb != nil {
		l.rdb.Close()
	}
	if l.node != nil {
		l.node.Close()
	}
	if l.cmd != nil && l.cmd.Process != nil {
		l.cmd.Process.Kill()
		l.cmd.Wait()
	}
	return os.RemoveAll(l.dir)
}

// reading is what this process and the server had used at one moment.
type reading struct {
	redis, own time.Duration // processor time
	memory     float64       // bytes, without what connections take
	calls      float64       // commands run, those of scripts too
	at         time.Time
}

func (l *lab) read(ctx context.Context) (r reading, err error) {
	info, err := l.node.Info(ctx, "everything").Result()
	if err != nil {
		return r, fmt.Errorf("INFO: %w", err)
	}
	fields := map[string]float64{}
	for text := range strings.Lines(info) {
		name, value, _ := strings.Cut(strings.TrimSpace(text), ":")
		if strings.HasPrefix(name, "cmdstat_") {
			value, _, _ = strings.Cut(strings.TrimPrefix(value, "calls="), ",")
			name = "calls"
		}
		if v, err := strconv.ParseFloat(value, 64); err == nil {
			fields[name] += v
		}
	}
	seconds := fields["used_cpu_user"] + fields["used_cpu_sys"]
	return reading{redis: time.Duration(seconds * float64(time.Second)), own: ownCPU(), at: time.Now(),
		memory: fields["used_memory"] - fields["mem_clients_normal"], calls: fields["calls"]}, nil
}

// since is what was used between two readings.
func (r reading) since(before reading) reading {
	return reading{redis: r.redis - before.redis, own: r.own - before.own, memory: r.memory - before.memory, calls: r.calls - before.calls, at: r.at}
}

// measured runs something between two readings.
func (l *lab) measured(ctx context.Context, what func() error) (reading, error) {
	before, err := l.read(ctx)
	if err != nil {
		return reading{}, err
	}
	if err := what(); err != nil {
		return reading{}, err
	}
	after, err := l.read(ctx)
	return after.since(before), err
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// ownCPU is the processor time that this process has used.
func ownCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// await polls until done, for at most limit.
func await(ctx context.Context, limit time.Duration, what string, done func() (bool, error)) error {
	return awaitEach(ctx, 10*time.Millisecond, limit, what, done)
}

// awaitEach polls as often as one likes.
func awaitEach(ctx context.Context, every, limit time.Duration, what string, done func() (bool, error)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("no %s within %v", what, limit))
	defer cancel()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if ok, err := done(); ok || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
