package preview

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"github.com/carillonhq/carillon/notice"
)

const (
	// Tests go one in testEvery, after testBurst at once: somebody who looks at
	// a template needs no more, and a script that found the page gets no more.
	testEvery = 6 * time.Second
	testBurst = 5
	// testTime is how long one may take.
	testTime = 30 * time.Second
	// mostAddress bounds an address that is typed, in bytes: a push
	// subscription is the longest that there is.
	mostAddress = 4096
)

func newTestLimiter() *rate.Limiter { return rate.NewLimiter(rate.Every(testEvery), testBurst) }

// Sending is how the page sends tests.
type Sending struct {
	// Where says where they go, as "the sandbox".
	Where string
	// Inbox is a link to where they can be looked at, relative to the page;
	// empty: there is none.
	Inbox string
	// Destinations are what can be sent to, in order.
	Destinations []Destination
	// Send makes one attempt. The words, like those of an error, say what came
	// of it and name no address.
	Send func(ctx context.Context, t Test) (words string, err error)
}

// Destination is a place that tests can go to.
type Destination struct {
	ID      string        `json:"id"`
	Channel notice.Medium `json:"channel"` // whose content goes there
	Label   string        `json:"label"`   // "Email address", "iPhone in the sandbox"
	Ask     bool          `json:"ask"`     // the address is real, and typed each time
	Example string        `json:"example,omitempty"`
}

// Test is one message to send.
type Test struct {
	Specimen
	Destination string // its ID
	To          string // the address that was typed; empty unless it is asked for
}

// sendingView is what the page knows of it.
type sendingView struct {
	Where        string        `json:"where"`
	Inbox        string        `json:"inbox"`
	Destinations []Destination `json:"destinations"`
}

func (s *server) sendingView() *sendingView {
	if s.Sending == nil {
		return nil
	}
	return &sendingView{s.Sending.Where, s.Sending.Inbox, s.Sending.Destinations}
}

// testRequest is what the page asks for.
type testRequest struct {
	Template    string `json:"template"`
	Locale      string `json:"locale"`
	Data        string `json:"data"`
	Destination string `json:"destination"`
	To          string `json:"to"`
}

const testExample = `{"template":"order-shipped","locale":"de","data":"{}","destination":"email","to":"ada@example.com"}`

// testView says what came of a test.
type testView struct {
	OK    bool   `json:"ok"`
	Words string `json:"words"`
	Inbox string `json:"inbox,omitzero"`
}

// serveTest sends what the page shows. Only the page itself can ask for it: it
// alone can read the token, which no other site's request carries.
func (s *server) serveTest(w http.ResponseWriter, r *http.Request) {
	var req testRequest
	switch {
	case s.Sending == nil:
		fail(w, http.StatusNotFound, "no channel is configured that a test could go to: start it as carillon preview serve --config FILE")
	case subtle.ConstantTimeCompare([]byte(r.Header.Get("X-Preview-Token")), []byte(s.token)) != 1:
		fail(w, http.StatusForbidden, "X-Preview-Token is not this page's: load the page again")
	case readRequest(w, r, &req, testExample):
		s.test(w, r, req)
	}
}

func (s *server) test(w http.ResponseWriter, r *http.Request, req testRequest) {
	destination, err := s.destination(req)
	if err != nil {
		answer(w, testView{Words: err.Error()})
		return
	}
	t, err := s.newTest(req, destination)
	if err != nil {
		answer(w, testView{Words: err.Error()})
		return
	}
	if wait := s.untilNext(); wait > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(wait/time.Second)+1))
		fail(w, http.StatusTooManyRequests, fmt.Sprintf("that were many tests: the next one may go in %d seconds", int(wait/time.Second)+1))
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), testTime)
	defer cancel()
	words, err := s.Sending.Send(ctx, t)
	if err != nil {
		answer(w, testView{Words: err.Error()})
		return
	}
	answer(w, testView{OK: true, Words: words, Inbox: s.Sending.Inbox})
}

// untilNext takes a place among the tests that may go, or says how long there
// is none.
func (s *server) untilNext() time.Duration {
	now := s.Now()
	place := s.tests.ReserveN(now, 1)
	wait := place.DelayFrom(now)
	if wait > 0 {
		place.CancelAt(now)
	}
	return wait
}

// destination finds where a test is to go.
func (s *server) destination(req testRequest) (Destination, error) {
	var ids []string
	for _, d := range s.Sending.Destinations {
		if d.ID == req.Destination {
			return d, checkAddress(d, req.To)
		}
		ids = append(ids, d.ID)
	}
	return Destination{}, unknown("destination", req.Destination, ids)
}

func checkAddress(d Destination, to string) error {
	switch {
	case d.Ask && strings.TrimSpace(to) == "":
		return fmt.Errorf("%s: is empty: give one, as %s", d.Label, d.Example)
	case len(to) > mostAddress:
		return fmt.Errorf("%s: has more than %d bytes", d.Label, mostAddress)
	}
	return nil
}

// newTest renders what is to be sent, as a delivery of its own.
func (s *server) newTest(req testRequest, d Destination) (Test, error) {
	c := s.store.Current()
	o := typed(req.Locale, req.Data)
	o.Channel = d.Channel
	out, err := Render(c, req.Template, o)
	if err != nil {
		return Test{}, err
	}
	t := Test{Specimen: specimen(c, out), Destination: d.ID}
	t.ID, t.At = "0-test"+strings.ToLower(rand.Text()[:16]), s.Now()
	if d.Ask {
		t.To = strings.TrimSpace(req.To)
	}
	return t, nil
}
