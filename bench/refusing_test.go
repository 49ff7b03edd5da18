package main

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

func TestAReceiverTakesSoManyInEachSecond(t *testing.T) {
	var y tally
	admitted := func(second int64, n int) (taken int) {
		for range n {
			if y.admit(second) {
				taken++
			}
		}
		return taken
	}
	for _, step := range []struct {
		second  int64
		n, want int
	}{
		{100, 299, 299},
		{100, 5, 1},     // the last of its second, and four too many
		{103, 300, 300}, // two seconds of rest and a whole one later
		{102, 1, 0},     // late to be counted, so the last second's
		{104, 1, 1},
	} {
		if got := admitted(step.second, step.n); got != step.want {
			t.Errorf("of %d in second %d it takes %d, want %d", step.n, step.second, got, step.want)
		}
	}
	want := []window{{100, 300, 4}, {103, 300, 1}, {104, 1, 0}}
	if !slices.Equal(y.windows, want) {
		t.Errorf("it has counted %v, want %v", y.windows, want)
	}
	filled := []window{{100, 300, 4}, {101, 0, 0}, {102, 0, 0}, {103, 300, 1}}
	if got := fillSeconds(y.windows, 4); !slices.Equal(got, filled) {
		t.Errorf("the first four seconds are %v, want %v", got, filled)
	}
}

func TestWhatIsTooManyIsAskedToRest(t *testing.T) {
	r := &receiver{}
	refused := 0
	for range 3*allowedRate + 1 { // more than the two seconds it may take have room for
		w := httptest.NewRecorder()
		r.takeLimited(w, httptest.NewRequest(http.MethodPost, "/limited/x", strings.NewReader("{}")))
		switch {
		case w.Code == http.StatusTooManyRequests && w.Header().Get("Retry-After") == "2":
			refused++
		case w.Code != http.StatusNoContent:
			t.Fatalf("answered %d %v", w.Code, w.Header())
		}
	}
	counted := 0
	for _, s := range r.tally("x").windows {
		counted += s.Refused
	}
	if refused == 0 || counted != refused {
		t.Errorf("%d were answered with 429, %d are counted as refused", refused, counted)
	}
}

func TestARunSaysWhatWasTakenRefusedAndWhenItSettled(t *testing.T) {
	secondsOf := func(taken ...int) (all []window) {
		for i, n := range taken {
			all = append(all, window{Second: int64(i), Taken: n})
		}
		return all
	}
	for _, c := range []struct {
		name                  string
		seconds               []window
		share, refused, after float64
		note                  string
	}{
		{"all that is allowed from the start", secondsOf(300, 300, 300, 300), 100, 0, 0, ""},
		{"two seconds of rest first", secondsOf(150, 0, 300, 300), 100, 0, 2, ""},
		{"95 % is enough", secondsOf(300, 0, 285, 285), 95, 0, 2, ""},
		{"what comes at the very end settles nothing", secondsOf(300, 0, 200, 300), 83.3, 0, 4, "had not settled when the measurement ended"},
		{"refusals are counted among all", []window{{0, 300, 25}, {1, 0, 0}, {2, 300, 0}, {3, 300, 75}}, 100, 10, 2, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := refusingSamples(c.seconds)
			for i, want := range []float64{c.share, c.refused, c.after} {
				if number(got[i].ours.value) != number(want) {
					t.Errorf("line %d is %v, want %v", i+1, got[i].ours.value, want)
				}
			}
			if got[2].note != c.note {
				t.Errorf("says %q, want %q", got[2].note, c.note)
			}
		})
	}
}

func TestARunTooShortToSettleInIsRefused(t *testing.T) {
	_, err := refusingRound(t.Context(), &lab{options: options{refusingSpan: 1}})
	if err == nil || !strings.Contains(err.Error(), "-refusing-span 1ns") {
		t.Fatal(err)
	}
}
