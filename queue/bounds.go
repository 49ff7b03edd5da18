package queue

import "github.com/carillonhq/carillon/config"

// bounds are those parts of the configuration that Pressure goes by; see
// config.Queue.
type bounds struct {
	MaxBacklog, MaxWaiting, MaxScheduled int
	MaxMemory                            config.Bound
}

// ReplaceBounds takes other bounds from a configuration, of which it reads
// nothing else. They hold from the next request on. It is safe while the queue
// is in use.
func (q *Queue) ReplaceBounds(cfg config.Queue) {
	q.bounds.Store(&bounds{cfg.MaxBacklog, cfg.MaxWaiting, cfg.MaxScheduled, cfg.MaxMemory})
}
