package delivery

import "github.com/carillonhq/carillon/config"

// settings are those Options that may change while a Pipeline runs.
type settings struct {
	quietHours *config.QuietHours
	tenant     string
}

// Replace takes other quiet hours (nil: none but a recipient's own) and another
// tenant of inbox entries that name none. What was planned before keeps the
// quiet hours that it was planned with.
func (p *Pipeline) Replace(quiet *config.QuietHours, tenant string) {
	p.settings.Store(&settings{quiet, tenant})
}
