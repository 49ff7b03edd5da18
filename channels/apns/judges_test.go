package apns

import (
	"bufio"
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/carillonhq/carillon/channels"
	"github.com/carillonhq/carillon/channels/channelstest"
	"github.com/carillonhq/carillon/config"
)

// judged is one request as Node's server took it.
type judged struct {
	ID, Path, Topic, Type, Body string
	Token                       bool // verified by Node's own cryptography
	Session, Open               int
}

// nodeServer starts server.js and returns its URL, its certificate's file, and
// what stops it and gives what it took.
func nodeServer(t *testing.T, public any, streams, requests int) (url, caFile string, stop func() []judged) {
	t.Helper()
	channelstest.NeedNode(t)
	key, cert := serverCertificate(t)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	encode := func(kind string, raw []byte) string {
		return writeFile(t, kind, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: raw}))
	}
	caFile = encode("CERTIFICATE", cert.Raw)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	node := exec.CommandContext(ctx, "node", "testdata/judges/server.js", caFile, encode("PRIVATE KEY", der), encode("PUBLIC KEY", spki), fmt.Sprint(streams), fmt.Sprint(requests))
	var complaints strings.Builder
	node.Stderr = &complaints
	in, err := node.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := node.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := node.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		t.Fatalf("server.js did not start: %s", complaints.String())
	}
	return "https://127.0.0.1:" + lines.Text(), caFile, func() []judged {
		in.Close()
		var all []judged
		for lines.Scan() {
			var one judged
			if err := json.Unmarshal(lines.Bytes(), &one); err != nil {
				t.Errorf("%v in %s", err, lines.Text())
			}
			all = append(all, one)
		}
		if err := node.Wait(); err != nil {
			t.Errorf("server.js: %v: %s", err, complaints.String())
		}
		return all
	}
}

// TestNghttp2TakesEveryPushOnce sends 400 pushes to a server of nghttp2's that
// allows ten streams and sends a GOAWAY after fifty requests.
func TestNghttp2TakesEveryPushOnce(t *testing.T) {
	const pushes, streams = 400, 10
	signing, key := newKey(t)
	url, ca, stop := nodeServer(t, &key.PublicKey, streams, 50)
	a := newAdapter(t, config.APNs{Host: url, CAFile: ca, Topic: "com.acme.app", Connections: 3, Timeout: config.Duration(20 * time.Second),
		APNsCredential: config.APNsCredential{Key: config.NewSecret(signing), KeyID: "ABC123DEFG", TeamID: "DEF123GHIJ"}})
	const body = "Größe – 請求書 👨‍👩‍👧 <&>\u2028"
	var wg sync.WaitGroup
	for caller := range 40 {
		wg.Go(func() {
			for n := range pushes / 40 {
				m := message()
				m.ID = fmt.Sprintf("3-0123456789abcdefghij-%d", caller*10+n)
				m.Content.Push.Body = body
				if r := a.Send(context.Background(), m); r.Verdict != channels.Sent {
					t.Errorf("%s: %v %q %v", m.ID, r.Verdict, r.Code, r.Err)
				}
			}
		})
	}
	wg.Wait()
	seen, sessions := map[string]int{}, map[int]bool{}
	for _, one := range stop() {
		seen[one.ID]++
		sessions[one.Session] = true
		if !one.Token || one.Body != body || one.Topic != "com.acme.app" || one.Type != "alert" || one.Path != "/3/device/"+deviceToken || one.Open > streams {
			t.Fatalf("it took %+v", one)
		}
	}
	for id, n := range seen {
		if n != 1 {
			t.Errorf("%s came %d times", id, n)
		}
	}
	if len(seen) != pushes || len(sessions) < pushes/50 {
		t.Errorf("%d pushes over %d connections", len(seen), len(sessions))
	}
}
