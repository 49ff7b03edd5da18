// Package e2e_test runs the built program as its users do: real processes with
// a configuration file, a real redis-server, real HTTP. What is proven here is
// what no room can prove alone: that killing, stopping, starving and
// misconfiguring processes ends as promised.
package e2e_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// binary is the program under test, which TestMain builds and removes.
var binary = filepath.Join(os.TempDir(), "carillon-e2e-"+strconv.Itoa(os.Getpid()), "carillon")

func TestMain(m *testing.M) { os.Exit(buildAndRun(m)) }

func buildAndRun(m *testing.M) int {
	if err := readFolders(".."); err != nil {
		fmt.Fprintln(os.Stderr, "reading the source's folders:", err)
		return 1
	}
	defer os.RemoveAll(filepath.Dir(binary))
	build := exec.Command("go", "build", "-o", binary, "./cmd/carillon")
	build.Dir = ".."
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building the program: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// readFolders reads every folder under root but hidden ones. The go command
// keeps a passed test's result until a file or folder changes that the test
// read; the build reads the source in another process, which it does not see.
func readFolders(root string) error {
	return filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist): // a temporary file that is gone again
			return nil
		case err == nil && entry.IsDir() && path != root && strings.HasPrefix(entry.Name(), "."):
			return filepath.SkipDir
		}
		return err
	})
}
