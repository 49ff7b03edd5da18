package main

import (
	"fmt"
	"strings"
)

// hour is one of the played day, times the scale: all users'.
type hour struct {
	counts
	Parked  float64 // at most
	Memory  float64 // bytes of Redis, at most
	Busiest need    // of its ten minutes in which most is done
}

// hours sum the slots up, and say what they ask for.
func (p *played) hours(c *costs, plant plant) (out [24]hour) {
	for _, s := range p.slots {
		h := &out[s.Minute/60]
		h.counts = h.plus(s.counts)
		h.Parked = max(h.Parked, s.Parked*p.scale)
		h.Memory = max(h.Memory, s.Memory*p.scale+float64(plant.Partitions)*c.Bytes.Partition)
		if n := c.needs(s.rates(slotMinutes, p.scale), plant); n.RedisCores > h.Busiest.RedisCores {
			h.Busiest = n
		}
	}
	for i := range out {
		out[i].counts = out[i].times(p.scale)
	}
	return out
}

func (c counts) times(by float64) counts {
	return counts{c.Offered * by, c.Sent * by, c.Quiet * by, c.Held * by, c.Retried * by, c.Digested * by, c.Capped * by, c.Ended * by, c.Promoted * by}
}

// total is the whole day's, of the crowd.
func (p *played) total() (c counts) {
	for _, s := range p.slots {
		c = c.plus(s.counts)
	}
	return c
}

// lost is what was neither parked at the end nor had ended; not 0: a fault of
// the gateway.
func (p *played) lost() float64 {
	c := p.total()
	return p.before + c.Offered - c.Ended - p.after
}

// millions are how the table counts.
func millions(v float64) string { return number(v / 1e6) }

// dayTable shows the played day by its hours.
func (r *result) dayTable(b *strings.Builder) {
	if r.played == nil {
		return
	}
	p := r.played
	fmt.Fprintf(b, "%s users, each for %s of all; figures of notifications in millions, of all users.\n\n", number(float64(p.users)), number(p.scale))
	b.WriteString("| UTC | offered | sent | put off: quiet hours | a cap | another attempt | digested | capped | parked, at most | GB of Redis | operations a second | masters for them | consumers |\n" +
		"|---|" + strings.Repeat("---:|", 12) + "\n")
	for i, h := range p.hours(r.used(), r.plant) {
		fmt.Fprintf(b, "| %02d | %s | %s | %s | %d | %d |\n", i, h.row(), millions(h.Parked), number(h.Memory/1e9)+" | "+number(h.Busiest.Commands), h.Busiest.Masters, h.Busiest.Consumers)
	}
	fmt.Fprintf(b, "| all | %s | | | | | |\n\n", hour{counts: p.total().times(p.scale)}.row())
	total := p.total()
	fmt.Fprintf(b, "Of the sample: %s parked when the day began + %s offered = %s ended + %s parked when it was over; %s are missing. "+
		"Pushes against a rule: %d over the hour's cap, %d over a digest's, %d over the day's, %d in quiet hours.\n",
		number(p.before), number(total.Offered), number(total.Ended), number(p.after), number(p.lost()),
		p.breaches.Pushes, p.breaches.Social, p.breaches.Offers, p.breaches.Quiet)
	fmt.Fprintf(b, "Both days took %s s, %s s of Redis' processor and %s s of this process'.\n", number(p.took.Seconds()), number(p.used.redis.Seconds()), number(p.used.own.Seconds()))
}

// row are the counts of a line.
func (h hour) row() string {
	var cells []string
	for _, v := range []float64{h.Offered, h.Sent, h.Quiet, h.Held, h.Retried, h.Digested, h.Capped} {
		cells = append(cells, millions(v))
	}
	return strings.Join(cells, " | ")
}

// fullestHour is the one with the most memory at its end.
func (p *played) fullestHour() (h int) {
	const each = 60 / slotMinutes
	for i := range p.ends {
		if p.slots[(i+1)*each-1].Memory > p.slots[(h+1)*each-1].Memory {
			h = i
		}
	}
	return h
}

// keysTable shows what Redis holds at the end of the fullest hour.
func (r *result) keysTable(b *strings.Builder) {
	if r.played == nil {
		return
	}
	p := r.played
	h := p.fullestHour()
	all := p.slots[(h+1)*60/slotMinutes-1].Memory
	fmt.Fprintf(b, "What Redis holds at %02d:59, by MEMORY USAGE of every key, of all users:\n\n| | how many | bytes each | GB |\n|---|---:|---:|---:|\n", h)
	rest := all
	for _, s := range p.ends[h] {
		if s.What == restOfKeys || s.Number == 0 {
			continue
		}
		rest -= s.Bytes
		fmt.Fprintf(b, "| %s | %s | %s | %s |\n", s.What, number(s.Number*p.scale), number(s.Bytes/s.Number), number(s.Bytes*p.scale/1e9))
	}
	fmt.Fprintf(b, "| Redis' own tables, and what is free inside | | | %s |\n| **all** | | | **%s** |\n", number(rest*p.scale/1e9), number(all*p.scale/1e9))
}

// compared is the paper beside the played day. The paper knows of no caps, so
// what they drop, collect and hold is what it is off by.
func (r *result) compared() []checked {
	if r.played == nil {
		return nil
	}
	total, c := r.played.total(), r.used()
	var sent, parked, peak, memory float64
	for _, t := range r.plan {
		sent += t.sent() * 60 * (1 - r.day.Retries)
		parked = max(parked, t.state.Parked)
	}
	for _, h := range r.played.hours(c, r.plant) {
		peak, memory = max(peak, h.Parked), max(memory, h.Memory)
	}
	return []checked{
		{"sent, and in the played day capped or digested", sent / 1e6, (total.Sent + total.Capped + total.Digested) * r.played.scale / 1e6, "millions"},
		{"parked, at most", parked / 1e6, peak / 1e6, "millions"},
		{"Redis, at most", c.memory(fullest(r.plan, c).state) / 1e9, memory / 1e9, "GB"},
	}
}
