package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/throttle"
)

// learnedState is how many a second a host was found to take from all consumers
// together, and who has which part of it.
type learnedState struct {
	Host    string       `json:"host"`
	Rate    float64      `json:"rate_per_second"`
	Ceiling float64      `json:"ceiling_per_second,omitzero"` // which was too much; absent: it is still sought
	Since   time.Time    `json:"since"`                       // the refusal that it was learned from
	Shares  []shareState `json:"shares,omitempty"`            // of those who have something to send to it now

	episode int
}

func learnedStates(rates []throttle.HostLimit) (out []learnedState) {
	for _, r := range rates {
		out = append(out, learnedState{Host: r.Name, Rate: r.Rate, Ceiling: r.Ceiling, Since: r.Since.UTC(), episode: r.Episode})
	}
	return out
}

// addParts finds out who has which part of each learned rate.
func (v *view) addParts(ctx context.Context, channel notice.Channel, learned []learnedState) error {
	for i := range learned {
		l := &learned[i]
		use, err := v.rates.Inspect(ctx, throttle.LearnedRate(channel, l.Host, l.episode))
		if err != nil {
			return unreachable(err)
		}
		for _, s := range use.Consumers {
			l.Shares = append(l.Shares, shareState{s.Consumer, s.Has, s.Wants, s.Asks})
		}
	}
	return nil
}

func printLearned(w io.Writer, learned []learnedState) {
	if len(learned) == 0 {
		return
	}
	fmt.Fprintln(w, "\nLEARNED RATE OF\tALL TOGETHER\tTOO MUCH WAS\tSINCE\tCONSUMER\tHAS\tWANTS")
	for _, l := range learned {
		ceiling := "still sought"
		if l.Ceiling > 0 {
			ceiling = perSecondText(l.Ceiling)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s", printable(l.Host), perSecondText(l.Rate), ceiling, l.Since.Format(time.RFC3339))
		if len(l.Shares) == 0 {
			fmt.Fprintln(w, "\tnobody sends now")
		}
		for i, s := range l.Shares {
			if i > 0 {
				fmt.Fprint(w, "\t\t\t")
			}
			fmt.Fprintf(w, "\t%s\t%.1f/s\t%.1f/s\n", printable(s.Consumer), s.Has, s.Wants)
		}
	}
}
