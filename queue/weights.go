package queue

import (
	"context"
	"sync/atomic"

	"github.com/carillonhq/carillon/config"
)

// listed is what the configuration says of tenants. It may be replaced while the
// queue is in use.
type listed struct {
	weights atomic.Pointer[map[string]int] // of each tenant that is listed
	byTurn  atomic.Pointer[[Turns]int]
}

// WithTenants gives the listed tenants their weights, and their turns before
// anybody else's.
func WithTenants(tenants []config.Tenant) Option {
	return func(q *Queue) { q.ReplaceTenants(tenants) }
}

// ReplaceTenants takes other weights. They hold within half a second.
func (q *Queue) ReplaceTenants(tenants []config.Tenant) {
	weights := make(map[string]int, len(tenants))
	for _, t := range tenants {
		weights[t.Tenant] = max(t.Weight, 1)
	}
	q.listed.weights.Store(&weights)
}

// Weights is how much more than one of weight 1 each turn has of what tenants
// share. Tenants that share a turn share its weight, which is that of the
// heaviest: by the sum, one alone would have what the others do not use.
func (q *Queue) Weights() [Turns]int {
	if w := q.listed.byTurn.Load(); w != nil {
		return *w
	}
	return evenWeights
}

// evenWeights are those of tenants that the configuration says nothing of.
var evenWeights = [Turns]int{1, 1, 1, 1, 1, 1, 1, 1}

// tenancyOf is what a tenant has of what all share.
func (q *Queue) tenancyOf(tenant string) tenancy {
	return tenancy{turn: q.turns.guess(tenant), weights: q.Weights()}
}

// learnListed sees to it that every listed tenant has a turn that is known here,
// and gives the turns their weights.
func (q *Queue) learnListed(ctx context.Context) error {
	listed := q.listed.weights.Load()
	if listed == nil {
		return nil
	}
	names := make([]string, 0, len(*listed))
	for name := range *listed {
		names = append(names, name)
	}
	weights := evenWeights
	err := q.turnsOf(ctx, func(yield func(int, string) bool) {
		for i, name := range names {
			if !yield(i, name) {
				return
			}
		}
	}, func(i, turn int) { weights[turn] = max(weights[turn], (*listed)[names[i]]) })
	if err == nil {
		q.listed.byTurn.Store(&weights)
	}
	return err
}
