package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// process is one running carillon, which writes into a log of its own.
type process struct {
	cmd    *exec.Cmd
	log    string        // path; of all that had its name
	starts int           // how many of those had started before it
	ended  chan struct{} // closed once it has ended
}

// spawn starts a process and does not wait for it to be ready. It dies with
// the row.
func (s *stage) spawn(name string, environ []string, binary string, args ...string) *process {
	p := &process{log: filepath.Join(s.dir, name+".log"), ended: make(chan struct{})}
	out, err := os.OpenFile(p.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		s.Fatalf("a log: %v", err)
	}
	defer out.Close()
	if text, err := os.ReadFile(p.log); err == nil {
		p.starts = bytes.Count(text, []byte(startLine))
	}
	p.cmd = exec.Command(binary, args...)
	p.cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + s.dir, "TMPDIR=" + s.dir}, environ...)
	p.cmd.Stdout, p.cmd.Stderr = out, out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		s.Fatalf("starting %s: %v", name, err)
	}
	go func() {
		_ = p.cmd.Wait() // how it ended is read from ProcessState
		close(p.ended)
	}()
	s.Cleanup(p.kill)
	return p
}

// startLine is what a consumer logs when it is at work.
const startLine = "the consumer starts"

// atWork reports whether a consumer has started.
func (p *process) atWork() bool {
	text, err := os.ReadFile(p.log)
	return err == nil && bytes.Count(text, []byte(startLine)) > p.starts
}

// kill is kill -9, and waits for the end.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended already
	<-p.ended
}

// stop is SIGTERM, and waits for an orderly end.
func (p *process) stop(limit time.Duration) error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("SIGTERM: %w", err)
	}
	select {
	case <-p.ended:
	case <-time.After(limit):
		return fmt.Errorf("it did not stop within %v", limit)
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		return fmt.Errorf("it ended with %d", code)
	}
	return nil
}

// checkLog says what no log may hold: a crash of the program's own.
func checkLog(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	for _, bad := range []string{"panic:", "fatal error:", "DATA RACE", "goroutine 1 ["} {
		if i := bytes.Index(text, []byte(bad)); i >= 0 {
			return errors.New(filepath.Base(path) + ": " + string(text[i:min(i+600, len(text))]))
		}
	}
	return nil
}
