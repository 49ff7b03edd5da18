package apns

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/notice"
)

const (
	defaultHost = "https://api.push.apple.com"
	sandboxHost = "https://api.sandbox.push.apple.com"
)

// app is what pushes to one app need.
type app struct {
	topic   string // the bundle id, to which a push type may add its suffix
	account *account
}

// account is one credential, and the connections that are made with it. They
// carry nobody else's pushes: Apple answers UnrelatedKeyIdInToken to a second
// key on a connection, and a certificate is the connection's own.
type account struct {
	provider *provider // nil: the certificate speaks
	services map[notice.Environment]*service
}

// service is one of Apple's two services.
type service struct {
	host string // https://name
	pool *pool
}

// newApps makes the app of every name that devices may have; that of the
// channel's topic stands under "" as well.
func newApps(cfg config.APNs, o options) (map[string]app, error) {
	b, err := newBuilder(cfg, o)
	if err != nil {
		return nil, err
	}
	own, err := b.account(cfg.APNsCredential, "apns")
	if err != nil {
		return nil, err
	}
	first := app{cfg.Topic, own}
	apps := map[string]app{"": first, cfg.Topic: first}
	for i, a := range cfg.Apps {
		account := own
		if !a.APNsCredential.IsZero() {
			if account, err = b.account(a.APNsCredential, fmt.Sprintf("apns.apps[%d]", i)); err != nil {
				return nil, err
			}
		}
		topic := a.Topic
		if topic == "" {
			topic = a.App
		}
		apps[a.App] = app{topic, account}
	}
	return apps, nil
}

// builder makes accounts. Two that have the same key share one, so that there
// is one token of it.
type builder struct {
	cfg   config.APNs
	o     options
	hosts map[notice.Environment]*url.URL
	made  map[string]*account
}

func newBuilder(cfg config.APNs, o options) (*builder, error) {
	production, err := parseHost("apns.host", cfg.Host, defaultHost)
	if err != nil {
		return nil, err
	}
	otherwise := production.String() // a stand-in is both
	if strings.HasSuffix(production.Hostname(), ".push.apple.com") {
		otherwise = sandboxHost
	}
	sandbox, err := parseHost("apns.sandbox_host", cfg.SandboxHost, otherwise)
	if err != nil {
		return nil, err
	}
	return &builder{cfg: cfg, o: o, made: map[string]*account{}, hosts: map[notice.Environment]*url.URL{
		notice.EnvironmentProduction: production, notice.EnvironmentSandbox: sandbox,
	}}, nil
}

func (b *builder) account(c config.APNsCredential, at string) (*account, error) {
	id := c.TeamID + "/" + c.KeyID + "/" + c.Certificate
	if a := b.made[id]; a != nil {
		return a, nil
	}
	a := &account{services: map[notice.Environment]*service{}}
	conf, err := newTLS(b.cfg.CAFile)
	if err != nil {
		return nil, err
	}
	if c.Certificate != "" {
		pair, err := readCertificate(c, at)
		if err != nil {
			return nil, err
		}
		conf.Certificates = []tls.Certificate{pair}
	} else if a.provider, err = b.provider(c, at); err != nil {
		return nil, err
	}
	for environment, host := range b.hosts {
		size := orDefault(b.cfg.Connections, defaultConnections)
		a.services[environment] = &service{host.String(), newPool(size, b.o.now, b.o.rest, dialer(newTransport(conf, b.o), host))}
	}
	b.made[id] = a
	return a, nil
}

func (b *builder) provider(c config.APNsCredential, at string) (*provider, error) {
	if c.KeyID == "" || c.TeamID == "" {
		return nil, fmt.Errorf("%s.key_id and %s.team_id: both are needed beside the key; Apple's developer site shows them", at, at)
	}
	p, err := newProvider(c.Key.Reveal(), c.KeyID, c.TeamID, b.o.now)
	if err != nil {
		return nil, fmt.Errorf("%s.%w", at, err)
	}
	p.issuer = b.o.issuer
	return p, nil
}

func parseHost(key, s, otherwise string) (*url.URL, error) {
	if s == "" {
		s = otherwise
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.User != nil {
		return nil, errors.New(key + ": want a bare https URL, " + defaultHost + " or " + sandboxHost)
	}
	return &url.URL{Scheme: u.Scheme, Host: u.Host}, nil
}

func dialer(t *http.Transport, host *url.URL) func(context.Context) (*http.ClientConn, error) {
	address := host.Host
	if host.Port() == "" {
		address = net.JoinHostPort(host.Hostname(), "443")
	}
	return func(ctx context.Context) (*http.ClientConn, error) {
		return t.NewClientConn(ctx, "https", address)
	}
}
