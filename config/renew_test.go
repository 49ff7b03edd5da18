package config

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
)

const renewBefore = `
auth: {keys: [{tenant: acme, key: "0123456789abcdef", rate: 10/s}]}
queue: {visibility: 60s, max_backlog: 1000}
throttle:
  per_user: [{name: a, category: x, limit: 3/1h}]
  quiet_hours: {from: "22:00", to: "08:00"}
channels:
  webhook: {rate: 5/s, timeout: 15s}
  email:
    from: a@acme.example
    relays: [{host: a.example, weight: 3, rate: 14/s}, {host: b.example, rate: 40/s}]
`

// TestARunningConfigurationTakesWhatMayChange changes one thing at a time.
func TestARunningConfigurationTakesWhatMayChange(t *testing.T) {
	for _, c := range []struct {
		name, old, new   string
		changed, waiting []string
		shows            string // what the configuration that goes on holds
	}{
		{"nothing", "", "", nil, nil, "limit: 3/h"},
		{"a cap's limit", "limit: 3/1h", "limit: 4/1h", []string{"throttle.per_user"}, nil, "limit: 4/h"},
		{"quiet hours' end", `to: "08:00"`, `to: "09:00"`, []string{"throttle.quiet_hours.to"}, nil, `to: "09:00"`},
		{"no quiet hours any more", `  quiet_hours: {from: "22:00", to: "08:00"}`, "", []string{"throttle.quiet_hours"}, nil, "limit: 3/h"},
		{"a channel's rate", "rate: 5/s", "rate: 6/s", []string{"channels.webhook.rate"}, nil, "rate: 6/s"},
		{"how many are in flight", "rate: 5/s", "rate: 5/s, concurrency: 7, critical_slots: 3", []string{"channels.webhook.concurrency", "channels.webhook.critical_slots"}, nil, "concurrency: 7"},
		{"a key's rate", "rate: 10/s", "rate: 20/s", []string{"auth.keys"}, nil, "rate: 20/s"},
		{"a bound", "max_backlog: 1000", "max_backlog: 2000", []string{"queue.max_backlog"}, nil, "max_backlog: 2000"},
		{"a tenant", "queue:", "tenants: [{tenant: acme, weight: 3}]\nqueue:", []string{"tenants"}, nil, "weight: 3"},
		{"a timeout takes a restart", "timeout: 15s", "timeout: 16s", nil, []string{"channels.webhook.timeout"}, "timeout: 15s"},
		{"a new channel takes a restart", "  webhook:", "  fcm: {project: p, endpoint: \"https://127.0.0.1\"}\n  webhook:", nil, []string{"channels.fcm"}, "webhook:"},
		{"a relay's rate", "rate: 14/s", "rate: 28/s", []string{"channels.email.relays"}, nil, "rate: 28/s"},
		{"a relay's rate beside another's weight", "rate: 14/s}, {host: b.example", "rate: 28/s}, {host: b.example, weight: 2", nil, []string{"channels.email.relays"}, "rate: 14/s"},
		{"one relay in another's place", "a.example, weight: 3, rate: 14/s}, {host: b.example, rate: 40/s", "b.example, rate: 40/s}, {host: a.example, weight: 3, rate: 14/s", nil, []string{"channels.email.relays"}, "rate: 14/s"},
		{"a relay less takes a restart", ", {host: b.example, rate: 40/s}", "", nil, []string{"channels.email.relays"}, "b.example"},
		{"a rate beside a timeout", "rate: 5/s, timeout: 15s", "rate: 6/s, timeout: 16s",
			[]string{"channels.webhook.rate"}, []string{"channels.webhook.timeout"}, "timeout: 15s"},
	} {
		t.Run(c.name, func(t *testing.T) {
			before, read := mustParse(t, renewBefore), mustParse(t, strings.Replace(renewBefore, c.old, c.new, 1))
			own := printed(t, before)
			got, err := before.Renew(read)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got.Changed, c.changed) || !slices.Equal(got.Waiting, c.waiting) {
				t.Errorf("changed %v and waiting %v, want %v and %v", got.Changed, got.Waiting, c.changed, c.waiting)
			}
			if text := printed(t, got.Config); !strings.Contains(text, c.shows) {
				t.Errorf("it goes on with\n%s\nwithout %q", text, c.shows)
			}
			if printed(t, before) != own {
				t.Error("the configuration that was in force was changed in place")
			}
		})
	}
}

// TestWhatIsGoodOnlyWithARestartIsRefused takes a key away that a cap in force
// is about only after a restart: both files are good, what is between is not.
func TestWhatIsGoodOnlyWithARestartIsRefused(t *testing.T) {
	before := mustParse(t, `auth: {disabled: true}`)
	read := mustParse(t, `auth: {keys: [{tenant: acme, key: "0123456789abcdef"}]}`)
	_, err := before.Renew(read)
	var faults Faults
	if !errors.As(err, &faults) || faults[0].Key != "auth.disabled" {
		t.Errorf("keys beside auth.disabled, which takes a restart: %v, want a fault of auth.disabled", err)
	}
}

func mustParse(t *testing.T, text string) *Config {
	t.Helper()
	cfg, err := Parse("carillon.yaml", []byte(text), nil)
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return cfg
}

func printed(t *testing.T, c *Config) string {
	t.Helper()
	var b bytes.Buffer
	if err := Print(&b, c); err != nil {
		t.Fatal(err)
	}
	return b.String()
}
