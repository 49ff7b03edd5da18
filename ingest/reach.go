package ingest

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/templates"
)

// reach decides whether a notification can reach anybody over the channels
// that are on: a sender is told at once of what could only fail later. A
// profile is not looked at, so whoever names a user is believed.
type reach struct {
	n   *notice.Notification
	tpl *templates.Template // nil for a notification with content
	on  map[notice.Channel]bool
}

func (c reach) check(r *refusal) {
	for i, m := range c.n.Channels {
		c.checkAsked(i, m, r)
	}
	media := c.media()
	for _, m := range media {
		c.checkAddresses(m, r)
	}
	if r.faults != nil {
		return
	}
	if !c.anyOn(media) {
		r.add(kindChannelOff, "", "every channel that this could go over is off here: "+join(media))
		return
	}
	if c.n.To.User == "" && !c.anyAddress(media) {
		r.add(kindNoAddress, "/to", fmt.Sprintf("gives no address for %s: add %s, or a user whose profile has one",
			join(media), join(addressFields(media))))
	}
}

// media is what the notification goes over: what it asks for, or everything
// that it can be rendered for.
func (c reach) media() []notice.Medium {
	if len(c.n.Channels) > 0 {
		return c.n.Channels
	}
	if c.tpl != nil {
		return c.tpl.Channels()
	}
	var media []notice.Medium
	for _, m := range notice.Media() {
		if c.n.Content.Has(m) {
			media = append(media, m)
		}
	}
	return media
}

// checkAsked holds the i-th of the asked channels against the template and
// what is on.
func (c reach) checkAsked(i int, m notice.Medium, r *refusal) {
	if c.tpl != nil && !c.tpl.Renders(m) {
		r.add(kindInvalid, "/channels/"+strconv.Itoa(i), fmt.Sprintf("the template %q has no part for %q: it renders %s", c.n.Template, m, join(c.tpl.Channels())))
	}
	if !c.isOn(m) {
		r.add(kindChannelOff, "/channels/"+strconv.Itoa(i), fmt.Sprintf("the channel %q is off here: its section is missing from the gateway's configuration", m))
	}
}

// checkAddresses refuses addresses given inline that no channel serves here:
// the sender means them to be used.
func (c reach) checkAddresses(m notice.Medium, r *refusal) {
	switch {
	case m == notice.MediumEmail && c.n.To.Email != "" && !c.on[notice.ChannelEmail]:
		c.addressOff("/to/email", notice.ChannelEmail, r)
	case m == notice.MediumWebhook && len(c.n.To.Webhooks) > 0 && !c.on[notice.ChannelWebhook]:
		c.addressOff("/to/webhooks", notice.ChannelWebhook, r)
	case m == notice.MediumPush:
		for i, d := range c.n.To.Devices {
			if ch := d.Platform.Channel(); !c.on[ch] {
				c.addressOff("/to/devices/"+strconv.Itoa(i), ch, r)
			}
		}
	}
}

func (c reach) addressOff(at string, ch notice.Channel, r *refusal) {
	r.add(kindChannelOff, at, fmt.Sprintf("needs the channel %q, which is off here: leave the address out, or ask for other channels", ch))
}

// isOn reports whether any channel of a medium is on.
func (c reach) isOn(m notice.Medium) bool {
	for ch, on := range c.on {
		if on && ch.Medium() == m {
			return true
		}
	}
	return false
}

func (c reach) anyOn(media []notice.Medium) bool {
	for _, m := range media {
		if c.isOn(m) {
			return true
		}
	}
	return false
}

// anyAddress reports whether any of media has an address given inline.
func (c reach) anyAddress(media []notice.Medium) bool {
	for _, m := range media {
		switch m {
		case notice.MediumEmail:
			if c.n.To.Email != "" {
				return true
			}
		case notice.MediumPush:
			if len(c.n.To.Devices) > 0 {
				return true
			}
		case notice.MediumWebhook:
			if len(c.n.To.Webhooks) > 0 {
				return true
			}
		}
	}
	return false
}

// addressFields are the members of `to` that hold addresses of media.
func addressFields(media []notice.Medium) []string {
	var fields []string
	for _, m := range media {
		switch m {
		case notice.MediumEmail:
			fields = append(fields, "email")
		case notice.MediumPush:
			fields = append(fields, "devices")
		case notice.MediumWebhook:
			fields = append(fields, "webhooks")
		}
	}
	return fields
}

func join[S ~string](words []S) string {
	var b strings.Builder
	for i, w := range words {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(string(w))
	}
	return b.String()
}

// noTemplate says that a template is unknown, and which was meant.
func noTemplate(name string, known []string) string {
	if near := notice.Nearest(name, known); near != "" {
		return fmt.Sprintf("there is no template %q: did you mean %q?", clip(name), near)
	}
	return fmt.Sprintf("there is no template %q: GET /v1/templates lists them", clip(name))
}

// clip shortens what a caller sent, for use in an answer.
func clip(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
