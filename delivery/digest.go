package delivery

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/queue"
	"github.com/carillonhq/carillon/throttle"
)

// Under a cap with over: digest the first delivery that is too many waits for
// its place, as under any other, and carries what comes for the same address
// until then. docs/decisions/027 says why the digest is a delivery that there is.

// digestKey is a digest among those of a batch.
type digestKey = queue.DigestPlace

// collector finds for the deliveries of a batch what they are collected in.
type collector struct {
	p          *Pipeline
	carriers   map[digestKey]string // of the digests that are open, or that the batch opens
	candidates map[digestKey]*place // who has been chosen to carry one, and asks for a place
	held       []*place             // who waits for what becomes of that
}

// collect decides on places that a digest is to collect: each is collected in
// one that is open, or carries a new one. It returns the chosen, which are to
// ask for a place of their own, and those whose own is spare, since another
// one carries already.
func (c *collector) collect(ctx context.Context, places []*place) (chosen, spare []*place, err error) {
	if err := c.look(ctx, places); err != nil {
		return nil, nil, err
	}
	c.held = nil
	for key, at := range c.candidates {
		if !at.carrying { // it goes by itself, or has ended
			delete(c.candidates, key)
		}
	}
	for _, at := range places {
		key := at.key()
		switch carrier := c.carriers[key]; {
		case carrier != "" && carrier != at.id():
			if at.has {
				spare = append(spare, at)
			}
			at.collected(carrier)
		case at.has:
			c.carriers[key] = at.id()
			delete(c.candidates, key)
			at.opens()
		case c.candidates[key] == nil:
			at.carrying = true
			c.candidates[key] = at
			chosen = append(chosen, at)
		default:
			c.held = append(c.held, at)
		}
	}
	return chosen, spare, nil
}

// look finds out which of the digests that places may be collected in are open.
func (c *collector) look(ctx context.Context, places []*place) error {
	var unknown []digestKey
	for _, at := range places {
		if _, known := c.carriers[at.key()]; !known {
			c.carriers[at.key()] = ""
			unknown = append(unknown, at.key())
		}
	}
	if len(unknown) == 0 {
		return nil
	}
	return c.p.persist(ctx, "looking for digests", func() error {
		found, err := c.p.Queue.Carriers(ctx, unknown)
		for i := range found {
			c.carriers[unknown[i]] = found[i]
		}
		return err
	})
}

func (at *place) key() digestKey {
	return digestKey{Partition: at.d.lease.Partition(), Name: at.digest.Name}
}

// full takes in that a cap has no room, and what it collects in.
func (at *place) full(a throttle.Answer) {
	dl := &at.planned().Delivery
	at.limit = a.Limit
	at.digest = &queue.Digest{Name: queue.DigestName(dl, at.d.digest, a.Rule), Items: a.Digest.Items, Size: int64(a.Digest.Size),
		Full: queue.Entry{Code: a.Rule}}
}

// carries reports whether a place that was answered is a carrier's: it was
// chosen to be one, or was, before its plan was lost, and has to wait.
func (at *place) carries(a throttle.Answer) bool {
	if a.Action != throttle.Wait || at.planned().Due.Equal(at.due) {
		return false
	}
	if at.carrying {
		return true
	}
	if a.Digest == nil || !at.d.digestible(at.i) {
		return false
	}
	at.full(a)
	return true
}

// opens makes the delivery the carrier of its digest.
func (at *place) opens() {
	pd := at.planned()
	at.digest.Carrier, pd.Digest = pd.Delivery.ID, at.digest
	pd.Delivery.Digest = at.d.digest
	pd.Why.Detail += "; what comes until then is collected with it"
}

// collected ends the delivery: it goes with another one.
func (at *place) collected(carrier string) {
	pd, rule := at.planned(), at.digest.Full.Code
	at.digest.Carrier, pd.Digest = carrier, at.digest
	pd.Delivery.Digest = at.d.digest
	pd.Due, pd.Why = at.due, at.why
	at.d.end(at.i, notice.StatusCapped, rule, "collected into the digest of "+carrier)
	at.digest.Full = pd.Ended
	at.digest.Full.Detail = "too many or too large for the digest of " + carrier + ", which only counts it"
}

// digestible reports whether a delivery may be sent as a part of a digest. A
// chain's is not while another link may follow: whether that starts depends on
// what becomes of this one.
func (d *draft) digestible(i int) bool {
	n := &d.event.Notification
	return d.digest != "" && n.Content == nil && (n.Route != notice.RouteFirst || len(d.media) == 0) && d.out[i].Delivery.To.User != ""
}

// undigested ends the words for a delivery that waits by itself though its cap
// makes digests.
func (d *draft) undigested(i int, a throttle.Answer) string {
	switch n := &d.event.Notification; {
	case a.Digest == nil || d.digestible(i):
		return ""
	case n.Content != nil:
		return "; it has no template to be digested by"
	case d.digest == "":
		return "; " + n.Template + " has no digest, so it waits by itself"
	}
	return "; another channel may follow, so it waits by itself"
}

// cappedBy is what a cap did that ended a delivery, for the metrics.
func cappedBy(pd *queue.PlannedDelivery) string {
	if pd.Digest != nil {
		return "digest"
	}
	return "drop"
}

// digested is the delivery as it is sent: with what it carries, by the template
// of its digest, or, when it carries nothing, as it is. note says what of that
// is worth knowing, for the timeline. It fails with queue.ErrFault, or when ctx
// ends.
func (s *sender) digested(ctx context.Context, d *notice.Delivery) (sent *notice.Delivery, note string, err error) {
	if d.Digest == "" {
		return d, "", nil
	}
	version := ""
	if t, ok := s.p.Catalogue.Current().Template(d.Digest); ok {
		version = t.Version
	}
	var got queue.Collected
	err = s.p.persist(ctx, "closing a digest", func() (err error) {
		got, err = s.p.Queue.CloseDigest(ctx, d.ID, version, s.p.Now())
		return err
	})
	if err != nil {
		return nil, "", err
	}
	live := got.Live()
	if note = digestNote(len(live), got.More, len(got.Items)-len(live)); len(live)+got.More == 0 {
		return d, note, nil
	}
	data, err := digestData(d, live, got.More)
	if err != nil {
		return nil, "", fmt.Errorf("%w: %w", queue.ErrFault, err)
	}
	out := *d
	out.Template, out.Version, out.Data = d.Digest, got.Version, data
	return &out, note, nil
}

// digestNote is what a timeline says of a digest: of how many it is, with its
// carrier, how many it only counts, and how many had expired.
func digestNote(live, more, expired int) (note string) {
	if live+more > 0 {
		note = fmt.Sprintf("a digest of %d", live+1)
	}
	if more > 0 {
		note += fmt.Sprintf(", and %d more that it only counts", more)
	}
	if expired > 0 {
		note = join(note, fmt.Sprintf("%d that it had collected had expired", expired))
	}
	return note
}

// digestData is what a digest's template sees.
func digestData(carrier *notice.Delivery, live []notice.Delivery, more int) (jsontext.Value, error) {
	items := make([]jsontext.Value, 0, 1+len(live))
	for _, data := range append([]jsontext.Value{carrier.Data}, dataOf(live)...) {
		if len(data) == 0 {
			data = jsontext.Value("{}")
		}
		items = append(items, data)
	}
	b, err := json.Marshal(struct {
		Items []jsontext.Value `json:"items"`
		Count int              `json:"count"`
		More  int              `json:"more"`
	}{items, len(items), more})
	if err != nil {
		return nil, fmt.Errorf("the data of the digest of %s is no JSON", carrier.ID)
	}
	return b, nil
}

func dataOf(deliveries []notice.Delivery) []jsontext.Value {
	out := make([]jsontext.Value, len(deliveries))
	for i := range deliveries {
		out[i] = deliveries[i].Data
	}
	return out
}

// undigested settles a delivery whose digest cannot be had: nil, for its lease
// to be handed back, when the queue is away and the consumer stops.
func (s *sender) undigested(l *queue.Lease, d *notice.Delivery, now time.Time, err error) *queue.Settlement {
	if errors.Is(err, queue.ErrFault) {
		return s.buried(l, d, now, "digest", err)
	}
	return nil
}
