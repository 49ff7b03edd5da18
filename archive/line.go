package archive

import (
	"bytes"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/queue"
)

// line is a notification that has ended, as the archive keeps it.
type line struct {
	ID         string         `json:"id"`
	Tenant     string         `json:"tenant"`
	User       string         `json:"user,omitzero"`
	Template   string         `json:"template,omitzero"`
	Category   string         `json:"category,omitzero"`
	Lane       notice.Lane    `json:"priority"`
	Accepted   time.Time      `json:"accepted_at"`
	Ended      time.Time      `json:"ended_at"`
	Decisions  []decision     `json:"decisions,omitempty"` // about the notification as a whole
	Deliveries []deliveryLine `json:"deliveries,omitempty"`
}

// deliveryLine is one delivery: its final state, and what came before it.
type deliveryLine struct {
	ID       string         `json:"id"`
	Channel  notice.Channel `json:"channel"`
	Address  string         `json:"address,omitzero"` // shortened so that it names nobody
	Attempts int            `json:"attempts,omitzero"`
	decision
	Before []decision `json:"before,omitempty"` // the way there, oldest first; its planning left out
}

// decision is one entry of a timeline.
type decision struct {
	Status     notice.Status `json:"status"`
	At         time.Time     `json:"at"`
	Attempt    int           `json:"attempt,omitzero"`
	Code       string        `json:"code,omitzero"`
	Detail     string        `json:"detail,omitzero"`
	ProviderID string        `json:"provider_id,omitzero"`
	Until      time.Time     `json:"until,omitzero"`
}

func decisionOf(e queue.Entry) decision {
	return decision{Status: e.Status, At: e.At, Attempt: e.Attempt, Code: e.Code, Detail: e.Detail, ProviderID: e.ProviderID, Until: e.Until}
}

func lineOf(r queue.Record) line {
	l := line{ID: r.ID, Tenant: r.Tenant, User: r.User, Template: r.Template, Category: r.Category, Lane: r.Lane,
		Accepted: r.AcceptedAt, Ended: r.AcceptedAt}
	for _, e := range r.Timeline {
		l.Decisions = append(l.Decisions, decisionOf(e))
		l.Ended = later(l.Ended, e.At)
	}
	for _, d := range r.Deliveries {
		dl := deliveryLineOf(d)
		l.Deliveries = append(l.Deliveries, dl)
		l.Ended = later(l.Ended, dl.At)
	}
	return l
}

func deliveryLineOf(d queue.DeliveryRecord) deliveryLine {
	out := deliveryLine{ID: d.ID, Channel: d.Channel, Address: d.Address, Attempts: d.Attempt}
	if len(d.Timeline) == 0 {
		return out
	}
	last := len(d.Timeline) - 1
	out.decision = decisionOf(d.Timeline[last])
	out.Attempt = 0 // Attempts says it
	for i, e := range d.Timeline[:last] {
		if i > 0 {
			out.Before = append(out.Before, decisionOf(e))
		}
	}
	return out
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// fileOf is the file of an hour, UTC, with slashes on every system.
func fileOf(ended time.Time) string { return ended.UTC().Format("2006/01/02/15") + ".ndjson" }

// appendLines adds records to the texts of their hours' files.
func appendLines(texts map[string]*bytes.Buffer, records []queue.Record) error {
	for _, r := range records {
		l := lineOf(r)
		text, err := json.Marshal(&l)
		if err != nil {
			return fmt.Errorf("writing %s down: %w", r.ID, err)
		}
		name := fileOf(l.Ended)
		if texts[name] == nil {
			texts[name] = &bytes.Buffer{}
		}
		texts[name].Write(text)
		texts[name].WriteByte('\n')
	}
	return nil
}
