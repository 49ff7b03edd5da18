package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// load posts notifications until it is stopped, singly and in batches, each
// under an Idempotency-Key, and tries what was not answered again as a careful
// client does: with the same key and the same bytes.
type load struct {
	s       *stage
	api     string // host:port
	hooks   string // host:port
	client  *http.Client
	next    atomic.Int64
	refused atomic.Int64 // answered 503
	quit    chan struct{}
	giveUp  context.Context // ends when what is unanswered stays so
	cancel  context.CancelFunc
	senders sync.WaitGroup

	mu   sync.Mutex
	sent []posted
}

// How much of what is posted, a second, on average: what two shared cores take
// with everything else that runs on them.
const (
	singleSenders = 4
	singleEvery   = 25 * time.Millisecond // of each sender
	batchSenders  = 2
	batchEvery    = 200 * time.Millisecond
	batchSize     = 25
)

// clientTimeout is how long a client waits for an answer before it tries again.
const clientTimeout = 4 * time.Second

func startLoad(s *stage, api, hooks string, seed uint64) *load {
	l := &load{s: s, api: api, hooks: hooks, quit: make(chan struct{}),
		client: &http.Client{Timeout: clientTimeout, Transport: &http.Transport{MaxIdleConnsPerHost: 16}}}
	l.giveUp, l.cancel = context.WithCancel(s.ctx)
	for i := range singleSenders {
		rng := rand.New(rand.NewPCG(seed, uint64(i)))
		l.senders.Go(func() { l.loop(singleEvery, func() { l.single(rng) }) })
	}
	for i := range batchSenders {
		rng := rand.New(rand.NewPCG(seed, uint64(1000+i)))
		l.senders.Go(func() { l.loop(batchEvery, func() { l.batch(rng) }) })
	}
	s.Cleanup(func() {
		l.cancel()
		l.stop(0)
		l.client.CloseIdleConnections()
	})
	return l
}

func (l *load) loop(every time.Duration, do func()) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-l.quit:
			return
		case <-tick.C:
			do()
		}
	}
}

// stop ends the posting, waits for the answers of what is under way, for at
// most patience, and returns everything that was posted.
func (l *load) stop(patience time.Duration) []posted {
	select {
	case <-l.quit:
	default:
		close(l.quit)
	}
	defer time.AfterFunc(patience, l.cancel).Stop()
	l.senders.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sent
}

// accepted is how many were answered with 202 until now.
func (l *load) accepted() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.sent {
		if p.id != "" {
			n++
		}
	}
	return n
}

// wish is the body of a notification.
type wish struct {
	Template string         `json:"template"`
	To       recipient      `json:"to"`
	Data     map[string]int `json:"data"`
	Priority string         `json:"priority"`
	SendAt   *time.Time     `json:"send_at,omitempty"`
}

type recipient struct {
	User     string    `json:"user"`
	Webhooks []webhook `json:"webhooks"`
}

type webhook struct {
	URL string `json:"url"`
}

// draw makes a notification up: any lane, some with two webhooks, some for a
// little later.
func (l *load) draw(rng *rand.Rand) (wish, posted) {
	p := posted{n: int(l.next.Add(1)), hooks: 1}
	w := wish{Template: "chaos", Data: map[string]int{"n": p.n}, Priority: []string{"critical", "normal", "normal", "bulk"}[rng.IntN(4)]}
	if rng.IntN(8) == 0 {
		p.hooks = 2
	}
	if rng.IntN(10) == 0 {
		p.due = time.Now().Add(time.Second + time.Duration(rng.IntN(2000))*time.Millisecond).UTC().Truncate(time.Millisecond)
		w.SendAt = &p.due
	}
	w.To.User = fmt.Sprintf("u%d", p.n)
	for i := range p.hooks {
		w.To.Webhooks = append(w.To.Webhooks, webhook{fmt.Sprintf("http://%s/h/%d", l.hooks, i)})
	}
	return w, p
}

func (l *load) single(rng *rand.Rand) {
	w, p := l.draw(rng)
	var answer struct {
		ID string `json:"id"`
	}
	at := l.persist("/v1/notifications", fmt.Sprintf("single-%d", p.n), w, &answer, func() bool { return answer.ID != "" })
	p.id, p.at = answer.ID, at
	l.note(p)
}

func (l *load) batch(rng *rand.Rand) {
	wishes, mine := make([]wish, batchSize), make([]posted, batchSize)
	for i := range wishes {
		wishes[i], mine[i] = l.draw(rng)
	}
	var answer struct {
		Results []struct {
			ID string `json:"id"`
		} `json:"results"`
	}
	whole := func() bool { // an item may be refused for the moment while others are taken
		done := len(answer.Results) == batchSize
		for i, r := range answer.Results {
			if r.ID != "" && mine[i].id == "" {
				mine[i].id, mine[i].at = r.ID, time.Now()
			}
			done = done && r.ID != ""
		}
		return done
	}
	l.persist("/v1/notifications/batch", fmt.Sprintf("batch-%d", mine[0].n), wishes, &answer, whole)
	l.note(mine...)
}

func (l *load) note(ps ...posted) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sent = append(l.sent, ps...)
}

// persist posts until the answer is whole, or the load is over. It returns
// when it was.
func (l *load) persist(path, key string, body, answer any, whole func() bool) time.Time {
	raw, err := json.Marshal(body)
	if err != nil {
		l.s.Errorf("a body: %v", err)
		return time.Time{}
	}
	for {
		if l.post(path, key, raw, answer) && whole() {
			return time.Now()
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-l.giveUp.Done():
			return time.Time{}
		}
	}
}

// post makes one request; true when it was answered with 202.
func (l *load) post(path, key string, raw []byte, answer any) bool {
	req, err := http.NewRequestWithContext(l.giveUp, http.MethodPost, "http://"+l.api+path, bytes.NewReader(raw))
	if err != nil {
		l.s.Errorf("a request: %v", err)
		return false
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", key)
	res, err := l.client.Do(req)
	if err != nil {
		return false // no answer: nothing was promised
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return false
	}
	switch res.StatusCode {
	case http.StatusAccepted:
		if err := json.Unmarshal(text, answer); err != nil {
			l.s.Errorf("POST %s: %.200s: %v", path, text, err)
			return false
		}
		return true
	case http.StatusServiceUnavailable:
		l.refused.Add(1)
	case http.StatusTooManyRequests:
	default:
		l.s.Errorf("POST %s: %s: %.300s", path, res.Status, text)
	}
	return false
}
