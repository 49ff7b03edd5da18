package webhook

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
)

// judgeFiles are what the judges' folder is made of, verify.js the last.
func judgeFiles() []string { return []string{"package.json", "package-lock.json", "verify.js"} }

// installJudges puts the npm packages of testdata/judges, at the versions of
// their lockfile, into a folder of the user's cache that is named by it, and
// returns that folder.
func installJudges(t *testing.T) string {
	t.Helper()
	for _, program := range []string{"node", "npm"} {
		if _, err := exec.LookPath(program); err != nil && os.Getenv("CI") == "" {
			t.Skipf("%s is not installed; .ci/setup installs it, and then the receivers' own libraries verify the signatures", program)
		}
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = t.TempDir()
	}
	sum := sha256.New()
	files := map[string][]byte{}
	for _, name := range judgeFiles() {
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
	npm := exec.CommandContext(t.Context(), "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
	npm.Dir = making
	if out, err := npm.CombinedOutput(); err != nil {
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

// verdicts are what the judges said.
type verdicts struct {
	StandardWebhooks []bool `json:"standardwebhooks"`
	Svix             []bool `json:"svix"`
	Ed25519          bool   `json:"ed25519"`
}

func judge(t *testing.T, dir string, got received, secrets []string, public ed25519.PublicKey) verdicts {
	t.Helper()
	headers := map[string]string{}
	for name, values := range got.header {
		headers[strings.ToLower(name)] = strings.Join(values, ", ")
	}
	input, err := json.Marshal(map[string]any{"headers": headers, "body": got.body, "secrets": secrets, "publicKey": base64.StdEncoding.EncodeToString(public)})
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	node := exec.CommandContext(t.Context(), "node", "verify.js")
	node.Dir, node.Stdin, node.Stderr = dir, bytes.NewReader(input), &stderr
	out, err := node.Output()
	if err != nil {
		t.Fatalf("node verify.js: %v\n%s", err, stderr.String())
	}
	var v verdicts
	if err := json.Unmarshal(out, &v); err != nil {
		t.Fatalf("%v in %q", err, out)
	}
	return v
}

// TestTheReceiversLibrariesVerify lets the libraries that receivers use verify
// what arrives, while secrets are rotated and with an ed25519 key beside them.
func TestTheReceiversLibrariesVerify(t *testing.T) {
	dir := installJudges(t)
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	rec := startReceiver(t)
	m := messageTo(rec.URL, "3-0123456789abcdefghij-0")
	m.Address.Secret = secretA + " " + secretB + " whsk_" + base64.StdEncoding.EncodeToString(private)
	m.Content.Webhook = []byte("{ \"näme\" : \"Zoë 😀\",\n \"n\" : 1.0 }")
	mustSend(t, localAdapter(t), m)
	got := rec.requests()[0]
	// The third secret is nobody's.
	asked := []string{secretA, secretB, "whsec_" + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 24))}
	want := []bool{true, true, false}
	if v := judge(t, dir, got, asked, public); !slices.Equal(v.StandardWebhooks, want) || !slices.Equal(v.Svix, want) || !v.Ed25519 {
		t.Errorf("got %+v, want %v of both libraries, and the ed25519 signature", v, want)
	}
	got.body += " "
	if v := judge(t, dir, got, asked, public); slices.Contains(v.StandardWebhooks, true) || slices.Contains(v.Svix, true) || v.Ed25519 {
		t.Errorf("a body that was changed verifies: %+v", v)
	}
}
