package templates

import (
	"fmt"
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

// survive calls work, and turns a panic into an error. What compiles and tries
// a catalogue runs beside others that must not end with it: the engines of
// templates and schemas were not made for sources that mean harm.
func survive(work func()) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("falls over, which is a fault of the gateway and not yours: report it with the template (%v)", p)
		}
	}()
	work()
	return nil
}
