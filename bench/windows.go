package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// What a receiver at /limited bears, of each tag: so many requests in each
// second of its clock. What is more it refuses with 429 and a Retry-After.
const (
	allowedRate = 300
	askedRest   = 2 * time.Second
)

// window is one second of a receiver's clock.
type window struct {
	Second  int64 `json:"second"` // unix
	Taken   int   `json:"taken"`
	Refused int   `json:"refused"`
}

func (r *receiver) takeLimited(w http.ResponseWriter, req *http.Request) {
	io.Copy(io.Discard, req.Body)
	now := time.Now()
	t := r.tally(req.URL.Path[len("/limited/"):])
	t.add(now, nil)
	if !t.admit(now.Unix()) {
		w.Header().Set("Retry-After", strconv.Itoa(int(askedRest/time.Second)))
		w.WriteHeader(http.StatusTooManyRequests)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// admit counts a request, and reports whether the second that it came in has
// room for it. One that is late to be counted belongs to the last second.
func (t *tally) admit(second int64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n := len(t.windows); n == 0 || t.windows[n-1].Second < second {
		t.windows = append(t.windows, window{Second: second})
	}
	last := &t.windows[len(t.windows)-1]
	if last.Taken == allowedRate {
		last.Refused++
		return false
	}
	last.Taken++
	return true
}

func (r *receiver) windows(w http.ResponseWriter, req *http.Request) {
	t := r.tally(strings.TrimPrefix(req.URL.Path, "/windows/"))
	t.mu.Lock()
	defer t.mu.Unlock()
	json.NewEncoder(w).Encode(t.windows)
}

// bySecond are the first n seconds of a tag, from that of its first request on;
// one in which nothing came has noughts.
func (l *lab) bySecond(ctx context.Context, tag string, n int) ([]window, error) {
	res, err := l.call(ctx, http.MethodGet, "/windows/"+tag)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	var came []window
	if err := json.NewDecoder(res.Body).Decode(&came); err != nil {
		return nil, fmt.Errorf("the seconds of %q: %w", tag, err)
	}
	if len(came) == 0 {
		return nil, fmt.Errorf("nothing came to %q", tag)
	}
	return fillSeconds(came, n), nil
}

func fillSeconds(came []window, n int) []window {
	all := make([]window, n)
	for i := range all {
		all[i].Second = came[0].Second + int64(i)
	}
	for _, w := range came {
		if i := int(w.Second - came[0].Second); i < n {
			all[i] = w
		}
	}
	return all
}
