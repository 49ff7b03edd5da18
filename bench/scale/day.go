package main

import (
	"fmt"
	"math"
	"time"
)

const (
	minutes    = 24 * 60 // of a day
	quietFrom  = 22 * 60 // local minutes of the day
	quietUntil = 8 * 60
)

// region is where users live: what their clocks show, and how many they are.
type region struct {
	Name   string
	Share  float64 // of all users
	Offset int     // minutes ahead of UTC, in winter
	Zone   string  // IANA
}

// day is what is assumed of a day.
type day struct {
	Users   float64
	Each    float64 // notifications a user, besides the broadcast
	Devices float64 // deliveries a notification
	Evening float64 // of the average, from 19:00 to 22:00 by the users' clocks
	Night   float64 // of the average, from 23:00 to 07:00
	Regions []region
	// Broadcast is the minute of the day, UTC, at which one notification to
	// everybody begins, and BroadcastOver in how many minutes it is to be
	// everywhere; 0: there is none.
	Broadcast, BroadcastOver int
	Quiet                    float64 // share of the users who keep quiet hours from 22:00 to 08:00
	Retries                  float64 // share of sends that are made again a minute later
	Retention                int     // minutes that a finished record is kept
}

// aDay is the day that docs/scale.md sizes: the broadcast comes when most is
// going on anyway.
func aDay() day {
	d := day{
		Users: 100e6, Each: 5, Devices: 1, Evening: 4, Night: 0.15,
		Regions: []region{{"East Asia", 0.40, 8 * 60, "Asia/Shanghai"}, {"Europe", 0.25, 60, "Europe/Berlin"},
			{"America", 0.25, -6 * 60, "America/Chicago"}, {"Gulf", 0.10, 4 * 60, "Asia/Dubai"}},
		BroadcastOver: 10, Quiet: 0.30, Retries: 0.02, Retention: 60,
	}
	d.Broadcast = d.busiest()
	return d
}

// oneZone is the same day with every user under one clock, which is what a
// cluster of one region meets.
func (d day) oneZone() day {
	d.Regions = []region{{"one zone", 1, 0, "UTC"}}
	d.Broadcast = d.busiest()
	return d
}

// weight is how much of the average is sent in a minute, by the users' clock.
// Over a day it comes to the average.
func (d day) weight(local int) float64 {
	const evening, night = 3, 8 // hours
	switch hour := local / 60; {
	case hour >= 19 && hour < 22:
		return d.Evening
	case hour >= 23 || hour < 7:
		return d.Night
	}
	return (24 - evening*d.Evening - night*d.Night) / (24 - evening - night)
}

func (r region) local(minute int) int { return ((minute+r.Offset)%minutes + minutes) % minutes }

func isQuiet(local int) bool { return local >= quietFrom || local < quietUntil }

// fresh is how many notifications a region's users cause in a minute.
func (d day) fresh(r region, minute int) float64 {
	return d.Users * r.Share * d.Each / minutes * d.weight(r.local(minute))
}

// told is how many of a region's users the broadcast reaches in a minute.
func (d day) told(r region, minute int) float64 {
	if d.BroadcastOver == 0 || minute < d.Broadcast || minute >= d.Broadcast+d.BroadcastOver {
		return 0
	}
	return d.Users * r.Share / float64(d.BroadcastOver)
}

// busiest is the minute, a whole hour, at which most is caused.
func (d day) busiest() (minute int) {
	most := 0.0
	for m := 0; m < minutes; m += 60 {
		if n := d.caused(m); n > most {
			minute, most = m, n
		}
	}
	return minute
}

func (d day) caused(minute int) (n float64) {
	for _, r := range d.Regions {
		n += d.fresh(r, minute)
	}
	return n
}

// check refuses a day that cannot be.
func (d day) check() error {
	shares := 0.0
	for _, r := range d.Regions {
		shares += r.Share
	}
	switch {
	case d.Users < 1:
		return fmt.Errorf("-users: %g is nobody: give 1 or more", d.Users)
	case d.Devices < 1:
		return fmt.Errorf("-devices: %g is none: give 1 or more", d.Devices)
	case d.BroadcastOver < 0 || d.Broadcast+d.BroadcastOver > minutes:
		return fmt.Errorf("-broadcast: %d minutes from %s do not end that day: give 0 to %d", d.BroadcastOver, clockTime(d.Broadcast), minutes-d.Broadcast)
	case d.Each < 0 || d.Quiet < 0 || d.Quiet > 1 || d.Retries < 0 || d.Retries >= 1:
		return fmt.Errorf("-each, -quiet, -retries: %g, %g, %g: none may be negative, and of the last two none more than 1", d.Each, d.Quiet, d.Retries)
	case d.weight(12*60) < 0:
		return fmt.Errorf("-evening: %g times the average for three hours leaves less than nothing for the rest of the day: give 7.6 or less", d.Evening)
	case math.Abs(shares-1) > 1e-9:
		return fmt.Errorf("the regions hold %g of the users, and not all", shares)
	}
	return nil
}

// state is what Redis holds at one moment.
type state struct {
	Profiles   float64
	CapUsers   float64 // users who have had anything in the caps' longest window
	Places     float64 // notifications of theirs in it
	Queued     float64 // on the streams: accepted, and not sent
	Parked     float64 // waiting for the end of quiet hours, or for a further attempt
	Records    float64 // finished, and still kept
	Partitions float64
}

// part is the state of a part of all users, in as many partitions.
func (s state) part(of float64) state {
	return state{s.Profiles * of, s.CapUsers * of, s.Places * of, s.Queued * of, s.Parked * of, s.Records * of, s.Partitions}
}

// rates are what is done in a second.
type rates struct {
	Admitted float64 // notifications
	Planned  float64 // and handed to their senders at once
	Parked   float64 // planned, or tried, and put away for later
	Promoted float64 // put back, and sent
}

func (r rates) sent() float64 { return r.Planned + r.Promoted }

// tick is one minute of a simulated day.
type tick struct {
	Minute int
	state
	rates         // averages of the minute
	Due   float64 // what there was to send, a second
}

// clock is the day's: nothing in the model asks for any other.
type clock struct {
	day
	perSecond  float64 // notifications that the consumers can send
	partitions int

	backlog float64
	parked  [2 * minutes]float64 // by the minute, from now, at which it is due: a ring
	sent    []float64            // by minute, for the records
	caused  []float64            // by minute, for the caps
}

// simulate runs a day of a system that can send perSecond notifications a
// second, after one that it only warms up on.
func (d day) simulate(perSecond float64, partitions int) []tick {
	c := &clock{day: d, perSecond: perSecond, partitions: partitions}
	ticks := make([]tick, 0, 2*minutes)
	for now := range 2 * minutes {
		ticks = append(ticks, c.tick(now))
	}
	return ticks[minutes:]
}

// tick lets a minute pass.
func (c *clock) tick(now int) tick {
	minute := now % minutes
	t := tick{Minute: minute}
	var admitted, planned, put float64
	for _, r := range c.Regions {
		n := c.fresh(r, minute) + c.told(r, minute)
		admitted += n
		if local := r.local(minute); isQuiet(local) {
			wait := (quietUntil - local + minutes) % minutes
			c.parked[(now+wait)%len(c.parked)] += n * c.Quiet
			put += n * c.Quiet
			n *= 1 - c.Quiet
		}
		planned += n
	}
	due := &c.parked[now%len(c.parked)]
	returned := *due
	*due = 0
	sent := c.send(now, planned+returned)
	put += sent * c.Retries
	c.caused = append(c.caused, admitted)
	t.Due = (planned + returned) / 60
	t.rates = rates{Admitted: admitted / 60, Parked: put / 60}
	if planned+returned > 0 {
		t.Promoted = sent * returned / (planned + returned) / 60
		t.Planned = sent/60 - t.Promoted
	}
	t.state = c.state()
	return t
}

// send takes what is due on, and returns how much of that and of the backlog
// was sent. What failed is due again in the next minute.
func (c *clock) send(now int, due float64) float64 {
	c.backlog += due
	sent := min(c.backlog, c.perSecond*60)
	c.backlog -= sent
	c.parked[(now+1)%len(c.parked)] += sent * c.Retries
	c.sent = append(c.sent, sent*(1-c.Retries))
	return sent
}

func (c *clock) state() state {
	s := state{Profiles: c.Users, Queued: c.backlog, Partitions: float64(c.partitions)}
	for _, n := range c.parked {
		s.Parked += n
	}
	for _, n := range c.sent[max(0, len(c.sent)-c.Retention):] {
		s.Records += n
	}
	for _, n := range c.caused[max(0, len(c.caused)-minutes):] {
		s.Places += n
	}
	s.CapUsers = c.Users * (1 - math.Exp(-s.Places/c.Users)) // whose notifications come independently of each other
	return s
}

// fullest is the minute in which most memory is needed.
func fullest(ticks []tick, costs *costs) tick {
	most := ticks[0]
	for _, t := range ticks {
		if costs.memory(t.state) > costs.memory(most.state) {
			most = t
		}
	}
	return most
}

// broadcastTakes is how long after the broadcast's first minute the backlog is
// gone; false when it is not by the end of the day.
func (d day) broadcastTakes(ticks []tick) (time.Duration, bool) {
	for _, t := range ticks[d.Broadcast+d.BroadcastOver-1:] {
		if t.Queued < 1 {
			return time.Duration(t.Minute-d.Broadcast+1) * time.Minute, true
		}
	}
	return 0, false
}
