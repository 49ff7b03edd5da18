package delivery

import (
	"slices"

	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/recipients"
)

// mandatory reports whether nobody can leave what goes to an address: its
// template is binding (opt_out: false), or it is a mail of a category in
// channels.email.mandatory. Neither a preference nor an opt-out holds it back,
// a complaint does not, and it has no unsubscribe link.
func (p *Pipeline) mandatory(binding bool, category string, c notice.Channel) bool {
	return binding || c == notice.ChannelEmail && slices.Contains(p.Mandatory, category)
}

// unsubscribeLink is the link by which a delivery's recipient leaves its
// category; empty when there is none. The template is asked as it was when the
// delivery was planned, so that every attempt has the same link.
func (p *Pipeline) unsubscribeLink(d *notice.Delivery) string {
	c := d.Address.Channel
	if p.UnsubscribeLink == nil || c != notice.ChannelEmail {
		return ""
	}
	binding := d.Template != "" && p.Catalogue.Current().Mandatory(d.Template, d.Version)
	if p.mandatory(binding, d.Category, c) {
		return ""
	}
	return p.UnsubscribeLink(d)
}

// unwanted says what a recipient has against a category on an address; empty:
// nothing.
func unwanted(found *recipients.Found, a notice.Address, category string) string {
	medium := a.Channel.Medium()
	switch {
	case found.Profile != nil && !found.Profile.Allows(category, medium):
		return "the recipient does not want " + category + " by " + string(medium)
	case found.Left(a, category):
		return "whoever reads the address does not want " + category
	}
	return ""
}
