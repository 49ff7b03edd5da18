package ingest

import (
	"time"

	"github.com/carillonhq/carillon/notice"
)

// Acceptor checks and completes notifications that come by another way than
// HTTP by the very rules of POST /v1/notifications.
type Acceptor struct {
	Templates       Templates
	EnabledChannels map[notice.Channel]bool
}

// Accept checks a decoded notification and completes it from its template. An
// error is a *Problem with every fault.
func (a Acceptor) Accept(n *notice.Notification, now time.Time) error {
	s := server{Options: Options{Templates: a.Templates, EnabledChannels: a.EnabledChannels}}
	return s.accept(n, now)
}
