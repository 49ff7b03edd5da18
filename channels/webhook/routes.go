package webhook

import (
	"crypto/tls"
	"fmt"
	"net/textproto"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/carillonhq/carillon/channels/egress"
	"github.com/carillonhq/carillon/config"
)

// route is how a host is reached.
type route struct {
	tls    *tls.Config
	fields []byte // header fields of its own, as lines
	places int    // the most requests in flight to one host; 0: it is not configured
}

// routes are the destinations of the configuration, and what holds for every
// other host.
type routes struct {
	rules []routeRule
	other *route
}

type routeRule struct {
	host  string // a name, or the end of one from its dot: ".acme.example"
	route *route
}

func newRoutes(cfg config.Webhook) (*routes, error) {
	secured, err := egress.NewTLS(egress.Options{CAFile: cfg.CAFile, ClientCert: cfg.ClientCert, ClientKey: cfg.ClientKey})
	if err != nil {
		return nil, err
	}
	all := &routes{other: &route{tls: secured}}
	for i, d := range cfg.Destinations {
		r, err := newRoute(cfg, d, all.other)
		if err != nil {
			return nil, fmt.Errorf("destinations[%d].%w", i, err)
		}
		host, err := asciiHost(strings.TrimPrefix(d.Host, "*."))
		if err != nil {
			return nil, fmt.Errorf("destinations[%d].host: %q: %w", i, d.Host, err)
		}
		if strings.HasPrefix(d.Host, "*.") {
			host = "." + host
		}
		all.rules = append(all.rules, routeRule{host, r})
	}
	return all, nil
}

// newRoute is the route of a destination; what it leaves out is the channel's.
func newRoute(cfg config.Webhook, d config.Destination, other *route) (*route, error) {
	r := *other
	if d.CAFile != "" || d.ClientCert != "" || d.ClientKey != "" {
		o := egress.Options{CAFile: d.CAFile, ClientCert: d.ClientCert, ClientKey: d.ClientKey}
		if o.CAFile == "" {
			o.CAFile = cfg.CAFile
		}
		if o.ClientCert == "" && o.ClientKey == "" {
			o.ClientCert, o.ClientKey = cfg.ClientCert, cfg.ClientKey
		}
		secured, err := egress.NewTLS(o)
		if err != nil {
			return nil, err
		}
		r.tls = secured
	}
	r.places = d.Concurrency
	for i, h := range d.Headers {
		if err := checkHeader(h.Name, h.Value.Reveal()); err != nil {
			return nil, fmt.Errorf("headers[%d]: %w", i, err)
		}
		r.fields = appendField(r.fields, h.Name, h.Value.Reveal())
	}
	return &r, nil
}

// checkHeader refuses a field that would change what the request is, where it
// ends, or who it is from. config.ReservedHeader lists the names.
func checkHeader(name, value string) error {
	switch {
	case !httpguts.ValidHeaderFieldName(name):
		return fmt.Errorf("name: %q is no header name: write it as X-Api-Key", name)
	case config.ReservedHeader(name):
		return fmt.Errorf("name: %s is set by the gateway or belongs to the connection: leave it out", textproto.CanonicalMIMEHeaderKey(name))
	case !httpguts.ValidHeaderFieldValue(value):
		return fmt.Errorf("value: the value of %s holds a line break or a control character: leave it out", name)
	}
	return nil
}

// of is the route of a host: that of the first destination which holds it.
func (r *routes) of(host string) *route {
	host = strings.TrimSuffix(host, ".")
	for _, rule := range r.rules {
		if host == rule.host || rule.host[0] == '.' && strings.HasSuffix(host, rule.host) {
			return rule.route
		}
	}
	return r.other
}
