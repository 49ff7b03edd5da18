package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
)

// report is everything that a run found out.
type report struct {
	Machine []string `json:"machine"`
	Setup   string   `json:"setup"`
	Lines   []line   `json:"lines"`
}

// line is one line of the table.
type line struct {
	Row      string    `json:"row"`
	Work     string    `json:"work"`
	Unit     string    `json:"unit"`               // "/s", "ms", "bytes", "MB"
	Baseline string    `json:"baseline,omitempty"` // what it is held against
	Aims     []aim     `json:"aims,omitempty"`
	Base     []float64 `json:"base,omitempty"` // of each round
	Ours     []float64 `json:"ours"`           // of each round
	BaseCPU  []cost    `json:"base_cpu_us,omitempty"`
	OursCPU  []cost    `json:"ours_cpu_us,omitempty"`
	Notes    []string  `json:"notes,omitempty"`
}

// aim is what a line should come to.
type aim struct {
	Ratio bool    `json:"ratio,omitempty"` // of gateway to baseline; otherwise of the gateway's own figure
	Least bool    `json:"least,omitempty"` // Bound is the least; otherwise the most
	Bound float64 `json:"bound"`
}

func atLeast(v float64) aim       { return aim{Least: true, Bound: v} }
func atMost(v float64) aim        { return aim{Bound: v} }
func ratioAtLeast(v float64) aim  { return aim{Ratio: true, Least: true, Bound: v} }
func ratioAtMost(v float64) aim   { return aim{Ratio: true, Bound: v} }
func (l *line) hasBaseline() bool { return l.Baseline != "" }

func (a aim) met(v float64) bool {
	if a.Least {
		return v >= a.Bound
	}
	return v <= a.Bound
}

// add takes a round in.
func (l *line) add(s sample) {
	l.Ours = append(l.Ours, s.ours.value)
	l.OursCPU = append(l.OursCPU, s.ours.cpu)
	if l.hasBaseline() {
		l.Base = append(l.Base, s.base.value)
		l.BaseCPU = append(l.BaseCPU, s.base.cpu)
	}
	if s.note != "" && !slices.Contains(l.Notes, s.note) {
		l.Notes = append(l.Notes, s.note)
	}
}

// told is one round in words.
func (l *line) told(s sample) string {
	text := l.Work + ": " + number(s.ours.value) + " " + l.Unit
	if l.hasBaseline() {
		text += fmt.Sprintf(", %s %s (%.2f)", l.Baseline, number(s.base.value), ratio(s.ours.value, s.base.value))
	}
	if s.note != "" {
		text += "; " + s.note
	}
	return text
}

// ratios are the rounds' own, since the two sides of a round met the same
// machine.
func (l *line) ratios() []float64 {
	var out []float64
	for i := range l.Base {
		out = append(out, ratio(l.Ours[i], l.Base[i]))
	}
	return out
}

func ratio(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}

// verdict says of each aim whether the median meets it.
func (l *line) verdict() string {
	var words []string
	for _, a := range l.Aims {
		v := median(l.Ours)
		if a.Ratio {
			v = median(l.ratios())
		}
		words = append(words, a.String()+l.aimUnit(a)+map[bool]string{true: ": met", false: ": **missed**"}[a.met(v)])
	}
	return strings.Join(words, ", ")
}

func (l *line) aimUnit(a aim) string {
	if a.Ratio {
		return " ×"
	}
	return " " + l.Unit
}

// String is the aim as a table shows it.
func (a aim) String() string {
	sign := "≤ "
	if a.Least {
		sign = "≥ "
	}
	return sign + number(a.Bound)
}

// median of an even count is the lower of the two in the middle.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[(len(sorted)-1)/2]
}

// spread is a median with its range.
func spread(values []float64) string {
	if len(values) == 0 {
		return "–"
	}
	text := number(median(values))
	if lo, hi := slices.Min(values), slices.Max(values); lo != hi {
		text += " (" + number(lo) + "–" + number(hi) + ")"
	}
	return text
}

// number prints v with three significant digits at least, and its thousands
// apart.
func number(v float64) string {
	switch {
	case v >= 1000:
		return thousands(int64(v + 0.5))
	case v >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case v >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return strconv.FormatFloat(v, 'f', 2, 64)
}

func thousands(v int64) string {
	if v < 1000 {
		return strconv.FormatInt(v, 10)
	}
	return thousands(v/1000) + fmt.Sprintf(",%03d", v%1000)
}

// spent is the median of each process' processor time.
func spent(rounds []cost) string {
	by := map[string][]float64{}
	for _, c := range rounds {
		for name, v := range c {
			by[name] = append(by[name], v)
		}
	}
	var words []string
	for _, name := range slices.Sorted(maps.Keys(by)) {
		words = append(words, name+" "+number(median(by[name])))
	}
	return strings.Join(words, ", ")
}

// writeMarkdown prints the table.
func (r *report) writeMarkdown(w io.Writer) error {
	var b strings.Builder
	for _, fact := range r.Machine {
		fmt.Fprintf(&b, "- %s\n", fact)
	}
	fmt.Fprintf(&b, "\n%s\n\n", r.Setup)
	b.WriteString("| work | Carillon | beside | | ratio | aim | processor time each, µs |\n|---|---:|---|---:|---:|---|---|\n")
	for i := range r.Lines {
		b.WriteString(r.Lines[i].markdown())
	}
	for _, l := range r.Lines {
		for _, note := range l.Notes {
			fmt.Fprintf(&b, "\n%s: %s.\n", l.Work, note)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (l *line) markdown() string {
	rated := "–"
	if l.hasBaseline() {
		rated = spread(l.ratios())
	}
	cpu := spent(l.OursCPU)
	if base := spent(l.BaseCPU); base != "" {
		cpu += "; beside: " + base
	}
	return fmt.Sprintf("| %s, %s | %s | %s | %s | %s | %s | %s |\n", l.Work, l.Unit, spread(l.Ours), l.Baseline, spread(l.Base), rated, l.verdict(), cpu)
}

// writeJSON writes every round's figures; an empty path writes nothing.
func (r *report) writeJSON(path string) error {
	if path == "" {
		return nil
	}
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("the figures as JSON: %w", err)
	}
	if err := os.WriteFile(path, append(data, '\n'), 0o644); err != nil {
		return fmt.Errorf("-json: %w", err)
	}
	return nil
}
