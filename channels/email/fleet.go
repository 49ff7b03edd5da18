package email

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/textproto"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/carillonhq/carillon/channels"
)

const (
	// shortestRest and longestRest bound how long a relay that failed is passed
	// over while there are others; the rest doubles with each failure after it.
	shortestRest = time.Second
	longestRest  = time.Minute
)

// server is one relay with its connections, and how it fares.
type server struct {
	name    string // host and port
	key     string // where it stands in the configuration
	account string // whose rate it is counted by
	weight  int
	pool    *pool

	// Guarded by fleet.mu.
	current  int       // of the smooth weighted turns
	until    time.Time // it is passed over until then
	failures int       // in a row
}

// fleet is the relays that mails are shared out to. A relay's health is known
// from its use: nothing is sent to find it out.
type fleet struct {
	now     func() time.Time
	log     *slog.Logger
	mu      sync.Mutex
	servers []*server
}

// deliver hands l to the relay that it is to go by, or to the next one where
// that relay fails before any of the mail was accepted. It returns the relay's
// words of acceptance, and its name where there are several. A relay at its rate
// is passed over; where one that works was, those that do not are not tried.
func (f *fleet) deliver(ctx context.Context, l letter) (words, by string, err error) {
	order, well := f.order(l.via)
	var full []string // accounts that are at their rates
	for i, s := range order {
		if i == well && len(full) > 0 {
			break
		}
		if !l.mayGoBy(s) {
			full = append(full, s.account)
			continue
		}
		words, failed := s.deliver(ctx, len(order)-i, l)
		f.note(s, failed)
		if failed == nil {
			return words, s.name, nil
		}
		err = gentler(err, failed, l.to)
		if !movesOn(failed) || ctx.Err() != nil {
			return "", s.name, failed
		}
	}
	if len(full) > 0 && (well > 0 || err == nil) {
		return "", "", fmt.Errorf("%w: %s", errAtRate, strings.Join(full, ", "))
	}
	return "", "", err
}

// errAtRate says that nothing is wrong but that the mail has to wait.
var errAtRate = errors.New("the relays that it may go by are at their rates")

// mayGoBy reports whether a relay's rate lets the mail go: that of the relay
// which was chosen for it did before.
func (l *letter) mayGoBy(s *server) bool {
	return l.permit == nil || s.key == l.via || l.permit(s.account)
}

// gentler is the failure that tells of all relays: as long as one asks for less
// the mail may wait at no cost, and as long as one may work later by itself
// nobody needs to mend anything.
func gentler(before, now error, to string) error {
	if before == nil {
		return now
	}
	severity := func(err error) int {
		switch classify(err, to).Verdict {
		case channels.Throttled:
			return 0
		case channels.Broken:
			return 2
		}
		return 1
	}
	if severity(now) < severity(before) {
		return now
	}
	return before
}

// choose is the relay that the next mail is to go by: of those that are well
// the one whose turn it is among those that have a permit soon, or else the one
// that has one first. While none is well it is the one whose rest ends soonest.
func (f *fleet) choose(wait func(account string) time.Duration) *server {
	if len(f.servers) == 1 {
		return f.servers[0]
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	well, resting := f.divide()
	if len(well) == 0 {
		return resting[0]
	}
	soon := soonest(well, wait)
	takeTurn(soon)
	return soon[0]
}

// soonest are the relays whose rates let one more go first, all that let it go
// about now among them.
func soonest(well []*server, wait func(account string) time.Duration) (soon []*server) {
	least := time.Duration(math.MaxInt64)
	for _, s := range well {
		switch w := wait(s.account); {
		case w < least:
			least, soon = w, append(soon[:0], s)
		case w == least:
			soon = append(soon, s)
		}
	}
	return soon
}

// order lists the relays as they are to be tried, those that are well first:
// the one that was chosen, or whose turn it is where none was, and the others;
// and then those that failed lately, the one whose rest ends soonest first.
func (f *fleet) order(via string) (order []*server, well int) {
	if len(f.servers) == 1 {
		return f.servers, 1
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	order, resting := f.divide()
	if well = len(order); via == "" {
		takeTurn(order)
	} else if i := slices.IndexFunc(order, func(s *server) bool { return s.key == via }); i > 0 {
		order[0], order[i] = order[i], order[0]
	}
	return append(order, resting...), well
}

// divide lists the relays that are well, and those that failed lately, the one
// whose rest ends soonest first. The caller holds mu.
func (f *fleet) divide() (well, resting []*server) {
	now := f.now()
	well = make([]*server, 0, len(f.servers))
	for _, s := range f.servers {
		if now.Before(s.until) {
			resting = append(resting, s)
			continue
		}
		well = append(well, s)
	}
	slices.SortFunc(resting, func(a, b *server) int { return a.until.Compare(b.until) })
	return well, resting
}

// takeTurn puts the relay whose turn it is first: over any stretch each gets
// its weight's share, evenly spread (smooth weighted round-robin, as nginx
// does).
func takeTurn(well []*server) {
	total, best := 0, 0
	for i, s := range well {
		s.current += s.weight
		total += s.weight
		if s.current > well[best].current {
			best = i
		}
	}
	if len(well) > 0 {
		well[best].current -= total
		well[0], well[best] = well[best], well[0]
	}
}

// note learns from a delivery how a relay fares, and tells it once when it is
// left alone and once when it is back. Many that fail at once are one failure.
func (f *fleet) note(s *server, err error) {
	if len(f.servers) == 1 || errors.Is(err, context.Canceled) {
		return // there is no other, or it says nothing of the relay
	}
	before, after := f.count(s, isSick(err))
	switch {
	case before == 0 && after > 0:
		f.log.Warn("a relay is left alone: mails go to the others", "relay", s.key, "code", classify(err, "").Code)
	case before > 0 && after == 0:
		f.log.Info("a relay takes mails again", "relay", s.key, "failures", before)
	}
}

// count notes a failure of s or that it is well, and returns its failures in a
// row before and after.
func (f *fleet) count(s *server, sick bool) (before, after int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now, before := f.now(), s.failures
	switch {
	case !sick:
		s.failures, s.until = 0, time.Time{}
	case !now.Before(s.until):
		s.failures++
		s.until = now.Add(min(shortestRest<<min(s.failures-1, 10), longestRest))
	}
	return before, s.failures
}

// isSick reports whether err speaks of the relay and not of the mail: it could
// not be reached or trusted, would not have us, asks for less, or hung up.
func isSick(err error) bool {
	var f *failure
	if !errors.As(err, &f) || f.stage == stageCompose || errors.Is(err, context.Canceled) {
		return false
	}
	r := replyOf(f)
	return r == nil || r.Code == closing || f.stage.isSetUp() || refusesLogin(r) || wantsLess(f)
}

// wantsLess reports whether a relay asks for less. It has not taken the mail
// then, even where it says so after the final dot (RFC 5321 §4.2.1).
func wantsLess(f *failure) bool { return classify(f, "").Verdict == channels.Throttled }

// refusesLogin reports whether a reply says that the relay wants a login, or
// another one, at whatever step it finds that out (RFC 4954 §6: 530 and 5.7.8).
func refusesLogin(r *textproto.Error) bool {
	return r.Code == 530 || enhancedPattern.FindString(r.Msg) == "5.7.8"
}

// movesOn reports whether another relay may be tried with the same mail:
// nothing of it was accepted, and its fate is not decided.
func movesOn(err error) bool {
	var f *failure
	if !errors.As(err, &f) || f.stage == stageDot && !wantsLess(f) {
		return false
	}
	return errors.Is(err, errNeedsUTF8) || isSick(err)
}

// deliver hands l to this relay over a kept connection or a new one. left is
// how many relays there are to try, this one included: it may use up its share
// of the time to be reached.
func (s *server) deliver(ctx context.Context, left int, l letter) (string, error) {
	reaching, cancel := share(ctx, left)
	defer cancel()
	c, err := s.pool.take(reaching)
	if err != nil {
		return "", err
	}
	words, err := c.send(ctx, l)
	if c.reused && wentStale(err) && ctx.Err() == nil {
		// The relay hung up on a connection that it had kept: nothing was
		// sent, and the mail is not to pay for it. A new connection, since
		// after a relay's restart every other kept one is as dead.
		reaching, cancel := share(ctx, left)
		defer cancel()
		if c, err = s.pool.replace(reaching, c); err != nil {
			return "", err
		}
		words, err = c.send(ctx, l)
	}
	s.pool.give(c)
	return words, err
}

// share bounds ctx to one part of the time that is left, of so many.
func share(ctx context.Context, parts int) (context.Context, context.CancelFunc) {
	end, ok := ctx.Deadline()
	if !ok || parts == 1 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, time.Until(end)/time.Duration(parts))
}

// close ends every kept connection.
func (f *fleet) close() {
	var closing sync.WaitGroup
	for _, s := range f.servers {
		closing.Go(s.pool.close)
	}
	closing.Wait()
}
