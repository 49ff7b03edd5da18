package main

import (
	"io"
	"time"

	"github.com/emersion/go-smtp"
)

// relayTag is what the mails of the receiver's relay are counted under.
const relayTag = "relay"

// relay takes every mail, and keeps its moment: that at which its conversation
// began, which is the nearest to that of its permit.
type relay struct {
	receiver *receiver
	began    time.Time
}

func newRelay(r *receiver) *smtp.Server {
	s := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &relay{receiver: r}, nil }))
	s.Domain = "relay.example"
	return s
}

// Mail, Rcpt, Data, Reset and Logout implement smtp.Session.
func (r *relay) Mail(string, *smtp.MailOptions) error {
	r.began = time.Now()
	return nil
}

func (r *relay) Rcpt(string, *smtp.RcptOptions) error { return nil }

func (r *relay) Data(mail io.Reader) error {
	if _, err := io.Copy(io.Discard, mail); err != nil {
		return err
	}
	r.receiver.tally(relayTag).keep(r.began)
	return nil
}

func (r *relay) Reset()        {}
func (r *relay) Logout() error { return nil }
