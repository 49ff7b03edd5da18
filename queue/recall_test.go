package queue_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/queue"
)

// parkUnder parks one delivery under a label.
func (w *world) parkUnder(label queue.Label, user string, wait time.Duration) {
	w.t.Helper()
	_, l, d := w.planned(user)
	due := w.clock.Now().Add(wait)
	w.settle(&queue.Settlement{Kind: queue.Later, Lease: l, Delivery: d, Due: due, Label: label,
		Entry: queue.Entry{At: w.clock.Now(), Status: notice.StatusDeferred, Code: "rate", Until: due}})
}

func (w *world) promoted() int {
	w.t.Helper()
	n, _, err := w.Promote(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return n
}

func TestWhatIsCalledBackComesAtItsPaceAndNothingElseDoes(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		const n = 10
		raised, other := queue.LabelOf("raised"), queue.LabelOf("other")
		for i := range n {
			w.parkUnder(raised, fmt.Sprint("u", i), time.Duration(i+1)*time.Hour)
		}
		w.parkUnder(other, "v", time.Hour)
		w.parkUnder(0, "w", time.Hour)
		for _, pace := range []float64{2, 0.001} { // the second would have them come later
			if err := w.Recall(t.Context(), map[queue.Label]float64{raised: pace}); err != nil {
				t.Fatal(err)
			}
		}
		// Each of the two partitions has one a second.
		if got := w.promoted(); got < 1 || got > 2 {
			t.Errorf("%d came at once, want the first of each partition that has any", got)
		}
		w.clock.Advance(2 * time.Second)
		if got := w.promoted(); got < 2 || got > 4 {
			t.Errorf("%d came in the next two seconds, want one a second of each partition", got)
		}
		w.clock.Advance(n * time.Second)
		if w.promoted(); w.parkedNow().Waiting != 2 {
			t.Errorf("%d wait after %d seconds, want the two that were not called back", w.parkedNow().Waiting, n+2)
		}
		w.clock.Advance(time.Hour)
		if got := w.promoted(); got != 2 {
			t.Errorf("%d came an hour later, want the two that were not called back", got)
		}
	})
}

// TestAsManyAsThereAreAreCalledBackInTheirOrder has more than a script looks at.
func TestAsManyAsThereAreAreCalledBackInTheirOrder(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		const n, key = 2500, "{t:0}:waiting"
		raised, now := queue.LabelOf("raised"), w.clock.Now().UnixMilli()
		var want []string
		var zs []redis.Z
		for i := range n {
			id, due := fmt.Sprintf("a%04d", i), float64(now+int64(i+1)*60_000)
			zs = append(zs, redis.Z{Score: due + float64(raised)/1024, Member: id}, redis.Z{Score: due, Member: "b" + id})
			want = append(want, id)
		}
		if err := w.rdb.ZAdd(t.Context(), key, zs...).Err(); err != nil {
			t.Fatal(err)
		}
		if err := w.Recall(t.Context(), map[queue.Label]float64{raised: 100, queue.LabelOf("nothing"): 1}); err != nil {
			t.Fatal(err)
		}
		var got []string
		for i, z := range w.rdb.ZRangeWithScores(t.Context(), key, 0, -1).Val() {
			id := z.Member.(string)
			if id[0] == 'b' {
				continue
			}
			got = append(got, id)
			if due := float64(now + int64(i)*20); z.Score < due || z.Score > due+1 { // a partition of two has 50 a second
				t.Fatalf("%s, number %d, is due %.1f ms from now, want %d", id, i, z.Score-float64(now), i*20)
			}
		}
		if !slices.Equal(got, want) {
			t.Error("they do not come in the order in which they would have")
		}
	})
}
