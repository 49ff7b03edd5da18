package config

import (
	"fmt"
	"net"
	"net/netip"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
	"golang.org/x/net/idna"
)

// KeyedRate is the rate of one name, or of every name under a pattern: one for
// each of them.
type KeyedRate struct {
	Name string // canonical: "gmail.com", "*.acme.example", "*"
	Rate Rate   // zero: none, whatever a wider pattern says
}

// RateTable is rates by name, written as a mapping: {gmail.com: 20/s, "*": 50/s}.
// The narrowest entry counts: the name itself, then the longest pattern *.name
// that it is under, then *.
type RateTable []KeyedRate

// EmailRates are the rates of mail beside the channel's.
type EmailRates struct {
	Domains RateTable `yaml:"domains" doc:"how many a second to the recipients of one domain, as {gmail.com: 20/s, \"*.acme.example\": 5/s, \"*\": 50/s}; a pattern is a rate for each name under it, and an empty rate exempts"`
	Tenants RateTable `yaml:"tenants" doc:"how many mails a second of one tenant, as {acme: 100/s, \"*\": 20/s}"`
}

// HostRates are the rates of webhooks, and of Web Push, beside the channel's.
type HostRates struct {
	Hosts   RateTable `yaml:"hosts" doc:"how many a second to one host, all its ports together unless one is named, as {hooks.acme.example: 20/s, \"*.example.com\": 5/s, \"*\": 50/s}; a pattern is a rate for each name under it, and an empty rate exempts"`
	Tenants RateTable `yaml:"tenants" doc:"how many requests a second of one tenant, as {acme: 100/s, \"*\": 20/s}"`
}

// AppRates are the rates of pushes by APNs beside the channel's.
type AppRates struct {
	Apps    RateTable `yaml:"apps" doc:"how many pushes a second to the devices of one app, as {com.acme.app: 1000/s, \"*\": 100/s}"`
	Tenants RateTable `yaml:"tenants" doc:"how many pushes a second of one tenant, as {acme: 100/s, \"*\": 20/s}"`
}

// TenantRates are the rates of a channel, beside its own, that has but one
// account.
type TenantRates struct {
	Tenants RateTable `yaml:"tenants" doc:"how many pushes a second of one tenant, as {acme: 100/s, \"*\": 20/s}"`
}

// KeyedRates are a channel's rates by what each is counted by; a table that the
// channel does not have is empty. Relays are by account, without patterns.
type KeyedRates struct{ Domains, Hosts, Tenants, Apps, Relays RateTable }

// RatesOf are the rates of a channel beside its own; none when it is off.
func (c *Channels) RatesOf(channel string) (out KeyedRates) {
	switch {
	case channel == "email" && c.Email != nil:
		return KeyedRates{Domains: c.Email.Rates.Domains.canonical(), Tenants: c.Email.Rates.Tenants, Relays: c.Email.relayRates()}
	case channel == "apns" && c.APNs != nil:
		return KeyedRates{Apps: c.APNs.Rates.Apps, Tenants: c.APNs.Rates.Tenants}
	case channel == "fcm" && c.FCM != nil:
		return KeyedRates{Tenants: c.FCM.Rates.Tenants}
	case channel == "webpush" && c.WebPush != nil:
		return KeyedRates{Hosts: c.WebPush.Rates.Hosts.canonical(), Tenants: c.WebPush.Rates.Tenants}
	case channel == "webhook" && c.Webhook != nil:
		return KeyedRates{Hosts: c.Webhook.Rates.Hosts.canonical(), Tenants: c.Webhook.Rates.Tenants}
	}
	return out
}

// RateAccount is what the relay's rate is counted by: its account, or its host
// and port.
func (c *SMTP) RateAccount() string {
	if c.Account != "" {
		return c.Account
	}
	return net.JoinHostPort(CanonicalHost(c.Host), strconv.Itoa(c.Port))
}

// relayRates are the rates of the relays that have one, each account once.
func (c *Email) relayRates() (out RateTable) {
	for _, relay := range c.Servers() {
		entry := KeyedRate{relay.RateAccount(), relay.Rate}
		if !relay.Rate.IsZero() && !slices.Contains(out, entry) {
			out = append(out, entry)
		}
	}
	return out
}

// FreeRelay reports whether a relay has no rate.
func (c *Email) FreeRelay() bool {
	return slices.ContainsFunc(c.Servers(), func(r Relay) bool { return r.Rate.IsZero() })
}

// checkRelayRates wants one rate of each account.
func (c *Email) checkRelayRates(r *rules) {
	at := func(i int) string {
		if len(c.Relays) == 0 {
			return "channels.email.smtp"
		}
		return fmt.Sprintf("channels.email.relays[%d]", i)
	}
	if len(c.Relays) > 0 && !c.SMTP.Rate.IsZero() {
		r.fault("channels.email.smtp.rate", c.SMTP.Rate.String(), "stands beside relays: give it to one of them")
	}
	first := map[string]int{}
	for i, relay := range c.Servers() {
		account := relay.RateAccount()
		other, taken := first[account]
		switch {
		case checkTime(r, at(i)+".rate", relay.Rate):
		case !taken:
			first[account] = i
		case relay.Rate != c.Relays[other].Rate:
			r.fault(at(i)+".rate", relay.Rate.String(), fmt.Sprintf("differs from %s.rate, of the same account %q: give both the same, or each an account of its own", at(other), account))
		}
	}
}

// Of is the entry that a canonical name comes under; false when there is none,
// or it has no rate.
func (t RateTable) Of(name string) (KeyedRate, bool) {
	best, width := -1, -1
	for i := range t {
		if n := t[i].covers(name); n > width {
			best, width = i, n
		}
	}
	if best < 0 || t[best].Rate.IsZero() {
		return KeyedRate{}, false
	}
	return t[best], true
}

// covers is how narrowly an entry describes a name; -1 when it does not.
func (r KeyedRate) covers(name string) int {
	suffix, pattern := strings.CutPrefix(r.Name, "*")
	switch {
	case !pattern && r.Name == name:
		return 1 << 16
	case pattern && len(name) > len(suffix) && strings.HasSuffix(name, suffix):
		return len(suffix)
	}
	return -1
}

// CanonicalHost is a host's or a domain's name as it is counted by: in lower
// case, in ASCII (RFC 5891), without the root's dot; a port stays. A name that
// cannot be one stays as it is, in lower case.
func CanonicalHost(name string) string {
	if isPlainHost(name) {
		return name
	}
	host, port := name, ""
	if i := strings.LastIndexByte(name, ':'); i >= 0 && strings.IndexByte(name, ':') == i {
		host, port = name[:i], name[i:]
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if ascii, err := idna.Lookup.ToASCII(host); err == nil {
		host = ascii
	}
	return host + port
}

// isPlainHost reports whether nothing is to be done: nearly every name is so.
func isPlainHost(name string) bool {
	for i := range len(name) {
		switch c := name[i]; {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '-', c == '_', c == ':':
		case c == '.' && i < len(name)-1 && name[i+1] != ':':
		default:
			return false
		}
	}
	return true
}

// decodeTable sets v, a RateTable, to the pairs of mapping n.
func (l *loader) decodeTable(key string, n *yaml.Node, v reflect.Value) {
	switch {
	case isNull(n):
		v.SetZero()
		return
	case n.Kind != yaml.MappingNode:
		l.fault(key, n, "", fmt.Sprintf("is %s, want names with a rate each: write it as {name: 20/s, \"*\": 50/s}", kindOf(n)))
		return
	}
	table, lines := RateTable{}, map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, value := n.Content[i], n.Content[i+1]
		if k.Kind != yaml.ScalarNode {
			l.fault(key, k, "", "a name here is not a word")
			continue
		}
		at := child(key, plainKey(k.Value))
		if line := lines[k.Value]; line > 0 {
			l.fault(at, k, "", fmt.Sprintf("is set twice, first on line %d: keep one", line))
			continue
		}
		lines[k.Value] = max(k.Line, 1)
		entry := KeyedRate{Name: k.Value}
		l.decode(at, value, reflect.ValueOf(&entry.Rate).Elem(), field{})
		table = append(table, entry)
	}
	v.Set(reflect.ValueOf(table))
}

// tableNode is a RateTable as YAML.
func tableNode(t RateTable) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode}
	if len(t) == 0 {
		n.Style = yaml.FlowStyle
	}
	for _, r := range t {
		n.Content = append(n.Content, textNode(reflect.ValueOf(r.Name)), textNode(reflect.ValueOf(r.Rate)))
	}
	return n
}

// tableSchema describes a RateTable.
func tableSchema() *schema {
	return &schema{Type: "object", PatternProperties: properties{{".", textSchema(reflect.TypeFor[Rate](), field{})}}, AdditionalProperties: new(false)}
}

// slowest is the lowest rate that a table may have: one in 31 days.
const slowest = MaxCapWindow

// quickest is the shortest time that a rate may be in.
const quickest = time.Millisecond

// checkRates checks the tables of every channel that is on.
func (c *Channels) checkRates(r *rules) {
	if c.Email != nil {
		c.Email.Rates.Domains.check(r, "channels.email.rates.domains", hostPattern(false))
	}
	if c.WebPush != nil {
		c.WebPush.Rates.Hosts.check(r, "channels.webpush.rates.hosts", hostPattern(true))
	}
	if c.Webhook != nil {
		c.Webhook.Rates.Hosts.check(r, "channels.webhook.rates.hosts", hostPattern(true))
	}
	if c.APNs != nil {
		c.APNs.Rates.Apps.check(r, "channels.apns.rates.apps", appName)
	}
	for channel, limits := range c.limits() {
		checkTime(r, "channels."+channel+".rate", limits.Rate)
		c.RatesOf(channel).Tenants.check(r, "channels."+channel+".rates.tenants", tenantName)
	}
}

// check checks a table's names, which canonical makes canonical or finds
// wrong, and its rates.
func (t RateTable) check(r *rules, at string, canonical func(string) (name, wrong string)) {
	first := map[string]string{}
	for i := range t {
		written := t[i].Name
		key := child(at, plainKey(written))
		name, wrong := canonical(written)
		if wrong != "" {
			r.fault(key, written, wrong)
			continue
		}
		if other, taken := first[name]; taken {
			r.fault(key, written, "is the same as "+plainKey(other)+" beside it: keep one")
			continue
		}
		first[name] = written
		checkTime(r, key, t[i].Rate)
	}
}

// checkTime refuses a rate whose time is longer than what is counted lives, or
// so short that Redis, which counts in float64, would lose count. It reports
// whether it did.
func checkTime(r *rules, key string, rate Rate) (refused bool) {
	switch {
	case rate.IsZero():
		return false
	case rate.Per > slowest:
		r.fault(key, rate.String(), "is too slow: want at least one in 31d")
	case rate.Per < quickest:
		r.fault(key, rate.String(), "is too fine: want how many in at least 1ms, as 100/s")
	default:
		return false
	}
	return true
}

// canonical is the table with canonical names.
func (t RateTable) canonical() RateTable {
	t = slices.Clone(t)
	for i := range t {
		if t[i].Name != "*" {
			t[i].Name = CanonicalHost(t[i].Name)
		}
	}
	return t
}

var (
	hostForm   = regexp.MustCompile(`^[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*$`)
	portForm   = regexp.MustCompile(`:[1-9][0-9]{0,4}$`)
	tenantForm = regexp.MustCompile(`^([A-Za-z0-9._-]{1,64}|\*)$`)
	appForm    = regexp.MustCompile(`^([A-Za-z0-9._-]{1,255}|\*)$`)
)

// hostPattern makes a host's name, or a pattern of names, canonical.
func hostPattern(ports bool) func(string) (string, string) {
	return func(written string) (name, wrong string) {
		if written == "*" {
			return written, ""
		}
		name = CanonicalHost(written)
		host, pattern := strings.CutPrefix(name, "*.")
		if port := portForm.FindString(host); ports && !pattern && isPort(port) {
			host = strings.TrimSuffix(host, port)
		}
		if bare := strings.Trim(host, "[]"); strings.Contains(host, ":") {
			if _, err := netip.ParseAddr(bare); err == nil && !pattern {
				return name, ""
			}
		}
		switch {
		case hostForm.MatchString(host) && len(host) <= 253:
			return name, ""
		case ports:
			return "", "is no host: write it without scheme and path, as hooks.acme.example or hooks.acme.example:8443, as *.acme.example for each host under a name, or as * for each other one"
		}
		return "", "is no domain: write what stands behind the @, as gmail.com, *.acme.example for each domain under a name, or * for each other one"
	}
}

// isPort reports whether text is a colon and a port.
func isPort(text string) bool {
	n, err := strconv.ParseUint(strings.TrimPrefix(text, ":"), 10, 16)
	return err == nil && n > 0
}

func tenantName(written string) (name, wrong string) {
	if !tenantForm.MatchString(written) {
		return "", "is no tenant: want letters, digits, dots, dashes and underscores, or * for each other one"
	}
	return written, ""
}

func appName(written string) (name, wrong string) {
	if !appForm.MatchString(written) {
		return "", "is no app: want its bundle id, as com.acme.app, or * for each other one"
	}
	return written, ""
}
