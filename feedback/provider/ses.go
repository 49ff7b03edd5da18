package provider

import (
	"context"
	"crypto/x509"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/feedback"
	"github.com/carillonhq/carillon/notice"
)

// ses reads Amazon SES's notifications and events, which come through SNS:
// https://docs.aws.amazon.com/ses/latest/dg/notification-contents.html.
type ses struct {
	topics []string
	certs  *certificates
	fetch  Fetch
	now    func() time.Time
}

func newSES(cfg config.FeedbackSES, fetch Fetch, now func() time.Time) (*ses, error) {
	p := &ses{topics: cfg.TopicARNs, fetch: fetch, now: now, certs: &certificates{fetch: fetch, now: now, kept: map[string]*x509.Certificate{}}}
	if cfg.Certificate == "" {
		return p, nil
	}
	text, err := os.ReadFile(cfg.Certificate)
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	if p.certs.fixed, err = parseCertificate(text); err != nil {
		return nil, fmt.Errorf("certificate: %s: %w", cfg.Certificate, err)
	}
	return p, nil
}

// Name is "ses".
func (*ses) Name() string { return "ses" }

// Read implements Provider. The topic is looked at before anything is fetched,
// so that a stranger's envelope costs nothing.
func (p *ses) Read(ctx context.Context, n Notification) (Reports, error) {
	var e snsEnvelope
	if err := decode(n.Body, &e); err != nil {
		return Reports{}, err
	}
	switch {
	case e.Signature == "":
		return Reports{}, ErrNoCredentials
	case !slices.Contains(p.topics, e.Topic):
		return Reports{}, ErrNotOurs
	}
	key, err := p.certs.key(ctx, e.CertURL, e.Topic)
	if err != nil {
		return Reports{}, err
	}
	if err := e.verify(key); err != nil {
		return Reports{}, err
	}
	at, err := time.Parse(time.RFC3339, e.Timestamp)
	if err != nil || !near(at, p.now(), snsWindow) {
		return Reports{}, ErrOld
	}
	switch e.Type {
	case snsNotification:
		return p.notification(&e)
	case snsSubscribe:
		return Reports{}, p.confirm(ctx, &e)
	}
	return Reports{}, nil // a subscription has ended
}

// confirm follows the link of an authentic confirmation for a configured topic.
func (p *ses) confirm(ctx context.Context, e *snsEnvelope) error {
	u, err := snsURL(e.SubscribeURL, e.Topic)
	if err != nil {
		return err
	}
	if _, err := p.fetch(ctx, u.String()); err != nil {
		return fmt.Errorf("confirm the subscription to SNS: %w", err)
	}
	return nil
}

// sesMessage is what an envelope holds: a notification, or an event of a
// configuration set, which differ in the name of their type.
type sesMessage struct {
	Notification string `json:"notificationType"`
	Event        string `json:"eventType"`
	Mail         struct {
		Headers []struct {
			Name  string `json:"name"`
			Value string `json:"value"`
		} `json:"headers"`
		Common struct {
			MessageID string `json:"messageId"`
		} `json:"commonHeaders"`
	} `json:"mail"`
	Bounce struct {
		Type       string    `json:"bounceType"`
		SubType    string    `json:"bounceSubType"`
		At         time.Time `json:"timestamp"`
		ID         string    `json:"feedbackId"`
		Recipients []struct {
			Address    string `json:"emailAddress"`
			Status     string `json:"status"`
			Diagnostic string `json:"diagnosticCode"`
		} `json:"bouncedRecipients"`
	} `json:"bounce"`
	Complaint struct {
		At         time.Time `json:"timestamp"`
		ID         string    `json:"feedbackId"`
		Type       string    `json:"complaintFeedbackType"`
		Recipients []struct {
			Address string `json:"emailAddress"`
		} `json:"complainedRecipients"`
	} `json:"complaint"`
	Delivery struct {
		At         time.Time `json:"timestamp"`
		Recipients []string  `json:"recipients"`
	} `json:"delivery"`
}

func (p *ses) notification(e *snsEnvelope) (Reports, error) {
	var m sesMessage
	if err := decode([]byte(e.Message), &m); err != nil {
		return Reports{}, fmt.Errorf("/Message: %w", err)
	}
	r := Reports{ID: digest([]byte(p.Name()), []byte(e.Topic), []byte(e.MessageID))}
	about := notice.Feedback{Source: p.Name(), Delivery: m.delivery()}
	switch m.Notification + m.Event {
	case "Bounce":
		r.Items = m.bounces(about)
	case "Complaint":
		r.Items = m.complaints(about)
	case "Delivery":
		about.Kind, about.At = notice.FeedbackDelivery, m.Delivery.At
		for _, about.Address = range m.Delivery.Recipients {
			r.Items = append(r.Items, about)
		}
	}
	return r, nil
}

// delivery is what the mail's Message-ID says. SES puts its own in the place
// of ours, and keeps ours among the headers that it was given.
func (m *sesMessage) delivery() string {
	for _, h := range m.Mail.Headers {
		if h.Name == "Message-ID" || h.Name == "Message-Id" {
			if id := notice.DeliveryOfMessageID(h.Value); id != "" {
				return id
			}
		}
	}
	return notice.DeliveryOfMessageID(m.Mail.Common.MessageID)
}

func (m *sesMessage) bounces(about notice.Feedback) (out []notice.Feedback) {
	for _, to := range m.Bounce.Recipients {
		f := about
		f.Address, f.At, f.Event = to.Address, m.Bounce.At, m.Bounce.ID
		f.Code, f.Detail = feedback.Code(to.Status, to.Diagnostic), notice.ScrubMail(to.Diagnostic)
		if f.Code == "" {
			f.Code = notice.ScrubMail(m.Bounce.Type + "/" + m.Bounce.SubType)
		}
		f.Kind = m.bounceKind(f.Code)
		out = append(out, f)
	}
	return out
}

// bounceKind goes by SES's own types:
// https://docs.aws.amazon.com/ses/latest/dg/notification-contents.html#bounce-types.
func (m *sesMessage) bounceKind(code string) notice.FeedbackKind {
	switch m.Bounce.SubType {
	case "MessageTooLarge", "ContentRejected", "AttachmentRejected":
		return notice.FeedbackBlocked
	}
	if m.Bounce.Type == "Permanent" {
		return bounceKind(code, notice.FeedbackHard)
	}
	return bounceKind(code, notice.FeedbackSoft)
}

func (m *sesMessage) complaints(about notice.Feedback) (out []notice.Feedback) {
	if m.Complaint.Type == "not-spam" {
		return nil // its reader took it out of the spam folder
	}
	about.Kind, about.At, about.Event = notice.FeedbackComplaint, m.Complaint.At, m.Complaint.ID
	about.Code = notice.ScrubMail(m.Complaint.Type)
	for _, to := range m.Complaint.Recipients {
		about.Address = to.Address
		out = append(out, about)
	}
	return out
}
