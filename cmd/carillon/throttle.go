package main

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/queue"
	"github.com/carillonhq/carillon/recipients"
	"github.com/carillonhq/carillon/throttle"
)

// throttleCmd is `carillon throttle`.
type throttleCmd struct {
	Show throttleShowCmd `cmd:"" help:"Show what a user, a channel or a host is held to, and how it stands."`
	Try  throttleTryCmd  `cmd:"" help:"Say what would become of an event, rule by rule, without sending or counting it."`
}

// Help is the command's example.
func (throttleCmd) Help() string {
	return "Nothing here writes to Redis, and what is shown of people is shortened. It ends with 0, with 1 where nothing is known of what was asked for or the event would be refused, with 2 where the command line or the configuration is wrong, with 3 where Redis cannot be reached.\n\nExample:\n\n    carillon throttle show user u42 --config carillon.yaml\n    carillon throttle try --event event.json --config carillon.yaml"
}

// throttleShowCmd is `carillon throttle show`.
type throttleShowCmd struct {
	User    showUserCmd    `cmd:"" help:"A user's quiet hours, what they have of each cap, and their open digests."`
	Channel showChannelCmd `cmd:"" help:"A channel's rate and who has what of it, its rates by name, what is in flight, and what is paused."`
	Host    showHostCmd    `cmd:"" help:"What is known of a host, or of a domain of mail: its rate, pauses, whether it is down, what it is found to bear."`
}

// Help is the command's example.
func (throttleShowCmd) Help() string {
	return "Example:\n\n    carillon throttle show user u42 --config carillon.yaml\n    carillon throttle show channel webhook --config carillon.yaml\n    carillon throttle show host hooks.acme.example --config carillon.yaml"
}

// lookFlags are those of every command that only looks.
type lookFlags struct {
	Config string `placeholder:"FILE" help:"The configuration file; CARILLON_CONFIG's when left out."`
	Format string `enum:"text,json" default:"text" help:"text or json."`
}

// view is the gateway for somebody who only looks: it writes nothing.
type view struct {
	*gateway
	caps  *throttle.Caps
	rates *throttle.Rates
	now   time.Time // Redis's
}

// lookPatience is how long Redis may take to answer all that is asked of it.
const lookPatience = 15 * time.Second

// look opens a view for one command.
func (a *app) look(path string, do func(ctx context.Context, v *view) error) error {
	cfg, err := a.loadConfig(path)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(a.ctx, lookPatience)
	defer cancel()
	v := &view{gateway: &gateway{cfg: cfg, log: newLogger(a.stderr), enabled: enabledChannels(cfg)}}
	defer v.close()
	if err := v.open(ctx); err != nil {
		return queueError(err)
	}
	if err := v.sayIfUnused(ctx, a.stderr); err != nil {
		return queueError(err)
	}
	return do(ctx, v)
}

// sayIfUnused says that no gateway has used the namespace yet: what follows
// would look like a gateway that does nothing.
func (v *view) sayIfUnused(ctx context.Context, out io.Writer) error {
	founded, err := queue.Founded(ctx, v.rdb, v.cfg.Queue)
	if err == nil && !founded {
		fmt.Fprintf(out, "carillon: no gateway has run with queue.namespace %s on this Redis yet: are it and redis.url the gateway's?\n", v.cfg.Queue.Namespace)
	}
	return err
}

func (v *view) open(ctx context.Context) error {
	if err := v.connect(); err != nil {
		return err
	}
	if err := queue.Ping(ctx, v.rdb); err != nil {
		return err
	}
	partition, err := queue.Places(ctx, v.rdb, v.cfg.Queue)
	if err != nil {
		return err
	}
	if v.now, err = v.rdb.Time(ctx).Result(); err != nil {
		return unreachable(fmt.Errorf("asking Redis for the time: %w", err))
	}
	v.people = recipients.New(v.rdb, v.cfg.Queue.Namespace, partition)
	v.rates = throttle.NewRates(v.rdb, v.cfg.Queue.Namespace, "")
	v.caps, err = throttle.NewCaps(v.rdb, v.cfg.Queue.Namespace, partition, v.cfg.Throttle.PerUser)
	if err != nil {
		return usage(err)
	}
	return nil
}

// channel is how one channel stands.
func (v *view) channel(ctx context.Context, c notice.Channel) (channelState, error) {
	limits, _ := v.cfg.Channels.LimitsOf(string(c))
	state := channelState{Channel: c, Concurrency: limits.Concurrency}
	if !limits.Rate.IsZero() {
		state.Rate = &rateState{Configured: limits.Rate.String()}
		use, err := v.rates.Inspect(ctx, throttle.ChannelRate(c))
		if err != nil {
			return state, unreachable(err)
		}
		state.Rate.LastSecond, state.Rate.Shares = use.LastSecond, shareStates(use)
	}
	overview, err := throttle.Look(ctx, v.rdb, v.cfg.Queue.Namespace, c)
	if err != nil {
		return state, unreachable(err)
	}
	state.add(overview)
	state.Named, err = v.namedRates(ctx, c, overview)
	return state, err
}

// The states of `throttle show --format json`.
type (
	channelState struct {
		Channel     notice.Channel  `json:"channel"`
		Concurrency int             `json:"concurrency"` // of each consumer, as configured
		Rate        *rateState      `json:"rate,omitempty"`
		Named       []namedState    `json:"rates,omitempty"` // by domain, host, tenant, account and relay
		Holds       []holdState     `json:"holds"`
		Learned     []learnedState  `json:"learned,omitempty"`
		Consumers   []consumerState `json:"consumers"`

		overview throttle.Overview
	}
	rateState struct {
		Configured string       `json:"configured"`
		LastSecond int          `json:"last_second"` // permits given
		Shares     []shareState `json:"shares,omitempty"`
	}
	shareState struct {
		Consumer string  `json:"consumer"`
		Has      float64 `json:"has_per_second"`
		Wants    float64 `json:"wants_per_second"`
		Asks     bool    `json:"asks"`
	}
	// holdState is a pause, or something that is down.
	holdState struct {
		What    string    `json:"what"` // channel paused, host paused, address paused, host down, credential refused
		Name    string    `json:"name,omitzero"`
		Until   time.Time `json:"until"`
		Because string    `json:"because,omitzero"`
		Probed  string    `json:"probed_by,omitzero"`
	}
	consumerState struct {
		Consumer string      `json:"consumer"`
		InFlight int         `json:"in_flight"`
		Limit    int         `json:"limit"` // now
		Bound    int         `json:"bound"` // as configured there
		Hosts    []hostState `json:"hosts,omitempty"`
	}
	hostState struct {
		Host     string  `json:"host"`
		InFlight int     `json:"in_flight"`
		Limit    int     `json:"limit"`
		Rate     float64 `json:"learned_rate_per_second,omitzero"`
		Paused   int64   `json:"paused_ms,omitzero"`
		Down     int64   `json:"down_ms,omitzero"`
		Answers  int64   `json:"answers_ms"`
	}
)

// holdNames are what lasts, in words.
func holdNames() map[throttle.Kind]string {
	return map[throttle.Kind]string{throttle.ChannelPaused: "channel paused", throttle.HostPaused: "host paused", throttle.DevicePaused: "address paused",
		throttle.HostDown: "host down", throttle.CredentialRefused: "credential refused"}
}

func (s *channelState) add(o throttle.Overview) {
	s.overview, s.Holds, s.Consumers, s.Learned = o, []holdState{}, []consumerState{}, learnedStates(o.Rates)
	names := holdNames()
	for _, l := range o.Lasting {
		s.Holds = append(s.Holds, holdState{names[l.Kind], l.Name, l.Until.UTC(), l.Because, l.Probed})
	}
	for _, r := range o.Consumers {
		c := consumerState{Consumer: r.Consumer, InFlight: r.InFlight, Limit: r.Limit, Bound: r.Bound}
		for _, h := range r.Hosts {
			c.Hosts = append(c.Hosts, hostState{h.Name, h.InFlight, h.Limit, h.Rate, h.Paused, h.Down, h.Average})
		}
		s.Consumers = append(s.Consumers, c)
	}
}

// showChannelCmd is `carillon throttle show channel`.
type showChannelCmd struct {
	Channel string `arg:"" help:"email, apns, fcm, webpush or webhook."`
	lookFlags
}

// Help is the command's example.
func (showChannelCmd) Help() string {
	return `IN FLIGHT is what a consumer sends right now, LIMIT what it dares at once at present, BOUND the configured concurrency. HELD UP lists what is paused or down, until when, and who probes it. TURN OF ANOTHER is about when one that came now would go.

Consumers say how they stand only while they have work, so a figure may be ten seconds old, and a channel at rest shows none.

Examples:

    carillon throttle show channel webhook --config carillon.yaml
    carillon throttle show channel email --config carillon.yaml --format json`
}

// Run shows how a channel stands.
func (c showChannelCmd) Run(a *app) error {
	channel, err := askedChannel(c.Channel)
	if err != nil {
		return err
	}
	return a.look(c.Config, func(ctx context.Context, v *view) error {
		if !v.enabled[channel] {
			return notSo(fmt.Errorf("the channel %s is off: it has no section under channels in the configuration", channel))
		}
		state, err := v.channel(ctx, channel)
		if err != nil {
			return err
		}
		if c.Format == "json" {
			return a.printJSON(state)
		}
		return printChannel(a.stdout, state, v.now)
	})
}

func printChannel(out io.Writer, s channelState, now time.Time) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "channel\t%s\nconcurrency\t%d in each consumer\n", s.Channel, s.Concurrency)
	if s.Rate == nil {
		fmt.Fprintln(w, "rate\tnone")
	} else {
		fmt.Fprintf(w, "rate\t%s, of which %d were given in the last second\n", s.Rate.Configured, s.Rate.LastSecond)
	}
	printHolds(w, s.Holds)
	if s.Rate != nil && len(s.Rate.Shares) > 0 {
		fmt.Fprintln(w, "\nSHARE OF THE RATE\tHAS\tWANTS\t")
		for _, p := range s.Rate.Shares {
			fmt.Fprintf(w, "%s\t%.1f/s\t%.1f/s\t%s\n", printable(p.Consumer), p.Has, p.Wants, map[bool]string{false: "idle or gone"}[p.Asks])
		}
	}
	printNamed(w, s.Named, now)
	printConsumers(w, s.Consumers)
	printHosts(w, s.Consumers)
	return w.Flush()
}

func printConsumers(w io.Writer, consumers []consumerState) {
	if len(consumers) == 0 {
		fmt.Fprintln(w, "in flight\tnothing: no consumer has had work for this channel in the last ten seconds")
		return
	}
	fmt.Fprintln(w, "\nCONSUMER\tIN FLIGHT\tLIMIT\tBOUND")
	for _, c := range consumers {
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\n", printable(c.Consumer), c.InFlight, c.Limit, c.Bound)
	}
}

func printHolds(w io.Writer, holds []holdState) {
	if len(holds) == 0 {
		fmt.Fprintln(w, "held up\tby nothing")
		return
	}
	fmt.Fprintln(w, "\nHELD UP\tNAME\tUNTIL\tBECAUSE\tPROBED BY")
	for _, h := range holds {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", h.What, printable(h.Name), h.Until.Format(time.RFC3339Nano), printable(h.Because), printable(h.Probed))
	}
}

func printHosts(w io.Writer, consumers []consumerState) {
	heading := "\nHOST\tCONSUMER\tIN FLIGHT\tLIMIT\tLEARNED RATE\tPAUSED\tDOWN\tANSWERS IN\n"
	for _, c := range consumers {
		for _, h := range c.Hosts {
			fmt.Fprintf(w, heading+"%s\t%s\t%d\t%d\t%s\t%s\t%s\t%v\n", printable(h.Host), printable(c.Consumer), h.InFlight, h.Limit,
				perSecondText(h.Rate), millis(h.Paused), millis(h.Down), time.Duration(h.Answers)*time.Millisecond)
			heading = ""
		}
	}
}

func perSecondText(rate float64) string {
	if rate == 0 {
		return "none"
	}
	return fmt.Sprintf("%.1f/s", rate)
}

func millis(n int64) string {
	if n == 0 {
		return "no"
	}
	return "for " + (time.Duration(n) * time.Millisecond).String()
}

// showHostCmd is `carillon throttle show host`.
type showHostCmd struct {
	Host string `arg:"" help:"The host as in the webhook's URL, with its port where it has one; a scheme may stand before it. Of mail, what stands behind the @."`
	lookFlags
}

// Help is the command's example.
func (showHostCmd) Help() string {
	return `The URL of a webhook may be pasted as it is: what is not scheme, host and port is left out. LEARNED RATE is what the host was found to take from all consumers together, PAUSED and DOWN are for how much longer, ANSWERS IN is how long it takes on average.

It ends with 1 when nothing is known of the host, which is how it is with one that has no rate and takes all that is sent.

Examples:

    carillon throttle show host hooks.acme.example --config carillon.yaml
    carillon throttle show host gmail.com --config carillon.yaml`
}

// Run shows what is known of a host on every channel that is configured.
func (c showHostCmd) Run(a *app) error {
	host, err := askedHost(c.Host)
	if err != nil {
		return err
	}
	return a.look(c.Config, func(ctx context.Context, v *view) error {
		states, err := v.host(ctx, host)
		switch {
		case err != nil:
			return err
		case len(states) == 0:
			return notSo(fmt.Errorf("nothing is known of the host %s: it has no rate, is neither paused nor down, and no consumer had reason to slow down for it lately", printable(host)))
		case c.Format == "json":
			return a.printJSON(states)
		}
		for _, s := range states {
			if err := printHost(a.stdout, s, v.now); err != nil {
				return err
			}
		}
		return nil
	})
}

// host is what each channel knows of a host, those that know nothing left out.
func (v *view) host(ctx context.Context, host string) (out []channelState, err error) {
	for _, channel := range notice.Channels() {
		if !v.enabled[channel] {
			continue
		}
		state, err := v.channel(ctx, channel)
		if err != nil {
			return nil, err
		}
		about := state.overview.Host(host)
		if state.Named, err = v.aboutHost(ctx, channel, state.overview, host); err != nil {
			return nil, err
		}
		known := len(about.Lasting)+len(about.Rates)+len(state.Named) > 0
		for _, r := range about.Consumers {
			known = known || len(r.Hosts) > 0
		}
		if known {
			state.add(about)
			if err := v.addParts(ctx, channel, state.Learned); err != nil {
				return nil, err
			}
			out = append(out, state)
		}
	}
	return out, nil
}

func printHost(out io.Writer, s channelState, now time.Time) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "channel\t%s\n", s.Channel)
	printHolds(w, s.Holds)
	printLearned(w, s.Learned)
	printNamed(w, s.Named, now)
	printHosts(w, s.Consumers)
	return w.Flush()
}

// everybodysHours are the configuration's quiet hours.
func everybodysHours(q *config.QuietHours) *recipients.QuietHours { return (*recipients.QuietHours)(q) }
