package throttle

import (
	"context"
	_ "embed" // the scripts
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/carillonhq/carillon/notice"
)

//go:embed say.lua
var sayLua string

//go:embed listen.lua
var listenLua string

//go:embed claim.lua
var claimLua string

const (
	// listenEvery is how often a consumer that has work on a channel looks at
	// what the others say of it.
	listenEvery = 200 * time.Millisecond
	// reportEvery is how often it publishes how it stands, and reportLife how
	// long that is shown.
	reportEvery, reportLife = 2 * time.Second, 10 * time.Second
	// claimLife is how long the right to probe holds unless it is renewed, which
	// it is with every look.
	claimLife = 5 * time.Second
	// claimMost is how long it is renewed: longer than any provider is waited
	// for. What then is under way still may be probed once more by another.
	claimMost = 2 * time.Minute
	// sayQueue bounds the words that wait to be said. What finds no room is not
	// said, and each other consumer finds it out for itself.
	sayQueue = 1024
	sayBatch = 128
	// boardWait is how long Redis may take to answer.
	boardWait = 2 * time.Second
)

// Kind is what a Word is about. Its value is part of stored members.
type Kind byte

// The kinds. ProbeWanted and ProbeOver are between a consumer and its Board,
// and are never stored.
const (
	ChannelPaused     Kind = 'c' // a provider asked for less on the whole channel
	HostPaused        Kind = 'h' // a host did
	DevicePaused      Kind = 'd' // it was for one address; Name is not the address itself
	HostDown          Kind = 'b' // a host does not answer
	CredentialRefused Kind = 'k' // a provider refuses our credential or set-up
	HostRate          Kind = 'r' // how many a second a host was found to take; Because says it to Learned
	HostTook          Kind = 'f' // how many it took before it refused; the same
	ProbeWanted       Kind = '?'
	ProbeOver         Kind = '!'
)

// Word is what a consumer found out, or was told, of a channel or of a part of
// it.
type Word struct {
	Kind    Kind
	Name    string        // of the host or device; empty for the channel
	For     time.Duration // from now; 0: it is over; a millisecond: its time is up, and nobody knows whether it is over
	Because string        // in whose words, fit to be shown
}

func (w Word) member() string { return string(w.Kind) + w.Name }

// Board is where the consumers of one channel tell each other what its provider
// asked for, so that a pause that one of them was told of holds for all of them,
// and one of them finds out whether it is over. While Redis is away each goes by
// what it knows.
type Board struct {
	rdb      redis.UniversalClient
	keys     boardKeys
	consumer string
	say      *redis.Script
	listen   *redis.Script
	claim    *redis.Script
	words    chan Word

	listening sync.Mutex
	since     string    // of the last word heard
	listened  time.Time // when it was looked for last; zero: never

	mu   sync.Mutex
	held map[string]time.Time // rights to probe, by what they are about: since when
}

// NewBoard makes one consumer's view of a channel's board. No two live
// consumers have the same name.
func NewBoard(rdb redis.UniversalClient, namespace string, channel notice.Channel, consumer string) *Board {
	return &Board{rdb: rdb, keys: keys{namespace}.board(channel), consumer: consumer, say: redis.NewScript(sayLua), listen: redis.NewScript(listenLua),
		claim: redis.NewScript(claimLua), words: make(chan Word, sayQueue), since: "0", held: map[string]time.Time{}}
}

// Listener is the consumer's side of a Board. Its methods may be called by any
// goroutine, and must not call the Board's Listen or Refresh.
type Listener interface {
	Busy() bool                      // whether the consumer has work on the channel
	Heard(w Word)                    // something was said, by another consumer or this one
	Granted(name string, probe bool) // the answer to ProbeWanted
	Report() Report                  // how the consumer stands
	Among(consumers int)             // how many consumers had work on the channel lately, this one included
}

// Tell says something to the other consumers, soon. It never blocks.
func (b *Board) Tell(w Word) {
	select {
	case b.words <- w:
	default:
	}
}

// Run carries words both ways until ctx ends, beginning with what lasts from
// before.
func (b *Board) Run(ctx context.Context, l Listener) {
	ticker := time.NewTicker(listenEvery)
	defer ticker.Stop()
	var reported time.Time
	for {
		select {
		case w := <-b.words:
			b.carry(ctx, b.gather(w), l)
		case now := <-ticker.C:
			busy := l.Busy()
			if b.renew(ctx); busy {
				b.Listen(ctx, l)
			}
			if busy && now.Sub(reported) >= reportEvery {
				reported = now
				l.Among(b.publish(ctx, l.Report()))
			}
		case <-ctx.Done():
			b.retire()
			return
		}
	}
}

// Listen passes on what was said since the last time, once. Run does so by
// itself; whoever begins does it first.
func (b *Board) Listen(ctx context.Context, l Listener) {
	b.listening.Lock()
	defer b.listening.Unlock()
	b.hear(ctx, l)
}

// Refresh is Listen, unless that was done within the time between two looks:
// who begins after an idle time is to know what the others were told meanwhile.
func (b *Board) Refresh(ctx context.Context, l Listener) {
	b.listening.Lock()
	defer b.listening.Unlock()
	if time.Since(b.listened) > listenEvery+listenEvery/4 {
		b.hear(ctx, l)
	}
}

func (b *Board) hear(ctx context.Context, l Listener) {
	ctx, cancel := context.WithTimeout(ctx, boardWait)
	defer cancel()
	b.listened = time.Now()
	for {
		reply, err := b.listen.Run(ctx, b.rdb, b.keys.words(), b.since).StringSlice()
		if err != nil || len(reply) == 0 {
			return // it is asked again soon
		}
		told := (len(reply) - 1) / 3
		for i := range told {
			if w, ok := readWord(reply[1+3*i : 4+3*i]); ok {
				l.Heard(w)
			}
		}
		if b.since = reply[0]; told < 1000 {
			return
		}
	}
}

// readWord reads what is said of one member. It is false for kinds of a later
// version.
func readWord(fields []string) (w Word, ok bool) {
	ms, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil || fields[0] == "" {
		return w, false
	}
	w = Word{Kind: Kind(fields[0][0]), Name: fields[0][1:], For: time.Duration(ms) * time.Millisecond, Because: fields[2]}
	return w, strings.IndexByte("chdbkrf", byte(w.Kind)) >= 0
}

// gather takes what else waits to be said.
func (b *Board) gather(first Word) []Word {
	batch := []Word{first}
	for len(batch) < sayBatch {
		select {
		case w := <-b.words:
			batch = append(batch, w)
		default:
			return batch
		}
	}
	return batch
}

// carry says words, and answers those that are for the Board itself. What ends
// a probe gives the right to it back, once it is said what came of it.
func (b *Board) carry(ctx context.Context, batch []Word, l Listener) {
	args := []any{maxPauses}
	for i, w := range batch {
		if w.Kind != ProbeWanted && w.Kind != ProbeOver && !outdone(w, batch[i+1:]) {
			args = append(args, w.member(), max(w.For.Milliseconds(), 0), w.Because)
		}
	}
	said := true
	if len(args) > 1 {
		limited, cancel := context.WithTimeout(ctx, boardWait)
		said = b.say.Run(limited, b.rdb, b.keys.words(), args...).Err() == nil // if not, each goes by what it knows
		cancel()
	}
	for _, w := range batch {
		b.follow(ctx, w, said, l)
	}
}

// outdone reports whether what was taken before a refusal is told again: each
// answer that was still on its way tells it anew.
func outdone(w Word, later []Word) bool {
	return w.Kind == HostTook && slices.ContainsFunc(later, func(l Word) bool { return l.Kind == HostTook && l.Name == w.Name })
}

// follow does what follows from a word for the right to probe. It is kept when
// what came of the probe could not be said: the next one would come too soon.
func (b *Board) follow(ctx context.Context, w Word, said bool, l Listener) {
	switch w.Kind {
	case ProbeWanted:
		l.Granted(w.Name, b.Claim(ctx, Word{Kind: HostDown, Name: w.Name}))
	case ProbeOver:
		b.release(ctx, Word{Kind: HostDown, Name: w.Name})
	case HostDown, CredentialRefused:
		if said {
			b.release(ctx, w)
		}
	}
}

// Claim asks for the right to find out whether what a Word is about is well
// again. It holds until the outcome is told, or this consumer is gone. While
// Redis is away everybody has it, and nobody while it is only slow to answer.
func (b *Board) Claim(ctx context.Context, about Word) bool {
	ctx, cancel := context.WithTimeout(ctx, boardWait)
	defer cancel()
	what := about.member()
	got, err := b.ask(ctx, what, claimLife)
	if err != nil {
		return ctx.Err() == nil
	}
	if got {
		b.mu.Lock()
		b.held[what] = time.Now()
		b.mu.Unlock()
	}
	return got
}

// GiveBack ends a Claim of which nothing came: another may find out. It blocks
// as long as Redis takes to answer, two seconds at most.
func (b *Board) GiveBack(about Word) { b.release(context.Background(), about) }

func (b *Board) ask(ctx context.Context, what string, life time.Duration) (bool, error) {
	got, err := b.claim.Run(ctx, b.rdb, []string{b.keys.probe(what), b.keys.ends}, b.consumer, life.Milliseconds(), what).Int()
	if err != nil {
		return false, fmt.Errorf("claim the probe of a channel: %w", err)
	}
	return got == 1, nil
}

// release gives a right back, if this consumer has it.
func (b *Board) release(ctx context.Context, about Word) {
	what := about.member()
	b.mu.Lock()
	_, held := b.held[what]
	delete(b.held, what)
	b.mu.Unlock()
	if held {
		ctx, cancel := context.WithTimeout(ctx, boardWait)
		defer cancel()
		_, _ = b.ask(ctx, what, 0) // it runs out
	}
}

// renew keeps the rights that are held, while their probes are under way.
func (b *Board) renew(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, boardWait)
	defer cancel()
	for _, what := range b.underWay() {
		_, _ = b.ask(ctx, what, claimLife) // another has it by then, or nobody
	}
}

// underWay are the rights that are held and not for too long: a probe of which
// nothing came must not keep the others waiting for as long as this consumer
// lives.
func (b *Board) underWay() (out []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	maps.DeleteFunc(b.held, func(_ string, since time.Time) bool { return time.Since(since) > claimMost })
	for what := range b.held {
		out = append(out, what)
	}
	return out
}

// retire gives everything back, so that nobody waits for what a consumer held
// that has stopped.
func (b *Board) retire() {
	ctx, cancel := context.WithTimeout(context.Background(), boardWait)
	defer cancel()
	b.mu.Lock()
	held := b.held
	b.held = map[string]time.Time{}
	b.mu.Unlock()
	for what := range held {
		_, _ = b.ask(ctx, what, 0)
	}
	pipe := b.rdb.Pipeline()
	pipe.ZRem(ctx, b.keys.seen, b.consumer)
	pipe.Del(ctx, b.keys.report(b.consumer))
	_, _ = pipe.Exec(ctx)
}
