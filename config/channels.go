package config

import (
	"iter"
	"net/mail"
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
	Rate        Rate   `yaml:"rate" doc:"how many a second across every consumer together; no limit when empty"`
	Concurrency int    `yaml:"concurrency" doc:"how many in flight in one consumer" default:"64" min:"1" max:"100000"`
	Retry       *Retry `yaml:"retry" doc:"in place of the common retry section"`
}

// Email is the SMTP channel.
type Email struct {
	Limits         `yaml:",inline"`
	SMTP           SMTP     `yaml:"smtp" doc:"the relay"`
	From           string   `yaml:"from" doc:"the sender, as \"Acme <no-reply@acme.example>\"" required:"true" want:"the sender, as \"Acme <no-reply@acme.example>\""`
	DKIM           *DKIM    `yaml:"dkim" doc:"signing"`
	UnsubscribeURL string   `yaml:"unsubscribe_url" doc:"the base of one-click unsubscribe links; no link is made yet"`
	Timeout        Duration `yaml:"timeout" doc:"the longest one mail may take; by default no more than two thirds of queue.visibility" default:"30s" min:"100ms" max:"10m"`
}

// TLSMode is how a connection to a relay is encrypted.
type TLSMode string

// The TLS modes of a relay.
const (
	TLSStartTLS TLSMode = "starttls"
	TLSImplicit TLSMode = "implicit"
	TLSNone     TLSMode = "none"
)

// SMTP is one relay.
type SMTP struct {
	Host        string  `yaml:"host" doc:"the relay's name or address" required:"true" want:"the relay's name or address, as smtp.acme.example"`
	Port        int     `yaml:"port" doc:"the relay's port" default:"587" min:"1" max:"65535"`
	TLS         TLSMode `yaml:"tls" doc:"starttls, implicit or none" default:"starttls" enum:"starttls,implicit,none"`
	Username    string  `yaml:"username" doc:"for AUTH; none when empty"`
	Password    Secret  `yaml:"password" doc:"for AUTH"`
	Connections int     `yaml:"connections" doc:"the most kept connections" default:"16" min:"1" max:"1000"`
	CAFile      string  `yaml:"ca_file" doc:"PEM of the authorities to trust in place of the system's" path:"file"`
}

// DKIM signs mail.
type DKIM struct {
	Domain   string `yaml:"domain" doc:"the signing domain" required:"true" want:"the domain that signs, as acme.example"`
	Selector string `yaml:"selector" doc:"the key's selector" required:"true" want:"the name under _domainkey that the public key is published at"`
	Key      Secret `yaml:"key" doc:"the private key, PEM: RSA or Ed25519" required:"true" want:"the private key, as file:dkim.pem"`
}

// APNs is Apple's push service with token authentication.
type APNs struct {
	Limits      `yaml:",inline"`
	Host        string   `yaml:"host" doc:"the service's URL" default:"https://api.push.apple.com" required:"true" want:"https://api.push.apple.com, or https://api.sandbox.push.apple.com for development builds"`
	Key         Secret   `yaml:"key" doc:"the .p8 signing key" required:"true" want:"the .p8 file that Apple gave, as file:AuthKey.p8"`
	KeyID       string   `yaml:"key_id" doc:"the key's id, 10 characters" required:"true" pattern:"^[A-Z0-9]{10}$" want:"10 capital letters and digits, as Apple lists it"`
	TeamID      string   `yaml:"team_id" doc:"the team's id, 10 characters" required:"true" pattern:"^[A-Z0-9]{10}$" want:"10 capital letters and digits, as Apple lists it"`
	Topic       string   `yaml:"topic" doc:"the app's bundle id" required:"true" want:"the app's bundle id, as com.acme.app"`
	CAFile      string   `yaml:"ca_file" doc:"PEM of the authorities to trust in place of the system's" path:"file"`
	Connections int      `yaml:"connections" doc:"kept HTTP/2 connections" default:"2" min:"1" max:"1000"`
	Timeout     Duration `yaml:"timeout" doc:"the longest one push may take; by default no more than two thirds of queue.visibility" default:"15s" min:"100ms" max:"10m"`
}

// FCM is Firebase Cloud Messaging, HTTP v1.
type FCM struct {
	Limits      `yaml:",inline"`
	Project     string   `yaml:"project" doc:"the Firebase project" required:"true" pattern:"^[A-Za-z0-9.:-]+$" want:"the Firebase project's id, as acme-1a2b3"`
	Credentials Secret   `yaml:"credentials" doc:"the service account's JSON"`
	Endpoint    string   `yaml:"endpoint" doc:"a local stand-in's URL, for which no credentials are needed"`
	Timeout     Duration `yaml:"timeout" doc:"the longest one push may take; by default no more than two thirds of queue.visibility" default:"15s" min:"100ms" max:"10m"`
}

// WebPush is push to browsers with VAPID.
type WebPush struct {
	Limits        `yaml:",inline"`
	Subject       string   `yaml:"subject" doc:"who the push services may write to: mailto: or https:" required:"true" pattern:"^(mailto:.+@.+|https://.+)$" want:"mailto: and an address, or an https:// URL"`
	PrivateKey    Secret   `yaml:"private_key" doc:"the VAPID key: PEM, or base64url of its 32 bytes" required:"true" want:"the VAPID private key, as file:vapid.pem"`
	Timeout       Duration `yaml:"timeout" doc:"the longest one push may take; by default no more than two thirds of queue.visibility" default:"15s" min:"100ms" max:"10m"`
	AllowNetworks []string `yaml:"allow_networks" doc:"CIDRs beyond the public internet"`
	CAFile        string   `yaml:"ca_file" doc:"PEM of the authorities to trust in place of the system's" path:"file"`
}

// Webhook is signed HTTP POSTs.
type Webhook struct {
	Limits        `yaml:",inline"`
	Timeout       Duration `yaml:"timeout" doc:"the longest one request may take; by default no more than two thirds of queue.visibility" default:"15s" min:"100ms" max:"10m"`
	AllowNetworks []string `yaml:"allow_networks" doc:"CIDRs beyond the public internet"`
	MaxResponse   Size     `yaml:"max_response" doc:"how much of an answer is read" default:"64KiB" min:"1KiB" max:"16MiB"`
	ClientCert    string   `yaml:"client_cert" doc:"PEM file of a client certificate" path:"file"`
	ClientKey     string   `yaml:"client_key" doc:"PEM file of its key" path:"file"`
	CAFile        string   `yaml:"ca_file" doc:"PEM of the authorities to trust in place of the system's" path:"file"`
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
	}
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
	if c.UnsubscribeURL != "" {
		// RFC 8058 §3.1: the one-click URI is https.
		r.checkURL("channels.email.unsubscribe_url", c.UnsubscribeURL, "https")
	}
	c.SMTP.check(r)
	if c.DKIM != nil {
		checkKey(r, "channels.email.dkim.key", c.DKIM.Key, isDKIMKey, "is no RSA or Ed25519 private key in PEM: make one with openssl genrsa -out dkim.pem 2048")
	}
}

func (c *SMTP) check(r *rules) {
	switch {
	case c.Username == "" && c.Password.Reveal() != "":
		r.fault("channels.email.smtp.username", "", "is missing beside a password: set both for AUTH, or neither")
	case c.Username != "" && c.Password.Reveal() == "":
		r.fault("channels.email.smtp.password", "", "is missing beside a username: set both for AUTH, or neither")
	}
}

func (c *APNs) check(r *rules) {
	r.checkURL("channels.apns.host", c.Host, "https")
	checkKey(r, "channels.apns.key", c.Key, isP256PKCS8, "is no P-256 private key in PKCS #8: use the .p8 file as Apple gave it, as file:AuthKey.p8")
}

func (c *FCM) check(r *rules) {
	if c.Endpoint != "" {
		r.checkURL("channels.fcm.endpoint", c.Endpoint, "https", "http")
		return
	}
	if c.Credentials.Reveal() == "" {
		r.fault("channels.fcm.credentials", "", "is missing: want the service account's JSON, as file:service-account.json, or endpoint for a local stand-in")
	}
	checkKey(r, "channels.fcm.credentials", c.Credentials, isServiceAccount, "is no service account's JSON: download it from the Firebase console, under service accounts")
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
}
