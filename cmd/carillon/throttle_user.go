package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/queue"
	"github.com/carillonhq/carillon/recipients"
	"github.com/carillonhq/carillon/throttle"
)

// showUserCmd is `carillon throttle show user`.
type showUserCmd struct {
	User   string `arg:"" help:"The user's id, as in to.user."`
	Tenant string `placeholder:"NAME" help:"Whose user; the only tenant of auth.keys when left out, or default."`
	lookFlags
}

// Help is the command's example.
func (showUserCmd) Help() string {
	return "Shown are the user's quiet hours, what they have of each cap, and what is being collected for them, each digest with how much it holds, when it goes, and the delivery that carries it.\n\nUSED is how many places of a window are taken, WAITING how many deliveries have one that is still to come, NEXT FREE when one more could go. It ends with 1 when there is neither a profile nor a count.\n\nExample:\n\n    carillon throttle show user u42 --tenant acme --config carillon.yaml"
}

// The state of a user in `throttle show user --format json`.
type (
	userState struct {
		Tenant  string      `json:"tenant"`
		User    string      `json:"user"`
		Profile bool        `json:"profile"` // there is a stored one
		Zone    string      `json:"zone"`
		Quiet   *quietState `json:"quiet_hours,omitempty"`
		Caps    []capState  `json:"caps"`
		Digests []openState `json:"digests"` // that still collect
	}
	quietState struct {
		From   string    `json:"from"`
		To     string    `json:"to"`
		Except []string  `json:"except,omitempty"`
		Own    bool      `json:"own"`            // the user's, not everybody's
		Until  time.Time `json:"until,omitzero"` // it is quiet now, until then
	}
	capState struct {
		Rule    string      `json:"rule"`
		Over    config.Over `json:"over"`
		Window  string      `json:"window"`
		Used    int         `json:"used"`
		Waiting int         `json:"waiting"`
		Free    time.Time   `json:"free"` // when the next may go
	}
	// openState is a digest that still collects.
	openState struct {
		Template string         `json:"template,omitzero"` // that it will be sent by
		Rule     string         `json:"rule"`
		Channel  notice.Channel `json:"channel"`
		Address  string         `json:"address"` // shortened
		Items    int            `json:"items"`   // with the delivery that carries it
		More     int            `json:"more"`    // only counted
		Size     int64          `json:"bytes"`   // of what is collected
		Opened   time.Time      `json:"opened"`
		Goes     time.Time      `json:"goes,omitzero"`    // left out: it is about to
		Expires  time.Time      `json:"expires,omitzero"` // its carrier
		Carrier  string         `json:"carrier"`
	}
)

// Run shows what a user is held to.
func (c showUserCmd) Run(a *app) error {
	if err := askedUser(c.User); err != nil {
		return err
	}
	return a.look(c.Config, func(ctx context.Context, v *view) error {
		tenant, err := askedTenant(c.Tenant, v.cfg)
		if err != nil {
			return err
		}
		state, err := v.user(ctx, tenant, c.User)
		switch {
		case err != nil:
			return queueError(err)
		case c.Format == "json":
			return a.printJSON(state)
		}
		return printUser(a.stdout, state, v.now)
	})
}

// user is what one user is held to. One of whom there is neither a profile nor a
// count is not known.
func (v *view) user(ctx context.Context, tenant, user string) (userState, error) {
	profile, err := v.people.Get(ctx, tenant, user)
	if errors.Is(err, recipients.ErrNotFound) {
		profile, err = nil, nil
	}
	if err != nil {
		return userState{}, fmt.Errorf("reading the profile: %w", err)
	}
	usages, err := v.caps.Inspect(ctx, tenant, user, v.now)
	if err != nil {
		return userState{}, unreachable(err)
	}
	state := userState{Tenant: tenant, User: user, Profile: profile != nil, Zone: "UTC", Quiet: v.quiet(profile), Caps: capStates(usages)}
	if state.Digests, err = v.digests(ctx, tenant, user); err != nil {
		return state, queueError(err)
	}
	counted := len(state.Digests) > 0
	for _, u := range usages {
		counted = counted || u.Used+u.Waiting > 0
	}
	if !state.Profile && !counted {
		text := fmt.Sprintf("nothing is known of the user %s of tenant %s: there is no profile, and no cap counts anything", printable(user), tenant)
		if strange := strangeTenant(tenant, v.cfg); strange != "" {
			text += "; " + strange
		}
		return state, notSo(errors.New(text))
	}
	if state.Profile && profile.Timezone != "" {
		state.Zone = profile.Timezone
	}
	return state, nil
}

// digests are what is being collected for a user.
func (v *view) digests(ctx context.Context, tenant, user string) ([]openState, error) {
	open, err := queue.OpenDigests(ctx, v.rdb, v.cfg.Queue, tenant, user)
	out := make([]openState, len(open))
	for i, d := range open {
		out[i] = openState{d.Template, d.Rule, d.Channel, d.Address, d.Items, d.More, d.Size, d.Opened.UTC(), inUTC(d.Goes), inUTC(d.Expires), d.Carrier}
	}
	return out, err
}

// inUTC leaves the zero time as it is.
func inUTC(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.UTC()
}

// quiet is which quiet hours a user has, and whether they last now; nil: none.
func (v *view) quiet(profile *recipients.Profile) *quietState {
	hours, zone, own := everybodysHours(v.cfg.Throttle.QuietHours), "", false
	if profile != nil {
		zone = profile.Timezone
		if profile.QuietHours != nil {
			hours, own = profile.QuietHours, true
		}
	}
	if hours == nil {
		return nil
	}
	state := &quietState{From: hours.From, To: hours.To, Except: hours.Except, Own: own}
	if end, quiet := hours.Until(v.now, new(recipients.Zones).Location(zone)); quiet {
		state.Until = end.UTC()
	}
	return state
}

func capStates(usages []throttle.Usage) []capState {
	out := make([]capState, len(usages))
	for i, u := range usages {
		out[i] = capState{u.Rule, u.Over, u.Limit.String(), u.Used, u.Waiting, u.Free.UTC()}
		if u.Burst {
			out[i].Window = "burst " + out[i].Window
		}
	}
	return out
}

func printUser(out io.Writer, s userState, now time.Time) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "user\t%s of tenant %s\n", printable(s.User), printable(s.Tenant))
	if !s.Profile {
		fmt.Fprintln(w, "profile\tnone")
	}
	fmt.Fprintf(w, "zone\t%s\nquiet hours\t%s\n", printable(s.Zone), s.Quiet)
	fmt.Fprintln(w, "\nCAP\tOVER\tWINDOW\tUSED\tWAITING\tNEXT FREE")
	for _, c := range s.Caps {
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%s\n", printable(c.Rule), c.Over, c.Window, c.Used, c.Waiting, freeText(c.Free, now))
	}
	printDigests(w, s.Digests, now)
	return w.Flush()
}

func printDigests(w io.Writer, open []openState, now time.Time) {
	heading := "\nOPEN DIGEST\tRULE\tTO\tITEMS\tONLY COUNTED\tBYTES\tGOES\tEXPIRES\tCARRIED BY\n"
	for _, d := range open {
		expires := "never"
		if !d.Expires.IsZero() {
			expires = d.Expires.Format(time.RFC3339Nano)
		}
		fmt.Fprintf(w, heading+"%s\t%s\t%s\t%d\t%d\t%d\t%s\t%s\t%s\n", printable(d.Template), printable(d.Rule), printable(d.Address),
			d.Items, d.More, d.Size, freeText(d.Goes, now), expires, d.Carrier)
		heading = ""
	}
}

// freeText is when a window has room: most do now.
func freeText(free, now time.Time) string {
	if !free.After(now) {
		return "now"
	}
	return free.UTC().Format(time.RFC3339Nano)
}

// String is quiet hours in a table.
func (q *quietState) String() string {
	if q == nil {
		return "none"
	}
	whose := "everybody's"
	if q.Own {
		whose = "their own"
	}
	text := fmt.Sprintf("%s to %s (%s)", q.From, q.To, whose)
	if len(q.Except) > 0 {
		text += ", except " + printable(strings.Join(q.Except, ", "))
	}
	if q.Until.IsZero() {
		return text + ", not now"
	}
	return text + ", now until " + q.Until.Format(time.RFC3339)
}
