package queue_test

import (
	"testing"

	"github.com/carillonhq/carillon/queue"
	"github.com/carillonhq/carillon/queue/queuetest"
)

func TestADeadLetterIsShownWithoutItsSecrets(t *testing.T) {
	for _, w := range []struct{ name, payload, want string }{
		{"a delivery", `{"id":"x","addr":{"c":"webhook","to":"https://a.example/h","secret":"whsec_AAAA+/== whsec_BBBB"},"data":{"n":1}}`,
			`{"id":"x","addr":{"c":"webhook","to":"https://a.example/h","secret":"[redacted]"},"data":{"n":1}}`},
		{"every address of a chain", `{"addr":{"secret":"whsec_A"},"fallback":[{"secret":"whsec_B"},{"c":"email"}]}`,
			`{"addr":{"secret":"[redacted]"},"fallback":[{"secret":"[redacted]"},{"c":"email"}]}`},
		{"an inbox entry, JSON within JSON", `{"event":"{\"to\":{\"webhooks\":[{\"secret\" : \"whsec_A\\/B\\u002bC\",\"url\":\"u\"}]}}"}`,
			`{"event":"{\"to\":{\"webhooks\":[{\"secret\" : \"[redacted]\",\"url\":\"u\"}]}}"}`},
		{"nothing that is secret", `{"data":{"secretary":"Ada","secret":""}}`, `{"data":{"secretary":"Ada","secret":""}}`},
		{"what is no JSON", `{"secret":"whsec_A`, `{"secret":"[redacted]`},
	} {
		t.Run(w.name, func(t *testing.T) {
			if got := (queue.Dead{Payload: w.payload}).Shown(); got != w.want {
				t.Errorf("shown as\n%s, want\n%s", got, w.want)
			}
		})
	}
}

func TestARecordShowsNoMoreOfAWebhookThanItsHost(t *testing.T) {
	w := open(t, queuetest.Redis(t), testConfig())
	w.admit(queue.Admission{Tenant: "acme", Notification: notification("ada")})
	leases, events := w.leaseEvents(1)
	plan := &queue.Planned{Lease: leases[0], Event: events[0]}
	for i, url := range []string{"https://a.example/h?token=t0p", "https://a.example?token=t0p", "https://a.example#t0p", "https://a.example"} {
		d := deliveryOf(events[0], i)
		d.Address.To = url
		plan.Deliveries = append(plan.Deliveries, queue.PlannedDelivery{Delivery: d})
	}
	if err := w.Plan(t.Context(), []*queue.Planned{plan}); err != nil {
		t.Fatal(err)
	}
	for _, d := range w.record(events[0].ID).Deliveries {
		if d.Address != "a.example" {
			t.Errorf("shown as %q, want the host alone", d.Address)
		}
	}
}
