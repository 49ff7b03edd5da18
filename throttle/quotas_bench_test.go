package throttle_test

import (
	"testing"

	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/throttle"
)

// BenchmarkQuotas is what rates by name cost the decision about one delivery,
// without Redis: none, and three that have no permit.
func BenchmarkQuotas(b *testing.B) {
	for name, rates := range map[string]config.KeyedRates{
		"none":  {},
		"three": {Hosts: table("*.example", "1/s"), Tenants: table("acme", "1/s"), Apps: table("app", "1/s")},
	} {
		b.Run(name, func(b *testing.B) {
			q := throttle.NewQuotas(throttle.NewRates(nil, "t", "c"), notice.ChannelWebhook, rates)
			names := throttle.Names{"hooks.example", "acme", "app"}
			b.ReportAllocs()
			for b.Loop() {
				needs := q.Pin(names)
				needs.Take()
				q.Unpin(needs)
			}
		})
	}
}
