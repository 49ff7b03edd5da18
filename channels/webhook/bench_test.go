package webhook

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/carillonhq/carillon/channels"
	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/notice"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

const benchSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// receiverVariable makes TestTheReceiver run, in a process of its own, so that
// its processor time is not the sender's.
const receiverVariable = "WEBHOOK_RECEIVER"

func TestTheReceiver(t *testing.T) {
	if os.Getenv(receiverVariable) == "" {
		t.Skip("runs only as a benchmark's receiver")
	}
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusNoContent)
	}))
	if srv.EnableHTTP2 = true; os.Getenv(receiverVariable) == "https" {
		srv.StartTLS()
	} else {
		srv.Start()
	}
	os.Stdout.WriteString(srv.URL + "\n")
	_, _ = io.Copy(io.Discard, os.Stdin) // until the benchmark ends
	srv.CloseClientConnections()
	srv.Close()
}

// startBenchReceiver starts a receiver of scheme in another process.
func startBenchReceiver(b *testing.B, scheme string) string {
	b.Helper()
	cmd := exec.CommandContext(b.Context(), os.Args[0], "-test.run=^TestTheReceiver$")
	cmd.Env = append(os.Environ(), receiverVariable+"="+scheme)
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		in.Close()
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	return strings.TrimSpace(line)
}

func benchMessage(url string) channels.Message {
	return channels.Message{
		ID:      "3-0123456789abcdefghij-0",
		Address: notice.Address{Channel: notice.ChannelWebhook, To: url, Secret: benchSecret},
		Content: notice.Content{Webhook: []byte(`{"id":"3-0123456789abcdefghij","data":"` + strings.Repeat("x", 600) + `"}`)},
	}
}

// processor is the processor time that this process has used.
func processor(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// inParallel runs send from 32 goroutines and reports the processor time of one.
func inParallel(b *testing.B, send func() error) {
	b.ReportAllocs()
	b.SetParallelism(16)
	b.ResetTimer()
	before := processor(b)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := send(); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(processor(b)-before)/float64(b.N), "cpu-ns/op")
}

// BenchmarkSend sets the adapter beside the plainest loop to the same
// receiver, in the same run. The loop signs nothing and checks no address.
// cpu-ns/op is the processor time of the sender alone, user and system.
func BenchmarkSend(b *testing.B) {
	m := benchMessage(startBenchReceiver(b, "http"))
	b.Run("plain net/http", func(b *testing.B) {
		benchPlain(b, m, &http.Transport{MaxIdleConnsPerHost: 64})
	})
	b.Run("adapter", func(b *testing.B) { benchAdapter(b, m, "") })
}

// BenchmarkSendOverTLS does the same over TLS, and sets HTTP/2 beside it.
func BenchmarkSendOverTLS(b *testing.B) {
	m := benchMessage(startBenchReceiver(b, "https"))
	here := httptest.NewTLSServer(nil) // every such server shows the same certificate
	certificate := here.Certificate()
	here.Close()
	ca := filepath.Join(b.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw}), 0o600); err != nil {
		b.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(certificate)
	for name, h2 := range map[string]bool{"plain net/http, HTTP/1.1": false, "plain net/http, HTTP/2": true} {
		b.Run(name, func(b *testing.B) {
			benchPlain(b, m, &http.Transport{MaxIdleConnsPerHost: 64, ForceAttemptHTTP2: h2, TLSClientConfig: &tls.Config{RootCAs: pool}})
		})
	}
	b.Run("adapter", func(b *testing.B) { benchAdapter(b, m, ca) })
}

func benchPlain(b *testing.B, m channels.Message, transport *http.Transport) {
	client := &http.Client{Transport: transport, Timeout: 15 * time.Second}
	defer client.CloseIdleConnections()
	inParallel(b, func() error {
		res, err := client.Post(m.Address.To, "application/json", bytes.NewReader(m.Content.Webhook))
		if err != nil {
			return err
		}
		_, _ = io.Copy(io.Discard, res.Body)
		return res.Body.Close()
	})
}

func benchAdapter(b *testing.B, m channels.Message, ca string) {
	a, err := New(config.Webhook{Timeout: config.Duration(15 * time.Second), MaxResponse: 64 << 10, AllowNetworks: []string{"127.0.0.1"}, CAFile: ca})
	if err != nil {
		b.Fatal(err)
	}
	defer a.Close()
	inParallel(b, func() error { return a.Send(b.Context(), m).Err })
}

// BenchmarkSign sets the signer beside the reference library's.
func BenchmarkSign(b *testing.B) {
	m := benchMessage("")
	b.Run("own", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := sign(benchSecret, m.ID, "1700000000", m.Content.Webhook); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("library", func(b *testing.B) {
		b.ReportAllocs()
		at := time.Unix(1700000000, 0)
		for b.Loop() {
			wh, err := standardwebhooks.NewWebhook(benchSecret)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := wh.Sign(m.ID, at, m.Content.Webhook); err != nil {
				b.Fatal(err)
			}
		}
	})
}
