package sandbox

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/carillonhq/carillon/notice"
)

// answer is what a stand-in says to one request.
type answer struct {
	status  int
	header  map[string]string
	body    string
	message *Message // what was received; nil when refused
	reason  string   // why it was refused
	to, id  string   // of a refused request, as far as they were read
}

// stand is one provider that is spoken to over HTTP.
type stand struct {
	channel notice.Channel
	limit   int64 // bytes of a request's body
	// receive checks a request as the provider would. A body longer than
	// limit is handed over one byte too long.
	receive func(r *http.Request, body []byte) answer
	// fail is the provider's way to say status and reason ("" for what
	// usually goes with status).
	fail func(status int, reason string, now time.Time) answer
}

// serve answers requests as t does, or as the channel was told to misbehave.
func (s *Sandbox) serve(t stand) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.enter() {
			panic(http.ErrAbortHandler) // the connection is about to be closed anyway
		}
		defer s.leave()
		b := s.behaviours.draw(t.channel)
		if b.Cut == CutBefore {
			s.refuse(t.channel, answer{reason: b.describe()})
			panic(http.ErrAbortHandler)
		}
		body, err := io.ReadAll(io.LimitReader(r.Body, t.limit+1))
		if err != nil {
			s.refuse(t.channel, answer{reason: "the request broke off before its end"})
			panic(http.ErrAbortHandler)
		}
		stayed := s.pause(r.Context(), b.Delay)
		s.reply(w, t.settle(r, body, b, s.clock()), t.channel, b, stayed)
	})
}

// settle is what b makes of what t says to a request.
func (t stand) settle(r *http.Request, body []byte, b Behaviour, now time.Time) answer {
	a := t.receive(r, body)
	if a.message == nil {
		return a // refused by the provider's own rules: told to misbehave or not
	}
	if !b.fails() {
		if b.Status != 0 {
			a.status = b.Status
		}
		return a.after(b.RetryAfter)
	}
	failure := a
	if b.Status >= 300 {
		failure = t.fail(b.Status, b.Reason, now)
	}
	failure.to, failure.id, failure.reason = a.message.To, a.message.ID, b.describe()
	failure.message = nil
	return failure.after(b.RetryAfter)
}

// after adds the Retry-After header.
func (a answer) after(d time.Duration) answer {
	if d <= 0 {
		return a
	}
	a.header = maps.Clone(a.header)
	if a.header == nil {
		a.header = map[string]string{}
	}
	a.header["Retry-After"] = strconv.Itoa(int((d + time.Second - 1) / time.Second))
	return a
}

// reply records what became of a request and writes the answer.
func (s *Sandbox) reply(w http.ResponseWriter, a answer, c notice.Channel, b Behaviour, stayed bool) {
	if a.message == nil {
		s.refuse(c, a)
	} else {
		s.receive(a.message, stayed)
	}
	if !stayed || b.Cut == CutAfter {
		panic(http.ErrAbortHandler)
	}
	for name, value := range a.header {
		w.Header().Set(name, value)
	}
	if b.Cut == CutBody {
		w.Header().Set("Content-Length", strconv.Itoa(len(a.body)+64))
	}
	w.WriteHeader(a.status)
	_, _ = io.WriteString(w, a.body) // a sender that left is not our trouble
	if b.Cut == CutBody {
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
}

// receive keeps a message, and says so when its sender did not wait.
func (s *Sandbox) receive(m *Message, stayed bool) {
	if !stayed {
		m.note("the sender left before the answer")
	}
	m.At = s.clock()
	s.box.add(*m)
}

// refuse records a request that got a failure or no answer.
func (s *Sandbox) refuse(c notice.Channel, a answer) {
	s.box.refuse(Refusal{Channel: c, At: s.clock(), To: a.to, ID: a.id, Status: a.status, Reason: a.reason})
}

// plainServer serves h without TLS. There is no write timeout: a Delay may be
// long.
func plainServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler: h, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute,
		IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
	}
}

// headers are a request's as the page shows them: sorted, credentials masked.
func headers(r *http.Request) []Header {
	out := []Header{{Name: "Host", Value: r.Host}}
	for _, name := range slices.Sorted(maps.Keys(r.Header)) {
		for _, value := range r.Header[name] {
			out = append(out, Header{Name: name, Value: mask(name, value)})
		}
	}
	return out
}

// mask hides the part of a credential that would let somebody use it.
func mask(name, value string) string {
	switch name {
	case "Authorization", "Cookie", "Proxy-Authorization":
		scheme, _, _ := strings.Cut(value, " ")
		if len(scheme) > 16 {
			scheme = ""
		}
		return strings.TrimSpace(scheme + " [masked]")
	}
	return value
}

// jsonAnswer is an answer with a JSON body.
func jsonAnswer(status int, format string, args ...any) answer {
	return answer{
		status: status, body: fmt.Sprintf(format, args...),
		header: map[string]string{"Content-Type": "application/json; charset=UTF-8"},
	}
}

// refusing is a, refused for the reason given.
func (a answer) refusing(reason, to string) answer {
	a.reason, a.to = reason, to
	return a
}
