package templates

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// each calls work for 0 … n-1, on as many processors as there are, and returns
// when all is done. Calls for different numbers must not write to one place.
func each(n int, work func(i int)) {
	var next atomic.Int64
	var all sync.WaitGroup
	for range min(n, runtime.GOMAXPROCS(0)) {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				work(i)
			}
		})
	}
	all.Wait()
}
