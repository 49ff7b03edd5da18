package main

import (
	"strings"
	"testing"
	"text/tabwriter"
	"time"
)

func TestALearnedRateIsShownOnceWithWhoHasWhichPart(t *testing.T) {
	var out strings.Builder
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	since := time.Date(2026, 11, 23, 18, 0, 0, 0, time.UTC)
	printLearned(w, []learnedState{
		{Host: "https://h.example", Rate: 291.04, Ceiling: 300, Since: since, Shares: []shareState{{"c1#2", 200, 400, true}, {"c2#9", 91, 91, true}}},
		{Host: "https://idle.example", Rate: 5, Since: since},
	})
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	want := `
LEARNED RATE OF       ALL TOGETHER  TOO MUCH WAS  SINCE                 CONSUMER  HAS      WANTS
https://h.example     291.0/s       300.0/s       2026-11-23T18:00:00Z  c1#2      200.0/s  400.0/s
                                                                        c2#9      91.0/s   91.0/s
https://idle.example  5.0/s         still sought  2026-11-23T18:00:00Z  nobody sends now
`
	if out.String() != want {
		t.Errorf("it shows\n%s\nwant\n%s", out.String(), want)
	}
}
