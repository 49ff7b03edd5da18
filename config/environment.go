package config

import (
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// decodeEnvironment lays the CARILLON_ variables over cfg, a section's before
// those of its keys. An empty variable counts as not set, since that is what
// a deployment that passes on an unset one gives.
func (l *loader) decodeEnvironment(cfg *Config) {
	known := map[string]bool{PathVariable: true}
	walkKeys(reflect.TypeFor[Config](), "", func(path string, f field) {
		name := envName(path)
		known[name] = true
		if text := l.env[name]; text != "" {
			l.decodeVariable(name, path, text, reflect.ValueOf(cfg).Elem(), f)
		}
	})
	l.refuseUnknownVariables(known)
}

// PathVariable is the environment variable that names the configuration file
// where a command line does not. It is no key, so a file cannot set it.
const PathVariable = envPrefix + "CONFIG"

// decodeVariable decodes one variable's text into the key at path.
func (l *loader) decodeVariable(name, path, text string, root reflect.Value, f field) {
	l.from = source{name: name}
	n := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: text}
	if shapeOf(f.typ) != shapeText {
		parsed, _, err := parseYAML([]byte(text))
		if err != nil {
			l.fault(path, n, "", "is no YAML: write a list as [one, two] and a section as {key: value}")
			return
		}
		n = parsed
	}
	l.decode(path, n, l.reach(path, root), f)
}

// reach is the value at path, with every absent section on the way made.
func (l *loader) reach(path string, v reflect.Value) reflect.Value {
	for key := range strings.SplitSeq(path, ".") {
		v = present(v)
		f, _ := fieldNamed(fieldsOf(v.Type()), key)
		v = v.FieldByIndex(f.index)
	}
	return v
}

// refuseUnknownVariables faults each CARILLON_ variable that sets nothing.
func (l *loader) refuseUnknownVariables(known map[string]bool) {
	names := slices.Sorted(maps.Keys(known))
	for _, name := range slices.Sorted(maps.Keys(l.env)) {
		if !strings.HasPrefix(name, envPrefix) || known[name] || l.named[name] || isServiceLink(name, l.env[name]) {
			continue
		}
		detail := "sets nothing: unset it"
		if near := nearest(name, names); near != "" {
			detail = fmt.Sprintf("sets nothing: did you mean %s?", near)
		}
		l.faults = append(l.faults, Fault{Source: name, Detail: detail})
	}
}

var (
	serviceLink = regexp.MustCompile(`^CARILLON_(.+_)?(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$`)
	portLink    = regexp.MustCompile(`^(tcp|udp|sctp)://`)
)

// isServiceLink reports whether Kubernetes set the variable: every pod gets
// CARILLON_SERVICE_HOST, CARILLON_PORT=tcp://… and more for a service that is
// named carillon or carillon-something beside it.
// https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
func isServiceLink(name, value string) bool {
	return serviceLink.MatchString(name) || strings.HasSuffix(name, "_PORT") && portLink.MatchString(value)
}
