package email

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"

	"github.com/carillonhq/carillon/config"
	"github.com/wneessen/go-mail/smtp"
)

// errNoStartTLS is a fault of the set-up that no retry mends.
var errNoStartTLS = errors.New("the relay offers no STARTTLS: mend smtp.tls, or the relay")

// relay opens conversations with one SMTP relay.
type relay struct {
	host    string
	address string
	mode    config.TLSMode
	tls     *tls.Config
	login   login
	helo    string
	dial    dialFunc
}

func newRelay(cfg config.SMTP, s settings) (*relay, error) {
	if cfg.Host == "" || !isPrintable(cfg.Host) {
		return nil, fmt.Errorf("host: %q is no relay: give its name or address", cfg.Host)
	}
	if cfg.Port < 1 || cfg.Port > 65535 {
		return nil, fmt.Errorf("port: %d is no port: 587 for starttls, 465 for implicit", cfg.Port)
	}
	switch cfg.TLS {
	case config.TLSStartTLS, config.TLSImplicit, config.TLSNone:
	default:
		return nil, fmt.Errorf("tls: %q: want starttls, implicit or none", cfg.TLS)
	}
	helo, err := heloName(s.helo)
	if err != nil {
		return nil, err
	}
	tlsConfig, err := trust(cfg)
	if err != nil {
		return nil, err
	}
	return &relay{
		host:    cfg.Host,
		address: net.JoinHostPort(cfg.Host, strconv.Itoa(cfg.Port)),
		mode:    cfg.TLS,
		tls:     tlsConfig,
		login:   newLogin(cfg),
		helo:    helo,
		dial:    s.dial,
	}, nil
}

// trust is whom the relay may be, and who we are to it.
func trust(cfg config.SMTP) (*tls.Config, error) {
	c := &tls.Config{ServerName: cfg.Host, MinVersion: tls.VersionTLS12}
	if cfg.CAFile != "" {
		pem, err := os.ReadFile(cfg.CAFile)
		if err != nil {
			return nil, fmt.Errorf("ca_file: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("ca_file: %s holds no PEM certificate", cfg.CAFile)
		}
	}
	if cfg.ClientCert != "" || cfg.ClientKey != "" {
		pair, err := tls.LoadX509KeyPair(cfg.ClientCert, cfg.ClientKey)
		if err != nil {
			return nil, fmt.Errorf("client_cert: %q with client_key %q: %w", cfg.ClientCert, cfg.ClientKey, err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// connect dials, encrypts and logs in. Whatever fails, no socket is left open.
func (r *relay) connect(ctx context.Context) (*session, error) {
	conn, err := r.dial(ctx, "tcp", r.address)
	if err != nil {
		return nil, &failure{stageConnect, err}
	}
	raw := &bounded{Conn: conn}
	stop := context.AfterFunc(ctx, func() { _ = raw.Close() })
	s, f := r.greet(ctx, raw)
	if !stop() && f == nil {
		f = &failure{stageAuth, ctx.Err()}
	}
	if f == nil {
		return s, nil
	}
	_ = raw.Close()
	if ctx.Err() != nil && replyOf(f) == nil {
		f.err = ctx.Err()
	}
	return nil, f
}

func (r *relay) greet(ctx context.Context, raw *bounded) (*session, *failure) {
	var conn net.Conn = raw
	if r.mode == config.TLSImplicit {
		secured := tls.Client(raw, r.tls)
		if err := secured.HandshakeContext(ctx); err != nil {
			return nil, &failure{stageTLS, err}
		}
		conn = secured
	}
	client, err := smtp.NewClient(conn, r.host)
	if err != nil {
		return nil, &failure{stageGreeting, err}
	}
	if err := client.Hello(r.helo); err != nil {
		return nil, &failure{stageHello, err}
	}
	if r.mode == config.TLSStartTLS {
		if f := r.startTLS(client); f != nil {
			return nil, f
		}
	}
	if f := r.login.in(client); f != nil {
		return nil, f
	}
	return &session{client: client, raw: raw, offers: offersOf(client)}, nil
}

func (r *relay) startTLS(client *smtp.Client) *failure {
	// Required, never "if offered": who sits between could leave it out.
	if offered, _ := client.Extension("STARTTLS"); !offered {
		return &failure{stageTLS, errNoStartTLS}
	}
	if err := client.StartTLS(r.tls); err != nil {
		return &failure{stageTLS, err}
	}
	return nil
}

// mostRead bounds what a relay may say between two mails, TLS included. Real
// replies are a few hundred bytes; a reply that never ends would otherwise be
// kept in memory as long as it comes.
const mostRead = 256 << 10

var errTalkative = errors.New("the relay's replies do not end")

// bounded is a connection that reads no more than mostRead until the next
// reset.
type bounded struct {
	net.Conn
	read int
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.read >= mostRead {
		return 0, errTalkative
	}
	n, err := b.Conn.Read(p)
	b.read += n
	return n, err
}

// reset is called between two mails, when nothing reads.
func (b *bounded) reset() { b.read = 0 }
