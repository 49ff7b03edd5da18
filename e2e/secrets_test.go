package e2e_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"github.com/carillonhq/carillon/channels/sandbox"
)

// secrets are what must never be printed, by what they are.
type secrets map[string]string

// newSecrets makes one of each kind. The person's data is no secret, but has no
// place in a log either.
func newSecrets(t *testing.T) secrets {
	t.Helper()
	s := secrets{
		"the Redis password": rand.Text(), "the relay's password": rand.Text(), "a webhook's token": rand.Text(),
		"an API key": rand.Text(), "a key that is none": rand.Text(),
		"the VAPID key":      base64.RawURLEncoding.EncodeToString([]byte(rand.Text() + "123456")),
		"a webhook's secret": base64.StdEncoding.EncodeToString([]byte(rand.Text() + rand.Text())),
		"an address":         "ada." + rand.Text() + "@example.com", "a name": "Ada " + rand.Text(), "a datum": "order " + rand.Text(),
	}
	s["the relay's password, as AUTH PLAIN sends it"] = base64.StdEncoding.EncodeToString([]byte("\x00mailer\x00" + s["the relay's password"]))
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	s["the APNs key"] = base64.StdEncoding.EncodeToString(der)[:60] // PEM's first line is 64 long
	s["PEM"] = string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	return s
}

// check fails when text holds any of the secrets.
func (s secrets) check(t *testing.T, where, text string) {
	t.Helper()
	for what, value := range s {
		for line := range strings.Lines(text) {
			if strings.Contains(line, value) {
				t.Errorf("%s is in %s: %s", what, where, line)
			}
		}
	}
	if text == "" {
		t.Errorf("%s is empty: nothing was looked at", where)
	}
}

// TestNoSecretIsPrinted drives processes full of secrets into every failure
// that is at hand, and reads what they wrote.
func TestNoSecretIsPrinted(t *testing.T) {
	t.Parallel()
	s := newSecrets(t)
	g := newGateway(t, nil)
	box, err := sandbox.Start(t.Context(), sandbox.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = box.Close() })
	g.hide(s, box, refusingRelay(t))
	g.receiver.answer(status(http.StatusInternalServerError))

	// A stop tries for as long as the grace to settle what was sent.
	ingest, consumer := g.ingest(), g.consume("a", "--grace", "1s")
	api := newClient(t, ingest.api)
	auth := []string{"Authorization", "Bearer " + s["an API key"]}
	api.call("POST", "/v1/notifications", g.ping(1), "Authorization", "Bearer "+s["a key that is none"])
	for _, n := range g.failing(s, box) {
		if a := api.call("POST", "/v1/notifications", n, auth...); a.status != http.StatusAccepted {
			t.Fatalf("answered %d %s", a.status, a.body)
		}
	}
	eventually(t, patience, "the webhook is given up", func() bool { return len(deadList(t, g.config(nil))) > 0 }, consumer.state)
	for _, channel := range []string{"email", "apns"} {
		says := fmt.Sprintf("channel=%s", channel)
		eventually(t, patience, channel+" is refused", func() bool { return strings.Contains(consumer.log.String(), says) }, consumer.state)
	}
	s.check(t, "a consumer's /readyz", string(newClient(t, consumer.admin).call("GET", "/readyz", nil).body))
	g.redis.Kill()
	checkUnavailable(t, api.call("POST", "/v1/notifications", g.ping(2), auth...))
	eventually(t, patience, "the consumer notices", func() bool { return strings.Contains(consumer.log.String(), "cannot be read") }, consumer.state)
	g.redis.Restart()
	g.changePassword()
	checkUnavailable(t, api.call("POST", "/v1/notifications", g.ping(3), auth...))
	for what, p := range map[string]*process{"ingest": ingest, "consume": consumer} {
		if code := p.stop(); code != 0 {
			t.Errorf("%s ended with %d", what, code)
		}
		s.check(t, "the log of "+what, p.log.String())
	}
}

// hide puts the secrets into the gateway's Redis and configuration: as
// themselves, and as files.
func (g *gateway) hide(s secrets, box *sandbox.Sandbox, relay string) {
	g.t.Helper()
	if err := g.rdb.ConfigSet(g.t.Context(), "requirepass", s["the Redis password"]).Err(); err != nil {
		g.t.Fatalf("setting Redis' password: %v", err)
	}
	g.write("relay-password", s["the relay's password"]+"\n")
	g.write("key.p8", s["PEM"])
	host, port, _ := net.SplitHostPort(relay) // a listener's address
	g.base["redis"] = fmt.Sprintf(`{url: "redis://:%s@%s/0"}`, s["the Redis password"], g.redis.Addr)
	g.base["auth"] = fmt.Sprintf("{keys: [{tenant: acme, key: %q}]}", s["an API key"])
	g.base["retry"] = "{schedule: [50ms]}"
	g.base["channels"] = fmt.Sprintf(`{
  webhook: {allow_networks: ["127.0.0.0/8"]},
  email: {smtp: {host: %s, port: %s, tls: none, username: mailer, password: "file:relay-password"}, from: no-reply@acme.example},
  apns: {host: %q, key: "file:key.p8", key_id: ABC123DEFG, team_id: DEF123GHIJ, topic: com.acme.app, ca_file: %q},
  webpush: {subject: "mailto:ops@acme.example", private_key: %q, allow_networks: ["127.0.0.0/8"], ca_file: %q},
  }`, host, port, box.APNsURL, box.CAFile, s["the VAPID key"], box.CAFile)
}

// changePassword makes Redis refuse the gateway's.
func (g *gateway) changePassword() {
	g.t.Helper()
	if err := g.rdb.ConfigSet(g.t.Context(), "requirepass", rand.Text()).Err(); err != nil {
		g.t.Fatalf("changing Redis' password: %v", err)
	}
	if err := g.rdb.ClientKillByFilter(g.t.Context(), "TYPE", "normal", "SKIPME", "yes").Err(); err != nil {
		g.t.Fatalf("cutting Redis' clients off: %v", err)
	}
}

// failing are notifications that each fail at another provider.
func (g *gateway) failing(s secrets, box *sandbox.Sandbox) []object {
	g.t.Helper()
	subscription, err := box.NewSubscription()
	if err != nil {
		g.t.Fatal(err)
	}
	hook := object{"url": g.receiver.URL + "/hook?token=" + s["a webhook's token"], "secret": "whsec_" + s["a webhook's secret"]}
	content := object{
		"email":   object{"subject": s["a datum"], "text": s["a datum"]},
		"push":    object{"title": s["a datum"]},
		"webhook": object{"order": s["a datum"]},
	}
	var out []object
	for _, to := range []object{
		{"webhooks": []object{hook}},
		{"email": s["an address"]},
		{"devices": []object{{"platform": "ios", "token": strings.Repeat("ab", 32)}}},
		{"devices": []object{{"platform": "web", "token": subscription}}},
	} {
		to["user"], to["name"] = "u1", s["a name"]
		out = append(out, object{"content": content, "to": to})
	}
	return out
}

// TestNoSecretIsPrintedByCommands reads what commands say of a configuration
// full of secrets, good and bad, and of a dead letter that has one.
func TestNoSecretIsPrintedByCommands(t *testing.T) {
	t.Parallel()
	s := newSecrets(t)
	g := newGateway(t, nil)
	box, err := sandbox.Start(t.Context(), sandbox.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = box.Close() })
	g.hide(s, box, "127.0.0.1:1")
	g.addDeadLetter(s, box)
	good := g.config(nil)
	rows := deadList(t, good)
	if len(rows) != 1 {
		t.Fatalf("dead letters: %+v, want one", rows)
	}
	for _, command := range []string{"config check", "config print", "dead list", "dead list --format json", "dead show " + rows[0].ID, "dead show --format json " + rows[0].ID} {
		got := run(t, append(strings.Fields(command), "--config", good)...)
		if got.code != 0 {
			t.Errorf("%s ended with %d: %s", command, got.code, got.stderr)
		}
		shown := s
		if strings.HasPrefix(command, "dead show") { // shows the notification, as it must; its secret it need not
			shown = secrets{"a webhook's secret": s["a webhook's secret"], "the Redis password": s["the Redis password"]}
		}
		shown.check(t, command, got.stdout+got.stderr)
	}
	for name, bad := range map[string]sections{
		"an API key that is too short":      {"auth": `{keys: [{tenant: acme, key: "` + s["an API key"][:12] + `"}]}`},
		"two tenants with one API key":      {"auth": fmt.Sprintf("{keys: [{tenant: acme, key: %[1]q}, {tenant: other, key: %[1]q}]}", s["an API key"])},
		"a Redis URL that cannot be read":   {"redis": `{url: "redis://:` + s["the Redis password"] + `@127.0.0.1:port/0"}`},
		"a Redis URL of another scheme":     {"redis": `{url: "http://:` + s["the Redis password"] + `@127.0.0.1/0"}`},
		"a wrong Redis password":            {"redis": `{url: "redis://:` + s["a key that is none"] + `@` + g.redis.Addr + `/0"}`},
		"a list in place of a secret":       {"auth": `{keys: [{tenant: acme, key: ["` + s["an API key"] + `"]}]}`},
		"a VAPID key that is none":          {"channels": `{webpush: {subject: "mailto:ops@acme.example", private_key: "` + s["the relay's password"] + `"}}`},
		"a service account that is no JSON": {"channels": `{fcm: {project: acme, credentials: "{private_key: ` + s["the relay's password"] + `"}}`},
		"an APNs key that is no PEM":        {"channels": `{apns: {key: "` + s["the APNs key"] + `", key_id: ABC123DEFG, team_id: DEF123GHIJ, topic: com.acme.app}}`},
		"a DKIM key that is none":           {"channels": `{email: {smtp: {host: localhost}, from: a@acme.example, dkim: {domain: acme.example, selector: s1, key: "` + s["the APNs key"] + `"}}}`},
	} {
		t.Run(name, func(t *testing.T) {
			got := run(t, "dead", "list", "--config", g.config(bad))
			if got.code == 0 {
				got = run(t, "consume", "--config", g.config(bad)) // what only an adapter can find
			}
			if got.code < 2 {
				t.Errorf("ended with %d, want 2 or 3: %s", got.code, got.stderr)
			}
			s.check(t, "what is said of it", got.stdout+got.stderr)
		})
	}
}

// addDeadLetter makes a webhook fail for good.
func (g *gateway) addDeadLetter(s secrets, box *sandbox.Sandbox) {
	g.t.Helper()
	g.receiver.answer(status(http.StatusInternalServerError))
	api := newClient(g.t, g.ingest().api)
	consumer := g.consume("a")
	api.call("POST", "/v1/notifications", g.failing(s, box)[0], "Authorization", "Bearer "+s["an API key"])
	eventually(g.t, patience, "the webhook is given up", func() bool { return len(deadList(g.t, g.config(nil))) > 0 }, consumer.state)
}

// refusingRelay is an SMTP server that takes nobody's password.
func refusingRelay(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return refusingSession{}, nil }))
	server.Domain, server.AllowInsecureAuth = "relay.example", true
	go func() { _ = server.Serve(l) }() // ends with Close
	t.Cleanup(func() { _ = server.Close() })
	return l.Addr().String()
}

type refusingSession struct{ smtp.Session }

func (refusingSession) AuthMechanisms() []string { return []string{sasl.Plain} }

func (refusingSession) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, _, _ string) error { return smtp.ErrAuthFailed }), nil
}

func (refusingSession) Reset()        {}
func (refusingSession) Logout() error { return nil }
