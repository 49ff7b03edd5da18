package config

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"regexp"
	"strings"
)

// Feedback is what comes back of mail: bounces, complaints and deliveries.
type Feedback struct {
	Tenant      string        `yaml:"tenant" doc:"whose a report is that names no notification that is still on record; the only tenant there is when empty, and nobody's where there are several"`
	SoftBounces Rate          `yaml:"soft_bounces" doc:"how many mails in which time may bounce softly, with none that is known to arrive between them, until their address is suppressed" default:"5/14d" required:"true" want:"how many in which time, as 5/14d"`
	Email       FeedbackEmail `yaml:"email" doc:"mail providers that report to POST /v1/feedback/email/{provider}; one without its section is answered 404"`
	Bounces     Bounces       `yaml:"bounces" doc:"the listener of carillon bounces, which takes returned mails over SMTP"`
}

// FeedbackEmail is one section a provider; nil is off.
type FeedbackEmail struct {
	SES      *FeedbackSES      `yaml:"ses" doc:"Amazon SES through SNS"`
	SendGrid *FeedbackSendGrid `yaml:"sendgrid" doc:"SendGrid's Event Webhook"`
	Postmark *FeedbackPostmark `yaml:"postmark" doc:"Postmark's webhooks"`
	Mailgun  *FeedbackMailgun  `yaml:"mailgun" doc:"Mailgun's webhooks"`
}

// FeedbackSES is Amazon SES, which reports through SNS.
type FeedbackSES struct {
	TopicARNs   []string `yaml:"topic_arns" doc:"the SNS topics that may report; a subscription to one of them is confirmed by itself" required:"true" pattern:"^arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_.-]{1,256}$" want:"a topic's ARN, as arn:aws:sns:eu-central-1:123456789012:ses-feedback"`
	Certificate string   `yaml:"certificate" doc:"PEM file of SNS's signing certificate, where it may not be fetched from sns.*.amazonaws.com" path:"file"`
}

// FeedbackSendGrid is SendGrid's Event Webhook.
type FeedbackSendGrid struct {
	PublicKey string `yaml:"public_key" doc:"the verification key that SendGrid shows beside Signed Event Webhook Requests" required:"true" want:"the verification key, base64 as SendGrid shows it"`
}

// FeedbackPostmark is Postmark, whose webhooks are not signed.
type FeedbackPostmark struct {
	Token Secret `yaml:"token" doc:"the password of the webhook's basic authentication, at least 16 bytes; the user's name does not matter" required:"true" want:"the password that the webhook's URL gives, as openssl rand -hex 32 prints"`
}

// FeedbackMailgun is Mailgun's webhooks.
type FeedbackMailgun struct {
	SigningKey Secret `yaml:"signing_key" doc:"the HTTP webhook signing key" required:"true" want:"the HTTP webhook signing key, as ${MAILGUN_SIGNING_KEY}"`
}

// Bounces is the listener for returned mails.
type Bounces struct {
	Listen      string   `yaml:"listen" doc:"host:port of carillon bounces; an empty host is every interface" default:"127.0.0.1:2525" required:"true" want:"host:port, as 127.0.0.1:2525, or :25"`
	Hostname    string   `yaml:"hostname" doc:"its name in the greeting; the machine's when empty" pattern:"^[A-Za-z0-9.-]+$" want:"a host name, as bounces.acme.example"`
	Complaints  []string `yaml:"complaints" doc:"addresses that feedback loops report to, beside the return path" pattern:"^[^@\\s<>]+@[^@\\s<>]+$" want:"an address, as fbl@bounces.acme.example"`
	Certificate string   `yaml:"certificate" doc:"PEM file of a certificate: STARTTLS is offered" path:"file"`
	Key         string   `yaml:"key" doc:"PEM file of its key" path:"file"`
	MaxMail     Size     `yaml:"max_mail" doc:"the largest mail that is taken; servers return a part of large ones" default:"1MiB" min:"16KiB" max:"50MiB"`
	Connections int      `yaml:"connections" doc:"the most at once; one host has a quarter of them, but at least one" default:"100" min:"1" max:"10000"`
	Rate        Rate     `yaml:"rate" doc:"the most mails, over which senders are asked to come again" default:"50/s" required:"true" want:"how many in which time, as 50/s"`
}

func (c *Feedback) check(r *rules) {
	if c.Tenant != "" && !tenantPattern.MatchString(c.Tenant) {
		r.fault("feedback.tenant", c.Tenant, "is no tenant: 1 to 64 letters, digits, dots, dashes and underscores")
	}
	if c.SoftBounces.Count > MaxCapCount {
		r.fault("feedback.soft_bounces", c.SoftBounces.String(), fmt.Sprintf("is too large: want at most %d", MaxCapCount))
	}
	if _, _, wrong := listenHost(c.Bounces.Listen); wrong != "" && c.Bounces.Listen != "" {
		r.fault("feedback.bounces.listen", c.Bounces.Listen, wrong)
	}
	switch {
	case c.Bounces.Certificate != "" && c.Bounces.Key == "":
		r.fault("feedback.bounces.key", "", "is missing beside certificate: set both, or neither")
	case c.Bounces.Certificate == "" && c.Bounces.Key != "":
		r.fault("feedback.bounces.certificate", "", "is missing beside key: set both, or neither")
	}
	if s := c.Email.SendGrid; s != nil && s.PublicKey != "" {
		if _, err := s.Key(); err != nil {
			r.fault("feedback.email.sendgrid.public_key", "", "is no P-256 public key: copy the verification key as SendGrid shows it")
		}
	}
	if s := c.Email.Postmark; s != nil {
		if n := len(s.Token.Reveal()); n > 0 && n < minKey {
			r.fault("feedback.email.postmark.token", "", fmt.Sprintf("has %d bytes, want %d or more: make one with openssl rand -hex 32", n, minKey))
		}
	}
}

// tenantPattern is what a tenant's name may be.
var tenantPattern = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// Key reads the public key: base64 of its DER, or PEM.
func (c *FeedbackSendGrid) Key() (*ecdsa.PublicKey, error) {
	der, err := base64.StdEncoding.DecodeString(strings.TrimSpace(c.PublicKey))
	if block, _ := pem.Decode([]byte(c.PublicKey)); block != nil {
		der, err = block.Bytes, nil
	}
	if err != nil {
		return nil, fmt.Errorf("public_key: it is not base64: %w", err)
	}
	parsed, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, fmt.Errorf("public_key: %w", err)
	}
	key, ok := parsed.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, fmt.Errorf("public_key: it is %T, want ECDSA with P-256", parsed)
	}
	return key, nil
}
