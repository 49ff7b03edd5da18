// Package recipients keeps what the gateway knows of the people it writes to:
// their addresses, devices and preferences, and the addresses that nobody is to
// write to any more.
package recipients

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/carillonhq/carillon/notice"
)

// Bounds of a profile.
const (
	MaxRemoved    = 16 // devices that are remembered after their removal
	MaxDevices    = 64 // the device registered longest ago makes room for one more
	MaxWebhooks   = 16
	MaxCategories = 256 // in the preferences
	MaxExceptions = 32  // of the quiet hours
)

// Any stands for every category, or for every channel, in the preferences.
const Any = "*"

// Profile is what is stored of one user of one tenant: the body of GET and PUT
// /v1/recipients/{user}.
type Profile struct {
	Email      string           `json:"email,omitzero"`
	Name       string           `json:"name,omitzero"`
	Locale     string           `json:"locale,omitzero"`   // BCP 47
	Timezone   string           `json:"timezone,omitzero"` // IANA
	Devices    []Device         `json:"devices,omitempty"`
	Webhooks   []notice.Webhook `json:"webhooks,omitempty"`
	QuietHours *QuietHours      `json:"quiet_hours,omitzero"`
	// Removed are devices that their provider called dead, the latest last.
	// Registering one again takes it out; nobody else writes here.
	Removed []RemovedDevice `json:"removed_devices,omitempty"`
	// Preferences are {category: {channel: wanted}}, see Allows.
	Preferences Preferences `json:"preferences,omitempty"`
}

// Preferences say for a category and a channel (email, push, webhook) whether
// the person wants it; Any stands for all on either level.
type Preferences map[string]map[string]bool

// Device is one registered push address.
type Device struct {
	Platform notice.Platform `json:"platform"`
	Token    string          `json:"token"`
	App      string          `json:"app,omitzero"`
	// Environment is which of Apple's services knows the token; empty: the
	// channel's.
	Environment notice.Environment `json:"environment,omitzero"`
	// RegisteredAt is when the app last registered the token. What a provider
	// says of a token from before that moment no longer holds.
	RegisteredAt time.Time `json:"registered_at,omitzero"`
}

// RemovedDevice is a device that is no longer written to.
type RemovedDevice struct {
	Platform notice.Platform `json:"platform"`
	Token    string          `json:"token"`
	App      string          `json:"app,omitzero"`
	Reason   string          `json:"reason"` // the provider's word: "Unregistered", "UNREGISTERED", "410"
	At       time.Time       `json:"at"`
}

// Notice is the device as a notification names it.
func (d Device) Notice() notice.Device {
	return notice.Device{Platform: d.Platform, Token: d.Token, App: d.App, Environment: d.Environment}
}

// Allows reports whether the person wants a category on a channel. The most
// specific preference holds: the category on that channel, the category on any
// channel, any category on that channel, any category on any channel; with none
// of them, yes. A nil profile allows everything.
func (p *Profile) Allows(category string, m notice.Medium) bool {
	if p == nil {
		return true
	}
	for _, c := range [...]string{category, Any} {
		channels := p.Preferences[c]
		if wanted, ok := channels[string(m)]; ok {
			return wanted
		}
		if wanted, ok := channels[Any]; ok {
			return wanted
		}
	}
	return true
}

// Addresses are all places that the profile can be reached at, those of one
// medium together.
func (p *Profile) Addresses() []notice.Address {
	if p == nil {
		return nil
	}
	var all []notice.Address
	for _, d := range p.Devices {
		all = append(all, notice.Address{Channel: d.Platform.Channel(), To: d.Token, App: d.App, Environment: d.Environment})
	}
	if p.Email != "" {
		all = append(all, notice.Address{Channel: notice.ChannelEmail, To: p.Email})
	}
	for _, w := range p.Webhooks {
		all = append(all, notice.Address{Channel: notice.ChannelWebhook, To: w.URL, Secret: w.Secret})
	}
	return all
}

// Decode reads a profile strictly: what is no JSON is a *notice.SyntaxError,
// and anything else that is wrong with it, its values included, is
// notice.Faults.
func Decode(body []byte) (*Profile, error) {
	p := &Profile{}
	if err := notice.Decode(body, p); err != nil {
		return nil, err
	}
	return p, p.Validate().Err()
}

// Validate says everything that is wrong with the profile. No token and no
// secret is repeated.
func (p *Profile) Validate() notice.Faults {
	var f notice.Faults
	check(&f, "/email", p.Email, notice.CheckEmail)
	check(&f, "/name", p.Name, notice.CheckUser) // a name keeps the same bounds as an id
	check(&f, "/locale", p.Locale, notice.CheckLocale)
	check(&f, "/timezone", p.Timezone, notice.CheckTimezone)
	p.checkDevices(&f)
	p.checkWebhooks(&f)
	if p.QuietHours != nil {
		p.QuietHours.check("/quiet_hours", &f)
	}
	p.Preferences.check("/preferences", &f)
	return f
}

// check adds what is wrong with a field that may be empty.
func check(f *notice.Faults, pointer, value string, rule func(string) string) {
	if value == "" {
		return
	}
	if detail := rule(value); detail != "" {
		f.Add(pointer, detail)
	}
}

func (p *Profile) checkDevices(f *notice.Faults) {
	if len(p.Devices) > MaxDevices {
		f.Add("/devices", tooMany(len(p.Devices), MaxDevices))
		return
	}
	for i, d := range p.Devices {
		at := "/devices/" + strconv.Itoa(i)
		device := d.Notice()
		device.Check(at, f)
		if slices.ContainsFunc(p.Devices[:i], func(o Device) bool { return o.Token == d.Token }) {
			f.Add(at+"/token", "stands twice: register each device once")
		}
	}
}

func (p *Profile) checkWebhooks(f *notice.Faults) {
	if len(p.Webhooks) > MaxWebhooks {
		f.Add("/webhooks", tooMany(len(p.Webhooks), MaxWebhooks))
		return
	}
	for i := range p.Webhooks {
		p.Webhooks[i].Check("/webhooks/"+strconv.Itoa(i), f)
	}
}

// Validate says everything that is wrong with preferences that stand alone, as
// the body of PUT /v1/recipients/{user}/preferences.
func (p Preferences) Validate() notice.Faults {
	var f notice.Faults
	p.check("", &f)
	return f
}

func (p Preferences) check(at string, f *notice.Faults) {
	if len(p) > MaxCategories {
		f.Add(at, tooMany(len(p), MaxCategories))
		return
	}
	for _, category := range sortedKeys(p) {
		here := at + "/" + escapePointer(category)
		if category != Any {
			if detail := notice.CheckCategory(category); detail != "" {
				f.Add(here, detail)
			}
		}
		for _, channel := range sortedKeys(p[category]) {
			if channel != Any && !notice.Medium(channel).Valid() {
				f.Add(here+"/"+escapePointer(channel), unknownMedium(channel))
			}
		}
	}
}

// sortedKeys makes the order of faults the same each time.
func sortedKeys[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func unknownMedium(name string) string {
	known := []string{Any}
	for _, m := range notice.Media() {
		known = append(known, string(m))
	}
	if near := notice.Nearest(name, known[1:]); near != "" {
		return fmt.Sprintf("unknown channel %.80q: did you mean %q?", name, near)
	}
	return fmt.Sprintf("unknown channel %.80q: known are %s", name, strings.Join(known, ", "))
}

func tooMany(got, most int) string { return fmt.Sprintf("are %d: at most %d", got, most) }

// escapePointer writes a name as a token of a JSON pointer (RFC 6901 §3).
func escapePointer(name string) string {
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
}
