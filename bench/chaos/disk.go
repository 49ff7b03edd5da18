package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// diskSize is the whole disk of a Redis that is to run out of it.
const diskSize = 24 << 20

// smallDisk mounts a file system of its own for Redis, which takes root.
func (s *stage) smallDisk() string {
	dir := s.TempDir()
	if err := syscall.Mount("carillon-chaos", dir, "tmpfs", 0, fmt.Sprintf("size=%d", diskSize)); err != nil {
		panic(skipped{"mounting a tmpfs is refused: " + err.Error()})
	}
	s.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			s.Errorf("unmounting %s: %v", dir, err)
		}
	})
	return dir
}

// fillDisk fills the rest of Redis' disk, waits until it refuses writes, and
// frees the space again.
func fillDisk(w *world) {
	w.rest(w.seconds / 6)
	filler := filepath.Join(w.redis.Dir, "filler")
	if dir := w.rdb.ConfigGet(w.ctx, "dir").Val()["dir"]; dir != "" {
		filler = filepath.Join(dir, "filler")
	}
	if err := fillUp(filler); err != nil {
		w.Fatalf("filling the disk: %v", err)
	}
	w.injected(len(w.consumers) * inFlight)
	w.await(20*time.Second, "Redis refuses writes", func() bool {
		info, err := w.rdb.Info(w.ctx, "persistence").Result()
		return err == nil && strings.Contains(info, "aof_last_write_status:err")
	})
	before := w.load.refused.Load()
	w.await(20*time.Second, "the API answers 503", func() bool { return w.load.refused.Load() >= before+8 })
	accepted := w.load.accepted()
	w.rest(w.seconds / 3)
	if more := w.load.accepted() - accepted; more > singleSenders+batchSenders*batchSize {
		w.Errorf("%d were accepted by a Redis that refuses to write", more)
	}
	if err := os.Remove(filler); err != nil {
		w.Errorf("freeing the disk: %v", err)
	}
	w.notef("%d answers were 503 while the disk was full", w.load.refused.Load())
	accepted = w.load.accepted()
	w.await(20*time.Second, "notifications are accepted again", func() bool { return w.load.accepted() > accepted+50 })
}

// fillUp writes a file until there is no space for more.
func fillUp(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	page := make([]byte, 4<<10)
	for {
		if _, err := f.Write(page); err != nil {
			break // full
		}
	}
	return nil
}
