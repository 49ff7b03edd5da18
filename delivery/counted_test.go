package delivery_test

import (
	"testing"

	"github.com/carillonhq/carillon/delivery"
	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/throttle"
)

// What is shown of a rate by name is of the name that consumers count by: a port
// is a part of it unless it is the scheme's own.
func TestAHostIsCountedWithoutThePortOfItsSchemeAlone(t *testing.T) {
	for _, tt := range []struct {
		channel  notice.Channel
		to, want string
	}{
		{notice.ChannelWebhook, "https://a.example/hook", "a.example"},
		{notice.ChannelWebhook, "https://a.example:443/hook", "a.example"},
		{notice.ChannelWebhook, "https://a.example:80/hook", "a.example:80"},
		{notice.ChannelWebhook, "http://a.example:80/hook", "a.example"},
		{notice.ChannelWebhook, "http://a.example:443/hook", "a.example:443"},
		{notice.ChannelWebhook, "HTTP://A.example:80/hook", "a.example"},
		{notice.ChannelWebhook, "https://a.example:8443/hook", "a.example:8443"},
		{notice.ChannelWebPush, `{"endpoint":"https://push.example:443/s/1","keys":{}}`, "push.example"},
		{notice.ChannelWebPush, `{"endpoint":"https://push.example:80/s/1","keys":{}}`, "push.example:80"},
		{notice.ChannelEmail, "Ada@Mail.Example", "mail.example"},
		{notice.ChannelFCM, "token", ""},
	} {
		d := &notice.Delivery{Tenant: "acme", Address: notice.Address{Channel: tt.channel, To: tt.to}}
		if got := delivery.CountedBy(d)[throttle.ScopeHost]; got != tt.want {
			t.Errorf("%s to %q is counted as %q, want %q", tt.channel, tt.to, got, tt.want)
		}
	}
}
