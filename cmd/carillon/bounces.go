package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/time/rate"

	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/feedback/mailbox"
	"github.com/carillonhq/carillon/notice/verp"
)

// bouncesCmd is `carillon bounces`.
type bouncesCmd struct {
	Config string        `placeholder:"FILE" help:"The configuration file; CARILLON_CONFIG's when left out."`
	Listen string        `placeholder:"ADDR" help:"Where to listen for mail, in place of feedback.bounces.listen."`
	Grace  time.Duration `default:"10s" help:"How long a stop waits for mails under way."`
}

// Help is the command's example.
func (bouncesCmd) Help() string {
	return "Takes the mails that come back to channels.email.return_path over SMTP, and suppresses the addresses that they are about.\n" +
		"Point the MX record of the return path's domain here, or have your mail server forward to it.\n\n" +
		"Example:\n\n    carillon bounces --config carillon.yaml --listen :25"
}

// Run takes mails until it is told to stop. While Redis is away senders are
// asked to come again.
func (c bouncesCmd) Run(a *app) error {
	cfg, err := a.loadConfig(c.Config)
	if err != nil {
		return err
	}
	if c.Listen != "" {
		cfg.Feedback.Bounces.Listen = c.Listen
		if faults := cfg.Validate(); len(faults) > 0 {
			return usage(faults)
		}
	}
	log := newLogger(a.stderr)
	g := &gateway{cfg: cfg, log: log, registry: prometheus.NewRegistry(), enabled: enabledChannels(cfg)}
	defer g.close()
	g.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	options, err := g.mailboxOptions()
	if err != nil {
		return usage(err)
	}
	if err := g.openQueue(a.ctx); err != nil {
		return err
	}
	options.Desk, options.Now = g.openDesk(), g.clock.Now
	return g.runMailbox(a.ctx, mailbox.New(options), c.Grace)
}

// runMailbox serves mail, health and metrics until ctx ends or either fails.
func (g *gateway) runMailbox(ctx context.Context, m *mailbox.Server, grace time.Duration) error {
	at := g.cfg.Feedback.Bounces.Listen
	l, err := net.Listen("tcp", at)
	if err != nil {
		return usage(fmt.Errorf("feedback.bounces.listen: cannot listen on %q for mail: %w: choose another address, or stop what uses it", at, err))
	}
	defer l.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	taken := make(chan error, 1)
	go func() {
		taken <- m.Serve(ctx, l, grace)
		cancel()
	}()
	err = serve(ctx, grace, func(at []string) {
		g.log.Info("returned mails are taken", "smtp", l.Addr().String(), "admin", at[0])
	}, listener{"health and metrics", "admin.listen", g.cfg.Admin.Listen, g.adminHandler(nil)})
	cancel()
	return errors.Join(err, <-taken)
}

// mailboxOptions is what the configuration says of returned mails.
func (g *gateway) mailboxOptions() (o mailbox.Options, err error) {
	section, email := g.cfg.Feedback.Bounces, g.cfg.Channels.Email
	if email == nil {
		return o, errors.New("channels.email: is missing, so no mail could come back: configure the channel")
	}
	var ok bool
	if o.Path, ok = verp.NewPath(email.ReturnPath); !ok {
		return o, fmt.Errorf("channels.email.return_path: %q has no {verp}, so returned mails would not say what they are about: set it to bounce+{verp}@bounces.acme.example", email.ReturnPath)
	}
	var secrets [][]byte
	for _, key := range email.ReturnPathKeys() {
		secrets = append(secrets, []byte(key.Reveal()))
	}
	if o.Keys, err = verp.NewKeys(secrets...); err != nil {
		return o, fmt.Errorf("channels.email.return_path_key: %w", err)
	}
	if o.TLS, err = mailboxTLS(section); err != nil {
		return o, err
	}
	if o.Hostname = section.Hostname; o.Hostname == "" {
		o.Hostname, _ = os.Hostname() // empty: the greeting names nobody
	}
	o.Tenants, o.Complaints, o.Log = tenantsOf(g.cfg.Auth), section.Complaints, g.log
	o.MaxMail, o.Connections = int64(section.MaxMail), section.Connections
	o.Rate = rate.NewLimiter(rate.Limit(section.Rate.PerSecond()), section.Rate.Count)
	return o, nil
}

// mailboxTLS is the listener's certificate; nil without one.
func mailboxTLS(section config.Bounces) (*tls.Config, error) {
	if section.Certificate == "" {
		return nil, nil
	}
	pair, err := tls.LoadX509KeyPair(section.Certificate, section.Key)
	if err != nil {
		return nil, fmt.Errorf("feedback.bounces.certificate: %q with key %q: %w", section.Certificate, section.Key, err)
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}, nil
}

// tenantsOf are the tenants that the configuration knows.
func tenantsOf(auth config.Auth) []string {
	tenants := []string{defaultTenant}
	for _, k := range auth.Keys {
		tenants = append(tenants, k.Tenant)
	}
	slices.Sort(tenants)
	return slices.Compact(tenants)
}

// onlyTenant is the tenant of everything where there is one; empty where there
// are several.
func onlyTenant(auth config.Auth) string {
	if len(auth.Keys) == 0 {
		return defaultTenant
	}
	tenant := auth.Keys[0].Tenant
	if slices.ContainsFunc(auth.Keys, func(k config.Key) bool { return k.Tenant != tenant }) {
		return ""
	}
	return tenant
}
