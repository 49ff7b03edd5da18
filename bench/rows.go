package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// row is one measurement, which fills one line of the table or several.
type row struct {
	name  string // for -only
	lines []line
	once  bool // however many rounds are asked for: it is long, and steady
	// round measures baseline and gateway once each, and returns a sample for
	// each of lines, in order.
	round func(ctx context.Context, l *lab) ([]sample, error)
}

// rows lists every measurement, in the order of the table.
func rows(o options) []row {
	return []row{
		drainRow(), capsRow(), peersRow(), queueRow(),
		ingestRow(), ndjsonRow(), bothRow(),
		latencyRow(), criticalRow(o), tenantRow(o), slowRow(), hangRow(), rateRow(), relayRow(), refusingRow(),
		memoryRow(o),
	}
}

// scaled is how many a row takes that takes full when -n is left as it is.
func (o options) scaled(full int) int { return max(1, int(int64(full)*int64(o.n)/fullDrain)) }

func names(rows []row) []string {
	var names []string
	for _, r := range rows {
		names = append(names, r.name)
	}
	return names
}

// choose picks the rows that -only names; all of them when it names none.
func choose(rows []row, only string) ([]row, error) {
	if only == "" {
		return rows, nil
	}
	var chosen []row
	for name := range strings.SplitSeq(only, ",") {
		i := slices.IndexFunc(rows, func(r row) bool { return r.name == name })
		if i < 0 {
			return nil, fmt.Errorf("-only: there is no row %q: the rows are %s", name, strings.Join(names(rows), ", "))
		}
		chosen = append(chosen, rows[i])
	}
	return chosen, nil
}

func (r row) newLines() []line {
	lines := slices.Clone(r.lines)
	for i := range lines {
		lines[i].Row = r.name
	}
	return lines
}

// times is how many rounds a row runs.
func (r row) times(asked int) int {
	if r.once {
		return 1
	}
	return asked
}

// outcome is one measurement of one side.
type outcome struct {
	value float64 // in the line's unit
	cpu   cost
}

// cost is the processor time of each process, in microseconds a notification.
type cost map[string]float64

// sample is what one round says about a line.
type sample struct {
	base outcome // zero when there is no baseline
	ours outcome
	note string // what a reader has to know besides
}
