package webhook

import (
	"net"
	"strings"

	"github.com/carillonhq/carillon/notice"
)

// Destination is the host and port of an endpoint: one host's trouble is not
// another's. It is empty for an address that Send refuses.
func (a *Adapter) Destination(to notice.Address) string {
	if name, ok := plainDestination(to.To); ok {
		return name
	}
	e, err := parseEndpoint(to.To)
	if err != nil {
		return ""
	}
	if e.secure {
		return "https://" + strings.TrimSuffix(e.address, ":443")
	}
	return "http://" + strings.TrimSuffix(e.address, ":80")
}

// plainDestination is the beginning of a URL up to its path, where that is as
// good a name as any: a host in lower case whose port, if it has one, is not
// the scheme's own. It is asked for every delivery, and nearly all are so.
func plainDestination(raw string) (name string, ok bool) {
	rest, secure := strings.CutPrefix(raw, "https://")
	if !secure {
		if rest, ok = strings.CutPrefix(raw, "http://"); !ok {
			return "", false
		}
	}
	end := strings.IndexByte(rest, '/')
	if end < 0 {
		end = len(rest)
	}
	host := rest[:end]
	for i := range len(host) {
		if !plain(host[i]) {
			return "", false
		}
	}
	if host == "" || strings.HasSuffix(host, ":443") || strings.HasSuffix(host, ":80") || host[len(host)-1] == '.' || host[len(host)-1] == ':' {
		return "", false
	}
	return raw[:len(raw)-len(rest)+end], true
}

func plain(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '.' || c == '-' || c == ':'
}

// Places is the concurrency of the first of webhook.destinations that holds a
// destination's host.
func (a *Adapter) Places(destination string) int {
	_, host, _ := strings.Cut(destination, "://")
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return a.routes.of(host).places
}
