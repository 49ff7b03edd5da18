package ingest

import (
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/templates"
)

// Acceptor checks and completes notifications, however they came in: the
// consumer does with the inbox's what the API does with its callers'.
type Acceptor struct {
	Templates Templates
	// EnabledChannels are those that have an adapter; what needs another is
	// refused.
	EnabledChannels map[notice.Channel]bool
}

// Accept checks a decoded notification against everything that is known at
// the door, and completes it from its template. An error is a *Problem with
// every fault, and its words name each.
func (c Acceptor) Accept(n *notice.Notification, now time.Time) error {
	var r refusal
	r.addAll(kindInvalid, n.Validate(now))
	tpl := c.template(n.Template, &r)
	if tpl != nil {
		r.addAll(kindData, tpl.DataFaults(dataOf(n)))
	}
	if r.faults == nil && (tpl != nil || n.Content != nil) {
		reach{n, tpl, c.EnabledChannels}.check(&r)
	}
	if r.faults != nil {
		return r.problem()
	}
	complete(n, tpl, now)
	return nil
}

// template finds a notification's template, nil when it has none.
func (c Acceptor) template(name string, r *refusal) *templates.Template {
	if name == "" {
		return nil
	}
	catalogue := c.Templates.Current()
	tpl, ok := catalogue.Template(name)
	if !ok {
		r.add(kindTemplate, "/template", noTemplate(name, catalogue.Names()))
		return nil
	}
	return tpl
}

// emptyObject is the data of a notification that has none: a schema may
// require something of it all the same.
const emptyObject = "{}"

func dataOf(n *notice.Notification) jsontext.Value {
	if n.Data == nil {
		return jsontext.Value(emptyObject)
	}
	return n.Data
}

// complete fills in what the sender left to the template, and forgets a
// send_at that has come. tpl is nil for a notification with content.
func complete(n *notice.Notification, tpl *templates.Template, now time.Time) {
	if !n.SendAt.After(now) {
		n.SendAt = time.Time{}
	}
	if tpl != nil {
		if n.Category == "" {
			n.Category = tpl.Category
		}
		if n.Priority == "" {
			n.Priority = tpl.Lane
		}
		if n.CollapseKey == "" {
			n.CollapseKey = tpl.CollapseKey
		}
		if n.ExpiresAt.IsZero() && tpl.ExpiresIn > 0 {
			n.ExpiresAt = later(n.SendAt, now).Add(tpl.ExpiresIn)
		}
	}
	if n.Priority == "" {
		n.Priority = notice.LaneNormal
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// refusal collects why a notification is refused.
type refusal struct {
	kind   kind // of every fault; kindInvalid once there are several kinds
	faults notice.Faults
}

func (r *refusal) add(k kind, pointer, detail string) {
	if r.faults == nil {
		r.kind = k
	} else if r.kind != k {
		r.kind = kindInvalid
	}
	r.faults.Add(pointer, detail)
}

func (r *refusal) addAll(k kind, faults notice.Faults) {
	for _, f := range faults {
		r.add(k, f.Pointer, f.Detail)
	}
}

func (r *refusal) problem() *Problem { return r.kind.problem(summary(r.faults), r.faults...) }
