package main

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// A step of the machine's clock would be everybody's, and a static Go program
// asks no library for the time that one could stand in for. So the consumer of
// this row is built with a standard library in which time.Now adds an offset to
// the wall clock, read from a file that both map into memory. The monotonic
// clock goes on, as it does when a real clock is set. The gateway's own source
// is the same.

// clockVariable names the file with the offset, in seconds.
const clockVariable = "CHAOS_CLOCK"

// clockSource is a file of package time.
const clockSource = `package time

import (
	"sync/atomic"
	"syscall"
	"unsafe"
)

var chaosOffset = mapChaosClock()

func mapChaosClock() *int64 {
	path, ok := syscall.Getenv("` + clockVariable + `")
	if !ok {
		return new(int64)
	}
	fd, err := syscall.Open(path, syscall.O_RDONLY, 0)
	if err != nil {
		panic("` + clockVariable + `: " + err.Error())
	}
	page, err := syscall.Mmap(fd, 0, 8, syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		panic("` + clockVariable + `: " + err.Error())
	}
	return (*int64)(unsafe.Pointer(&page[0]))
}

func chaosSeconds() int64 { return atomic.LoadInt64(chaosOffset) }
`

// compileWithClock builds a gateway whose clock can be set.
func (w *world) compileWithClock() (string, error) {
	root, err := exec.CommandContext(w.ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return "", err
	}
	timeDir := filepath.Join(strings.TrimSpace(string(root)), "src", "time")
	text, err := os.ReadFile(filepath.Join(timeDir, "time.go"))
	if err != nil {
		return "", err
	}
	const asked = "sec, nsec, mono := runtimeNow()\n"
	patched := strings.Replace(string(text), asked, asked+"\tsec += chaosSeconds()\n", 1)
	if patched == string(text) {
		return "", errors.New("time.Now does not look as it did: clock.go has to follow it")
	}
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {
		filepath.Join(timeDir, "time.go"):       w.write("clock/time.go", patched),
		filepath.Join(timeDir, "chaosclock.go"): w.write("clock/chaosclock.go", clockSource),
	}})
	if err != nil {
		return "", err
	}
	binary := filepath.Join(w.dir, "carillon-clock")
	return binary, w.build.compile(w.ctx, binary, "-overlay", w.write("clock/overlay.json", string(overlay)))
}

// clockFile holds the offset of the clock that this row's first consumer has.
func (w *world) clockFile() string { return filepath.Join(w.dir, "clock", "offset") }

// fitClock has consumers started with a clock that can be set.
func (w *world) fitClock() {
	program, err := w.compileWithClock()
	if err != nil {
		w.Fatalf("a gateway whose clock can be set: %v", err)
	}
	w.write("clock/offset", string(make([]byte, 8)))
	w.binary, w.environ = program, []string{clockVariable + "=" + w.clockFile()}
}

// setClock writes the offset in place: the file is mapped.
func (w *world) setClock(offset time.Duration) {
	f, err := os.OpenFile(w.clockFile(), os.O_WRONLY, 0)
	if err != nil {
		w.Fatalf("setting the clock: %v", err)
	}
	defer f.Close()
	var raw [8]byte
	binary.NativeEndian.PutUint64(raw[:], uint64(int64(offset/time.Second)))
	if _, err := f.WriteAt(raw[:], 0); err != nil {
		w.Fatalf("setting the clock: %v", err)
	}
	w.injected(0)
}

// stepClock sets one of two consumers' clocks an hour ahead, then an hour
// behind, then right again.
func stepClock(w *world) {
	for _, offset := range []time.Duration{time.Hour, -time.Hour, 0} {
		w.setClock(offset)
		w.rest(w.seconds / 3)
	}
}
