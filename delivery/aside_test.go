package delivery_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/carillonhq/carillon/channels"
	"github.com/carillonhq/carillon/delivery"
	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/queue"
)

// hosts is an adapter whose addresses are at many hosts, each with two places.
type hosts struct{ *adapter }

// Destination and Places implement channels.Divided.
func (hosts) Destination(a notice.Address) string {
	name, _, _ := strings.Cut(strings.TrimPrefix(a.To, "https://"), "/")
	return name
}

func (hosts) Places(string) int { return 2 }

// startDivided runs a consumer whose webhooks go to many hosts.
func (w *world) startDivided(name string) *running {
	return w.start(name, func(o *delivery.Options) {
		for i := range o.Channels {
			if o.Channels[i].Adapter == channels.Adapter(w.webhook) {
				o.Channels[i].Adapter = hosts{w.webhook}
			}
		}
	})
}

func toHost(host string) func(channels.Message) bool {
	return func(m channels.Message) bool { return strings.HasPrefix(m.Address.To, "https://"+host+"/") }
}

// admitTo admits n notifications for each of some hosts, one host after the
// other.
func (w *world) admitTo(n int, hosts ...string) map[string][]string {
	w.t.Helper()
	var as []queue.Admission
	for i := range n {
		for _, host := range hosts {
			as = append(as, queue.Admission{Tenant: "acme", Notification: to(fmt.Sprintf("https://%s/%d", host, i))})
		}
	}
	ids := map[string][]string{}
	for i, got := range w.queue.AdmitAll(w.t.Context(), as) {
		if got.Err != nil {
			w.t.Fatal(got.Err)
		}
		ids[hosts[i%len(hosts)]] = append(ids[hosts[i%len(hosts)]], got.ID)
	}
	return ids
}

func TestAHostThatHangsHoldsUpNoOther(t *testing.T) {
	eitherWay(t, setup{slots: 8}, func(t *testing.T, s setup) {
		w := newWorld(t, s)
		g := newGate(toHost("hangs"))
		w.webhook.script(g.send)
		r := w.startDivided("c1")
		ids := w.admitTo(200, "hangs", "a", "b")
		w.sentAll("everything to the hosts that answer, none of the other's having ended", append(ids["a"], ids["b"]...))
		if n := g.holding(); n != 1 {
			t.Errorf("the host that hangs holds %d of 8 slots, want one, since it has never answered", n)
		}
		if r.metric("carillon_throttled_total", "scope", "host") == 0 {
			t.Error("nothing was put off of what waits for the host that hangs")
		}
		close(g.let)
		w.await("more of the host that answers again than had begun", func() bool {
			sent := 0
			for _, id := range ids["hangs"] {
				sent += len(w.webhook.sent(id))
			}
			return sent > 4
		})
	})
}

func TestWhatIsPutOffSaysWhyAndCostsNoAttempt(t *testing.T) {
	t.Parallel()
	for code, result := range map[string]channels.Result{
		"host_down": {Verdict: channels.Retry, Code: "connect", Err: errors.New("connection refused")},
		"host_busy": {},
	} {
		t.Run(code, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, setup{slots: 8})
			g := newGate(toHost("bad"))
			w.webhook.script(g.send)
			if code == "host_down" {
				w.webhook.results(result)
			}
			w.startDivided("c1")
			ids := w.admitTo(100, "bad")["bad"]
			var put queue.DeliveryRecord
			w.await("one that was put off", func() bool {
				for _, id := range ids {
					for _, d := range w.record(id).Deliveries {
						if last := d.Timeline[len(d.Timeline)-1]; last.Code == code {
							put = d
							return true
						}
					}
				}
				return false
			})
			if last := put.Timeline[len(put.Timeline)-1]; put.Status != notice.StatusDeferred || last.Until.Sub(last.At) < time.Second || last.Detail == "" {
				t.Errorf("%s, %+v; want it deferred for a second at least, and why", put.Status, last)
			}
			if n := len(w.webhook.sent(put.ID)); n != 0 {
				t.Errorf("it was sent %d times", n)
			}
			close(g.let)
		})
	}
}

func TestWhatIsSetAsideIsHandedBackAtOnceWhenTheConsumerStops(t *testing.T) {
	eitherWay(t, setup{slots: 4, grace: time.Millisecond}, func(t *testing.T, s setup) {
		w := newWorld(t, s)
		g := newGate(toHost("hangs"))
		w.webhook.script(g.send)
		first := w.startDivided("c1")
		ids := w.admitTo(12, "hangs")["hangs"]
		w.await("one that hangs", func() bool { return g.holding() == 1 })
		first.stop()
		close(g.let)
		w.startDivided("c2")
		for _, id := range ids {
			w.ended(id)
		}
		w.nothingLeft()
		twice := 0
		for _, n := range w.webhook.all() {
			if n > 1 {
				twice++
			}
		}
		if twice > 1 {
			t.Errorf("%d were sent twice, and only the one that hung may be", twice)
		}
	})
}
