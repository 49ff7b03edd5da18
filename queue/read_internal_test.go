package queue

import (
	"testing"

	"github.com/carillonhq/carillon/config"
)

// hotReader is a reader of a cluster with so many streams that have more.
func hotReader(hot int, cluster bool) *Reader {
	r := &Reader{q: &Queue{cluster: cluster, cfg: config.Queue{Partitions: hot}}}
	for p := range hot {
		r.turns[0] = append(r.turns[0], &source{stream: &stream{partition: p}, slot: &slot{}, hot: true})
	}
	return r
}

func TestAClustersSlotsAreAskedForMoreThanAFewByTurns(t *testing.T) {
	for _, c := range []struct {
		name              string
		hot, room         int
		cluster           bool
		commands, entries int // of the first read
	}{
		{"64 slots have more than there is room for", 64, 128, true, 8, 16},
		{"4 slots share the room", 4, 128, true, 4, 32},
		{"there is room for one", 64, 1, true, 1, 1},
		{"a single server is asked for all at once", 64, 128, false, 1, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := hotReader(c.hot, c.cluster)
			asked := map[int]int{}
			for range c.hot {
				r.reads++
				asks := r.hotAsks(Room{c.room})
				if len(asks) != c.commands || asks[0].count != c.entries {
					t.Fatalf("%d commands for %d entries each, want %d for %d", len(asks), asks[0].count, c.commands, c.entries)
				}
				for _, a := range asks {
					for _, s := range a.sources {
						asked[s.partition]++
					}
				}
			}
			for p := range c.hot {
				if asked[p] == 0 {
					t.Errorf("slot %d of %d was never asked in as many reads", p, c.hot)
				}
			}
		})
	}
}
