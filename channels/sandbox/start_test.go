package sandbox_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"net/http"
	"net/smtp"
	"strings"
	"testing"
	"time"

	"github.com/carillonhq/carillon/channels/sandbox"
	"github.com/carillonhq/carillon/notice"
	"github.com/golang-jwt/jwt/v5"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start runs a sandbox for the length of a test.
func start(t testing.TB, o sandbox.Options) *sandbox.Sandbox {
	t.Helper()
	box, err := sandbox.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := box.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return box
}

// wait is the n newest messages that match f, or the test's end.
func wait(t *testing.T, box *sandbox.Sandbox, n int, f sandbox.Filter) []sandbox.Message {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	got, err := box.Wait(ctx, n, f)
	if err != nil {
		t.Fatalf("%v; refused: %+v", err, box.Refusals())
	}
	return got
}

// client trusts the sandbox's authority, and speaks HTTP/2 alone over TLS
// when h2 is set.
func client(t *testing.T, box *sandbox.Sandbox, h2 bool) *http.Client {
	t.Helper()
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(box.CAPEM) {
		t.Fatal("CAPEM holds no certificate")
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}
	if h2 {
		transport.Protocols = new(http.Protocols)
		transport.Protocols.SetHTTP2(true)
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: time.Minute}
}

// reply is an HTTP answer that was read to its end.
type reply struct {
	status int
	header http.Header
	body   string
}

// do sends a request and reads the whole answer.
func do(c *http.Client, method, url, body string, header map[string]string) (reply, error) {
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		return reply{}, err
	}
	for name, value := range header {
		req.Header.Set(name, value)
	}
	resp, err := c.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	read, err := io.ReadAll(resp.Body)
	return reply{resp.StatusCode, resp.Header, string(read)}, err
}

// must is do for requests that are to be answered.
func must(t *testing.T, c *http.Client, method, url, body string, header map[string]string) reply {
	t.Helper()
	got, err := do(c, method, url, body, header)
	if err != nil {
		t.Fatalf("%s %s: %v", method, url, err)
	}
	return got
}

// ecKey reads a private key as APNsKey and VAPIDKey are written.
func ecKey(t *testing.T, text string) *ecdsa.PrivateKey {
	t.Helper()
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		t.Fatal("the key is no PEM")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return key.(*ecdsa.PrivateKey)
}

// providerToken is an APNs token of the sandbox's own key, issued at the given
// time.
func providerToken(t *testing.T, box *sandbox.Sandbox, issued time.Time) string {
	t.Helper()
	section := box.Section().APNs
	token := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims{"iss": section.TeamID, "iat": issued.Unix()})
	token.Header["kid"] = section.KeyID
	signed, err := token.SignedString(ecKey(t, box.APNsKey))
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// apnsHeader is what every alert carries.
func apnsHeader(t *testing.T, box *sandbox.Sandbox) map[string]string {
	return map[string]string{
		"Authorization":  "bearer " + providerToken(t, box, time.Now()),
		"Apns-Topic":     "com.example.app",
		"Apns-Push-Type": "alert",
		"Apns-Id":        "7c7f6fc4-5b1b-4fd6-a0b8-2f1c7f4b9c11",
	}
}

const alert = `{"aps":{"alert":{"title":"Order A-1","subtitle":"Your order","body":"is on its way"},"badge":1}}`

// mail sends raw with net/smtp's plain client.
func mail(box *sandbox.Sandbox, to, raw string) error {
	return smtp.SendMail(box.SMTPAddr, nil, "bounce@acme.example", []string{to}, []byte(strings.ReplaceAll(raw, "\n", "\r\n")))
}

const shortMail = "From: Acme <a@acme.example>\nTo: ada@example.com\nMessage-ID: <1@acme.example>\nSubject: Hello\n\nGood morning\n"

// send delivers one valid message of a channel by a plain client; APNs and Web
// Push have tests of their own.
func send(t *testing.T, box *sandbox.Sandbox, c notice.Channel) (reply, error) {
	t.Helper()
	switch c {
	case notice.ChannelEmail:
		return reply{}, mail(box, "ada@example.com", shortMail)
	case notice.ChannelAPNs:
		return do(client(t, box, true), "POST", box.APNsURL+"/3/device/abcd", alert, apnsHeader(t, box))
	case notice.ChannelFCM:
		return do(client(t, box, false), "POST", box.FCMURL+"/v1/projects/acme/messages:send", `{"message":{"token":"t","notification":{"title":"Hi"}}}`, nil)
	case notice.ChannelWebPush:
		return sendWebPush(t, box, `{"title":"Hi"}`)
	}
	return do(client(t, box, false), "POST", box.WebhookURL+"/hook", `{"type":"x"}`, nil)
}
