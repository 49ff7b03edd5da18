package main

import (
	"syscall"
	"time"
)

// sleepUntil sleeps to a moment as exactly as the kernel can, some 60 µs: the
// runtime's own timers are a millisecond late at times, which is as much as is
// to be measured.
func sleepUntil(at time.Time) {
	for left := time.Until(at); left > 0; left = time.Until(at) {
		ts := syscall.NsecToTimespec(left.Nanoseconds())
		syscall.Nanosleep(&ts, nil) // woken early, it sleeps again
	}
}
