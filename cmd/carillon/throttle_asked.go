package main

import (
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/notice"
)

// askedUser is the user that a command line names.
func askedUser(user string) error {
	if wrong := notice.CheckUser(user); wrong != "" {
		return usage(fmt.Errorf("the user %s", oneLine(printable(wrong))))
	}
	return nil
}

// tenantForm is what a tenant's name may be, as in auth.keys.
var tenantForm = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// askedTenant is the tenant of --tenant, or the only one that there is.
func askedTenant(flag string, cfg *config.Config) (string, error) {
	known := tenantsWithKeys(cfg)
	switch {
	case flag == "" && len(known) > 1:
		return "", usage(fmt.Errorf("--tenant is missing, and auth.keys has several: give one of %s", strings.Join(known, ", ")))
	case flag == "":
		return soleTenant(cfg.Auth), nil
	case !tenantForm.MatchString(flag):
		return "", usage(fmt.Errorf("--tenant: %q is no tenant: want 1 to 64 letters, digits, dots, dashes and underscores", flag))
	}
	return flag, nil
}

// tenantsWithKeys are the tenants that have a key, sorted.
func tenantsWithKeys(cfg *config.Config) (names []string) {
	for _, k := range cfg.Auth.Keys {
		names = append(names, k.Tenant)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// strangeTenant says that a tenant has no key, where others have one: it may be
// a slip, or one whose notifications come by the inbox alone. Empty: it has.
func strangeTenant(tenant string, cfg *config.Config) string {
	known := tenantsWithKeys(cfg)
	if len(known) == 0 || slices.Contains(known, tenant) {
		return ""
	}
	return fmt.Sprintf("no key in auth.keys is of the tenant %s: those that have one are %s", tenant, strings.Join(known, ", "))
}

// askedChannel is the channel that a command line names.
func askedChannel(name string) (notice.Channel, error) {
	channel := notice.Channel(name)
	if channel.Valid() {
		return channel, nil
	}
	var known []string
	for _, c := range notice.Channels() {
		known = append(known, string(c))
	}
	mend := "want one of " + strings.Join(known, ", ")
	switch near := notice.Nearest(strings.ToLower(name), known); {
	case name == "push":
		mend = "push goes by apns, fcm and webpush: ask for one of them"
	case near != "":
		mend += ": did you mean " + near + "?"
	}
	return "", notSo(fmt.Errorf("%q is no channel: %s", name, mend))
}

// askedHost is the host that a command line names, in the form that consumers
// name it by. A whole URL or mail address may be pasted: what is not the host,
// and may be secret, is left out.
func askedHost(text string) (string, error) {
	scheme, rest, found := strings.Cut(text, "://")
	if !found {
		scheme, rest = "", text
	}
	if i := strings.IndexAny(rest, `/\?#`); i >= 0 {
		rest = rest[:i]
	}
	rest = rest[strings.LastIndexByte(rest, '@')+1:]
	switch {
	case rest == "":
		return "", usage(errors.New("the host is empty: give it as hooks.acme.example, or as hooks.acme.example:8443"))
	case strings.ContainsFunc(rest, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) || r == '*' }):
		return "", usage(fmt.Errorf("%q is no host: give one by its name, as hooks.acme.example, or as hooks.acme.example:8443", rest))
	}
	host := config.CanonicalHost(rest)
	if found {
		host = strings.ToLower(scheme) + "://" + host
	}
	return host, nil
}

// unreadableEvent says why --event could not be read, with the mend.
func unreadableEvent(name string, err error) error {
	mend := err.Error()
	var wrong *fs.PathError
	switch {
	case name == "":
		mend = "names no file: give one, or - for the standard input"
	case errors.Is(err, fs.ErrNotExist):
		mend = "does not exist: check the path, or give - for the standard input"
	case errors.Is(err, fs.ErrPermission):
		mend = "may not be read by you: check its permissions"
	case errors.As(err, &wrong):
		mend = "cannot be read: " + wrong.Err.Error() + ": give a file that holds a notification or a CloudEvent"
	}
	return usage(fmt.Errorf("--event %q %s", name, mend))
}
