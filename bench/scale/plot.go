package main

import (
	"fmt"
	"math"
	"strings"
)

// A picture's measures, in pixels.
const (
	plotWidth, plotHeight = 720, 220
	plotLeft, plotTop     = 70, 46
	plotGap               = 76
)

// line is one curve of a picture.
type line struct {
	name, colour string
	of           func(slot) float64
}

// plot draws the played day as an SVG picture: what is done a second, on a
// logarithmic scale, and what Redis holds.
func (r *result) plot() string {
	p := r.played
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="11">`+"\n",
		plotLeft+plotWidth+20, plotTop+2*plotHeight+plotGap+30)
	b.WriteString(`<rect width="100%" height="100%" fill="white"/>` + "\n")
	second := func(of func(slot) float64) func(slot) float64 {
		return func(s slot) float64 { return of(s) * p.scale / 60 / slotMinutes }
	}
	p.panel(&b, plotTop, "a second, by ten minutes, UTC", decades(100, 1e6), []line{
		{"offered", "#202020", second(func(s slot) float64 { return s.Offered })}, {"sent", "#4878a8", second(func(s slot) float64 { return s.Sent })},
		{"quiet hours", "#8050a0", second(func(s slot) float64 { return s.Quiet })}, {"held by a cap", "#c08020", second(func(s slot) float64 { return s.Held })},
		{"digested", "#40a040", second(func(s slot) float64 { return s.Digested })}, {"capped", "#c03030", second(func(s slot) float64 { return s.Capped })},
	})
	memory := func(s slot) float64 { return s.Memory * p.scale / 1e9 }
	parked := func(s slot) float64 { return s.Parked * p.scale / 1e6 }
	p.panel(&b, plotTop+plotHeight+plotGap, "at the end of ten minutes", p.linear(memory, parked),
		[]line{{"GB of Redis", "#c03030", memory}, {"millions parked", "#8050a0", parked}})
	b.WriteString("</svg>\n")
	return b.String()
}

// axis places values between 0, the bottom, and 1, and has lines to read them by.
type axis struct {
	place func(float64) float64
	marks []float64
}

// decades is a logarithmic axis; what is below its bottom lies on it.
func decades(from, to float64) axis {
	a := axis{place: func(v float64) float64 { return math.Log(max(v, from)/from) / math.Log(to/from) }}
	for v := from; v <= to; v *= 10 {
		a.marks = append(a.marks, v)
	}
	return a
}

// linear is an axis from 0 that has room for some curves.
func (p *played) linear(of ...func(slot) float64) axis {
	most := 1.0
	for _, s := range p.slots {
		for _, f := range of {
			most = max(most, f(s))
		}
	}
	step := math.Pow(10, math.Floor(math.Log10(most)))
	if most < 3*step {
		step /= 2
	}
	top := math.Ceil(most/step) * step
	a := axis{place: func(v float64) float64 { return v / top }}
	for v := 0.0; v <= top; v += step {
		a.marks = append(a.marks, v)
	}
	return a
}

// panel draws curves over each other, with what they are and a clock below.
func (p *played) panel(b *strings.Builder, top float64, title string, a axis, lines []line) {
	y := func(v float64) float64 { return top + plotHeight*(1-a.place(v)) }
	for _, v := range a.marks {
		fmt.Fprintf(b, `<path stroke="#d0d0d0" d="M%d %.1fh%d"/><text x="%d" y="%.1f" text-anchor="end">%s</text>`, plotLeft, y(v), plotWidth, plotLeft-6, y(v)+4, mark(v))
	}
	b.WriteString("\n")
	x := plotLeft
	for _, l := range lines {
		fmt.Fprintf(b, `<text x="%d" y="%.0f" fill="%s">%s</text><path fill="none" stroke="%s" stroke-width="1.5" d="M`, x, top-10, l.colour, l.name, l.colour)
		x += 20 + 7*len(l.name)
		for _, s := range p.slots {
			fmt.Fprintf(b, "%.1f %.1f ", plotLeft+float64(s.Minute)/minutes*plotWidth, y(l.of(s)))
		}
		b.WriteString("\"/>\n")
	}
	fmt.Fprintf(b, `<text x="%d" y="%.0f" text-anchor="end">%s</text>`, plotLeft+plotWidth, top-10, title)
	for hour := 0; hour <= 24; hour += 2 {
		fmt.Fprintf(b, `<text x="%d" y="%.0f" text-anchor="middle">%02d</text>`, plotLeft+hour*plotWidth/24, top+plotHeight+16, hour)
	}
	b.WriteString("\n")
}

// mark is a value beside an axis.
func mark(v float64) string {
	if v >= 1 {
		return thousands(int64(v + 0.5))
	}
	return number(v)
}
