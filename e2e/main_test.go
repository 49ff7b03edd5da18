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

	"github.com/redis/go-redis/v9/logging"
)

// binary is the program under test, which TestMain builds and removes.
var binary = filepath.Join(os.TempDir(), "carillon-e2e-"+strconv.Itoa(os.Getpid()), "carillon")

func TestMain(m *testing.M) { os.Exit(buildAndRun(m)) }

func buildAndRun(m *testing.M) int {
	logging.Disable() // servers go down on purpose here
	defer os.RemoveAll(filepath.Dir(binary))
	build := exec.Command("go", "build", "-o", binary, "./cmd/carillon")
	build.Dir = ".."
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building the program: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// openFolders opens every folder under root but hidden ones. The go command
// keeps a passed test's result until a file changes in a folder that the test
// opened; the build reads the source in a process of its own, which nobody
// watches. It must be called by a test: TestMain is not watched either.
func openFolders(root string) error {
	return filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist): // a temporary folder that is gone again
			return nil
		case err != nil || !entry.IsDir():
			return err
		case path != root && strings.HasPrefix(entry.Name(), "."):
			return filepath.SkipDir
		}
		folder, err := os.Open(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		return folder.Close()
	})
}
