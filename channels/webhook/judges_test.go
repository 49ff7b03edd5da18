package webhook

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/carillonhq/carillon/channels/channelstest"
	"github.com/go-json-experiment/json"
)

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
	dir := channelstest.Judges(t, "verify.js")
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
