package webhook

import (
	"encoding/base64"
	"errors"
	"net"
	"net/url"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"
	"golang.org/x/net/idna"

	"github.com/carillonhq/carillon/channels"
	"github.com/carillonhq/carillon/channels/egress"
)

var (
	errAddress = errors.New("the webhook's address is not an http or https URL")
	errHost    = errors.New("the webhook's address names a host that cannot be one")
)

// endpoint is a URL taken apart for sending.
type endpoint struct {
	secure  bool
	name    string // the host without its port, as names are resolved: ASCII, lower case
	address string // "host:port"
	host    string // the Host field (RFC 9112 §3.2)
	path    string // the request's target: path and query
	user    string // Authorization, from the URL's userinfo; empty without
}

// parseEndpoint takes a URL apart. An internationalised name becomes what is
// looked up (RFC 5891 §4.4), so that letters which look like others, and digits
// which are not ASCII's, are what they are before anything is decided by the
// host. No error repeats the URL, since it may hold a token.
func parseEndpoint(raw string) (endpoint, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return endpoint{}, errAddress
	}
	e := endpoint{secure: u.Scheme == "https", path: u.RequestURI()}
	if e.name, err = asciiHost(u.Hostname()); err != nil {
		return endpoint{}, err
	}
	port := u.Port()
	e.host = e.name
	if strings.Contains(e.name, ":") {
		e.host = "[" + e.name + "]"
	}
	switch {
	case port != "":
		e.host += ":" + port
	case e.secure:
		port = "443"
	default:
		port = "80"
	}
	e.address = net.JoinHostPort(e.name, port)
	if u.User != nil {
		password, _ := u.User.Password()
		e.user = "Basic " + base64.StdEncoding.EncodeToString([]byte(u.User.Username()+":"+password))
	}
	if !httpguts.ValidHostHeader(e.host) || !httpguts.ValidHeaderFieldValue(e.path) || strings.Contains(e.path, " ") {
		return endpoint{}, errAddress
	}
	return e, nil
}

// asciiHost is a host as it is looked up.
func asciiHost(host string) (string, error) {
	host = strings.ToLower(host)
	if !ascii(host) {
		converted, err := idna.Lookup.ToASCII(host)
		if err != nil {
			return "", errHost
		}
		host = converted
	}
	// A zone names an interface of this machine, which no endpoint is behind.
	if host == "" || strings.Contains(host, "%") {
		return "", errHost
	}
	return host, egress.CheckHost(host)
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// envelope is what goes around a body.
type envelope struct {
	id, stamp, signature string
	more                 []byte // the destination's own fields, as lines
}

// appendRequest appends a whole request: the line, the fields and the body.
// Every value in it has been checked to hold no line break.
func (a *Adapter) appendRequest(b []byte, e *endpoint, env *envelope, body []byte) []byte {
	b = append(b, "POST "...)
	b = append(b, e.path...)
	b = append(b, " HTTP/1.1\r\n"...)
	b = appendField(b, "Host", e.host)
	b = appendField(b, "User-Agent", a.userAgent)
	if e.user != "" {
		b = appendField(b, "Authorization", e.user)
	}
	b = append(b, "Content-Type: application/json\r\nContent-Length: "...)
	b = strconv.AppendInt(b, int64(len(body)), 10)
	b = append(b, "\r\n"...)
	b = appendField(b, "webhook-id", env.id)
	b = appendField(b, "webhook-timestamp", env.stamp)
	if env.signature != "" {
		b = appendField(b, "webhook-signature", env.signature)
	}
	b = append(b, env.more...)
	b = append(b, "\r\n"...)
	return append(b, body...)
}

func appendField(b []byte, name, value string) []byte {
	b = append(b, name...)
	b = append(b, ": "...)
	b = append(b, value...)
	return append(b, "\r\n"...)
}

// prepare makes the request of a message; an error is the message's own fault.
func (a *Adapter) prepare(m *channels.Message, e *endpoint, more []byte, b []byte) ([]byte, error) {
	body := []byte(m.Content.Webhook)
	if len(body) == 0 {
		return nil, errors.New("the notification has no webhook content")
	}
	if !httpguts.ValidHeaderFieldValue(m.ID) {
		return nil, errors.New("the delivery's id cannot be a header's value")
	}
	stamp := strconv.FormatInt(a.now().Unix(), 10)
	signature, err := sign(m.Address.Secret, m.ID, stamp, body)
	if err != nil {
		return nil, err
	}
	return a.appendRequest(b, e, &envelope{m.ID, stamp, signature, more}, body), nil
}
