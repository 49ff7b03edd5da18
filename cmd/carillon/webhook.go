package main

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/carillonhq/carillon/channels/webhook"
	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/recipients"
)

// openWebhook makes the webhook adapter. An endpoint that it disables is told
// to the operators, in the log and as a number.
func (g *gateway) openWebhook(cfg config.Webhook) (closableAdapter, error) {
	disabled := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "carillon_webhook_disabled_total",
		Help: "Endpoints that are not called again, by why: 410, or failing for five days of nothing but failures."}, []string{"reason"})
	g.registry.MustRegister(disabled)
	return webhook.New(cfg, webhook.WithVersion(release()),
		webhook.WithFailures(recipients.NewEndpoints(g.rdb, g.cfg.Queue.Namespace, g.clock.Now)),
		webhook.WithNotices(func(d webhook.Disabled) {
			disabled.WithLabelValues(d.Code).Inc()
			g.log.Warn("a webhook endpoint is disabled: it is on the suppression list, and notified again once it is taken off",
				"tenant", d.Tenant, "host", d.Host, "reason", d.Code, "delivery", d.Delivery, "failing_since", d.Since)
		}))
}
