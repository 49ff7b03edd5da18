package fcm

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/carillonhq/carillon/channels"
	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/notice"
)

// sent is the message of the last request.
func sent(t *testing.T, srv *google) string {
	t.Helper()
	all := srv.all()
	var req struct {
		Message json.RawMessage `json:"message"`
	}
	if err := json.Unmarshal(all[len(all)-1].body, &req); err != nil {
		t.Fatal(err)
	}
	return canonical(t, req.Message)
}

func TestOptionsBecomeTheBlocksThatGoogleDocuments(t *testing.T) {
	srv := newGoogle(t, nil)
	a := adapterFor(t, srv.URL)
	three := 3
	m := message()
	m.CollapseKey = "k"
	m.Content.Push.Options = &notice.PushOptions{FCM: &notice.FCMOptions{
		AnalyticsLabel: "spring", Image: "https://i.example/a.png",
		Android: &notice.AndroidOptions{Priority: "normal", RestrictedPackageName: "com.acme", DirectBootOK: true,
			Notification: &notice.AndroidNotification{ChannelID: "orders", Icon: "box", Color: "#a1b2c3", Sound: "bell", ClickAction: "OPEN",
				Image: "https://i.example/b.png", Ticker: "t", Sticky: true, LocalOnly: true, Count: &three}},
		APNs:    &notice.FCMAPNs{Headers: map[string]string{"apns-priority": "5"}, Payload: []byte(`{"aps":{"badge":3},"own":1}`)},
		WebPush: &notice.FCMWebPush{Headers: map[string]string{"Urgency": "low"}, Notification: []byte(`{"icon":"i","tag":"t"}`), Link: "https://x.example/o"},
	}}
	wants(t, send(t, a, m), channels.Sent, "")
	want := `{"token":"` + deviceToken + `","notification":{"title":"Shipped","body":"Order A-1","image":"https://i.example/a.png"},
		"fcm_options":{"analytics_label":"spring"},
		"android":{"collapse_key":"k","priority":"normal","restricted_package_name":"com.acme","direct_boot_ok":true,
			"notification":{"tag":"k","channel_id":"orders","icon":"box","color":"#a1b2c3","sound":"bell","click_action":"OPEN",
				"image":"https://i.example/b.png","ticker":"t","sticky":true,"local_only":true,"notification_count":3}},
		"apns":{"headers":{"apns-priority":"5"},"payload":{"aps":{"badge":3},"own":1}},
		"webpush":{"headers":{"Urgency":"low"},"notification":{"icon":"i","tag":"t"},"fcm_options":{"link":"https://x.example/o"}}}`
	if got := sent(t, srv); got != canonical(t, []byte(want)) {
		t.Errorf("got\n%s, want\n%s", got, canonical(t, []byte(want)))
	}
}

func TestABlockThatFCMDoesNotKnowIsRefusedWithoutBeingRepeated(t *testing.T) {
	srv := newGoogle(t, nil)
	m := message()
	m.Content.Push.Options = &notice.PushOptions{FCM: &notice.FCMOptions{APNs: &notice.FCMAPNs{Payload: []byte(`{"aps":{"badge":"secret"}}`)}}}
	wants(t, send(t, adapterFor(t, srv.URL), m), channels.Rejected, "INVALID_ARGUMENT")
	if n := len(srv.all()); n != 0 {
		t.Errorf("%d requests were made", n)
	}
}

func TestTopicsAndConditionsStandInTheTokensPlace(t *testing.T) {
	srv := newGoogle(t, nil)
	a := adapterFor(t, srv.URL)
	for to, want := range map[string]string{
		"topic:news-de": `"topic":"news-de"`,
		"condition:'news' in topics && 'de' in topics": `"condition":"'news' in topics && 'de' in topics"`,
	} {
		m := message()
		m.Address.To = to
		wants(t, send(t, a, m), channels.Sent, "")
		if got := sent(t, srv); !strings.Contains(got, want) || strings.Contains(got, `"token"`) {
			t.Errorf("%s: got %s", to, got)
		}
	}
	gone := newGoogle(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNotFound)
		io.WriteString(w, fcmError(404, "NOT_FOUND", "UNREGISTERED", ""))
	})
	m := message()
	m.Address.To = "topic:news"
	wants(t, send(t, adapterFor(t, gone.URL), m), channels.Rejected, "UNREGISTERED")
}

func TestADryRunAsksForACheckAlone(t *testing.T) {
	srv := newGoogle(t, nil)
	a, err := New(config.FCM{Project: "acme", Endpoint: srv.URL, DryRun: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	wants(t, send(t, a, message()), channels.Sent, "")
	if body := string(srv.all()[0].body); !strings.Contains(body, `"validate_only":true`) {
		t.Errorf("body %s", body)
	}
}

// TestOneForeignDeviceDoesNotStopTheOthers: the same answer means our set-up
// until something was taken, and the one device afterwards.
func TestOneForeignDeviceDoesNotStopTheOthers(t *testing.T) {
	for code, status := range map[string]int{"SENDER_ID_MISMATCH": 403, "THIRD_PARTY_AUTH_ERROR": 401} {
		t.Run(code, func(t *testing.T) {
			now := time.Unix(1_800_000_000, 0)
			refuses := true
			stand := newGoogle(t, func(w http.ResponseWriter, _ *http.Request) {
				if refuses {
					w.WriteHeader(status)
					io.WriteString(w, fcmError(status, "", code, ""))
					return
				}
				io.WriteString(w, `{"name":"projects/acme/messages/0:1"}`)
			})
			a := adapterFor(t, stand.URL, WithClock(func() time.Time { return now }))
			wants(t, send(t, a, message()), channels.Broken, code)
			refuses = false
			wants(t, send(t, a, message()), channels.Sent, "")
			refuses = true
			wants(t, send(t, a, message()), channels.Rejected, code)
			now = now.Add(provenFor)
			wants(t, send(t, a, message()), channels.Broken, code)
		})
	}
}

func TestABodyOfWhichNothingIsLeftIsRefused(t *testing.T) {
	srv := newGoogle(t, nil)
	a := adapterFor(t, srv.URL)
	m := message()
	m.Content.Push = &notice.PushContent{Title: strings.Repeat("t", maxPayload-2), Body: "body"}
	wants(t, send(t, a, m), channels.Rejected, "payload")
	m.Content.Push = &notice.PushContent{Body: "e" + strings.Repeat("\u0301", 4000)}
	wants(t, send(t, a, m), channels.Rejected, "payload")
}

func TestHostileTextsArriveAsTextOrAreRefused(t *testing.T) {
	srv := newGoogle(t, nil)
	a := adapterFor(t, srv.URL)
	for name, text := range map[string]string{
		"a NUL": "a\x00b", "an override": "a\u202eb", "invisible": "\u200b\u2060\ufeff", "no UTF-8": "\xff\xfe", "half a pair": "\xed\xa0\x80",
	} {
		t.Run(name, func(t *testing.T) {
			m := message()
			m.Content.Push = &notice.PushContent{Title: text, Body: text, Data: []byte(`{"half":"\ud800","nul":"\u0000"}`)}
			if r := send(t, a, m); r.Verdict != channels.Sent && r.Verdict != channels.Rejected {
				t.Fatalf("%v %v", r.Verdict, r.Err)
			}
			for _, req := range srv.all() {
				if !utf8.Valid(req.body) || !json.Valid(req.body) {
					t.Errorf("body %q", req.body)
				}
			}
		})
	}
}

// TestWorkloadIdentityIsExchanged reads an external_account file that the
// environment names: a token of somebody else's is exchanged for Google's.
func TestWorkloadIdentityIsExchanged(t *testing.T) {
	dir := t.TempDir()
	subject := filepath.Join(dir, "token")
	if err := os.WriteFile(subject, []byte("outside"), 0o600); err != nil {
		t.Fatal(err)
	}
	exchanged := 0
	sts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("subject_token") == "outside" {
			exchanged++
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"access_token":"inside","issued_token_type":"urn:ietf:params:oauth:token-type:access_token","token_type":"Bearer","expires_in":3600}`)
	}))
	t.Cleanup(sts.Close)
	file := filepath.Join(dir, "adc.json")
	text := fmt.Sprintf(`{"type":"external_account","audience":"//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/q",
		"subject_token_type":"urn:ietf:params:oauth:token-type:jwt","token_url":%q,"credential_source":{"file":%q}}`, sts.URL, subject)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	env := func(name string) string {
		if name == adcVariable {
			return file
		}
		return ""
	}
	cfg := config.FCM{Project: "acme"}
	secret, err := credentials(cfg, env)
	if err != nil {
		t.Fatal(err)
	}
	a, err := New(cfg, WithEnvironment(env))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	srv := newGoogle(t, nil)
	cfg.Credentials = secret
	point(t, a, cfg, srv.URL)
	wants(t, send(t, a, message()), channels.Sent, "")
	if got := srv.all()[0].header.Get("Authorization"); got != "Bearer inside" || exchanged != 1 {
		t.Errorf("authorization %q after %d exchanges", got, exchanged)
	}
}

func TestCredentialsThatTheEnvironmentNamesAndAreNotThere(t *testing.T) {
	_, err := New(config.FCM{Project: "acme"}, WithEnvironment(func(string) string { return "/nowhere/adc.json" }))
	if err == nil || !strings.Contains(err.Error(), "fcm.credentials") || !strings.Contains(err.Error(), adcVariable) {
		t.Errorf("error %v", err)
	}
}
