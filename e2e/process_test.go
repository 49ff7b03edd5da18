package e2e_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is how long anything may take that takes milliseconds on an idle
// machine. It is never waited out when things go well.
const patience = 2 * time.Minute

// eventually polls until done, and fails the test when that does not come to
// pass in time. state, asked only then, says how far it came.
func eventually(t testing.TB, limit time.Duration, what string, done func() bool, state func() any) {
	t.Helper()
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	for !done() {
		select {
		case <-poll.C:
		case <-deadline.C:
			t.Fatalf("%s: not within %v; now: %v", what, limit, state())
		}
	}
}

// logbook keeps what a process writes.
type logbook struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logbook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logbook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// process is one running carillon.
type process struct {
	t     testing.TB
	cmd   *exec.Cmd
	log   *logbook
	ended chan struct{} // closed once it has ended
	api   string        // host:port, of ingest
	admin string        // host:port
}

// start runs the program until it listens. It is killed when the test ends.
func start(t testing.TB, args ...string) *process {
	t.Helper()
	p := &process{t: t, log: &logbook{}, ended: make(chan struct{})}
	p.cmd = command(args...)
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait() // the exit code is read from ProcessState
		close(p.ended)
	}()
	t.Cleanup(p.kill)
	listens := regexp.MustCompile(`admin=(127\.0\.0\.1:\d+)`)
	eventually(t, patience, "carillon "+args[0]+" listens", func() bool { return p.hasEnded() || listens.MatchString(p.log.String()) }, p.state)
	if p.hasEnded() {
		t.Fatalf("carillon %s ended at once with %d:\n%s", args[0], p.cmd.ProcessState.ExitCode(), p.log)
	}
	p.admin = listens.FindStringSubmatch(p.log.String())[1]
	if api := regexp.MustCompile(`api=(127\.0\.0\.1:\d+)`).FindStringSubmatch(p.log.String()); api != nil {
		p.api = api[1]
	}
	return p
}

// command is the program with nothing of this machine's environment, and
// bound to die with the test.
func command(args ...string) *exec.Cmd {
	cmd := exec.Command(binary, args...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.TempDir(), "TMPDIR=" + os.TempDir()}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

func (p *process) state() any { return "its log:\n" + p.log.String() }

func (p *process) hasEnded() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// kill is kill -9, and waits for the end.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended already
	<-p.ended
}

// stop is SIGTERM; it returns the exit code.
func (p *process) stop() int {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatalf("SIGTERM: %v", err)
	}
	return p.exitCode()
}

// exitCode waits for the end.
func (p *process) exitCode() int {
	p.t.Helper()
	eventually(p.t, patience, "the process ends", p.hasEnded, p.state)
	return p.cmd.ProcessState.ExitCode()
}

// result is how a command ended.
type result struct {
	code           int
	stdout, stderr string
}

// run runs a command to its end.
func run(t testing.TB, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := command(args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })()
	_ = cmd.Wait() // the exit code says it
	if ctx.Err() != nil {
		t.Fatalf("carillon %s does not end; so far:\n%s%s", strings.Join(args, " "), &stdout, &stderr)
	}
	return result{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}
