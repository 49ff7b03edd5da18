package notice

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"net/mail"
	"net/url"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
)

// Bounds of addresses in bytes.
const (
	MaxEmail   = 254  // RFC 5321 §4.5.3.1.3, less the angle brackets
	MaxToken   = 4096 // a device token, or a Web Push subscription
	MaxWebhook = 2048
)

// check holds the recipient and the addresses given inline against their
// rules. No token and no secret is repeated in a fault.
func (r *Recipient) check(f *Faults) {
	if r.User == "" && !r.HasAddress() {
		f.Add("/to", "names nobody: give user, email, devices or webhooks")
	}
	addIf(f, "/to/user", r.User, CheckUser)
	addIf(f, "/to/email", r.Email, CheckEmail)
	addIf(f, "/to/locale", r.Locale, CheckLocale)
	addIf(f, "/to/timezone", r.Timezone, CheckTimezone)
	switch {
	case len(r.Name) > MaxName:
		f.Add("/to/name", tooLong(len(r.Name), MaxName))
	case !printable(r.Name):
		f.Add("/to/name", unprintable(r.Name))
	}
	r.checkDevices(f)
	r.checkWebhooks(f)
}

// addIf checks a field that may be absent.
func addIf(f *Faults, pointer, value string, check func(string) string) {
	if value == "" {
		return
	}
	if detail := check(value); detail != "" {
		f.Add(pointer, detail)
	}
}

func (r *Recipient) checkDevices(f *Faults) {
	if len(r.Devices) > MaxAddresses {
		f.Add("/to/devices", fmt.Sprintf("are %d: at most %d", len(r.Devices), MaxAddresses))
		return
	}
	for i := range r.Devices {
		r.Devices[i].Check("/to/devices/"+strconv.Itoa(i), f)
	}
}

func (r *Recipient) checkWebhooks(f *Faults) {
	if len(r.Webhooks) > MaxAddresses {
		f.Add("/to/webhooks", fmt.Sprintf("are %d: at most %d", len(r.Webhooks), MaxAddresses))
		return
	}
	for i := range r.Webhooks {
		r.Webhooks[i].Check("/to/webhooks/"+strconv.Itoa(i), f)
	}
}

// CheckEmail says what is wrong with a mail address, with the mend; empty when
// it can be one. A display name is not part of an address.
func CheckEmail(s string) string {
	if len(s) > MaxEmail {
		return tooLong(len(s), MaxEmail)
	}
	if plainEmail(s) {
		return ""
	}
	a, err := mail.ParseAddress(s)
	if err != nil || a.String() != "<"+s+">" || !printable(s) {
		return fmt.Sprintf("%q cannot be a mail address: write it as ada@example.com", clip(s))
	}
	return ""
}

// plainEmail recognises nearly every real address without parsing: dot-atoms
// of ASCII on both sides of one "@" (RFC 5321 §4.1.2).
func plainEmail(s string) bool {
	local, domain, ok := strings.Cut(s, "@")
	return ok && len(local) <= 64 && dotAtom(local, "!#$%&'*+-/=?^_`{|}~") && dotAtom(domain, "-")
}

// dotAtom reports whether s is letters, digits and extra, with single dots
// between.
func dotAtom(s, extra string) bool {
	last := byte('.')
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '.' && last == '.' || c != '.' && !isAlphanumeric(c) && strings.IndexByte(extra, c) < 0 {
			return false
		}
		last = c
	}
	return last != '.'
}

// Check adds what is wrong with d, whose own pointer is at.
func (d *Device) Check(at string, f *Faults) {
	switch {
	case d.Platform.Channel() == "":
		f.Add(at+"/platform", unknownWord("platform", string(d.Platform), words([]Platform{PlatformIOS, PlatformAndroid, PlatformWeb})))
	case d.Token == "":
		f.Add(at+"/token", "is empty: give the token that the device was registered with")
	case len(d.Token) > MaxToken:
		f.Add(at+"/token", tooLong(len(d.Token), MaxToken))
	default:
		if detail := checkToken(d.Platform, d.Token); detail != "" {
			f.Add(at+"/token", detail)
		}
	}
	if len(d.App) > MaxName || !printable(d.App) {
		f.Add(at+"/app", fmt.Sprintf("%q cannot be an app's topic: use its bundle id, at most %d bytes", clip(d.App), MaxName))
	}
	checkWord(f, at+"/environment", "environment", string(d.Environment), string(EnvironmentProduction), string(EnvironmentSandbox))
}

func checkToken(p Platform, token string) string {
	switch p {
	case PlatformIOS:
		// Apple's documentation asks not to assume a length; 32 bytes is what
		// there has been so far.
		if len(token) < 32 || len(token) > 400 || len(token)%2 != 0 || strings.Trim(token, "0123456789abcdefABCDEF") != "" {
			return "cannot be an iOS device token: give it in hex, 64 digits as a rule"
		}
	case PlatformAndroid:
		if IsTopic(token) {
			return checkTopic(token)
		}
		if !printable(token) || strings.ContainsAny(token, " \"\\") {
			return "cannot be an FCM registration token: it has spaces, quotes or control characters"
		}
	case PlatformWeb:
		return checkSubscription(token)
	}
	return ""
}

// subscription is a browser's PushSubscription as JSON
// (https://www.w3.org/TR/push-api/#dom-pushsubscription-tojson).
type subscription struct {
	Endpoint string `json:"endpoint"`
	Keys     struct {
		P256dh string `json:"p256dh"`
		Auth   string `json:"auth"`
	} `json:"keys"`
}

// checkSubscription holds a Web Push token against RFC 8291: an endpoint, a
// P-256 point of 65 bytes and a secret of 16.
func checkSubscription(token string) string {
	var s subscription
	if err := json.Unmarshal([]byte(token), &s); err != nil {
		return "want the browser's subscription as JSON in a string: JSON.stringify(subscription)"
	}
	if checkURL(s.Endpoint) != "" { // not repeated: whoever knows it may push
		return "the subscription's endpoint is no https:// URL"
	}
	if n := base64Length(s.Keys.P256dh); n != 65 {
		return "the subscription's keys.p256dh is no P-256 public key: want 65 bytes in base64url"
	}
	if n := base64Length(s.Keys.Auth); n != 16 {
		return "the subscription's keys.auth is no secret: want 16 bytes in base64url"
	}
	return ""
}

// base64Length is how many bytes s holds in base64url, padded or not; -1 when
// it is none.
func base64Length(s string) int {
	b, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(s, "="))
	if err != nil {
		return -1
	}
	return len(b)
}

// Check adds what is wrong with w, whose own pointer is at.
func (w *Webhook) Check(at string, f *Faults) {
	if detail := checkURL(w.URL); detail != "" {
		f.Add(at+"/url", detail)
	}
	for secret := range strings.FieldsSeq(w.Secret) {
		if !validSecret(secret) {
			f.Add(at+"/secret", `is no Standard Webhooks secret: write "whsec_" and the base64 of 24 to 64 bytes, or "whsk_" and the base64 of an ed25519 private key, several separated by spaces`)
			return
		}
	}
}

// validSecret accepts both kinds of Standard Webhooks keys: a symmetric secret,
// and an ed25519 private key of 32 bytes (RFC 8032 §5.1.5), or of 64 with its
// public half behind it.
func validSecret(s string) bool {
	if encoded, ok := strings.CutPrefix(s, "whsk_"); ok {
		return validPrivateKey(encoded)
	}
	encoded, ok := strings.CutPrefix(s, "whsec_")
	if !ok {
		return false
	}
	key, err := base64.StdEncoding.DecodeString(encoded)
	return err == nil && len(key) >= 24 && len(key) <= 64
}

func validPrivateKey(encoded string) bool {
	key, err := base64.StdEncoding.DecodeString(encoded)
	switch {
	case err != nil:
		return false
	case len(key) == ed25519.PrivateKeySize:
		return bytes.Equal(ed25519.NewKeyFromSeed(key[:ed25519.SeedSize]), key)
	}
	return len(key) == ed25519.SeedSize
}

// checkURL says why s is no URL to send to. It repeats s only when that holds
// no password.
func checkURL(s string) string {
	switch {
	case s == "":
		return "is empty: give an https:// URL"
	case len(s) > MaxWebhook:
		return tooLong(len(s), MaxWebhook)
	}
	u, err := url.Parse(s)
	switch {
	case err != nil || !printable(s) || strings.Contains(s, " "):
		return "is no URL: write it as https://example.com/hook"
	case u.User != nil:
		return "holds a user name or password: sign with a secret instead"
	case u.Scheme != "https" && u.Scheme != "http":
		return fmt.Sprintf("%q is no http or https URL: write it as https://example.com/hook", clip(s))
	case u.Hostname() == "" || !validPort(u.Port()):
		return fmt.Sprintf("%q names no host, or no port that can be: write it as https://example.com/hook", clip(s))
	}
	return ""
}

func validPort(p string) bool {
	if p == "" {
		return true
	}
	n, err := strconv.Atoi(p)
	return err == nil && n > 0 && n < 1<<16
}
