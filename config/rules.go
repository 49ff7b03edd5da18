package config

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Validate checks every value and the rules between values, as Load has done;
// it is for a caller that changed c since, by its flags. The faults name keys,
// not places. Sections that are absent are not checked.
func (c *Config) Validate() Faults {
	r := &rules{broken: map[string]bool{}}
	r.section("", reflect.ValueOf(c).Elem())
	c.Redis.check(r)
	c.Queue.check(r, &c.Channels)
	c.checkListeners(r)
	c.Auth.check(r, c.Ingest.Listen)
	checkTenants(r, c.Tenants)
	c.Assets.check(r)
	c.Throttle.check(r, c.Auth.Keys)
	c.Channels.check(r)
	c.Feedback.check(r)
	for i := range c.Routes {
		c.Routes[i].check(r, fmt.Sprintf("routes[%d]", i))
	}
	c.Retry.check(r, "retry")
	return r.faults
}

// ValidateIngest checks what only the HTTP API needs: that somebody may call
// it. A consumer runs without.
func (c *Config) ValidateIngest() Faults {
	if c.Auth.Disabled || len(c.Auth.Keys) > 0 {
		return nil
	}
	return Faults{{Key: "auth", Detail: "has no keys, so nobody could call the API: " +
		"set auth.keys to [{tenant: NAME, key: \"${ENV_NAME}\"}], or auth.disabled to true while ingest.listen is a loopback address"}}
}

// rules collects what breaks them, one fault a key: the first found, since
// what follows from a wrong value is noise.
type rules struct {
	faults Faults
	broken map[string]bool // by key
}

// fault says that key's value breaks a rule. A key's password must not be in
// value; an absent value is "".
func (r *rules) fault(key, value, detail string) {
	if r.broken[key] {
		return
	}
	r.broken[key] = true
	r.faults = append(r.faults, Fault{Key: key, Value: redactURL(value), Detail: detail})
}

// section checks every field of v against its tags.
func (r *rules) section(path string, v reflect.Value) {
	for _, f := range fieldsOf(v.Type()) {
		r.value(child(path, f.key), v.FieldByIndex(f.index), f)
	}
}

// value checks v, the value of path, and what it holds.
func (r *rules) value(path string, v reflect.Value, f field) {
	switch shapeOf(v.Type()) {
	case shapeSection:
		r.present(path, v, f)
	case shapeTable: // checkRates
	case shapeList:
		if f.required && v.Len() == 0 {
			r.fault(path, "", "is missing: want "+f.want)
		}
		f.required = false
		for i := range v.Len() {
			r.value(fmt.Sprintf("%s[%d]", path, i), v.Index(i), f)
		}
	default:
		r.text(path, v, f)
	}
}

// present checks a section, unless it may be and is absent.
func (r *rules) present(path string, v reflect.Value, f field) {
	switch {
	case v.Kind() != reflect.Pointer:
		r.section(path, v)
	case !v.IsNil():
		r.section(path, v.Elem())
	case f.required:
		r.fault(path, "", "is missing: want "+f.want)
	}
}

// text checks one scalar against its field's tags.
func (r *rules) text(path string, v reflect.Value, f field) {
	shown := textOf(v)
	switch {
	case shown == "" && f.required:
		r.fault(path, "", "is missing: want "+f.want)
	case len(f.enum) > 0:
		if !slices.Contains(f.enum, shown) {
			r.fault(path, shown, notOneOf(shown, f.enum))
		}
	case shown != "" && f.pattern != "" && !regexp.MustCompile(f.pattern).MatchString(shown):
		r.fault(path, shown, "is not "+f.want)
	case outOfRange(v, f):
		r.fault(path, shown, rangeWords(f))
	}
}

// textOf is v as it may be shown: as it is written in a file, a secret and a
// URL's password hidden.
func textOf(v reflect.Value) string {
	switch s := v.Interface().(type) {
	case fmt.Stringer:
		return s.String()
	case string:
		return s
	}
	return fmt.Sprint(v.Interface())
}

// notOneOf words a fault for a word that is not among the known.
func notOneOf(word string, known []string) string {
	detail := "is not one of " + strings.Join(known, ", ")
	if word == "" {
		return "is empty, want one of " + strings.Join(known, ", ")
	}
	if near := nearest(word, known); near != "" {
		detail += ": did you mean " + near + "?"
	}
	return detail
}

// outOfRange reports whether the number v breaks its field's min or max.
func outOfRange(v reflect.Value, f field) bool {
	return f.min != "" && v.Int() < limit(f.min, v.Type()) || f.max != "" && v.Int() > limit(f.max, v.Type())
}

// limit reads a min or max tag.
func limit(tag string, t reflect.Type) int64 {
	v := reflect.New(t).Elem()
	setText(v, tag)
	return v.Int()
}

// rangeWords says what a field's min and max allow.
func rangeWords(f field) string {
	switch {
	case f.max == "":
		return "is too small: want " + f.min + " or more"
	case f.min == "":
		return "is too large: want " + f.max + " or less"
	}
	return "is out of range: want " + f.min + " to " + f.max
}

// listenHost takes a listen address apart; wrong tells what is amiss with it.
func listenHost(address string) (host string, port int, wrong string) {
	host, portText, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, "is not host:port: write it as 127.0.0.1:8080, or :8080 for every interface"
	}
	port, err = strconv.Atoi(portText)
	if err != nil || port < 0 || port > 65535 {
		return "", 0, "has no port from 0 to 65535: write it as 127.0.0.1:8080"
	}
	return host, port, ""
}

// isLoopback reports whether host is reached from this machine alone.
func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}

// checkURL checks that value is a URL of one of the schemes; plain http is
// let through to a loopback host, where there is nobody to listen in.
func (r *rules) checkURL(key, value string, schemes ...string) {
	u, err := url.Parse(value)
	switch {
	case err != nil || u.Host == "":
		r.fault(key, value, "is no URL: write it as "+schemes[0]+"://host")
	case u.Scheme == "http" && isLoopback(u.Hostname()):
	case !slices.Contains(schemes, u.Scheme):
		r.fault(key, value, "is not "+strings.Join(schemes, " or ")+": write it as "+schemes[0]+"://host")
	}
}

// checkNetworks checks a list of CIDRs.
func (r *rules) checkNetworks(key string, networks []string) {
	for i, network := range networks {
		if _, err := netip.ParsePrefix(network); err != nil {
			r.fault(fmt.Sprintf("%s[%d]", key, i), network, "is no network: write it as 10.0.0.0/8 or fd00::/8")
		}
	}
}
