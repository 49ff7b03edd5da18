package config

import (
	"context"
	"os"
	"time"
)

// followEvery is how often a file is looked at. A change is told after two looks
// that saw the same, so that nobody reads what is half written.
const followEvery = 200 * time.Millisecond

// Follow calls changed whenever the file at path has been written, replaced or
// removed, until ctx ends: within half a second, and once for what happens at
// once.
//
// It looks at the file instead of asking for notifications: those do not come
// from a network file system, nor for a single file that is mounted into a
// container, and a mounted ConfigMap changes two links away from the name. A
// look costs two microseconds.
func Follow(ctx context.Context, path string, changed func()) {
	told := look(path)
	last := told
	ticker := time.NewTicker(followEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		now := look(path)
		if settled := now.same(last); settled && !now.same(told) {
			told = now
			changed()
		}
		last = now
	}
}

// sight is what a look at a file sees; nil info when there is none.
type sight struct{ info os.FileInfo }

func look(path string) sight {
	info, err := os.Stat(path)
	if err != nil {
		return sight{}
	}
	return sight{info}
}

// same reports whether two looks saw the same file in the same state.
func (s sight) same(other sight) bool {
	if s.info == nil || other.info == nil {
		return s.info == other.info
	}
	return os.SameFile(s.info, other.info) && s.info.ModTime().Equal(other.info.ModTime()) && s.info.Size() == other.info.Size()
}
