// Package provider reads the notifications by which mail providers report
// bounces, complaints and deliveries. Each proves first that a notification is
// the provider's; what is not proven is not read.
package provider

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/notice"
)

// ErrForged is a notification that its provider did not make, or that was
// changed on the way.
var ErrForged = errors.New("the signature does not fit the body")

// ErrOld is an authentic notification from another time than now.
var ErrOld = errors.New("the notification is too old, or from a clock that runs ahead")

// ErrNoCredentials is a notification without what would prove it.
var ErrNoCredentials = errors.New("the notification says nothing that would prove whose it is")

// ErrNotOurs is an authentic notification of a topic that is not configured.
var ErrNotOurs = errors.New("the notification is of a topic that is not configured: add it to feedback.email.ses.topic_arns")

// window is how far a signed time may lie from now. Providers sign anew when
// they try again, or try again within minutes.
const window = 15 * time.Minute

// ahead is how far a provider's clock may be ahead of ours.
const ahead = 5 * time.Minute

// Notification is one call of a provider.
type Notification struct {
	Header http.Header
	Body   []byte
}

// Reports is what a notification says.
type Reports struct {
	Items []notice.Feedback
	// ID tells the notification from every other: a second one of the same is a
	// replay, or tried again. Empty where the provider gives nothing to tell by.
	ID string
}

// Provider reads the notifications of one provider.
type Provider interface {
	// Name is the last part of the path that the provider calls.
	Name() string
	// Read proves a notification and reads it. The errors are those of this
	// package, a *notice.SyntaxError or notice.Faults for a body that is authentic
	// and not understood, and else a store's or a network's own trouble.
	Read(ctx context.Context, n Notification) (Reports, error)
}

// Life is how long the ID of a notification has to be remembered: behind it a
// replay is too old.
const Life = snsWindow + ahead + time.Minute

// Fetch gets a small file by HTTPS, following no redirect.
type Fetch func(ctx context.Context, url string) ([]byte, error)

// New makes the configured providers, by name. fetch is for the certificates
// and subscriptions of SNS.
func New(cfg config.FeedbackEmail, fetch Fetch, now func() time.Time) (map[string]Provider, error) {
	all := map[string]Provider{}
	if c := cfg.SES; c != nil {
		p, err := newSES(*c, fetch, now)
		if err != nil {
			return nil, err
		}
		all[p.Name()] = p
	}
	if c := cfg.SendGrid; c != nil {
		key, err := c.Key()
		if err != nil {
			return nil, err
		}
		p := &sendGrid{key: key, now: now}
		all[p.Name()] = p
	}
	if c := cfg.Postmark; c != nil {
		p := &postmark{token: sha256.Sum256([]byte(c.Token.Reveal()))}
		all[p.Name()] = p
	}
	if c := cfg.Mailgun; c != nil {
		p := &mailgun{key: []byte(c.SigningKey.Reveal()), now: now}
		all[p.Name()] = p
	}
	return all, nil
}

// inTime reports whether a signed unix time is near enough to now.
func inTime(unix string, now time.Time) bool {
	n, err := strconv.ParseInt(unix, 10, 64)
	return err == nil && near(time.Unix(n, 0), now, window)
}

func near(at, now time.Time, past time.Duration) bool {
	return !at.Before(now.Add(-past)) && !at.After(now.Add(ahead))
}

func digest(parts ...[]byte) string {
	sum := sha256.New()
	for _, p := range parts {
		sum.Write(p)
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// unixTime is a time in seconds that may have a fraction; zero for none.
func unixTime(seconds float64) time.Time {
	const mostSeconds = 1 << 33
	if seconds <= 0 || seconds > mostSeconds {
		return time.Time{}
	}
	return time.UnixMilli(int64(seconds * 1000)).UTC()
}
