package delivery

import (
	"testing"

	"github.com/carillonhq/carillon/queue"
)

func TestAPlannerIsKeptForTenantsThatTheOthersAreNotBusyWith(t *testing.T) {
	all := queue.Room{}
	for turn := range all {
		all[turn] = planBatch
	}
	but := func(turns ...int) queue.Room {
		out := all
		for _, turn := range turns {
			out[turn] = 0
		}
		return out
	}
	for _, c := range []struct {
		name string
		busy [queue.Turns]int
		want queue.Room
	}{
		{"nobody is busy", [queue.Turns]int{}, all},
		{"one more may be of the same tenant", [queue.Turns]int{2}, all},
		{"the last is for the others", [queue.Turns]int{3, 1}, but(0)},
		{"two tenants share every batch", [queue.Turns]int{3, 3}, but(0, 1)},
		{"every tenant is in every batch", [queue.Turns]int{3, 3, 3, 3, 3, 3, 3, 3}, all},
	} {
		b := busyTurns{planners: c.busy}
		if got := b.room(); got != c.want {
			t.Errorf("%s: room %v, want %v", c.name, got, c.want)
		}
	}
}
