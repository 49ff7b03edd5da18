package sandbox

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/carillonhq/carillon/notice"
	"github.com/go-json-experiment/json/jsontext"
)

const (
	keepPart     = 256 << 10 // bytes kept of each part of a message
	keepRefusals = 100
)

// Proof is what a message's signature proved.
type Proof string

// The proofs. Email is not checked, so it has none.
const (
	Verified     Proof = "verified"      // signed by the key or secret of this sandbox
	BadSignature Proof = "bad signature" // signed by something else, or changed, or too old
	Unsigned     Proof = "unsigned"      // no signature at all
)

// Header is one header field, as the recipient sees it. Credentials are
// masked.
type Header struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Message is one message that a stand-in took. Long parts are cut at 256 KiB,
// which Note tells.
type Message struct {
	Seq     int            `json:"seq"` // 1 for the first; never used twice in a run
	Channel notice.Channel `json:"channel"`
	// ID is what the provider would tell duplicates by: the Message-ID, the
	// apns-id, the webhook-id; for FCM and Web Push the payload's "id" or the
	// collapse key, else what the stand-in answered.
	ID       string         `json:"id"`
	At       time.Time      `json:"at"`
	To       string         `json:"to"` // mailbox, device token, subscription or path
	From     string         `json:"from,omitzero"`
	Title    string         `json:"title"` // the subject, the push's title, the webhook's type
	Text     string         `json:"text,omitzero"`
	HTML     string         `json:"html,omitzero"`
	JSON     jsontext.Value `json:"json,omitzero"` // the payload, where it is JSON
	Headers  []Header       `json:"headers,omitempty"`
	Raw      string         `json:"raw,omitzero"` // the body as it arrived; a mail with its headers
	Verified Proof          `json:"verified,omitzero"`
	Note     string         `json:"note,omitzero"`
}

// Header is the first value of the named header field, whatever its case.
func (m *Message) Header(name string) string {
	for _, h := range m.Headers {
		if strings.EqualFold(h.Name, name) {
			return h.Value
		}
	}
	return ""
}

// size is roughly how many bytes m holds.
func (m *Message) size() int {
	n := 512 + len(m.ID) + len(m.To) + len(m.From) + len(m.Title) + len(m.Text) + len(m.HTML) + len(m.JSON) + len(m.Raw)
	for _, h := range m.Headers {
		n += len(h.Name) + len(h.Value)
	}
	return n
}

// trim cuts what is too long to keep, so that one message cannot hold more
// than about 1 MiB.
func (m *Message) trim() {
	cut := false
	for _, part := range []*string{&m.Text, &m.HTML, &m.Raw} {
		*part, cut = clip(*part, keepPart, cut)
	}
	for _, part := range []*string{&m.ID, &m.To, &m.From, &m.Title} {
		*part, cut = clip(*part, 4<<10, cut)
	}
	if len(m.JSON) > keepPart {
		m.JSON, cut = nil, true
	}
	if len(m.Headers) > 200 {
		m.Headers, cut = m.Headers[:200], true
	}
	for i := range m.Headers {
		m.Headers[i].Value, cut = clip(m.Headers[i].Value, 4<<10, cut)
	}
	if cut {
		m.note("long parts are cut")
	}
}

// note adds a remark.
func (m *Message) note(words string) {
	if m.Note != "" {
		words = m.Note + "; " + words
	}
	m.Note = words
}

// clip cuts s to at most n bytes, in a copy, so that the rest can be freed.
func clip(s string, n int, cut bool) (string, bool) {
	if len(s) <= n {
		return s, cut
	}
	return strings.Clone(strings.ToValidUTF8(s[:n], "")), true
}

// Filter chooses messages; the zero Filter chooses all.
type Filter struct {
	Channel notice.Channel
	After   int    // only those with a higher Seq
	To      string // exactly
	ID      string // exactly
	Search  string // words in the address, title, text or id, whatever their case
	Limit   int    // the newest so many; no limit when 0
}

func (f *Filter) match(m *Message) bool {
	return (f.Channel == "" || m.Channel == f.Channel) && m.Seq > f.After &&
		(f.To == "" || m.To == f.To) && (f.ID == "" || m.ID == f.ID) &&
		(f.Search == "" || m.contains(f.Search))
}

// contains reports whether every word occurs somewhere in what people see.
func (m *Message) contains(words string) bool {
	text := strings.ToLower(strings.Join([]string{m.To, m.From, m.Title, m.Text, m.ID, string(m.JSON)}, "\n"))
	for _, word := range strings.Fields(strings.ToLower(words)) {
		if !strings.Contains(text, word) {
			return false
		}
	}
	return true
}

// Refusal is one request that was answered with a failure or not at all.
type Refusal struct {
	Seq     int            `json:"seq"` // of refusals; 1 for the first
	Channel notice.Channel `json:"channel"`
	At      time.Time      `json:"at"`
	To      string         `json:"to,omitzero"` // empty when the request was not read that far
	ID      string         `json:"id,omitzero"` // likewise
	Status  int            `json:"status,omitzero"`
	Reason  string         `json:"reason"`
}

// store keeps what arrived, bounded in number and bytes.
type store struct {
	keep, keepBytes int

	mu       sync.Mutex
	messages []*Message // oldest first
	bytes    int
	last     int // Seq of the newest
	total    map[notice.Channel]int
	refusals []Refusal // oldest first
	lastRef  int
	cleared  int           // how often clear was called
	signal   chan struct{} // closed and replaced at each change
}

func newStore(keep, keepBytes int) *store {
	return &store{keep: keep, keepBytes: keepBytes, total: map[notice.Channel]int{}, signal: make(chan struct{})}
}

// add keeps m as the newest message.
func (s *store) add(m Message) {
	m.trim()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last++
	m.Seq = s.last
	s.messages = append(s.messages, &m)
	s.bytes += m.size()
	s.total[m.Channel]++
	for len(s.messages) > 1 && (len(s.messages) > s.keep || s.bytes > s.keepBytes) {
		s.bytes -= s.messages[0].size()
		s.messages[0] = nil
		s.messages = s.messages[1:]
	}
	s.announce()
}

// refuse keeps r as the newest refusal.
func (s *store) refuse(r Refusal) {
	r.To, _ = clip(r.To, 1<<10, false)
	r.ID, _ = clip(r.ID, 1<<10, false)
	r.Reason, _ = clip(r.Reason, 1<<10, false)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lastRef++
	r.Seq = s.lastRef
	s.refusals = append(s.refusals, r)
	if len(s.refusals) > keepRefusals {
		s.refusals = s.refusals[1:]
	}
	s.announce()
}

// announce wakes everybody who waits for a change; s.mu is held.
func (s *store) announce() {
	close(s.signal)
	s.signal = make(chan struct{})
}

// touch announces a change that is kept elsewhere.
func (s *store) touch() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.announce()
}

// changed is closed at the next change. Ask for it before looking, or a
// change between the two is missed.
func (s *store) changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.signal
}

func (s *store) list(f Filter) []Message {
	var out []Message
	for _, m := range slices.Backward(s.since(f.After)) {
		if f.Limit > 0 && len(out) == f.Limit {
			break
		}
		if f.match(m) {
			out = append(out, *m)
		}
	}
	return out
}

// since is the kept messages after seq, oldest first. They are never changed
// once kept, so they are read without the lock.
func (s *store) since(seq int) []*Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, _ := slices.BinarySearchFunc(s.messages, seq+1, func(m *Message, seq int) int { return m.Seq - seq })
	return slices.Clone(s.messages[i:])
}

// one is the kept message with the given Seq.
func (s *store) one(seq int) (Message, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, ok := slices.BinarySearchFunc(s.messages, seq, func(m *Message, seq int) int { return m.Seq - seq })
	if !ok {
		return Message{}, false
	}
	return *s.messages[i], true
}

func (s *store) counts() map[notice.Channel]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.total)
}

func (s *store) refused() []Refusal {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := slices.Clone(s.refusals)
	slices.Reverse(out)
	return out
}

// clear forgets everything but the sequence numbers.
func (s *store) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.messages, s.refusals, s.bytes = nil, nil, 0
	s.total = map[notice.Channel]int{}
	s.cleared++
	s.announce()
}

// position is the range of Seq that is kept (first is after last when nothing
// is), and how often everything was cleared.
func (s *store) position() (first, last, cleared int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	first = s.last + 1
	if len(s.messages) > 0 {
		first = s.messages[0].Seq
	}
	return first, s.last, s.cleared
}
