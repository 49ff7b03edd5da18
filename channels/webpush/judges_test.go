package webpush

import (
	"bytes"
	"encoding/base64"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/carillonhq/carillon/channels"
	"github.com/carillonhq/carillon/channels/channelstest"
	"github.com/carillonhq/carillon/notice"
	"github.com/go-json-experiment/json"
)

// judged is what the judges read.
type judged struct {
	Plain    string            `json:"plain"`
	Expected map[string]string `json:"expected"`
	Claims   struct {
		Aud, Sub string
		Exp      int64
	} `json:"claims"`
	Signed bool `json:"signed"`
}

// judge has the judges read one push, or returns what they complain of.
func judge(t *testing.T, dir string, got seen, endpoint, vapid string, b *browser) (judged, error) {
	t.Helper()
	headers := map[string]string{}
	for name, values := range got.header {
		headers[strings.ToLower(name)] = values[0]
	}
	input, err := json.Marshal(map[string]any{"headers": headers, "body": base64.StdEncoding.EncodeToString(got.body), "endpoint": endpoint, "vapid": vapid,
		"p256dh": b64(b.key.PublicKey().Bytes()), "auth": b64(b.auth), "private": b64(b.key.Bytes())})
	if err != nil {
		t.Fatal(err)
	}
	node := exec.CommandContext(t.Context(), "node", "read.js")
	node.Dir, node.Stdin = dir, bytes.NewReader(input)
	out, err := node.Output()
	if err != nil {
		return judged{}, err
	}
	var v judged
	if err := json.Unmarshal(out, &v, json.MatchCaseInsensitiveNames(true)); err != nil {
		t.Fatalf("%v in %q", err, out)
	}
	return v, nil
}

// TestOthersReadWhatIsSent has http_ece decrypt what arrives, and holds the
// header fields against those of web-push.
func TestOthersReadWhatIsSent(t *testing.T) {
	dir := channelstest.Judges(t, "read.js")
	srv, b := newService(t, nil), newBrowser(t)
	a := newAdapter(t, srv.section(t))
	endpoint := srv.URL + "/push/1"
	for name, change := range map[string]func(*channels.Message){
		"a short one":       func(*channels.Message) {},
		"one in any script": func(m *channels.Message) { m.Content.Push.Body = "Größe – 請求書 👨‍👩‍👧 \u202e<&>" },
		"one that is cut":   func(m *channels.Message) { m.Content.Push.Body = strings.Repeat("wörd ", 2000) },
		"urgent, with a topic": func(m *channels.Message) {
			m.Lane, m.CollapseKey, m.ExpiresAt = notice.LaneCritical, "order A-1 / ü", time.Now().Add(time.Hour)
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := message("3-x-0", b.subscription(endpoint))
			change(&m)
			if r := send(t, a, m); r.Verdict != channels.Sent {
				t.Fatalf("%+v", r)
			}
			got := srv.last()
			v, err := judge(t, dir, got, endpoint, a.PublicKey(), b)
			if err != nil {
				t.Fatal(err)
			}
			want, err := newPayload(m, maxPayload)
			if err != nil || v.Plain != string(want) {
				t.Errorf("http_ece reads %.200q (%v), want %.200q", v.Plain, err, want)
			}
			for field, value := range v.Expected {
				if have := got.header.Get(field); have != value && value != "undefined" {
					t.Errorf("%s is %q, and web-push writes %q", field, have, value)
				}
			}
			left := time.Until(time.Unix(v.Claims.Exp, 0))
			if !v.Signed || v.Claims.Aud != srv.URL || v.Claims.Sub != "mailto:ops@acme.example" || left <= 0 || left > 24*time.Hour {
				t.Errorf("VAPID: %+v", v)
			}
		})
	}
	m := message("3-x-0", b.subscription(endpoint))
	send(t, a, m)
	changed := srv.last()
	changed.body = bytes.Clone(changed.body)
	changed.body[len(changed.body)-1] ^= 1
	if v, err := judge(t, dir, changed, endpoint, a.PublicKey(), b); err == nil {
		t.Errorf("a body that was changed is read: %+v", v)
	}
}
