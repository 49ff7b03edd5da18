package sandbox_test

import (
	"testing"

	"github.com/carillonhq/carillon/channels"
	"github.com/carillonhq/carillon/channels/sandbox"
	"github.com/carillonhq/carillon/notice"
)

// BenchmarkAdapters is how fast the stand-ins take what the real adapters
// send: both ends are in this process.
func BenchmarkAdapters(b *testing.B) {
	for _, c := range notice.Channels() {
		b.Run(string(c), func(b *testing.B) {
			box := start(b, sandbox.Options{})
			adapter, m := adapters(b, box)[c], finished(b, box, c)
			b.SetParallelism(16)
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					if got := adapter.Send(b.Context(), m); got.Verdict != channels.Sent {
						b.Errorf("%s: %v", got.Verdict, got.Err)
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
		})
	}
}
