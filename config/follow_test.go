package config

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestAFileIsFollowedHoweverItIsReplaced changes a file in the ways that editors,
// configuration management and Kubernetes do, and counts what is told.
func TestAFileIsFollowedHoweverItIsReplaced(t *testing.T) {
	write := func(t *testing.T, path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	rename := func(t *testing.T, from, to string) {
		t.Helper()
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	link := func(t *testing.T, to, name string) {
		t.Helper()
		if err := os.Symlink(to, name); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name   string
		before func(t *testing.T, dir string)
		change func(t *testing.T, dir string)
		want   int32
	}{
		{"nothing happens", nil, func(*testing.T, string) {}, 0},
		{"written in place", nil, func(t *testing.T, dir string) { write(t, dir+"/c.yaml", "after, and longer") }, 1},
		{"another is renamed over it", nil, func(t *testing.T, dir string) {
			write(t, dir+"/c.yaml~", "after")
			rename(t, dir+"/c.yaml~", dir+"/c.yaml")
		}, 1},
		{"removed and written anew at once", nil, func(t *testing.T, dir string) {
			rename(t, dir+"/c.yaml", dir+"/c.yaml.bak")
			write(t, dir+"/c.yaml", "after")
		}, 1},
		{"a ConfigMap's link is swapped", func(t *testing.T, dir string) {
			for _, version := range []string{"1", "2"} {
				if err := os.Mkdir(dir+"/.."+version, 0o700); err != nil {
					t.Fatal(err)
				}
				write(t, dir+"/.."+version+"/c.yaml", "version "+version)
			}
			link(t, "..1", dir+"/..data")
			rename(t, dir+"/c.yaml", dir+"/unused")
			link(t, "..data/c.yaml", dir+"/c.yaml")
		}, func(t *testing.T, dir string) {
			link(t, "..2", dir+"/..data_tmp")
			rename(t, dir+"/..data_tmp", dir+"/..data")
		}, 1},
		{"another file beside it is written", nil, func(t *testing.T, dir string) { write(t, dir+"/other.yaml", "after") }, 0},
		{"removed", nil, func(t *testing.T, dir string) { rename(t, dir+"/c.yaml", dir+"/gone") }, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, filepath.Join(dir, "c.yaml"), "before")
			if c.before != nil {
				c.before(t, dir)
			}
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				var told atomic.Int32
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					Follow(ctx, filepath.Join(dir, "c.yaml"), func() { told.Add(1) })
				}()
				synctest.Wait()
				c.change(t, dir)
				time.Sleep(600 * time.Millisecond)
				synctest.Wait()
				if told.Load() != c.want {
					t.Errorf("told %d times within 600ms, want %d", told.Load(), c.want)
				}
				time.Sleep(time.Minute)
				cancel()
				<-ended
				if told.Load() != c.want {
					t.Errorf("told %d times in a minute, want %d", told.Load(), c.want)
				}
			})
		})
	}
}

func TestAFileThatIsBeingWrittenIsToldOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var told atomic.Int32
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			Follow(ctx, path, func() { told.Add(1) })
		}()
		time.Sleep(followEvery / 2) // so that each part comes between two looks
		for n := range 10 {         // for two seconds, a part at a time
			if err := os.WriteFile(path, []byte(strings.Repeat("x", n+1)), 0o600); err != nil {
				t.Fatal(err)
			}
			time.Sleep(followEvery)
			synctest.Wait()
			if told.Load() > 0 {
				t.Fatalf("told after %d parts of 10", n+1)
			}
		}
		time.Sleep(2 * followEvery)
		cancel()
		<-ended
		if told.Load() != 1 {
			t.Errorf("told %d times, want once", told.Load())
		}
	})
}
