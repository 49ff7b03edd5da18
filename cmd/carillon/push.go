package main

import (
	"github.com/carillonhq/carillon/channels/apns"
	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/throttle"
)

// openAPNs makes the adapter of Apple's service, which agrees with every other
// consumer on the provider token through Redis, and begins to connect.
func (g *gateway) openAPNs(cfg config.APNs) (closableAdapter, error) {
	issues := throttle.NewIssues(g.rdb, g.cfg.Queue.Namespace, apns.RenewAfter, apns.RenewLeast)
	adapter, err := apns.New(cfg, apns.WithIssuer(issues))
	if err != nil {
		return nil, err
	}
	adapter.Warm()
	return adapter, nil
}
