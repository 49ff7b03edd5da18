package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/delivery"
	"github.com/carillonhq/carillon/ingest"
	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/notice/routing"
	"github.com/carillonhq/carillon/queue"
	"github.com/carillonhq/carillon/templates"
	"github.com/carillonhq/carillon/throttle"
)

// throttleTryCmd is `carillon throttle try`.
type throttleTryCmd struct {
	Event  string `required:"" placeholder:"FILE" help:"A notification as for POST /v1/notifications, or a CloudEvent, as JSON; - for the standard input."`
	Tenant string `placeholder:"NAME" help:"Who would send it; the only tenant of auth.keys when left out, or default."`
	lookFlags
}

// Help is the command's example.
func (throttleTryCmd) Help() string {
	return "Each address is told whether it would go now, wait until when by which rule, or end; then, rule by rule, the user's caps, the channel's rate, and the rates by domain, host, tenant, account and relay that would count it, with what waits for them. It ends with 1 when the event would be refused.\n\nExample:\n\n    carillon throttle try --event event.json --config carillon.yaml\n    echo '{\"template\":\"order-shipped\",\"to\":{\"user\":\"u42\"},\"data\":{\"order\":\"A-1\"}}' | carillon throttle try --event -"
}

// The states of `throttle try --format json`.
type (
	trialState struct {
		Note       string          `json:"note,omitzero"` // what ends it before there are deliveries
		Deliveries []expectedState `json:"deliveries"`
	}
	expectedState struct {
		Channel notice.Channel `json:"channel"`
		Address string         `json:"address"` // shortened
		Outcome string         `json:"outcome"` // go, wait, or the status that it ends with
		Until   time.Time      `json:"until,omitzero"`
		Rule    string         `json:"rule,omitzero"`
		Detail  string         `json:"detail,omitzero"`
		Digest  bool           `json:"digest,omitzero"` // it would be collected in, or carry, a digest
		Caps    []ruleState    `json:"caps,omitempty"`
		Rate    string         `json:"channel_rate,omitzero"`
		Named   []namedState   `json:"rates,omitempty"` // by domain, host, tenant, account and relay
	}
	ruleState struct {
		Rule    string     `json:"rule"`
		Applies bool       `json:"applies"`
		Why     string     `json:"why_not,omitzero"`
		Windows []capState `json:"windows,omitempty"`
	}
)

// Run says what would become of an event.
func (c throttleTryCmd) Run(a *app) error {
	body, err := readEvent(a, c.Event)
	if err != nil {
		return err
	}
	return a.look(c.Config, func(ctx context.Context, v *view) error {
		tenant, err := v.tenantOf(a.stderr, c.Tenant)
		if err != nil {
			return err
		}
		if most := v.cfg.Ingest.MaxBody; len(body) > int(most) {
			return notSo(fmt.Errorf("it would be refused: it has more than the %s of ingest.max_body: send less, or raise it", most))
		}
		if err := v.openTemplates(ctx); err != nil {
			return err
		}
		notifications, err := v.accept(body)
		if err != nil {
			return refusedEvent(a.stderr, err)
		}
		states := []trialState{}
		for _, n := range notifications {
			state, err := v.try(ctx, tenant, n)
			if err != nil {
				return unreachable(err)
			}
			states = append(states, state)
		}
		if c.Format == "json" {
			return a.printJSON(states)
		}
		return printTrials(a.stdout, states, v.now)
	})
}

// tenantOf is who would send, and says so when that one has no key.
func (v *view) tenantOf(out io.Writer, flag string) (string, error) {
	tenant, err := askedTenant(flag, v.cfg)
	if err != nil {
		return "", err
	}
	if strange := strangeTenant(tenant, v.cfg); strange != "" {
		fmt.Fprintf(out, "carillon: %s: it is tried as one that comes by the inbox\n", strange)
	}
	return tenant, nil
}

// maxEvent bounds what is read of an event: a byte more than ingest.max_body
// can be.
const maxEvent = 64<<20 + 1

func readEvent(a *app, name string) (body []byte, err error) {
	in := a.stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, unreadableEvent(name, err)
		}
		defer f.Close()
		in = f
	}
	if body, err = io.ReadAll(io.LimitReader(in, maxEvent)); err != nil {
		return nil, unreadableEvent(name, err)
	}
	if len(bytes.TrimSpace(body)) == 0 {
		return nil, usage(fmt.Errorf("--event %s: is empty: give a notification or a CloudEvent as JSON", name))
	}
	return body, nil
}

// openTemplates loads the catalogue and the routes. Nothing of it is put
// anywhere.
func (v *view) openTemplates(ctx context.Context) (err error) {
	if v.routes, err = routing.Compile(v.cfg.Routes); err != nil {
		return usage(err)
	}
	assets := templates.WithAssets(v.cfg.Assets.BaseURL)
	if v.cfg.Templates.Source == config.TemplatesFromRedis {
		v.catalogue, err = templates.OpenShared(ctx, v.newShelf(), "Redis", v.log, assets)
		err = sharedError(err)
	} else if v.catalogue, err = templates.OpenStore(v.cfg.Templates.Dir, v.log, assets); err != nil {
		err = catalogueError(v.cfg.Templates.Dir, err)
	}
	if err == nil {
		v.onClose(func() { v.catalogue.Close() })
	}
	return err
}

// accept does with an event what the door does: none of a CloudEvent that no
// route takes.
func (v *view) accept(body []byte) (accepted []notice.Notification, err error) {
	if notice.LooksLikeCloudEvent(body) {
		event, err := notice.DecodeCloudEvent(body)
		if err != nil {
			return nil, err
		}
		if accepted, err = v.routes.Route(event); err != nil {
			return nil, err
		}
	} else {
		n, err := notice.DecodeNotification(body)
		if err != nil {
			return nil, err
		}
		accepted = append(accepted, n)
	}
	door := ingest.Acceptor{Templates: v.catalogue, EnabledChannels: v.enabled}
	for i := range accepted {
		if err := door.Accept(&accepted[i], v.now); err != nil {
			return nil, err
		}
	}
	return accepted, nil
}

// refusedEvent prints why an event would be refused, a line for each fault.
func refusedEvent(out io.Writer, err error) error {
	var problem *ingest.Problem
	var faults notice.Faults
	switch {
	case errors.As(err, &problem) && len(problem.Errors) > 0:
		faults = problem.Errors
	case errors.As(err, &faults):
	default:
		return notSo(fmt.Errorf("it would be refused: %w", err))
	}
	for _, f := range faults {
		fmt.Fprintf(out, "%s: %s\n", cmp.Or(printable(f.Pointer), "the event"), oneLine(printable(f.Detail)))
	}
	return notSo(errors.New("it would be refused"))
}

// try says what would become of one notification.
func (v *view) try(ctx context.Context, tenant string, n notice.Notification) (trialState, error) {
	options := delivery.ForecastOptions{People: v.people, Catalogue: v.catalogue, Caps: v.caps, QuietHours: v.cfg.Throttle.QuietHours,
		Enabled: v.enabled, Mandatory: v.mandatory(), Now: v.now}
	expected, note, err := delivery.Forecast(ctx, options, tenant, n)
	state := trialState{Note: note.Detail, Deliveries: []expectedState{}}
	if err != nil {
		return state, err
	}
	channels := map[notice.Channel]channelState{}
	for _, e := range expected {
		channel := e.Delivery.Address.Channel
		if _, known := channels[channel]; !known && v.enabled[channel] {
			if channels[channel], err = v.channel(ctx, channel); err != nil {
				return state, err
			}
		}
		named, err := v.tryNamed(ctx, channels[channel], &e.Delivery)
		if err != nil {
			return state, err
		}
		state.Deliveries = append(state.Deliveries, v.expect(e, channels[channel], named))
	}
	return state, nil
}

// expect joins what the plan says of a delivery with how its channel and the
// rates by name stand.
func (v *view) expect(e delivery.Expected, on channelState, named []namedState) expectedState {
	address, stands, due := e.Delivery.Address, e.Stands, e.Due
	if held := delivery.Held(on.overview, address); !due.IsZero() && held.Until.After(due) {
		stands, due = held, held.Until
	}
	if last := slowest(v.binding(named)); last != nil && !due.IsZero() && last.Turn.After(v.now.Add(soon)) && last.Turn.After(due) {
		stands, due = queue.Entry{Code: "rate", Detail: last.words(address.Channel)}, last.Turn
	}
	out := expectedState{Channel: address.Channel, Outcome: "go", Rule: stands.Code, Detail: stands.Detail, Digest: e.Digest, Caps: ruleStates(e.Rules), Named: named}
	if address.To != "" {
		out.Address = queue.Hint(address)
	}
	switch {
	case due.IsZero():
		out.Outcome = string(stands.Status)
	case due.After(v.now):
		out.Outcome, out.Until = "wait", due.UTC()
		if out.Rule == "" {
			out.Rule = "send_at"
		}
	}
	if on.Rate != nil {
		out.Rate = fmt.Sprintf("%s, of which %d were given in the last second", on.Rate.Configured, on.Rate.LastSecond)
	}
	return out
}

func ruleStates(trials []throttle.RuleTrial) (out []ruleState) {
	for _, t := range trials {
		out = append(out, ruleState{t.Rule, t.Applies, t.Why, capStates(t.Usage)})
	}
	return out
}

func printTrials(out io.Writer, states []trialState, now time.Time) error {
	if len(states) == 0 {
		_, err := fmt.Fprintln(out, "ignored: no route takes events of this type")
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, s := range states {
		if s.Note != "" {
			fmt.Fprintln(w, printable(s.Note))
		}
		for _, d := range s.Deliveries {
			printExpected(w, d, now)
		}
	}
	return w.Flush()
}

func printExpected(w io.Writer, d expectedState, now time.Time) {
	fmt.Fprintf(w, "%s\t%s\t%s\n", d.Channel, printable(d.Address), outcomeText(d))
	if d.Digest {
		fmt.Fprintln(w, "  digest\tit would be collected until then, and go with what else is")
	}
	for _, r := range d.Caps {
		if !r.Applies {
			fmt.Fprintf(w, "  cap %s\tdoes not apply\t%s\n", printable(r.Rule), printable(r.Why))
		}
		for _, u := range r.Windows {
			fmt.Fprintf(w, "  cap %s\tapplies\t%s: %d used, %d waiting, next free %s, over: %s\n", printable(r.Rule), u.Window, u.Used, u.Waiting, freeText(u.Free, now), u.Over)
		}
	}
	if d.Rate != "" {
		fmt.Fprintf(w, "  channel rate\t%s\n", d.Rate)
	}
	for _, r := range d.Named {
		fmt.Fprintf(w, "  %s\t%d in the last second, %d waiting, put off until: %s, its turn: %s\n",
			printable(r.words(d.Channel)), r.LastSecond, r.Waiting, putOffText(r.PutOff), turnText(r.Turn, now))
	}
}

func outcomeText(d expectedState) string {
	switch d.Outcome {
	case "go":
		return "would go now"
	case "wait":
		text := "would wait until " + d.Until.Format(time.RFC3339Nano) + ", rule " + printable(d.Rule)
		if d.Detail == "" {
			return text
		}
		return text + " (" + printable(d.Detail) + ")"
	}
	return "would end as " + d.Outcome + ", rule " + printable(d.Rule) + " (" + printable(d.Detail) + ")"
}
