package queue

import (
	"context"
	"fmt"
	"time"
)

const (
	spendBatch = 256  // the most asks of one look at the quotas
	spendQueue = 1024 // asks waiting for one; past it Spend blocks, for as long as a command may take
)

// Quota is a rate that all processes keep together: Count in Per, and so many at
// once. Its state is known by its Name, whatever the rate is changed to.
type Quota struct {
	Name  string // unique within the tenant
	Count int
	Per   time.Duration
}

// Account is a caller's quotas. What it spends is taken from each of them, or
// from none.
type Account struct {
	Tenant string
	Quotas []Quota
}

// Spent is what became of an ask.
type Spent struct {
	Granted int          // of what was asked for
	Quotas  []QuotaState // of each of the account's
}

// QuotaState is what an ask left of a quota.
type QuotaState struct {
	Left int
	Full time.Duration // until nothing is missing
}

// Until is when an account that was left so has n, or as many as it ever has.
func (a *Account) Until(s Spent, n int) (wait time.Duration) {
	for i, quota := range a.Quotas {
		each := quota.Per / time.Duration(quota.Count)
		more := quota.Count - min(n, quota.Count) // that need not have come by then
		wait = max(wait, s.Quotas[i].Full-time.Duration(more)*each)
	}
	return wait
}

// spending is an ask on its way.
type spending struct {
	account *Account
	n       int
	out     Spent
	err     error
	done    chan struct{}
}

// Spend takes up to n from an account, exactly: the count is kept by Redis, and
// whatever asks are waiting share a round trip, those of one account a single
// operation. When Redis is away the error is ErrUnavailable, and nothing is
// known to be taken.
func (q *Queue) Spend(ctx context.Context, account *Account, n int) (Spent, error) {
	if err := q.Ready(); err != nil {
		return Spent{}, unavailable(err)
	}
	s := &spending{account: account, n: n, done: make(chan struct{})}
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	select {
	case q.spendings <- s:
	case <-ctx.Done():
		return Spent{}, fmt.Errorf("%w: waiting for a look at the quotas: %w", ErrUnavailable, ctx.Err())
	case <-q.stopped:
		return Spent{}, fmt.Errorf("%w: %w", ErrUnavailable, errClosed)
	}
	select {
	case <-s.done:
		return s.out, s.err
	case <-q.stopped:
		return Spent{}, fmt.Errorf("%w: %w", ErrUnavailable, errClosed)
	}
}

// spendLoop looks at the quotas for whatever is waiting.
func (q *Queue) spendLoop(ctx context.Context) {
	batch := make([]*spending, 0, spendBatch)
	for {
		select {
		case s := <-q.spendings:
			batch = gather(append(batch[:0], s), q.spendings, spendBatch)
			q.spend(batch)
		case <-ctx.Done():
			return
		}
	}
}

// spend takes what a batch asks for. An account is asked once for all of its
// asks, which have what is granted in the order in which they came.
func (q *Queue) spend(batch []*spending) {
	ctx, cancel := context.WithTimeout(context.Background(), commandTimeout)
	defer cancel()
	byAccount := map[*Account]*accountAsk{}
	calls := newBatchCalls(q, q.scripts.spend)
	var asks []*accountAsk
	for _, s := range batch {
		ask := byAccount[s.account]
		if ask == nil {
			ask = &accountAsk{account: s.account}
			byAccount[s.account] = ask
			asks = append(asks, ask)
		}
		ask.n += s.n
		ask.of = append(ask.of, s)
	}
	for i, ask := range asks {
		ask.addTo(q, calls, i)
	}
	_ = q.runAll(ctx, calls.calls) // each call has its own error
	for _, c := range calls.bySlot {
		answers, err := c.reply.Int64Slice()
		if c.err != nil {
			err = c.err
		} else if err != nil {
			err = unavailable(err)
		}
		for _, i := range c.members {
			answers = asks[i].settle(answers, err)
		}
	}
}

// accountAsk is what the asks of one account come to.
type accountAsk struct {
	account *Account
	n       int
	of      []*spending
}

// addTo puts the i-th ask into the call of its slot.
func (a *accountAsk) addTo(q *Queue, calls *batchCalls, i int) {
	p, _ := q.keys.quota(a.account.Tenant, "")
	c := calls.of(p, i)
	c.add(a.n, len(a.account.Quotas))
	for _, quota := range a.account.Quotas {
		_, key := q.keys.quota(a.account.Tenant, quota.Name)
		c.add(c.key(key), quota.Count, quota.Per.Microseconds())
	}
}

// settle takes the script's answer off the front of answers, and answers.
func (a *accountAsk) settle(answers []int64, err error) (rest []int64) {
	size := 1 + 2*len(a.account.Quotas)
	if err == nil && len(answers) < size {
		err = fmt.Errorf("%w: a script answered %d values for a quota", ErrFault, len(answers))
	}
	if err != nil {
		for _, s := range a.of {
			s.err = err
			close(s.done)
		}
		return nil
	}
	left := int(answers[0])
	for _, s := range a.of {
		s.out = Spent{Granted: min(s.n, left)}
		left -= s.out.Granted
		for at := 1; at < size; at += 2 {
			s.out.Quotas = append(s.out.Quotas, QuotaState{int(answers[at]), time.Duration(answers[at+1]) * time.Microsecond})
		}
		close(s.done)
	}
	return answers[size:]
}
