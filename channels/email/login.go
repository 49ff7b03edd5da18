package email

import (
	"errors"
	"net"
	"os"
	"slices"
	"strings"

	"github.com/carillonhq/carillon/config"
	"github.com/wneessen/go-mail/smtp"
)

// Faults of the set-up that no retry mends: classify makes them Broken.
var (
	errNoAuth = errors.New("the relay offers no way to log in that may be used here: mend smtp.username or smtp.auth, or use TLS")
	errToken  = errors.New("the access token cannot be read: mend smtp.token_file, or what writes it")
)

// mostToken bounds an access token in bytes; Microsoft's reach 4 KB.
const mostToken = 64 << 10

// login is how a relay is told who we are.
type login struct {
	username  string
	password  config.Secret
	tokenFile string // of XOAUTH2; read at each login, since tokens live an hour
	auth      config.SMTPAuth
	clear     bool // nobody on the way can listen in
	host      string
}

func newLogin(cfg config.SMTP) login {
	l := login{username: cfg.Username, password: cfg.Password, tokenFile: cfg.TokenFile, auth: cfg.Auth, host: cfg.Host}
	l.clear = cfg.TLS != config.TLSNone || isLoopback(cfg.Host)
	if l.tokenFile != "" {
		l.auth = config.SMTPAuthXOAuth2
	}
	return l
}

// in logs in, where there is a user name.
func (l login) in(client *smtp.Client) *failure {
	if l.username == "" {
		return nil
	}
	_, offered := client.Extension("AUTH")
	method, err := l.method(strings.Fields(strings.ToUpper(offered)))
	if err == nil {
		err = client.Auth(method)
	}
	if err != nil {
		return &failure{stageAuth, err}
	}
	return nil
}

// method is the best of the offered ways to log in that the configuration
// allows. PLAIN, LOGIN and XOAUTH2 show the secret to whoever listens, so they
// are not used without TLS beyond this machine; SCRAM (RFC 5802) and CRAM-MD5
// do not show it.
func (l login) method(offered []string) (smtp.Auth, error) {
	for _, m := range [...]struct {
		name  config.SMTPAuth
		shows bool
	}{{config.SMTPAuthScramSHA256, false}, {config.SMTPAuthPlain, true}, {config.SMTPAuthLogin, true}, {config.SMTPAuthCRAMMD5, false}, {config.SMTPAuthXOAuth2, true}} {
		if l.allows(m.name) && (l.clear || !m.shows) && slices.Contains(offered, strings.ToUpper(string(m.name))) {
			return l.by(m.name)
		}
	}
	return nil, errNoAuth
}

func (l login) allows(name config.SMTPAuth) bool {
	if l.auth == config.SMTPAuthAuto || l.auth == "" {
		return name != config.SMTPAuthXOAuth2
	}
	return l.auth == name
}

func (l login) by(name config.SMTPAuth) (smtp.Auth, error) {
	switch name {
	case config.SMTPAuthScramSHA256:
		return smtp.ScramSHA256Auth(l.username, l.password.Reveal()), nil
	case config.SMTPAuthPlain:
		return smtp.PlainAuth("", l.username, l.password.Reveal(), l.host, true), nil
	case config.SMTPAuthLogin:
		return smtp.LoginAuth(l.username, l.password.Reveal(), l.host, true), nil
	case config.SMTPAuthCRAMMD5:
		return smtp.CRAMMD5Auth(l.username, l.password.Reveal()), nil
	}
	token, err := readToken(l.tokenFile)
	if err != nil {
		return nil, err
	}
	return smtp.XOAuth2Auth(l.username, token), nil
}

// readToken is the access token in a file. What is wrong is said without a
// word of what the file holds.
func readToken(file string) (string, error) {
	raw, err := os.ReadFile(file)
	token := strings.TrimSpace(string(raw))
	if err != nil || token == "" || len(token) > mostToken || !isPrintable(token) {
		return "", errToken
	}
	return token, nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
