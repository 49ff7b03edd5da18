package main

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
	"time"
)

// result is everything that a run found out.
type result struct {
	day    day
	plant  plant
	costs  []*costs // at each of partitions
	at     []int
	checks []checked
	plan   []tick  // of the day, with as many consumers as the broadcast asks for
	played *played // nil: no day was
	parts  []*partPlayed

	conditions conditions
}

// used are the costs that the result goes by: those of the plant's partitions.
func (r *result) used() *costs { return r.costs[len(r.costs)-1] }

// number prints three significant digits, and the thousands apart.
func number(v float64) string {
	switch {
	case math.IsNaN(v) || math.IsInf(v, 0):
		return "–"
	case math.Abs(v) >= 1000 || v == math.Trunc(v):
		return thousands(int64(math.Round(v)))
	case v >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case v >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return strconv.FormatFloat(v, 'f', 2, 64)
}

// percent is a difference, with its sign.
func percent(v float64) string {
	switch n := math.Round(100 * v); {
	case n > 0:
		return "+" + number(n) + " %"
	case n < 0:
		return "−" + number(-n) + " %"
	}
	return "0 %"
}

// partitions is how many.
func partitions(n int) string {
	if n == 1 {
		return "one partition"
	}
	return strconv.Itoa(n) + " partitions"
}

func thousands(v int64) string {
	if v < 0 {
		return "−" + thousands(-v)
	}
	if v < 1000 {
		return strconv.FormatInt(v, 10)
	}
	return thousands(v/1000) + fmt.Sprintf(",%03d", v%1000)
}

// section is a part of what is said, by which a page asks for it.
type section struct{ name, title, text string }

// sections are everything that there is to say.
func (r *result) sections() (out []section) {
	for _, s := range []struct {
		name, title string
		of          func(*strings.Builder)
	}{
		{"run", "The run", r.runLine}, {"costs", "Unit costs", r.unitCosts},
		{"memory", "Memory, on paper", r.memoryTable}, {"second", "A second, on paper", r.rateTable}, {"fewer", "With fewer consumers, on paper", r.waits},
		{"day", "The day, played", r.dayTable}, {"keys", "What Redis holds in the played day", r.keysTable},
		{"part", "One partition's part of the broadcast, for real", r.partTables}, {"checks", "The paper beside what was measured", r.checkTable},
	} {
		var b strings.Builder
		if s.of(&b); b.Len() > 0 {
			out = append(out, section{s.name, s.title, b.String()})
		}
	}
	return out
}

// write prints everything as Markdown.
func (r *result) write(w io.Writer) error {
	for _, s := range r.sections() {
		if _, err := fmt.Fprintf(w, "### %s\n\n%s\n", s.title, s.text); err != nil {
			return err
		}
	}
	return nil
}

// fillIn puts the sections into a page, each between its marks. A section that
// was left out stays as it was; one without marks is an error.
func (r *result) fillIn(page string) (string, error) {
	for _, s := range r.sections() {
		begin, end := "<!-- begin "+s.name+" -->\n", "<!-- end "+s.name+" -->"
		before, rest, found := strings.Cut(page, begin)
		_, after, closed := strings.Cut(rest, end)
		if !found || !closed {
			return "", fmt.Errorf("it has no %s… %s: put them where the section belongs", strings.TrimSpace(begin), end)
		}
		page = before + begin + s.text + end + after
	}
	return page, nil
}

// conditions are what a run was made under.
type conditions struct {
	Redis  string // version
	Cores  int
	Before string // load averages
	After  string
	Took   time.Duration
}

func (r *result) runLine(b *strings.Builder) {
	c := r.conditions
	fmt.Fprintf(b, "Redis %s in cluster mode and everything else on %d cores; the run took %.0f s. The machine's load average was %s when it began, and %s at its end.\n",
		c.Redis, c.Cores, c.Took.Seconds(), c.Before, c.After)
}

// loadAverage is of the last minute; "unknown" where there is no /proc.
func loadAverage() string {
	text, _ := os.ReadFile("/proc/loadavg")
	one, _, _ := strings.Cut(string(text), " ")
	return cmp.Or(one, "unknown")
}

func (r *result) unitCosts(b *strings.Builder) {
	b.WriteString("| bytes of Redis | |\n|---|---:|\n")
	by := r.used().Bytes
	for _, row := range []struct {
		what string
		v    float64
	}{
		{"a profile with its device", by.Profile}, {"a user under three caps", by.CapUser}, {"each notification under them", by.CapPlace},
		{"a queued notification, with its open record", by.Queued}, {"a parked one, the same", by.Parked},
		{"a finished record", by.Record}, {"an empty partition", by.Partition},
	} {
		fmt.Fprintf(b, "| %s | %s |\n", row.what, number(row.v))
	}
	b.WriteString("\n| µs of Redis, commands, µs of the consumer |")
	for _, p := range r.at {
		b.WriteString(" " + partitions(p) + " |")
	}
	b.WriteString("\n|---|" + strings.Repeat("---:|", len(r.at)) + "\n")
	for _, step := range []struct {
		what string
		of   func(work) float64
	}{
		{"admitted", func(w work) float64 { return w.Admit }}, {"planned, caps decided, handed over, settled", func(w work) float64 { return w.Deliver }},
		{"planned and parked", func(w work) float64 { return w.Park }}, {"put back, read, settled", func(w work) float64 { return w.Promote }},
	} {
		b.WriteString("| " + step.what + " |")
		for _, c := range r.costs {
			fmt.Fprintf(b, " %s, %s, %s |", number(step.of(c.Redis)), number(step.of(c.Calls)), number(step.of(c.Own)))
		}
		b.WriteByte('\n')
	}
	b.WriteString("| a consumer with nothing to do, a second |")
	for i, c := range r.costs {
		p := float64(r.at[i])
		fmt.Fprintf(b, " %s, %s, %s |", number(c.Idle.Redis*p), number(c.Idle.Calls*p), number(c.Idle.Own))
	}
	fmt.Fprintf(b, "\n\nA send takes %s µs of the consumer besides.\n", number(r.plant.Send))
}

// memoryTable shows the fullest minute.
func (r *result) memoryTable(b *strings.Builder) {
	c := r.used()
	t := fullest(r.plan, c)
	fmt.Fprintf(b, "The fullest minute is %s UTC.\n\n| | how many | GB |\n|---|---:|---:|\n", clockTime(t.Minute))
	row := func(what string, n, bytes float64) {
		fmt.Fprintf(b, "| %s | %s | %s |\n", what, number(n), number(n*bytes/1e9))
	}
	row("profiles", t.Profiles, c.Bytes.Profile)
	row("users with places under caps", t.CapUsers, c.Bytes.CapUser)
	row("their places", t.Places, c.Bytes.CapPlace)
	row("parked", t.state.Parked, c.Bytes.Parked)
	row("queued", t.Queued, c.Bytes.Queued)
	row("finished records", t.Records, c.Bytes.Record)
	row("partitions", t.Partitions, c.Bytes.Partition)
	fmt.Fprintf(b, "| **all** | %s masters of %s GB in use | **%s** |\n", number(float64(c.masters(t.state, r.plant))), number(r.plant.Memory/1e9), number(c.memory(t.state)/1e9))
}

// moments are the minutes that the result tells of, and their names.
func (r *result) moments() (names []string, at []rates) {
	quiet := r.day
	quiet.BroadcastOver = 0
	ticks := quiet.simulate(1e12, r.plant.Partitions)
	var average, evening rates
	for _, t := range ticks {
		average.Admitted += t.Admitted / minutes
		average.Planned += t.Planned / minutes
		average.Parked += t.rates.Parked / minutes
		average.Promoted += t.Promoted / minutes
		if t.Admitted > evening.Admitted {
			evening = t.rates
		}
	}
	one := r.day.oneZone()
	one.BroadcastOver = 0
	var sharp rates
	for _, t := range one.simulate(1e12, r.plant.Partitions) {
		if t.Admitted > sharp.Admitted {
			sharp = t.rates
		}
	}
	var told, morning rates
	for _, t := range r.day.simulate(1e12, r.plant.Partitions) {
		if t.Admitted > told.Admitted {
			told = t.rates
		}
		if t.Promoted > morning.Promoted {
			morning = t.rates
		}
	}
	morning = spread(morning, 15) // it is due at once, and takes what it takes
	return []string{"average", "evening", "evening, all users in one zone", "broadcast", "a region's quiet hours end, within 15 minutes"},
		[]rates{average, evening, sharp, told, morning}
}

// spread is a wave that is given some minutes.
func spread(r rates, over float64) rates {
	r.Promoted /= over
	return r
}

func (r *result) rateTable(b *strings.Builder) {
	b.WriteString("| | admitted | sent | commands | Redis cores | Redis masters | consumers | ingest |\n|---|---:|---:|---:|---:|---:|---:|---:|\n")
	names, at := r.moments()
	for i, name := range names {
		n := r.used().needs(at[i], r.plant)
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s | %d | %d | %d |\n", name, number(at[i].Admitted), number(at[i].sent()),
			number(n.Commands), number(n.RedisCores), n.Masters, n.Consumers, n.Ingest)
	}
}

// waits says how long the broadcast takes with fewer consumers.
func (r *result) waits(b *strings.Builder) {
	b.WriteString("| consumers | can send a second | the broadcast is everywhere after | longest queue |\n|---:|---:|---:|---:|\n")
	each := r.used().perConsumer(r.plant)
	_, at := r.moments()
	full := r.used().needs(at[3], r.plant).Consumers
	for _, n := range []int{full, full * 3 / 4, full / 2, full / 3, full / 4} {
		n = max(n, 1)
		ticks := r.day.simulate(each*float64(n), r.plant.Partitions)
		longest := 0.0
		for _, t := range ticks {
			longest = max(longest, t.Queued)
		}
		takes := "not that day"
		if d, done := r.day.broadcastTakes(ticks); done {
			takes = fmt.Sprintf("%.0f min", d.Minutes())
		}
		fmt.Fprintf(b, "| %d | %s | %s | %s |\n", n, number(each*float64(n)), takes, number(longest))
	}
}

func (r *result) checkTable(b *strings.Builder) {
	if len(r.checks) == 0 {
		return
	}
	b.WriteString("| | paper | measured | off |\n|---|---:|---:|---:|\n")
	for _, c := range r.checks {
		fmt.Fprintf(b, "| %s, %s | %s | %s | %s |\n", c.What, c.Unit, number(c.Predicted), number(c.Measured), percent(c.off()))
	}
}

func clockTime(minute int) string {
	return time.Unix(int64(minute)*60, 0).UTC().Format("15:04")
}
