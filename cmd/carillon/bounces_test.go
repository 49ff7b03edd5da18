package main

import (
	"strings"
	"testing"

	"github.com/carillonhq/carillon/config"
)

func TestBouncesSaysWhatIsMissing(t *testing.T) {
	const email = "channels: {email: {smtp: {host: 127.0.0.1, tls: none}, from: \"no-reply@acme.example\", return_path_key: \"0123456789abcdef\", return_path: \"%\"}}\n"
	for name, test := range map[string]struct{ config, flags, says string }{
		"no channel":         {"{}", "", "carillon: channels.email: is missing, so no mail could come back: configure the channel\n"},
		"no token":           {strings.Replace(email, "%", "bounce+{id}@acme.example", 1), "", "has no {verp}"},
		"a wrong address":    {strings.Replace(email, "%", "bounce+{verp}@acme.example", 1), " --listen here", `feedback.bounces.listen: "here" is not host:port`},
		"an address in use":  {strings.Replace(email, "%", "bounce+{verp}@acme.example", 1) + "redis: {url: \"redis://127.0.0.1:1/0\"}\n", " --listen 192.0.2.1:2525", "feedback.bounces.listen: cannot listen on \"192.0.2.1:2525\" for mail"},
		"a missing key file": {strings.Replace(email, "%", "bounce+{verp}@acme.example", 1) + "feedback: {bounces: {certificate: /nowhere/cert.pem, key: /nowhere/key.pem}}\n", "", "feedback.bounces.certificate"},
	} {
		got := carillon(t, nil, strings.Fields("bounces --config "+writeConfig(t, test.config)+test.flags)...)
		if got.code != 2 || !strings.Contains(got.stderr, test.says) {
			t.Errorf("%s: code %d, %q; want 2 and %q", name, got.code, got.stderr, test.says)
		}
	}
}

func TestWhoseAReportIsThatNamesNobody(t *testing.T) {
	key := func(tenant string) config.Key { return config.Key{Tenant: tenant} }
	for name, test := range map[string]struct {
		keys []config.Key
		want string
	}{
		"without keys the default tenant's":        {nil, defaultTenant},
		"the only tenant's, however many its keys": {[]config.Key{key("acme"), key("acme")}, "acme"},
		"nobody's where there are several":         {[]config.Key{key("acme"), key("globex")}, ""},
	} {
		if got := onlyTenant(config.Auth{Keys: test.keys}); got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}
