package config

import (
	"fmt"
	"iter"
	"net/mail"
	"strconv"
	"strings"
)

// Channels has one section a channel; nil is off.
type Channels struct {
	Email   *Email   `yaml:"email" doc:"mail over SMTP"`
	APNs    *APNs    `yaml:"apns" doc:"Apple's push service"`
	FCM     *FCM     `yaml:"fcm" doc:"Firebase Cloud Messaging"`
	WebPush *WebPush `yaml:"webpush" doc:"Web Push to browsers"`
	Webhook *Webhook `yaml:"webhook" doc:"webhooks signed by Standard Webhooks"`
}

// Limits are the keys that every channel has.
type Limits struct {
	Rate        Rate `yaml:"rate" doc:"how many a second across every consumer together; no limit when empty" live:"true"`
	Concurrency int  `yaml:"concurrency" doc:"how many in flight in one consumer; fewer hold once less is in flight" default:"64" min:"1" max:"100000" live:"true"`
	// CriticalSlots is CriticalSlotsAuto for a part of Concurrency: see ForCritical.
	CriticalSlots int    `yaml:"critical_slots" doc:"how many of concurrency are kept for priority critical; 0: none, -1: an eighth, at least one unless concurrency is 1" default:"-1" min:"-1" max:"99999" live:"true"`
	Retry         *Retry `yaml:"retry" doc:"in place of the common retry section"`
}

// CriticalSlotsAuto leaves it to Concurrency how many slots are kept for the
// critical lane.
const CriticalSlotsAuto = -1

// ForCritical is how many of Concurrency no delivery takes that is not critical.
func (l *Limits) ForCritical() int {
	switch {
	case l.CriticalSlots != CriticalSlotsAuto:
		return l.CriticalSlots
	case l.Concurrency <= 1:
		return 0
	}
	return max(1, l.Concurrency/8)
}

// Email is the SMTP channel.
type Email struct {
	Limits                 `yaml:",inline"`
	Rates                  EmailRates `yaml:"rates" doc:"rates by what a delivery is counted by, each over every consumer together; a delivery goes when all that apply let it" live:"true"`
	SMTP                   SMTP       `yaml:"smtp" doc:"the relay, where there is one"`
	Relays                 []Relay    `yaml:"relays" doc:"several relays in place of smtp: mails are shared out by weight, and a relay that fails is passed over until it is back"`
	From                   string     `yaml:"from" doc:"the sender, as \"Acme <no-reply@acme.example>\"" required:"true" want:"the sender, as \"Acme <no-reply@acme.example>\""`
	ReturnPath             string     `yaml:"return_path" doc:"the envelope's sender, where bounces go: {verp} becomes a token that carillon bounces understands, as bounce+{verp}@bounces.acme.example, and {id} the delivery's id alone; the address of from when empty"`
	ReturnPathKey          Secret     `yaml:"return_path_key" doc:"what {verp} is authenticated with, at least 16 bytes; the keys of unsubscribe links when empty"`
	ReturnPathKeyPrevious  Secret     `yaml:"return_path_key_previous" doc:"the return_path_key before, whose mails are still understood when they come back"`
	DKIM                   *DKIM      `yaml:"dkim" doc:"signing"`
	DKIMSecond             *DKIM      `yaml:"dkim_second" doc:"a second signature beside dkim's: the other selector while keys are changed, or Ed25519 beside RSA"`
	UnsubscribeURL         string     `yaml:"unsubscribe_url" doc:"the base of one-click unsubscribe links, where ingest's /u is reached from outside; no links when empty"`
	UnsubscribeKey         Secret     `yaml:"unsubscribe_key" doc:"what the links are sealed with, at least 16 bytes; when empty it is derived from dkim.key, and changes with it"`
	UnsubscribeKeyPrevious Secret     `yaml:"unsubscribe_key_previous" doc:"the unsubscribe_key before, whose links still work"`
	Mandatory              []string   `yaml:"mandatory" doc:"categories that nobody can leave: no preference, opt-out or complaint holds their mails back, and they have no unsubscribe link"`
	MaxAttachment          Size       `yaml:"max_attachment" doc:"the most that a mail's attachments may hold together" default:"5MiB" min:"1KiB" max:"50MiB"`
	AllowNetworks          []string   `yaml:"allow_networks" doc:"CIDRs beyond the public internet that attachments may be fetched from"`
	Timeout                Duration   `yaml:"timeout" doc:"the longest one mail may take; by default no more than two thirds of queue.visibility" default:"30s" min:"100ms" max:"10m"`
}

// Relay is one of several relays.
type Relay struct {
	SMTP   `yaml:",inline"`
	Weight int `yaml:"weight" doc:"its share of the mails beside the other relays' weights" default:"1" min:"1" max:"1000"`
}

// Servers are the relays that mails go to: those of relays, or the one of
// smtp.
func (c *Email) Servers() []Relay {
	if len(c.Relays) > 0 {
		return c.Relays
	}
	return []Relay{{SMTP: c.SMTP, Weight: 1}}
}

// UnsubscribeKeys are what unsubscribe links are sealed with, and then what
// they may have been sealed with: unsubscribe_key and the one before, or else
// the keys of DKIM, which every process of the gateway has.
func (c *Email) UnsubscribeKeys() (keys []Secret) {
	candidates := []Secret{c.UnsubscribeKey, c.UnsubscribeKeyPrevious}
	for _, d := range []*DKIM{c.DKIM, c.DKIMSecond} {
		if d != nil {
			candidates = append(candidates, d.Key)
		}
	}
	for _, k := range candidates {
		if k.Reveal() != "" {
			keys = append(keys, k)
		}
	}
	return keys
}

// ReturnPathKeys are what {verp} is authenticated with, and then what it may
// have been: return_path_key and the one before, or else UnsubscribeKeys.
func (c *Email) ReturnPathKeys() (keys []Secret) {
	for _, k := range []Secret{c.ReturnPathKey, c.ReturnPathKeyPrevious} {
		if k.Reveal() != "" {
			keys = append(keys, k)
		}
	}
	return append(keys, c.UnsubscribeKeys()...)
}

// TLSMode is how a connection to a relay is encrypted.
type TLSMode string

// The TLS modes of a relay.
const (
	TLSStartTLS TLSMode = "starttls"
	TLSImplicit TLSMode = "implicit"
	TLSNone     TLSMode = "none"
)

// SMTPAuth is how to log in at a relay.
type SMTPAuth string

// The ways to log in. Auto is the best of what the relay offers, but XOAUTH2,
// which is chosen by token_file.
const (
	SMTPAuthAuto        SMTPAuth = "auto"
	SMTPAuthPlain       SMTPAuth = "plain"
	SMTPAuthLogin       SMTPAuth = "login"
	SMTPAuthCRAMMD5     SMTPAuth = "cram-md5"
	SMTPAuthScramSHA256 SMTPAuth = "scram-sha-256"
	SMTPAuthXOAuth2     SMTPAuth = "xoauth2"
)

// SMTP is one relay.
type SMTP struct {
	Host               string   `yaml:"host" doc:"the relay's name or address; required in smtp, or in each of relays"`
	Port               int      `yaml:"port" doc:"the relay's port" default:"587" min:"1" max:"65535"`
	TLS                TLSMode  `yaml:"tls" doc:"starttls, implicit or none" default:"starttls" enum:"starttls,implicit,none"`
	Username           string   `yaml:"username" doc:"for AUTH; none when empty"`
	Password           Secret   `yaml:"password" doc:"for AUTH; never sent without TLS beyond this machine"`
	Auth               SMTPAuth `yaml:"auth" doc:"auto (the best that is offered), plain, login, cram-md5, scram-sha-256 or xoauth2" default:"auto" enum:"auto,plain,login,cram-md5,scram-sha-256,xoauth2"`
	TokenFile          string   `yaml:"token_file" doc:"file of the access token for xoauth2, in place of a password; read again at each login" path:"file"`
	Rate               Rate     `yaml:"rate" doc:"how many mails a second the relay is given across every consumer together, as 14/s; no limit when empty. What is too much goes to the other relays, and waits where there are none" live:"true"`
	Account            string   `yaml:"account" doc:"what rate is counted and shown by: relays with the same one share the rate, and the count goes on as long as it stays; host and port when empty" pattern:"^[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}$" want:"a short name, as ses-eu"`
	Connections        int      `yaml:"connections" doc:"the most kept connections" default:"16" min:"1" max:"1000"`
	MailsPerConnection int      `yaml:"mails_per_connection" doc:"how many mails go over one connection before it is closed" default:"1000" min:"1" max:"1000000"`
	CAFile             string   `yaml:"ca_file" doc:"PEM of the authorities to trust in place of the system's" path:"file"`
	ClientCert         string   `yaml:"client_cert" doc:"PEM file of a client certificate" path:"file"`
	ClientKey          string   `yaml:"client_key" doc:"PEM file of its key" path:"file"`
}

// DKIM signs mail.
type DKIM struct {
	Domain   string `yaml:"domain" doc:"the signing domain" required:"true" want:"the domain that signs, as acme.example"`
	Selector string `yaml:"selector" doc:"the key's selector" required:"true" want:"the name under _domainkey that the public key is published at"`
	Key      Secret `yaml:"key" doc:"the private key, PEM: RSA or Ed25519" required:"true" want:"the private key, as file:dkim.pem"`
}

// APNs is Apple's push service.
type APNs struct {
	Limits         `yaml:",inline"`
	Rates          AppRates `yaml:"rates" doc:"rates by what a delivery is counted by, each over every consumer together; a delivery goes when all that apply let it" live:"true"`
	Host           string   `yaml:"host" doc:"the production service's URL" default:"https://api.push.apple.com" required:"true" want:"https://api.push.apple.com, or https://api.sandbox.push.apple.com for development builds"`
	SandboxHost    string   `yaml:"sandbox_host" doc:"the service's URL for devices of environment sandbox; Apple's when empty, or host where that is not Apple's"`
	APNsCredential `yaml:",inline"`
	Topic          string    `yaml:"topic" doc:"the app's bundle id" required:"true" want:"the app's bundle id, as com.acme.app"`
	Apps           []APNsApp `yaml:"apps" doc:"further apps; a device whose app is none of them, nor topic, is refused. When empty, a device's app is its topic"`
	CAFile         string    `yaml:"ca_file" doc:"PEM of the authorities to trust in place of the system's" path:"file"`
	Connections    int       `yaml:"connections" doc:"kept HTTP/2 connections, for each credential and service" default:"2" min:"1" max:"1000"`
	Timeout        Duration  `yaml:"timeout" doc:"the longest one push may take; by default no more than two thirds of queue.visibility" default:"15s" min:"100ms" max:"10m"`
}

// APNsCredential is how Apple knows a sender: a signing key with its ids, or a
// certificate.
type APNsCredential struct {
	Key                 Secret `yaml:"key" doc:"the .p8 signing key"`
	KeyID               string `yaml:"key_id" doc:"the key's id, 10 characters" pattern:"^[A-Z0-9]{10}$" want:"10 capital letters and digits, as Apple lists it"`
	TeamID              string `yaml:"team_id" doc:"the team's id, 10 characters" pattern:"^[A-Z0-9]{10}$" want:"10 capital letters and digits, as Apple lists it"`
	Certificate         string `yaml:"certificate" doc:"in place of a key: file of a push certificate with its private key, .p12 or PEM" path:"file"`
	CertificatePassword Secret `yaml:"certificate_password" doc:"the password of a .p12 file"`
}

// APNsApp is one of several apps. Without a credential of its own it is sent to
// with the channel's.
type APNsApp struct {
	App            string `yaml:"app" doc:"what devices of the app have as their app" required:"true" want:"the app's bundle id, as com.acme.app"`
	Topic          string `yaml:"topic" doc:"the app's bundle id; app when empty"`
	APNsCredential `yaml:",inline"`
}

// IsZero reports whether there is no credential at all.
func (c APNsCredential) IsZero() bool {
	return c.Key.Reveal() == "" && c.KeyID == "" && c.TeamID == "" && c.Certificate == "" && c.CertificatePassword.Reveal() == ""
}

// FCM is Firebase Cloud Messaging, HTTP v1.
type FCM struct {
	Limits      `yaml:",inline"`
	Rates       TenantRates `yaml:"rates" doc:"rates by what a delivery is counted by, each over every consumer together; a delivery goes when all that apply let it" live:"true"`
	Project     string      `yaml:"project" doc:"the Firebase project" required:"true" pattern:"^[A-Za-z0-9.:-]+$" want:"the Firebase project's id, as acme-1a2b3"`
	Credentials Secret      `yaml:"credentials" doc:"the JSON of a service account, or of workload identity federation; when empty, what GOOGLE_APPLICATION_CREDENTIALS names, or the machine's own"`
	DryRun      bool        `yaml:"dry_run" doc:"have FCM check every message and deliver none"`
	Endpoint    string      `yaml:"endpoint" doc:"a local stand-in's URL, for which no credentials are needed"`
	Timeout     Duration    `yaml:"timeout" doc:"the longest one push may take; by default no more than two thirds of queue.visibility" default:"15s" min:"100ms" max:"10m"`
}

// WebPush is push to browsers with VAPID.
type WebPush struct {
	Limits        `yaml:",inline"`
	Rates         HostRates `yaml:"rates" doc:"rates by what a delivery is counted by, each over every consumer together; a delivery goes when all that apply let it" live:"true"`
	Subject       string    `yaml:"subject" doc:"who the push services may write to: mailto: or https:" required:"true" pattern:"^(mailto:.+@.+|https://.+)$" want:"mailto: and an address, or an https:// URL"`
	PrivateKey    Secret    `yaml:"private_key" doc:"the VAPID key: PEM, or base64url of its 32 bytes" required:"true" want:"the VAPID private key, as file:vapid.pem"`
	Timeout       Duration  `yaml:"timeout" doc:"the longest one push may take; by default no more than two thirds of queue.visibility" default:"15s" min:"100ms" max:"10m"`
	AllowNetworks []string  `yaml:"allow_networks" doc:"CIDRs beyond the public internet"`
	CAFile        string    `yaml:"ca_file" doc:"PEM of the authorities to trust in place of the system's" path:"file"`
}

// Webhook is signed HTTP POSTs.
type Webhook struct {
	Limits        `yaml:",inline"`
	Rates         HostRates `yaml:"rates" doc:"rates by what a delivery is counted by, each over every consumer together; a delivery goes when all that apply let it" live:"true"`
	Timeout       Duration  `yaml:"timeout" doc:"the longest one request may take; by default no more than two thirds of queue.visibility" default:"15s" min:"100ms" max:"10m"`
	AllowNetworks []string  `yaml:"allow_networks" doc:"CIDRs beyond the public internet"`
	MaxResponse   Size      `yaml:"max_response" doc:"how much of an answer is read" default:"64KiB" min:"1KiB" max:"16MiB"`
	ClientCert    string    `yaml:"client_cert" doc:"PEM file of a client certificate" path:"file"`
	ClientKey     string    `yaml:"client_key" doc:"PEM file of its key" path:"file"`
	CAFile        string    `yaml:"ca_file" doc:"PEM of the authorities to trust in place of the system's" path:"file"`

	Destinations []Destination `yaml:"destinations" doc:"what is different for some hosts; the first that matches counts"`
}

// Destination is what is different for the hosts of some endpoints. What it
// leaves out is the channel's.
type Destination struct {
	Host        string   `yaml:"host" doc:"a host, or *.acme.example for every host under a name" required:"true" want:"a host without scheme or port, as hooks.acme.example, or *.acme.example"`
	ClientCert  string   `yaml:"client_cert" doc:"PEM file of a client certificate" path:"file"`
	ClientKey   string   `yaml:"client_key" doc:"PEM file of its key" path:"file"`
	CAFile      string   `yaml:"ca_file" doc:"PEM of the authorities to trust in place of the channel's" path:"file"`
	Concurrency int      `yaml:"concurrency" doc:"how many in flight to each of these hosts in one consumer; when 0 a quarter of the channel's or 32, whichever is more, but never over half" min:"0" max:"100000"`
	Headers     []Header `yaml:"headers" doc:"header fields that these hosts are sent"`
}

// Header is one header field of a request.
type Header struct {
	Name  string `yaml:"name" doc:"the field's name" required:"true" pattern:"^[!#$%&'*+.^_|~0-9A-Za-z-]+$" want:"a header name, as X-Api-Key"`
	Value Secret `yaml:"value" doc:"its value" required:"true" want:"the value, as ${ENV_NAME} or file:PATH"`
}

// limits pairs each channel that is on with what every channel has.
func (c *Channels) limits() iter.Seq2[string, *Limits] {
	return func(yield func(string, *Limits) bool) {
		_ = (c.Email == nil || yield("email", &c.Email.Limits)) &&
			(c.APNs == nil || yield("apns", &c.APNs.Limits)) &&
			(c.FCM == nil || yield("fcm", &c.FCM.Limits)) &&
			(c.WebPush == nil || yield("webpush", &c.WebPush.Limits)) &&
			(c.Webhook == nil || yield("webhook", &c.Webhook.Limits))
	}
}

// LimitsOf are a channel's limits; false when it is off, or no channel.
func (c *Channels) LimitsOf(channel string) (Limits, bool) {
	for name, limits := range c.limits() {
		if name == channel {
			return *limits, true
		}
	}
	return Limits{}, false
}

// timeouts pairs each channel that is on with the longest one send may take.
func (c *Channels) timeouts() iter.Seq2[string, *Duration] {
	return func(yield func(string, *Duration) bool) {
		_ = (c.Email == nil || yield("email", &c.Email.Timeout)) &&
			(c.APNs == nil || yield("apns", &c.APNs.Timeout)) &&
			(c.FCM == nil || yield("fcm", &c.FCM.Timeout)) &&
			(c.WebPush == nil || yield("webpush", &c.WebPush.Timeout)) &&
			(c.Webhook == nil || yield("webhook", &c.Webhook.Timeout))
	}
}

// check checks each channel that is on.
func (c *Channels) check(r *rules) {
	for channel, limits := range c.limits() {
		if limits.Retry != nil {
			limits.Retry.check(r, "channels."+channel+".retry")
		}
		if limits.CriticalSlots > 0 && limits.CriticalSlots >= limits.Concurrency {
			r.fault("channels."+channel+".critical_slots", strconv.Itoa(limits.CriticalSlots),
				fmt.Sprintf("leaves nothing of channels.%s.concurrency, which is %d, for what is not critical: keep fewer, or raise concurrency", channel, limits.Concurrency))
		}
	}
	c.checkRates(r)
	if c.Email != nil {
		c.Email.check(r)
	}
	if c.APNs != nil {
		c.APNs.check(r)
	}
	if c.FCM != nil {
		c.FCM.check(r)
	}
	if c.WebPush != nil {
		c.WebPush.check(r)
	}
	if c.Webhook != nil {
		c.Webhook.check(r)
	}
}

func (c *Email) check(r *rules) {
	if _, err := mail.ParseAddress(c.From); err != nil && c.From != "" {
		r.fault("channels.email.from", c.From, "is no mail address: write it as \"Acme <no-reply@acme.example>\"")
	}
	c.checkReturnPath(r)
	c.checkUnsubscribe(r)
	c.checkRelays(r)
	r.checkNetworks("channels.email.allow_networks", c.AllowNetworks)
	c.DKIM.check(r, "channels.email.dkim")
	c.DKIMSecond.check(r, "channels.email.dkim_second")
	switch {
	case c.DKIMSecond == nil:
	case c.DKIM == nil:
		r.fault("channels.email.dkim_second", "", "stands alone: write it as dkim")
	case c.DKIM.Domain == c.DKIMSecond.Domain && c.DKIM.Selector == c.DKIMSecond.Selector:
		r.fault("channels.email.dkim_second.selector", c.DKIMSecond.Selector, "is dkim's selector too: each key is published under its own")
	}
}

func (c *DKIM) check(r *rules, at string) {
	if c != nil {
		checkKey(r, at+".key", c.Key, isDKIMKey, "is no RSA or Ed25519 private key in PEM: make one with openssl genrsa -out dkim.pem 2048")
	}
}

// checkReturnPath tries the pattern with an id in its place.
func (c *Email) checkReturnPath(r *rules) {
	if c.ReturnPath == "" {
		return
	}
	for at, key := range map[string]Secret{"return_path_key": c.ReturnPathKey, "return_path_key_previous": c.ReturnPathKeyPrevious} {
		if n := len(key.Reveal()); n > 0 && n < minKey {
			r.fault("channels.email."+at, "", fmt.Sprintf("has %d bytes, want %d or more: make one with openssl rand -hex 32", n, minKey))
		}
	}
	if strings.Contains(c.ReturnPath, "{verp}") {
		c.checkVERP(r)
		return
	}
	sample := strings.ReplaceAll(c.ReturnPath, "{id}", "0-06h0fb55798unvn7agmd-1")
	addr, err := mail.ParseAddress(sample)
	if err != nil || addr.String() != "<"+sample+">" {
		r.fault("channels.email.return_path", c.ReturnPath, "is no mail address: write it as bounces@acme.example, or bounce+{id}@acme.example")
	}
}

// longestVERP is the most characters that {verp} becomes: an id of a partition
// below 10,000 and of one of 99 deliveries, and the tags behind it.
const longestVERP = 4 + 1 + 20 + 1 + 2 + 1 + 23

// checkVERP tries the pattern with a token in its place.
func (c *Email) checkVERP(r *rules) {
	const key = "channels.email.return_path"
	sample := strings.Replace(c.ReturnPath, "{verp}", strings.Repeat("0", longestVERP), 1)
	addr, err := mail.ParseAddress(sample)
	local, _, _ := strings.Cut(sample, "@")
	const mostLocal = 64 // RFC 5321 §4.5.3.1.1
	switch {
	case err != nil || addr.String() != "<"+sample+">" || strings.ContainsAny(sample, "{}"):
		r.fault(key, c.ReturnPath, "is no mail address: write it as bounce+{verp}@bounces.acme.example")
	case len(local) > mostLocal:
		r.fault(key, c.ReturnPath, fmt.Sprintf("leaves {verp} too little room before the @: want at most %d characters beside it", mostLocal-longestVERP))
	case len(c.ReturnPathKeys()) == 0:
		r.fault("channels.email.return_path_key", "", "is missing beside {verp} in return_path: set it to what openssl rand -hex 32 prints")
	}
}

func (c *Email) checkUnsubscribe(r *rules) {
	for i, category := range c.Mandatory {
		if category == "" || len(category) > 64 {
			r.fault(fmt.Sprintf("channels.email.mandatory[%d]", i), category, "is no category: write it as security")
		}
	}
	for at, key := range map[string]Secret{"unsubscribe_key": c.UnsubscribeKey, "unsubscribe_key_previous": c.UnsubscribeKeyPrevious} {
		if n := len(key.Reveal()); n > 0 && n < minKey {
			r.fault("channels.email."+at, "", fmt.Sprintf("has %d bytes, want %d or more: make one with openssl rand -hex 32", n, minKey))
		}
	}
	if c.UnsubscribeURL == "" {
		return
	}
	// RFC 8058 §3.1: the one-click URI is https.
	r.checkURL("channels.email.unsubscribe_url", c.UnsubscribeURL, "https")
	if len(c.UnsubscribeKeys()) == 0 {
		r.fault("channels.email.unsubscribe_key", "", "is missing beside unsubscribe_url: set it to what openssl rand -hex 32 prints, or set dkim")
	}
}

func (c *Email) checkRelays(r *rules) {
	const one, several = "channels.email.smtp", "channels.email.relays"
	switch {
	case len(c.Relays) == 0:
		c.SMTP.check(r, one)
	case c.SMTP.Host != "":
		r.fault(one+".host", c.SMTP.Host, "stands beside relays: move it into them, or keep one of the two")
	}
	for i := range c.Relays {
		c.Relays[i].check(r, fmt.Sprintf("%s[%d]", several, i))
	}
	c.checkRelayRates(r)
}

func (c *SMTP) check(r *rules, at string) {
	if c.Host == "" {
		r.fault(at+".host", "", "is missing: want the relay's name or address, as smtp.acme.example")
	}
	c.checkLogin(r, at)
	switch {
	case c.ClientCert != "" && c.ClientKey == "":
		r.fault(at+".client_key", "", "is missing beside client_cert: set both, or neither")
	case c.ClientCert == "" && c.ClientKey != "":
		r.fault(at+".client_cert", "", "is missing beside client_key: set both, or neither")
	}
}

func (c *SMTP) checkLogin(r *rules, at string) {
	password, token := c.Password.Reveal() != "", c.TokenFile != ""
	if token && c.Auth != SMTPAuthAuto && c.Auth != SMTPAuthXOAuth2 && c.Auth != "" {
		r.fault(at+".token_file", c.TokenFile, "is for xoauth2 alone: set auth to xoauth2, or use password")
	}
	switch {
	case c.Username == "" && (password || token):
		r.fault(at+".username", "", "is missing beside a password: set both for AUTH, or neither")
	case c.Username == "":
	case password && token:
		r.fault(at+".token_file", c.TokenFile, "stands beside password: keep one of them")
	case c.Auth == SMTPAuthXOAuth2 && !token:
		r.fault(at+".token_file", "", "is missing: xoauth2 logs in with an access token, which something else keeps fresh in this file")
	case !password && !token:
		r.fault(at+".password", "", "is missing beside a username: set both for AUTH, or neither")
	case c.TLS == TLSNone && (c.Auth == SMTPAuthPlain || c.Auth == SMTPAuthLogin || token) && !isLoopback(c.Host):
		r.fault(at+".tls", string(c.TLS), "would show the password to everybody on the way: use starttls or implicit")
	}
}

func (c *APNs) check(r *rules) {
	const at = "channels.apns"
	r.checkURL(at+".host", c.Host, "https")
	if c.SandboxHost != "" {
		r.checkURL(at+".sandbox_host", c.SandboxHost, "https")
	}
	c.APNsCredential.check(r, at)
	seen := map[string]bool{c.Topic: true}
	for i := range c.Apps {
		app, key := &c.Apps[i], fmt.Sprintf("%s.apps[%d]", at, i)
		if !app.APNsCredential.IsZero() {
			app.APNsCredential.check(r, key)
		}
		if app.App != "" && seen[app.App] {
			r.fault(key+".app", app.App, "is there already, as topic or among apps: keep one of them")
		}
		seen[app.App] = true
	}
}

// check wants a whole key or a certificate.
func (c *APNsCredential) check(r *rules, at string) {
	key := c.Key.Reveal() != ""
	switch {
	case key && c.Certificate != "":
		r.fault(at+".certificate", c.Certificate, "stands beside key: keep one of them")
	case !key && c.Certificate == "":
		r.fault(at+".key", "", "is missing: want the .p8 file that Apple gave, as file:AuthKey.p8, or certificate")
	case key && c.KeyID == "":
		r.fault(at+".key_id", "", "is missing beside key: want 10 capital letters and digits, as Apple lists it")
	case key && c.TeamID == "":
		r.fault(at+".team_id", "", "is missing beside key: want 10 capital letters and digits, as Apple lists it")
	}
	checkKey(r, at+".key", c.Key, isP256PKCS8, "is no P-256 private key in PKCS #8: use the .p8 file as Apple gave it, as file:AuthKey.p8")
}

func (c *FCM) check(r *rules) {
	if c.Endpoint != "" {
		r.checkURL("channels.fcm.endpoint", c.Endpoint, "https", "http")
		return
	}
	checkKey(r, "channels.fcm.credentials", c.Credentials, isServiceAccount, "is no JSON of Google's credentials: download a service account's from the Firebase console, or make a configuration of workload identity federation with gcloud")
}

func (c *WebPush) check(r *rules) {
	checkKey(r, "channels.webpush.private_key", c.PrivateKey, isVAPIDKey, "is no VAPID key: want a P-256 private key in PEM, or its 32 bytes in base64url")
	r.checkNetworks("channels.webpush.allow_networks", c.AllowNetworks)
}

func (c *Webhook) check(r *rules) {
	r.checkNetworks("channels.webhook.allow_networks", c.AllowNetworks)
	switch {
	case c.ClientCert != "" && c.ClientKey == "":
		r.fault("channels.webhook.client_key", "", "is missing beside client_cert: set both, or neither")
	case c.ClientCert == "" && c.ClientKey != "":
		r.fault("channels.webhook.client_cert", "", "is missing beside client_key: set both, or neither")
	}
	seen := map[string]bool{}
	for i := range c.Destinations {
		d := &c.Destinations[i]
		key := fmt.Sprintf("channels.webhook.destinations[%d]", i)
		d.check(r, key)
		host := strings.ToLower(d.Host)
		if seen[host] {
			r.fault(key+".host", d.Host, "is listed twice: the first one counts, so put the two together")
		}
		seen[host] = true
	}
}

func (d *Destination) check(r *rules, key string) {
	name := strings.TrimPrefix(d.Host, "*.")
	if d.Host != "" && (name == "" || strings.ContainsAny(name, "*/@?# \t\r\n") || strings.Contains(name, ":") && !strings.Contains(name, "::")) {
		r.fault(key+".host", d.Host, "is no host: write it without scheme, port and path, as hooks.acme.example, or *.acme.example for every host under a name")
	}
	switch {
	case d.ClientCert != "" && d.ClientKey == "":
		r.fault(key+".client_key", "", "is missing beside client_cert: set both, or neither")
	case d.ClientCert == "" && d.ClientKey != "":
		r.fault(key+".client_cert", "", "is missing beside client_key: set both, or neither")
	}
	for i, h := range d.Headers {
		at := fmt.Sprintf("%s.headers[%d]", key, i)
		if ReservedHeader(h.Name) {
			r.fault(at+".name", h.Name, "is set by the gateway or belongs to the connection: leave it out")
		}
		if strings.ContainsFunc(h.Value.Reveal(), func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f }) {
			r.fault(at+".value", "", "holds a line break or a control character: leave it out")
		}
	}
}

// ReservedHeader reports whether a webhook's header field may not be set by the
// configuration: those that say where a request begins and ends or are for one
// connection (RFC 9110 §7.6.1), those that the gateway sets, and those that
// Standard Webhooks signs by.
func ReservedHeader(name string) bool {
	name = strings.ToLower(name)
	switch name {
	case "host", "connection", "keep-alive", "proxy-connection", "proxy-authorization", "proxy-authenticate", "te", "trailer",
		"transfer-encoding", "upgrade", "content-length", "content-type", "expect", "user-agent", "accept-encoding":
		return true
	}
	return strings.HasPrefix(name, "webhook-")
}
