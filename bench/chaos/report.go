package main

import (
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// printer shows results as they come.
type printer interface {
	begin(seed uint64, seconds int)
	row(result)
	end(seed uint64, results []result) error
}

func newPrinter(w io.Writer, format string) (printer, error) {
	switch format {
	case "text":
		return &table{w: w, line: textLine}, nil
	case "markdown":
		return &table{w: w, line: markdownLine, rule: true}, nil
	case "json":
		return jsonPrinter{w}, nil
	}
	return nil, fmt.Errorf("-format: %q is none: text, json or markdown", format)
}

// table prints a line a row.
type table struct {
	w    io.Writer
	line func(cells []string) string
	rule bool // Markdown's, below the head
}

var _ printer = (*table)(nil)

// columns are the table's head, and the widths of its text form.
func columns() (heads []string, widths []int) {
	return []string{"fault", "times", "accepted", "owed", "delivered", "lost", "duplicates", "unrecognisable", "longest delay", "promise"},
		[]int{-46, 5, 8, 6, 9, 5, 12, 14, 13, -8}
}

func textLine(cells []string) string {
	_, widths := columns()
	var b strings.Builder
	for i, c := range cells {
		fmt.Fprintf(&b, "%*s  ", widths[i], c)
	}
	return strings.TrimRight(b.String(), " ") + "\n"
}

func markdownLine(cells []string) string { return "| " + strings.Join(cells, " | ") + " |\n" }

func (t *table) begin(seed uint64, seconds int) {
	fmt.Fprintf(t.w, "seed %d, %d s of faults a row, %d cores, %s\n\n", seed, seconds, runtime.NumCPU(), runtime.Version())
	heads, _ := columns()
	fmt.Fprint(t.w, t.line(heads))
	if t.rule {
		fmt.Fprint(t.w, "|---|"+strings.Repeat("---:|", len(heads)-2)+"---|\n")
	}
}

func (t *table) row(r result) {
	fmt.Fprint(t.w, t.line(r.cells()))
	if t.rule {
		return
	}
	for _, n := range r.Notes {
		fmt.Fprintf(t.w, "    %s\n", n)
	}
	for _, f := range r.Failures {
		fmt.Fprintf(t.w, "    FAILED: %s\n", f)
	}
	if len(r.Failures) > 0 {
		for _, e := range r.Examples {
			fmt.Fprintf(t.w, "      such as: %s\n", e)
		}
	}
}

func (r result) cells() []string {
	if r.Skipped != "" {
		return []string{r.What, "", "", "", "", "", "", "", "", "skipped: " + r.Skipped}
	}
	kept := "kept"
	if len(r.Failures) > 0 {
		kept = "BROKEN"
	} else if r.Lost > 0 {
		kept = "as Redis'"
	}
	return []string{r.What, strconv.Itoa(r.Faults), strconv.Itoa(r.Accepted), strconv.Itoa(r.Deliveries), strconv.Itoa(r.Delivered), strconv.Itoa(r.Lost),
		fmt.Sprintf("%d (≤ %d)", r.Duplicates, r.Allowed), strconv.Itoa(r.Unrecognisable), r.Longest.Round(10 * time.Millisecond).String(), kept}
}

func (t *table) end(_ uint64, results []result) error {
	var all tally
	var took time.Duration
	for _, r := range results {
		all.Accepted, all.Deliveries, all.Delivered = all.Accepted+r.Accepted, all.Deliveries+r.Deliveries, all.Delivered+r.Delivered
		all.Lost, all.Duplicates, took = all.Lost+r.Lost, all.Duplicates+r.Duplicates, took+r.Took
	}
	_, err := fmt.Fprintf(t.w, "\n%d rows in %v: %d notifications accepted, %d deliveries owed, %d delivered, %d lost, %d duplicates\n",
		len(results), took.Round(time.Second), all.Accepted, all.Deliveries, all.Delivered, all.Lost, all.Duplicates)
	return err
}

// jsonPrinter prints one object at the end.
type jsonPrinter struct{ w io.Writer }

func (jsonPrinter) begin(uint64, int) {}
func (jsonPrinter) row(result)        {}

func (p jsonPrinter) end(seed uint64, results []result) error {
	enc := json.NewEncoder(p.w)
	enc.SetIndent("", "  ")
	return enc.Encode(struct {
		Seed uint64   `json:"seed"`
		Rows []result `json:"rows"`
	}{seed, results})
}
