package queue

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/carillonhq/carillon/notice"
)

// feedbackLetter begins the line of what was said of a delivery after it had
// gone out: it changes no status.
const feedbackLetter = 'b'

// NoteFeedback adds to a delivery's timeline what was said of its mail later:
// its status stays, the entry's code is "bounce", "complaint" or "delivery",
// and the detail has the words. A record that has gone is no error; the same
// words about the same moment are noted once.
func (q *Queue) NoteFeedback(ctx context.Context, f notice.Feedback) (noted bool, err error) {
	r, err := q.Record(ctx, f.Tenant, f.Delivery)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	p, _, ordinal, err := notice.SplitID(f.Delivery)
	if err != nil || ordinal < 0 {
		return false, nil
	}
	c := &call{script: q.scripts.feedback, keys: []string{q.keys.record(p, r.ID)},
		args: []any{"P\t" + strconv.Itoa(ordinal) + "\t", feedbackLine(f, ordinal, r.AcceptedAt), longestOpenRecord}}
	if err := q.run(ctx, c); err != nil {
		return false, err
	}
	done, err := c.reply.Int()
	if err != nil {
		return false, unavailable(err)
	}
	return done > 0, nil
}

func feedbackLine(f notice.Feedback, ordinal int, acceptedAt time.Time) []byte {
	b := append([]byte{feedbackLetter, '\t'}, strconv.Itoa(ordinal)...)
	b = appendNumber(b, max(0, f.At.Sub(acceptedAt).Milliseconds()))
	b = appendField(b, "") // an attempt
	b = appendField(b, feedbackCode(f.Kind))
	detail := f.Words()
	if f.Kind.Bounce() {
		detail = string(f.Kind) + ": " + detail
	}
	b = appendField(b, shorten(detail, longestDetail))
	return endLine(b)
}

func feedbackCode(k notice.FeedbackKind) string {
	if k.Bounce() {
		return "bounce"
	}
	return string(k)
}

// Owner tells whose a delivery is: its tenant, and its user where it has one.
// A record that has gone is ErrNotFound.
func (q *Queue) Owner(ctx context.Context, delivery string) (tenant, user string, err error) {
	p, notification, ordinal, err := notice.SplitID(delivery)
	if err != nil || ordinal < 0 || p >= q.cfg.Partitions {
		return "", "", ErrNotFound
	}
	raw, err := q.rdb.Get(ctx, q.keys.record(p, notification)).Result()
	if errors.Is(err, redis.Nil) {
		return "", "", ErrNotFound
	}
	if err != nil {
		return "", "", unavailable(err)
	}
	r, err := parseRecord(notification, raw)
	if err != nil {
		return "", "", fmt.Errorf("reading whose a delivery is: %w", err)
	}
	for _, d := range r.Deliveries {
		if d.ID == delivery {
			return r.Tenant, r.User, nil
		}
	}
	return "", "", ErrNotFound
}

// WentTo reports whether a delivery may have been to a mail address, by what
// its record shows of it: another one's first letter and domain differ. A
// record that has gone, or is another tenant's, says no.
func (q *Queue) WentTo(ctx context.Context, tenant, delivery, address string) (bool, error) {
	r, err := q.Record(ctx, tenant, delivery)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	for _, d := range r.Deliveries {
		if d.ID == delivery {
			return d.Address == hint(notice.Address{Channel: notice.ChannelEmail, To: address}), nil
		}
	}
	return false, nil
}
