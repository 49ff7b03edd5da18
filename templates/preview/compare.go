package preview

import (
	"cmp"
	"fmt"
	"html/template"
	"io"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/carillonhq/carillon/notice"
)

// How a text differs between two catalogues.
const (
	Added   = "added"
	Removed = "removed"
	Changed = "changed"
)

// Change is one text that two catalogues do not render the same.
type Change struct {
	Template string        `json:"template"`
	Locale   string        `json:"locale"`
	Sample   string        `json:"sample"`
	Channel  notice.Medium `json:"channel"`
	Part     string        `json:"part"` // "email.html", as the file of an export
	Kind     string        `json:"kind"` // Added, Removed or Changed
	Diff     string        `json:"diff"` // unified

	before, after string
}

// Comparison is how two catalogues differ, text by text.
type Comparison struct {
	From    string   `json:"from"` // what came before, as people call it
	To      string   `json:"to"`
	Added   int      `json:"added"`
	Removed int      `json:"removed"`
	Changed int      `json:"changed"`
	Same    int      `json:"same"`
	Changes []Change `json:"changes"` // by template, locale, sample and channel
}

// Differs reports whether anything does.
func (c Comparison) Differs() bool { return len(c.Changes) > 0 }

// Summary counts what became of the texts.
func (c Comparison) Summary() string {
	return fmt.Sprintf("%d added, %d removed, %d changed, %d the same", c.Added, c.Removed, c.Changed, c.Same)
}

// Compare compares two catalogues' renderings. Those of one that could not be
// rendered count as absent: the caller has their errors.
func Compare(from, to string, before, after []Item) Comparison {
	out := Comparison{From: from, To: to, Changes: []Change{}}
	old, now := textsOf(before), textsOf(after)
	all := maps.Clone(old)
	maps.Copy(all, now)
	for _, k := range slices.SortedFunc(maps.Keys(all), textKey.compare) {
		c := Change{Template: k.template, Locale: k.locale, Sample: k.sample, Channel: k.channel, Part: k.part}
		var was, is bool
		c.before, was = old[k]
		c.after, is = now[k]
		out.count(c, was, is)
	}
	inParallel(len(out.Changes), func(i int) { out.Changes[i].Diff = out.Changes[i].unified(from, to) })
	return out
}

func (c *Comparison) count(x Change, was, is bool) {
	switch {
	case was && is && x.before == x.after:
		c.Same++
		return
	case !was:
		x.Kind = Added
		c.Added++
	case !is:
		x.Kind = Removed
		c.Removed++
	default:
		x.Kind = Changed
		c.Changed++
	}
	c.Changes = append(c.Changes, x)
}

// Place is the text's name in an export.
func (c Change) Place() string {
	return path.Join(c.Template, c.Locale, escapeName(c.Sample), c.Part)
}

func (c Change) unified(from, to string) string {
	from, to = c.Place()+"\t"+from, c.Place()+"\t"+to
	switch c.Kind {
	case Added:
		from = "/dev/null"
	case Removed:
		to = "/dev/null"
	}
	return unified(from, to, c.before, c.after)
}

// textKey names one text of a catalogue's renderings.
type textKey struct {
	template, locale, sample string
	channel                  notice.Medium
	part                     string
	order                    int // of the part in its rendering
}

func (k textKey) compare(other textKey) int {
	return cmp.Or(strings.Compare(k.template, other.template), strings.Compare(k.locale, other.locale), strings.Compare(k.sample, other.sample),
		cmp.Compare(k.order, other.order), strings.Compare(k.part, other.part))
}

func textsOf(items []Item) map[textKey]string {
	order := []string{"email.headers", "email.txt", "email.html", "push.json", "webhook.json"}
	texts := map[textKey]string{}
	for _, i := range items {
		if i.Err != nil {
			continue
		}
		for _, p := range i.Parts() {
			texts[textKey{i.Template, i.Locale, i.Sample, p.Channel, p.Name, slices.Index(order, p.Name)}] = p.Text
		}
	}
	return texts
}

// WriteText writes the diffs for reading, with colours on request, and the
// summary.
func (c Comparison) WriteText(w io.Writer, colours bool) error {
	var b strings.Builder
	for _, x := range c.Changes {
		b.WriteString(Coloured(x.Diff, colours))
	}
	fmt.Fprintf(&b, "%s → %s: %s\n", c.From, c.To, c.Summary())
	_, err := io.WriteString(w, b.String())
	return err
}

// Coloured colours a unified diff for a terminal; on is false for anything
// else, which gets it as it is. What the texts themselves hold of control
// characters a terminal is not given.
func Coloured(diff string, on bool) string {
	if !on {
		return diff
	}
	var b strings.Builder
	for line := range strings.Lines(diff) {
		text := strings.TrimSuffix(line, "\n")
		fmt.Fprintf(&b, "%s%s\x1b[0m\n", colourOf(text), strings.Map(printable, text))
	}
	return b.String()
}

func colourOf(line string) string {
	switch {
	case strings.HasPrefix(line, "--- "), strings.HasPrefix(line, "+++ "):
		return "\x1b[1m"
	case strings.HasPrefix(line, "@@"):
		return "\x1b[36m"
	case strings.HasPrefix(line, "-"):
		return "\x1b[31m"
	case strings.HasPrefix(line, "+"):
		return "\x1b[32m"
	}
	return ""
}

func printable(r rune) rune {
	if r < ' ' && r != '\t' || r == 0x7f {
		return '\uFFFD'
	}
	return r
}

// diffRow is one line of the side-by-side page.
type diffRow struct {
	Old, New         int // line numbers; 0: none on that side
	Before, After    string
	Gone, Come, Skip bool
}

// changeView is a change for the page.
type changeView struct {
	Change
	Rows                    []diffRow
	FrameBefore, FrameNow   template.HTMLAttr
	HasFrames, Older, Newer bool
}

// WritePage writes the comparison as a page, the texts side by side.
func (c Comparison) WritePage(w io.Writer) error {
	p, err := parsePages()
	if err != nil {
		return err
	}
	views := make([]changeView, len(c.Changes))
	inParallel(len(views), func(i int) { views[i] = viewChange(c.Changes[i]) })
	page, err := p.execute("diff.html", struct {
		Comparison
		Views []changeView
	}{c, views})
	if err != nil {
		return err
	}
	_, err = w.Write(page)
	return err
}

func viewChange(c Change) changeView {
	v := changeView{Change: c, Rows: sideBySide(compare(lines(c.before), lines(c.after))), Older: c.Kind != Added, Newer: c.Kind != Removed}
	if c.Part == "email.html" {
		v.HasFrames, v.FrameBefore, v.FrameNow = true, frame(c.before), frame(c.after)
	}
	return v
}

// sideBySide puts what was removed beside what came in its place, and leaves
// out what is far from any change.
func sideBySide(edits []edit) (rows []diffRow) {
	oldLine, newLine := 0, 0
	for i := 0; i < len(edits); {
		if edits[i].op == ' ' {
			oldLine, newLine = oldLine+1, newLine+1
			rows = append(rows, diffRow{Old: oldLine, New: newLine, Before: edits[i].line, After: edits[i].line})
			i++
			continue
		}
		var gone, come []string
		for ; i < len(edits) && edits[i].op != ' '; i++ {
			if edits[i].op == '-' {
				gone = append(gone, edits[i].line)
			} else {
				come = append(come, edits[i].line)
			}
		}
		for n := range max(len(gone), len(come)) {
			var row diffRow
			if n < len(gone) {
				oldLine++
				row.Old, row.Before, row.Gone = oldLine, gone[n], true
			}
			if n < len(come) {
				newLine++
				row.New, row.After, row.Come = newLine, come[n], true
			}
			rows = append(rows, row)
		}
	}
	return nearChanges(rows)
}

// nearChanges keeps the rows that changed and three around each; one row says
// where others are left out.
func nearChanges(rows []diffRow) (kept []diffRow) {
	near := make([]bool, len(rows))
	for i, r := range rows {
		if r.Gone || r.Come {
			for j := max(0, i-diffContext); j <= min(len(rows)-1, i+diffContext); j++ {
				near[j] = true
			}
		}
	}
	for i, r := range rows {
		switch {
		case near[i]:
			kept = append(kept, r)
		case len(kept) == 0 || !kept[len(kept)-1].Skip:
			kept = append(kept, diffRow{Skip: true})
		}
	}
	return kept
}
