package channelstest

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

// Judges puts the npm packages of testdata/judges (package.json,
// package-lock.json and the program script), at the versions of their lockfile,
// into a folder of the user's cache that is named by them, and returns that
// folder: there "node script" runs what receivers run. Without Node, or while
// npm cannot reach its registry, the test is skipped and says so.
func Judges(t *testing.T, script string) string {
	t.Helper()
	NeedNode(t)
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = t.TempDir()
	}
	sum := sha256.New()
	files := map[string][]byte{}
	for _, name := range []string{"package.json", "package-lock.json", script} {
		content, err := os.ReadFile(filepath.Join("testdata", "judges", name))
		if err != nil {
			t.Fatal(err)
		}
		files[name] = content
		sum.Write(content)
	}
	dir := filepath.Join(cache, "carillon-test", "judges-"+hex.EncodeToString(sum.Sum(nil)[:8]))
	if _, err := os.Stat(filepath.Join(dir, "installed")); err == nil {
		return dir
	}
	install(t, dir, files)
	return dir
}

// NeedNode skips a test that cannot run without Node and npm.
func NeedNode(t *testing.T) {
	t.Helper()
	for _, program := range []string{"node", "npm"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is not installed; .ci/setup installs it, and then others' programs judge what is sent", program)
		}
	}
}

// unreachable is how npm says that the network or its registry is away.
var unreachable = regexp.MustCompile(`\b(ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|ERR_SOCKET_TIMEOUT|E50[234])\b`)

// install makes the folder beside its place and moves it there, so that two
// test runs at once do not meet in it.
func install(t *testing.T, dir string, files map[string][]byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	making, err := os.MkdirTemp(filepath.Dir(dir), "making-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(making)
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(making, name), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	npm := exec.CommandContext(t.Context(), "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1", "--fetch-retry-mintimeout=500", "--fetch-retry-maxtimeout=2000", "--loglevel=error")
	npm.Dir = making
	out, err := npm.CombinedOutput()
	if unreachable.Match(out) {
		t.Skipf("npm cannot reach its registry; where it can, others' programs judge what is sent: %s", out)
	}
	if err != nil {
		t.Fatalf("npm ci: %v\n%s", err, out)
	}
	if err := os.WriteFile(filepath.Join(making, "installed"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(making, dir); err != nil {
		if _, there := os.Stat(filepath.Join(dir, "installed")); there != nil {
			t.Fatal(err)
		}
	}
}
