package throttle

import (
	"container/heap"
	"time"
)

// maxPauses bounds the memory of one channel's pauses: some 2 MiB with keys of
// 100 bytes.
const maxPauses = 8192

// pauses are the keys that are stopped and until when: no more than most, and
// none long after its end.
type pauses struct {
	most  int
	byKey map[string]*pause
	byEnd pauseHeap
}

type pause struct {
	key   string
	until time.Time
	index int // in byEnd
}

func newPauses(most int) pauses { return pauses{most: most, byKey: map[string]*pause{}} }

// add stops a key, and makes room by dropping what has ended, or else what ends
// first.
func (p *pauses) add(key string, until, now time.Time) {
	if !until.After(now) {
		return
	}
	if known := p.byKey[key]; known != nil {
		if until.After(known.until) {
			known.until = until
			heap.Fix(&p.byEnd, known.index)
		}
		return
	}
	for len(p.byEnd) > 0 && (len(p.byEnd) >= p.most || !p.byEnd[0].until.After(now)) {
		ended := heap.Pop(&p.byEnd).(*pause)
		delete(p.byKey, ended.key)
	}
	added := &pause{key: key, until: until}
	p.byKey[key] = added
	heap.Push(&p.byEnd, added)
}

func (p *pauses) until(key string, now time.Time) (time.Time, bool) {
	known := p.byKey[key]
	if known == nil || !known.until.After(now) {
		return time.Time{}, false
	}
	return known.until, true
}

// pauseHeap is a container/heap of pauses, the one that ends first on top.
type pauseHeap []*pause

// Len, Less, Swap, Push and Pop are heap.Interface.
func (h pauseHeap) Len() int           { return len(h) }
func (h pauseHeap) Less(i, j int) bool { return h[i].until.Before(h[j].until) }
func (h pauseHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}
func (h *pauseHeap) Push(x any) {
	p := x.(*pause)
	p.index = len(*h)
	*h = append(*h, p)
}
func (h *pauseHeap) Pop() any {
	last := len(*h) - 1
	p := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return p
}
