package config_test

import (
	"fmt"
	"testing"

	"github.com/carillonhq/carillon/config"
)

func TestRelaysRatesAreCountedByAccount(t *testing.T) {
	for name, tc := range map[string]struct {
		email string
		want  string // accounts and their rates
		free  bool   // one has no rate
	}{
		"the only relay":                         {`smtp: {host: SMTP.acme.example, rate: 14/s}`, "smtp.acme.example:587 14/s, ", false},
		"an address of IPv6":                     {`smtp: {host: "2001:db8::1", port: 25, rate: 1/s}`, "[2001:db8::1]:25 1/s, ", false},
		"no rate at all":                         {`smtp: {host: smtp.acme.example}`, "", true},
		"one of several":                         {`relays: [{host: a.example}, {host: b.example, rate: 9/s}]`, "b.example:587 9/s, ", true},
		"two of one account share it":            {`relays: [{host: a.example, account: ses, rate: 9/s}, {host: b.example, account: ses, rate: 9/s}]`, "ses 9/s, ", false},
		"two on one host are two, by their port": {`relays: [{host: a.example, rate: 1/s}, {host: a.example, port: 465, rate: 2/s}]`, "a.example:587 1/s, a.example:465 2/s, ", false},
	} {
		t.Run(name, func(t *testing.T) {
			cfg, err := config.Parse("carillon.yaml", []byte("channels: {email: {from: a@acme.example, "+tc.email+"}}"), nil)
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			for _, r := range cfg.Channels.RatesOf("email").Relays {
				got += fmt.Sprintf("%s %s, ", r.Name, r.Rate)
			}
			if got != tc.want || cfg.Channels.Email.FreeRelay() != tc.free {
				t.Errorf("the rates are %q, and one has none: %v; want %q, %v", got, cfg.Channels.Email.FreeRelay(), tc.want, tc.free)
			}
		})
	}
}
