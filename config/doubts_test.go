package config_test

import (
	"testing"

	"github.com/carillonhq/carillon/config"
)

func TestWhatIsAllowedAndDoesNothingIsDoubted(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"a cap of a channel that is off", "throttle: {per_user: [{limit: 3/24h}, {channel: email, limit: 3/24h}]}",
			`throttle.per_user[1].channel: "email" is off here, so the rule counts nothing: add the channel's section under channels, or delete the rule`},
		{"a cap of push without a push channel", "throttle: {per_user: [{channel: push, limit: 3/24h}]}\nchannels: {webhook: {}}",
			`throttle.per_user[0].channel: "push" is off here, so the rule counts nothing: add the channel's section under channels, or delete the rule`},
		{"a cap of a channel that is on", "throttle: {per_user: [{channel: webhook, limit: 3/24h}]}\nchannels: {webhook: {}}", ""},
		{"bounds of a digest that there is not", "throttle: {per_user: [{limit: 3/24h, over: drop, digest_max: {items: 9}}, {name: d, limit: 3/24h, over: digest, digest_max: {items: 9}}]}",
			"throttle.per_user[0].digest_max: bounds nothing, since over is drop: set over to digest, or delete digest_max"},
		{"a weight of a tenant that is nearly one with a key", "auth: {keys: [{tenant: acme, key: 0123456789abcdef}]}\ntenants: [{tenant: acme, weight: 2}, {tenant: acem, weight: 3}, {tenant: inbox-only, weight: 3}]",
			`tenants[1].tenant: "acem" has no key in auth.keys: did you mean acme?`},
		{"a rate of a tenant that is nearly one with a key", "auth: {keys: [{tenant: acme, key: 0123456789abcdef}]}\nchannels: {webhook: {rates: {tenants: {acme: 1/s, acem: 2/s, \"*\": 3/s}}}}",
			`channels.webhook.rates.tenants.acem: "acem" has no key in auth.keys: did you mean acme?`},
		{"tenants where nobody has a key, as in a consumer's own file", "tenants: [{tenant: acem, weight: 3}]", ""},
		{"a lane that is misspelt", `throttle: {quiet_hours: {from: "22:00", to: "08:00", except: [critical, critcal, security, social]}}`,
			`throttle.quiet_hours.except[1]: "critcal" is taken for a category: did you mean the lane critical?`},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg, err := config.Parse("carillon.yaml", []byte(c.text), nil)
			if err != nil {
				t.Fatalf("it is refused: %v", err)
			}
			if got := cfg.Doubts().Error(); got != c.want {
				t.Errorf("doubted is %q, want %q", got, c.want)
			}
		})
	}
}
