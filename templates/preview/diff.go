package preview

import (
	"fmt"
	"slices"
	"strings"
)

// maxDiff bounds the lines that are compared one by one, after what both have
// in common at their ends is set aside.
const maxDiff = 2000

const diffContext = 3

// edit is one line of a diff: kept (' '), removed ('-') or added ('+').
type edit struct {
	op   byte
	line string
}

// unified is the difference of two texts in the unified format; empty when
// there is none.
func unified(from, to, before, after string) string {
	if before == after {
		return ""
	}
	edits := compare(lines(before), lines(after))
	var b strings.Builder
	fmt.Fprintf(&b, "--- %s\n+++ %s\n", from, to)
	oldLine, newLine := 1, 1
	for i := 0; i < len(edits); {
		if edits[i].op == ' ' {
			i, oldLine, newLine = i+1, oldLine+1, newLine+1
			continue
		}
		start := max(0, i-diffContext)
		end := hunkEnd(edits, i)
		writeHunk(&b, edits[start:end], oldLine-(i-start), newLine-(i-start))
		for ; i < end; i++ {
			if edits[i].op != '+' {
				oldLine++
			}
			if edits[i].op != '-' {
				newLine++
			}
		}
	}
	return b.String()
}

func lines(s string) []string {
	if s == "" {
		return nil
	}
	all := strings.SplitAfter(s, "\n")
	if all[len(all)-1] == "" { // a text that ends as texts do
		all = all[:len(all)-1]
	}
	return all
}

// hunkEnd is where the hunk that begins at i ends: after three kept lines that
// no change follows closely.
func hunkEnd(edits []edit, i int) int {
	last := i
	for j := i; j < len(edits) && j-last <= 2*diffContext; j++ {
		if edits[j].op != ' ' {
			last = j
		}
	}
	return min(last+1+diffContext, len(edits))
}

func writeHunk(b *strings.Builder, hunk []edit, oldLine, newLine int) {
	olds, news := 0, 0
	for _, e := range hunk {
		if e.op != '+' {
			olds++
		}
		if e.op != '-' {
			news++
		}
	}
	fmt.Fprintf(b, "@@ -%s +%s @@\n", hunkRange(oldLine, olds), hunkRange(newLine, news))
	for _, e := range hunk {
		fmt.Fprintf(b, "%c%s\n", e.op, strings.TrimSuffix(e.line, "\n"))
		if !strings.HasSuffix(e.line, "\n") {
			b.WriteString("\\ No newline at end of file\n")
		}
	}
}

// hunkRange is where a hunk begins and how many lines it has; one without any
// stands after the line that it names.
func hunkRange(line, count int) string {
	if count == 0 {
		line--
	}
	return fmt.Sprintf("%d,%d", line, count)
}

// compare finds a shortest way from a to b.
func compare(a, b []string) []edit {
	var head, tail []edit
	for len(a) > 0 && len(b) > 0 && a[0] == b[0] {
		head, a, b = append(head, edit{' ', a[0]}), a[1:], b[1:]
	}
	for len(a) > 0 && len(b) > 0 && a[len(a)-1] == b[len(b)-1] {
		tail = append(tail, edit{' ', a[len(a)-1]})
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	slices.Reverse(tail)
	return append(append(head, middle(a, b)...), tail...)
}

func middle(a, b []string) []edit {
	var edits []edit
	i, j := 0, 0
	if len(a) <= maxDiff && len(b) <= maxDiff {
		common := commonLengths(a, b)
		for i < len(a) && j < len(b) {
			switch {
			case a[i] == b[j]:
				edits = append(edits, edit{' ', a[i]})
				i, j = i+1, j+1
			case common[i+1][j] >= common[i][j+1]:
				edits = append(edits, edit{'-', a[i]})
				i++
			default:
				edits = append(edits, edit{'+', b[j]})
				j++
			}
		}
	}
	for ; i < len(a); i++ {
		edits = append(edits, edit{'-', a[i]})
	}
	for ; j < len(b); j++ {
		edits = append(edits, edit{'+', b[j]})
	}
	return edits
}

// commonLengths holds, for every pair of suffixes, the length of their longest
// common subsequence.
func commonLengths(a, b []string) [][]int {
	table := make([][]int, len(a)+1)
	cells := make([]int, (len(a)+1)*(len(b)+1))
	for i := range table {
		table[i], cells = cells[:len(b)+1], cells[len(b)+1:]
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if a[i] == b[j] {
				table[i][j] = table[i+1][j+1] + 1
			} else {
				table[i][j] = max(table[i+1][j], table[i][j+1])
			}
		}
	}
	return table
}
