package main

import (
	"context"

	"github.com/carillonhq/carillon/queue"
	"github.com/carillonhq/carillon/throttle"
)

// giveBack frees the places under their recipients' caps of deliveries that
// were never sent. Where it fails a place is free when its window has passed:
// nobody gets more than the caps allow.
func (g *gateway) giveBack(ctx context.Context, unsent []queue.Unsent) {
	if err := g.places.Release(ctx, placesOf(unsent, g.clock)); err != nil {
		g.log.Warn("the places of deliveries that were not sent stay taken until their windows have passed", "deliveries", len(unsent), "error", err)
	}
}

func placesOf(unsent []queue.Unsent, clock *queue.Clock) []throttle.Ask {
	now := clock.Now()
	asks := make([]throttle.Ask, len(unsent))
	for i, u := range unsent {
		asks[i] = throttle.Ask{Tenant: u.Tenant, User: u.User, DeliveryID: u.ID, Heir: u.Heir, At: now}
	}
	return asks
}
