package routing

import (
	"errors"
	"fmt"
	"strings"

	"cel.dev/cel-go/cel"
	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/notice"
	"github.com/go-json-experiment/json/jsontext"
)

// route is one compiled route.
type route struct {
	position int // in the configuration, from 0
	typ      glob
	source   *glob // nil: any
	when     *condition
	template string
	to       recipient
	category field
	priority field
	collapse field
	channels []notice.Medium
	goOn     bool // look for further routes after this one
}

// recipient is the compiled `to` of a route.
type recipient struct {
	user, email, name, locale, timezone field
	webhooks                            []webhook
	devices                             []device
}

type webhook struct {
	url    field
	secret string
}

type device struct{ platform, token field }

// compiler compiles one route and collects everything wrong with it.
type compiler struct {
	env      *cel.Env
	position int
	errs     []error
}

// fault notes what is wrong with one key of the route, and with which value.
func (c *compiler) fault(key, value string, err error) {
	c.errs = append(c.errs, fmt.Errorf("routes[%d].%s: %q: %w", c.position, key, clip(value), err))
}

func (c *compiler) route(r config.Route) *route {
	out := &route{
		position: c.position,
		typ:      c.glob("type", r.Type, '.'),
		template: c.template(r.Template),
		to:       c.recipient(r.To),
		category: c.field("category", r.Category),
		priority: c.priority(r.Priority),
		collapse: c.field("collapse_key", r.CollapseKey),
		channels: c.channels(r.Channels),
		goOn:     r.Continue,
	}
	if r.Source != "" {
		source := c.glob("source", r.Source, '/')
		out.source = &source
	}
	when, err := compileWhen(c.env, r.When)
	if err != nil {
		c.fault("when", r.When, err)
	}
	out.when = when
	return out
}

func (c *compiler) glob(key, pattern string, sep byte) glob {
	g, err := compileGlob(pattern, sep)
	if err != nil {
		c.fault(key, pattern, err)
	}
	return g
}

func (c *compiler) field(key, source string) field {
	f, err := compileField(source)
	if err != nil {
		c.fault(key, source, err)
	}
	return f
}

func (c *compiler) template(name string) string {
	if name == "" {
		c.fault("template", name, errors.New("is empty; name a template of the catalogue"))
	}
	return name
}

func (c *compiler) priority(source string) field {
	f := c.field("priority", source)
	if f.tmpl == nil && f.literal != "" {
		if _, err := lane(f.literal); err != nil {
			c.fault("priority", source, err)
		}
	}
	return f
}

func (c *compiler) channels(names []string) []notice.Medium {
	var media []notice.Medium
	for i, name := range names {
		m := notice.Medium(name)
		if !m.Valid() {
			c.fault(fmt.Sprintf("channels[%d]", i), name, unknown(name, notice.Media()))
		}
		media = append(media, m)
	}
	return media
}

func (c *compiler) recipient(to config.RouteTo) recipient {
	out := recipient{
		user:     c.field("to.user", to.User),
		email:    c.field("to.email", to.Email),
		name:     c.field("to.name", to.Name),
		locale:   c.field("to.locale", to.Locale),
		timezone: c.field("to.timezone", to.Timezone),
	}
	for i, w := range to.Webhooks {
		out.webhooks = append(out.webhooks, webhook{
			url: c.required(fmt.Sprintf("to.webhooks[%d].url", i), w.URL), secret: w.Secret.Reveal(),
		})
	}
	for i, d := range to.Devices {
		out.devices = append(out.devices, c.device(fmt.Sprintf("to.devices[%d]", i), d))
	}
	if to.User == "" && to.Email == "" && len(to.Webhooks) == 0 && len(to.Devices) == 0 {
		c.fault("to", "", errors.New(`names nobody; give at least user, as "{{ .data.user }}"`))
	}
	return out
}

func (c *compiler) device(key string, d config.RouteDevice) device {
	out := device{platform: c.required(key+".platform", d.Platform), token: c.required(key+".token", d.Token)}
	if p := out.platform; p.tmpl == nil && p.literal != "" {
		if _, err := platform(p.literal); err != nil {
			c.fault(key+".platform", d.Platform, err)
		}
	}
	return out
}

func (c *compiler) required(key, source string) field {
	f := c.field(key, source)
	if source == "" {
		c.fault(key, source, errors.New("is empty; write it, or leave the whole entry out"))
	}
	return f
}

// concerns reports whether the route is for events of e's type and source,
// which needs no data.
func (r *route) concerns(e *notice.CloudEvent) bool {
	return r.typ.match(e.Type) && (r.source == nil || r.source.match(e.Source))
}

// holds reports whether e meets the route's condition.
func (r *route) holds(e *event) (bool, error) {
	ok, err := r.when.holds(e)
	if err != nil {
		return false, &Error{Route: r.position, Field: "when", Err: err}
	}
	return ok, nil
}

// notification is what the route makes of e.
func (r *route) notification(e *event) (notice.Notification, error) {
	f := filler{event: e, route: r.position}
	n := notice.Notification{
		Template:    r.template,
		To:          f.recipient(&r.to),
		Data:        f.data(),
		Channels:    r.channels,
		Category:    f.value("category", &r.category),
		CollapseKey: f.value("collapse_key", &r.collapse),
	}
	if name := f.value("priority", &r.priority); name != "" {
		var err error
		n.Priority, err = lane(name)
		f.fail("priority", err)
	}
	return n, f.err
}

// filler fills a notification's fields from an event, until the first error.
type filler struct {
	event *event
	route int
	err   error
}

func (f *filler) fail(field string, err error) {
	if err != nil && f.err == nil {
		f.err = &Error{Route: f.route, Field: field, Err: err}
	}
}

func (f *filler) value(name string, from *field) string {
	if f.err != nil {
		return ""
	}
	v, err := from.render(f.event)
	f.fail(name, err)
	return v
}

// data is the event's data as the notification's, which must be an object:
// templates name its fields.
func (f *filler) data() jsontext.Value {
	if data := f.event.Data; len(data) > 0 && data.Kind() != '{' {
		f.fail("data", errors.New("the event's data is not a JSON object, so no template can use it"))
	}
	return f.event.Data
}

func (f *filler) recipient(r *recipient) notice.Recipient {
	to := notice.Recipient{
		User:     f.value("to.user", &r.user),
		Email:    f.value("to.email", &r.email),
		Name:     f.value("to.name", &r.name),
		Locale:   f.value("to.locale", &r.locale),
		Timezone: f.value("to.timezone", &r.timezone),
	}
	for i := range r.webhooks {
		url := f.value(fmt.Sprintf("to.webhooks[%d].url", i), &r.webhooks[i].url)
		if url != "" {
			to.Webhooks = append(to.Webhooks, notice.Webhook{URL: url, Secret: r.webhooks[i].secret})
		}
	}
	for i := range r.devices {
		f.device(i, &r.devices[i], &to)
	}
	if to.User == "" && !to.HasAddress() {
		f.fail("to", errors.New("comes out empty for this event; leave such events out with `when`"))
	}
	return to
}

func (f *filler) device(i int, d *device, to *notice.Recipient) {
	key := fmt.Sprintf("to.devices[%d]", i)
	token := f.value(key+".token", &d.token)
	name := f.value(key+".platform", &d.platform)
	if token == "" || f.err != nil {
		return
	}
	p, err := platform(name)
	f.fail(key+".platform", err)
	to.Devices = append(to.Devices, notice.Device{Platform: p, Token: token})
}

func lane(name string) (notice.Lane, error) {
	l := notice.Lane(name)
	if !l.Valid() {
		return "", unknown(name, notice.Lanes())
	}
	return l, nil
}

func platform(name string) (notice.Platform, error) {
	p := notice.Platform(name)
	if p.Channel() == "" {
		return "", unknown(name, []notice.Platform{notice.PlatformIOS, notice.PlatformAndroid, notice.PlatformWeb})
	}
	return p, nil
}

// unknown says which words there are, and which one was probably meant.
func unknown[T ~string](word string, known []T) error {
	words := make([]string, len(known))
	for i, k := range known {
		words[i] = string(k)
	}
	if near := notice.Nearest(word, words); near != "" {
		return fmt.Errorf("is not one of %s; did you mean %s?", strings.Join(words, ", "), near)
	}
	return fmt.Errorf("is not one of %s", strings.Join(words, ", "))
}

// clip shortens a configured value for use in an error.
func clip(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
