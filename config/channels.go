package config

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
	Concurrency int    `yaml:"concurrency" doc:"how many in flight in one consumer" default:"64"`
	Retry       *Retry `yaml:"retry" doc:"in place of the common retry section"`
}

// Email is the SMTP channel.
type Email struct {
	Limits         `yaml:",inline"`
	SMTP           SMTP     `yaml:"smtp" doc:"the relay"`
	From           string   `yaml:"from" doc:"the sender, as \"Acme <no-reply@acme.example>\""`
	DKIM           *DKIM    `yaml:"dkim" doc:"signing"`
	UnsubscribeURL string   `yaml:"unsubscribe_url" doc:"the base of one-click unsubscribe links"`
	Timeout        Duration `yaml:"timeout" doc:"the longest one mail may take" default:"30s"`
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
	Host        string  `yaml:"host" doc:"the relay's name or address"`
	Port        int     `yaml:"port" doc:"the relay's port" default:"587"`
	TLS         TLSMode `yaml:"tls" doc:"starttls, implicit or none" default:"starttls"`
	Username    string  `yaml:"username" doc:"for AUTH; none when empty"`
	Password    Secret  `yaml:"password" doc:"for AUTH"`
	Connections int     `yaml:"connections" doc:"the most kept connections" default:"16"`
	CAFile      string  `yaml:"ca_file" doc:"PEM of the authorities to trust in place of the system's"`
}

// DKIM signs mail.
type DKIM struct {
	Domain   string `yaml:"domain" doc:"the signing domain"`
	Selector string `yaml:"selector" doc:"the key's selector"`
	Key      Secret `yaml:"key" doc:"the private key, PEM: RSA or Ed25519"`
}

// APNs is Apple's push service with token authentication.
type APNs struct {
	Limits      `yaml:",inline"`
	Host        string   `yaml:"host" doc:"the service's URL" default:"https://api.push.apple.com"`
	Key         Secret   `yaml:"key" doc:"the .p8 signing key"`
	KeyID       string   `yaml:"key_id" doc:"the key's id, 10 characters"`
	TeamID      string   `yaml:"team_id" doc:"the team's id, 10 characters"`
	Topic       string   `yaml:"topic" doc:"the app's bundle id"`
	CAFile      string   `yaml:"ca_file" doc:"PEM of the authorities to trust in place of the system's"`
	Connections int      `yaml:"connections" doc:"kept HTTP/2 connections" default:"2"`
	Timeout     Duration `yaml:"timeout" doc:"the longest one push may take" default:"15s"`
}

// FCM is Firebase Cloud Messaging, HTTP v1.
type FCM struct {
	Limits      `yaml:",inline"`
	Project     string   `yaml:"project" doc:"the Firebase project"`
	Credentials Secret   `yaml:"credentials" doc:"the service account's JSON"`
	Endpoint    string   `yaml:"endpoint" doc:"a local stand-in's URL, for which no credentials are needed"`
	Timeout     Duration `yaml:"timeout" doc:"the longest one push may take" default:"15s"`
}

// WebPush is push to browsers with VAPID.
type WebPush struct {
	Limits        `yaml:",inline"`
	Subject       string   `yaml:"subject" doc:"who the push services may write to: mailto: or https:"`
	PrivateKey    Secret   `yaml:"private_key" doc:"the VAPID key: PEM, or base64url of its 32 bytes"`
	Timeout       Duration `yaml:"timeout" doc:"the longest one push may take" default:"15s"`
	AllowNetworks []string `yaml:"allow_networks" doc:"CIDRs beyond the public internet"`
	CAFile        string   `yaml:"ca_file" doc:"PEM of the authorities to trust in place of the system's"`
}

// Webhook is signed HTTP POSTs.
type Webhook struct {
	Limits        `yaml:",inline"`
	Timeout       Duration `yaml:"timeout" doc:"the longest one request may take" default:"15s"`
	AllowNetworks []string `yaml:"allow_networks" doc:"CIDRs beyond the public internet"`
	MaxResponse   Size     `yaml:"max_response" doc:"how much of an answer is read" default:"64KiB"`
	ClientCert    string   `yaml:"client_cert" doc:"PEM file of a client certificate"`
	ClientKey     string   `yaml:"client_key" doc:"PEM file of its key"`
	CAFile        string   `yaml:"ca_file" doc:"PEM of the authorities to trust in place of the system's"`
}
