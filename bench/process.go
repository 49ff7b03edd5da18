package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is a child of this one. It does not outlive it.
type process struct {
	name   string // in the table
	cmd    *exec.Cmd
	stdin  io.Closer
	stdout *bufio.Reader
	ended  bool
}

// start starts a process. Its standard input stays open until it is stopped,
// so that parts can end when it closes; its standard error is the bench's own.
func (l *lab) start(name, program string, env []string, args ...string) (*process, error) {
	cmd := exec.Command(program, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Env = append(os.Environ(), env...)
	cmd.Stderr = l.log
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	p := &process{name: name, cmd: cmd, stdin: stdin, stdout: bufio.NewReader(stdout)}
	l.processes = append(l.processes, p)
	return p, nil
}

// startPart starts one of this program's own parts.
func (l *lab) startPart(name, part string, args ...string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return l.start(name, self, nil, append([]string{part}, args...)...)
}

// firstLine is what a process says when it is ready.
func (p *process) firstLine() (string, error) {
	text, err := p.stdout.ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("%s ended before it was ready: %w", p.name, err)
	}
	return strings.TrimSpace(text), nil
}

// output waits for the process' own end and returns what it said.
func (p *process) output() ([]byte, error) {
	said, err := io.ReadAll(p.stdout)
	p.ended = true
	if waited := p.cmd.Wait(); waited != nil {
		return nil, fmt.Errorf("%s: %w", p.name, waited)
	}
	return said, err
}

// stop asks a process to end and waits for it.
func (p *process) stop() error {
	if p.ended {
		return nil
	}
	p.ended = true
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	p.stdin.Close()
	var exit *exec.ExitError
	err := p.cmd.Wait()
	if errors.As(err, &exit) && exit.ExitCode() < 0 {
		return nil // it does not handle the signal: that is an end too
	}
	return err
}

// kill ends a process at once.
func (p *process) kill() {
	if p.ended {
		return
	}
	p.ended = true
	p.cmd.Process.Kill()
	p.stdin.Close()
	p.cmd.Wait()
}

// ticks a second of /proc/PID/stat: the kernel's USER_HZ, which is 100 on every
// architecture that Go runs on.
const ticks = 100

// cpu is the processor time that a process has used so far, in steps of 10 ms
// while it runs.
func (p *process) cpu() (time.Duration, error) {
	if state := p.cmd.ProcessState; state != nil {
		return state.UserTime() + state.SystemTime(), nil
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return 0, fmt.Errorf("the processor time of %s: %w", p.name, err)
	}
	return parseStat(stat)
}

// parseStat reads utime and stime, fields 14 and 15 of proc_pid_stat(5). The
// second, the program's name, is in brackets and may hold anything.
func parseStat(stat []byte) (time.Duration, error) {
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 13 {
		return 0, fmt.Errorf("/proc/PID/stat has %d fields after the name, want 13 or more", len(fields))
	}
	user, err := strconv.ParseInt(fields[11], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("utime in /proc/PID/stat: %w", err)
	}
	system, err := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * time.Second / ticks, err
}

// alive reports whether a process that nobody has waited for still runs.
func (p *process) alive() bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	rest := bytes.TrimSpace(stat[bytes.LastIndexByte(stat, ')')+1:])
	return err == nil && len(rest) > 0 && rest[0] != 'Z'
}

// peakRSS is the most memory that a running process has held, in bytes.
func (p *process) peakRSS() (float64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0, fmt.Errorf("the memory of %s: %w", p.name, err)
	}
	for text := range strings.Lines(string(status)) {
		if v, ok := strings.CutPrefix(text, "VmHWM:"); ok {
			kib, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(v), "kB")), 64)
			return kib * 1024, err
		}
	}
	return 0, errors.New("/proc/PID/status has no VmHWM")
}

// meter holds what processes had used when a measurement began.
type meter struct {
	lab    *lab
	procs  []*process
	before map[string]time.Duration
}

// startMeter begins a measurement of Redis, the receiver and others.
func (l *lab) startMeter(ctx context.Context, procs ...*process) (*meter, error) {
	m := &meter{lab: l, procs: append(procs, l.receiver)}
	var err error
	m.before, err = m.read(ctx)
	return m, err
}

func (m *meter) read(ctx context.Context) (map[string]time.Duration, error) {
	now := map[string]time.Duration{}
	for _, p := range m.procs {
		used, err := p.cpu()
		if err != nil {
			return nil, err
		}
		now[p.name] += used
	}
	used, err := m.lab.redisCPU(ctx)
	now["Redis"] = used
	return now, err
}

// each is what every process has used since, a notification; less than a
// hundredth of a microsecond is left out.
func (m *meter) each(ctx context.Context, n int) (cost, error) {
	now, err := m.read(ctx)
	if err != nil {
		return nil, err
	}
	c := cost{}
	for name, used := range now {
		c.add(name, used-m.before[name], n)
	}
	return c, nil
}

// add notes the processor time of a process that n notifications took.
func (c cost) add(name string, used time.Duration, n int) {
	if v := micros(used) / float64(max(n, 1)); v >= 0.01 {
		c[name] = v
	}
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
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("no %s within %v", what, limit))
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
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
