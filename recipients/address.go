package recipients

import (
	"net/url"
	"strings"

	"github.com/go-json-experiment/json"
	"golang.org/x/net/idna"

	"github.com/carillonhq/carillon/notice"
)

// normalise writes an address so that two spellings of one mailbox, device or
// endpoint are the same: mail addresses in lower case with an ASCII domain,
// iOS tokens in lower case, browsers' subscriptions by their endpoint, URLs
// with scheme and host in lower case.
func normalise(c notice.Channel, address string) string {
	address = strings.TrimSpace(address)
	switch c {
	case notice.ChannelEmail:
		return normaliseEmail(address)
	case notice.ChannelAPNs:
		return strings.ToLower(address)
	case notice.ChannelWebPush:
		return normaliseSubscription(address)
	case notice.ChannelWebhook:
		return normaliseURL(address)
	}
	return address
}

// normaliseEmail lowers the local part too. RFC 5321 §2.4 lets its case matter,
// and no provider of any size lets it; who was unsubscribed as Ada@ must not be
// written to as ada@.
func normaliseEmail(s string) string {
	s = strings.ToLower(s)
	at := strings.LastIndexByte(s, '@')
	if at < 0 || isASCII(s[at:]) {
		return s
	}
	domain, err := idna.Lookup.ToASCII(s[at+1:])
	if err != nil {
		return s
	}
	return s[:at+1] + domain
}

func isASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

func normaliseURL(s string) string {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" {
		return s
	}
	u.Scheme, u.Host = strings.ToLower(u.Scheme), strings.ToLower(u.Host)
	if u.Path == "" {
		u.Path = "/"
	}
	return u.String()
}

func normaliseSubscription(s string) string {
	var subscription struct {
		Endpoint string `json:"endpoint"`
	}
	if json.Unmarshal([]byte(s), &subscription) != nil || subscription.Endpoint == "" {
		return s
	}
	return normaliseURL(subscription.Endpoint)
}
