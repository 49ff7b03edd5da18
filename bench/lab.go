package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// lab is a redis-server, a receiver, a catalogue and a configuration, which
// every row works with.
type lab struct {
	options
	progress  io.Writer
	log       *os.File // standard error of every process
	dir       string
	root      string // of the module
	receiver  *process
	port      string // of the receiver, on every host
	relayPort string // of its email relay, on 127.0.0.1
	redisAddr string
	redis     *redis.Client
	config    string // path
	api       string // ingest's address
	processes []*process
}

func newLab(ctx context.Context, o options, progress io.Writer) (l *lab, err error) {
	l = &lab{options: o, progress: progress}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.close())
		}
	}()
	if l.dir, err = os.MkdirTemp("", "carillon-bench-"); err != nil {
		return l, err
	}
	if l.log, err = os.Create(filepath.Join(l.dir, "log")); err != nil {
		return l, err
	}
	if l.root, err = moduleRoot(ctx); err != nil {
		return l, err
	}
	if err := l.build(ctx); err != nil {
		return l, err
	}
	if err := l.startReceiver(); err != nil {
		return l, err
	}
	if err := l.startRedis(ctx); err != nil {
		return l, err
	}
	return l, l.configure()
}

// moduleRoot is the folder of this module's go.mod, wherever in it the bench
// is run.
func moduleRoot(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("go env GOMOD: %w", err)
	}
	return filepath.Dir(strings.TrimSpace(string(out))), nil
}

// build builds the gateway, unless a binary was given.
func (l *lab) build(ctx context.Context) error {
	if l.binary != "" {
		return nil
	}
	l.binary = filepath.Join(l.dir, "carillon")
	return goBuild(ctx, l.root, l.binary, "./cmd/carillon")
}

// goBuild builds a package of the module in dir.
func goBuild(ctx context.Context, dir, output, pkg string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-o", output, pkg)
	cmd.Dir = dir
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building %s in %s: %w\n%s", pkg, dir, err, said)
	}
	return nil
}

// close ends every process and removes every file. After a failure the last of
// what the processes said is shown.
func (l *lab) close() error {
	for _, p := range l.processes {
		p.kill()
	}
	if l.redis != nil {
		l.redis.Close()
	}
	if l.log != nil {
		l.log.Close()
	}
	return os.RemoveAll(l.dir)
}

// said is the end of what the processes wrote to their standard error.
func (l *lab) said() string {
	text, err := os.ReadFile(l.log.Name())
	if err != nil {
		return err.Error()
	}
	const most = 2000
	return string(text[max(0, len(text)-most):])
}

func (l *lab) startReceiver() (err error) {
	if l.receiver, err = l.startPart("receiver", "receiver"); err != nil {
		return err
	}
	ports, err := l.receiver.firstLine()
	l.port, l.relayPort, _ = strings.Cut(ports, " ")
	return err
}

func (l *lab) startRedis(ctx context.Context) (err error) {
	if l.redisAddr, err = freeAddress(); err != nil {
		return err
	}
	_, port, _ := net.SplitHostPort(l.redisAddr)
	if _, err := l.start("redis-server", "redis-server", nil,
		"--port", port, "--bind", "127.0.0.1", "--dir", l.dir, "--save", "", "--appendonly", "no", "--logfile", "redis.log"); err != nil {
		return err
	}
	l.redis = redis.NewClient(&redis.Options{Addr: l.redisAddr})
	return await(ctx, 10*time.Second, "answer of redis-server", func() (bool, error) { return l.redis.Ping(ctx).Err() == nil, nil })
}

// freeAddress is one that nothing listens at, and that is not to be ingest's:
// that is not running all the time.
func (l *lab) freeAddress() (string, error) {
	for {
		if at, err := freeAddress(); err != nil || at != l.api {
			return at, err
		}
	}
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// reset brings Redis and the receiver back to nothing, with no process of the
// gateway left.
func (l *lab) reset(ctx context.Context) error {
	kept := l.processes[:0]
	for _, p := range l.processes {
		if p == l.receiver || p.name == "redis-server" {
			kept = append(kept, p)
			continue
		}
		p.kill()
	}
	l.processes = kept
	if err := l.redis.FlushAll(ctx).Err(); err != nil {
		return fmt.Errorf("emptying Redis: %w", err)
	}
	return l.forget(ctx)
}

// info is one number of INFO.
func (l *lab) info(ctx context.Context, section, name string) (float64, error) {
	text, err := l.infoText(ctx, section, name)
	if err != nil {
		return 0, err
	}
	return strconv.ParseFloat(text, 64)
}

func (l *lab) infoText(ctx context.Context, section, name string) (string, error) {
	info, err := l.redis.Info(ctx, section).Result()
	if err != nil {
		return "", fmt.Errorf("INFO %s: %w", section, err)
	}
	for text := range strings.Lines(info) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(text), name+":"); ok {
			return v, nil
		}
	}
	return "", fmt.Errorf("INFO %s says nothing of %s", section, name)
}

func (l *lab) usedMemory(ctx context.Context) (float64, error) {
	return l.info(ctx, "memory", "used_memory")
}

// redisCPU is the processor time that the redis-server has used.
func (l *lab) redisCPU(ctx context.Context) (time.Duration, error) {
	user, err := l.info(ctx, "cpu", "used_cpu_user")
	if err != nil {
		return 0, err
	}
	system, err := l.info(ctx, "cpu", "used_cpu_sys")
	return time.Duration((user + system) * float64(time.Second)), err
}

// machine says what the figures were taken on.
func (l *lab) machine(ctx context.Context) []string {
	version, err := l.infoText(ctx, "server", "redis_version")
	if err != nil {
		version = "of unknown version"
	}
	facts := []string{
		fmt.Sprintf("%d cores (%s), %s, %s/%s", runtime.NumCPU(), processor(), runtime.Version(), runtime.GOOS, runtime.GOARCH),
		"Redis " + version + " on the same machine, nothing written to disk",
	}
	if load, err := os.ReadFile("/proc/loadavg"); err == nil {
		facts = append(facts, "load average when it began: "+strings.Join(strings.Fields(string(load))[:3], " "))
	}
	return facts
}

// processor is the model that the kernel names.
func processor() string {
	info, _ := os.ReadFile("/proc/cpuinfo")
	for text := range strings.Lines(string(info)) {
		if name, model, ok := strings.Cut(text, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(model)
		}
	}
	return "unknown processor"
}

// setup says how the figures were taken.
func (l *lab) setup() string {
	return fmt.Sprintf("%s notifications a drain, %d bytes of data each, %d requests in flight, %d clients, %d rounds: median (least–most).",
		thousands(int64(l.n)), l.size, l.concurrency, l.connections, l.rounds)
}
