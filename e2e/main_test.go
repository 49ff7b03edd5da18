// Package e2e_test runs the built program as its users do: real processes with
// a configuration file, a real redis-server, real HTTP. What is proven here is
// what no room can prove alone: that killing, stopping, starving and
// misconfiguring processes ends as promised.
package e2e_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
)

// binary is the program under test, which TestMain builds and removes.
var binary = filepath.Join(os.TempDir(), "carillon-e2e-"+strconv.Itoa(os.Getpid()), "carillon")

func TestMain(m *testing.M) { os.Exit(buildAndRun(m)) }

func buildAndRun(m *testing.M) int {
	defer os.RemoveAll(filepath.Dir(binary))
	build := exec.Command("go", "build", "-o", binary, "./cmd/carillon")
	build.Dir = ".."
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building the program: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}
