package config

import (
	"fmt"
	"slices"
	"strings"
)

// Route turns integration events of one type into notifications. The fields
// of To and Category, Priority and CollapseKey are Go text templates over
// .id .source .type .subject .time .data of the event.
type Route struct {
	Type        string   `yaml:"type" doc:"the event's type: exact, or * within and ** across dots" required:"true" want:"the event type it is for, as com.example.order.*"`
	Source      string   `yaml:"source" doc:"the event's source, with the same wildcards over slashes; any when empty"`
	When        string   `yaml:"when" doc:"a CEL expression over id, source, type, subject, time, data"`
	Template    string   `yaml:"template" doc:"the template to send" required:"true" want:"the name of a template in the catalogue"`
	To          RouteTo  `yaml:"to" doc:"the recipient"`
	Category    string   `yaml:"category" doc:"the template's when empty"`
	Priority    string   `yaml:"priority" doc:"critical, normal or bulk; the template's when empty"`
	CollapseKey string   `yaml:"collapse_key" doc:"the notification's collapse key"`
	Channels    []string `yaml:"channels" doc:"email, push, webhook; every one that the template renders and the recipient has when empty" enum:"email,push,webhook"`
	Continue    bool     `yaml:"continue" doc:"look for further routes after this one" default:"false"`
}

// RouteTo is the recipient of a routed event.
type RouteTo struct {
	User     string         `yaml:"user" doc:"the recipient's user id"`
	Email    string         `yaml:"email" doc:"an address in place of the profile's"`
	Name     string         `yaml:"name" doc:"the recipient's name"`
	Locale   string         `yaml:"locale" doc:"the recipient's locale"`
	Timezone string         `yaml:"timezone" doc:"the recipient's time zone"`
	Webhooks []RouteWebhook `yaml:"webhooks" doc:"endpoints in place of the profile's"`
	Devices  []RouteDevice  `yaml:"devices" doc:"devices in place of the profile's"`
}

// RouteWebhook is an endpoint of a routed event.
type RouteWebhook struct {
	URL    string `yaml:"url" doc:"the endpoint's URL" required:"true" want:"the endpoint's URL"`
	Secret Secret `yaml:"secret" doc:"its signing secret"`
}

// RouteDevice is a device of a routed event.
type RouteDevice struct {
	Platform string `yaml:"platform" doc:"ios, android or web" required:"true" want:"ios, android or web"`
	Token    string `yaml:"token" doc:"the device's token" required:"true" want:"the device's token"`
}

func (c *Route) check(r *rules, at string) {
	if c.To.User == "" && c.To.Email == "" && len(c.To.Webhooks) == 0 && len(c.To.Devices) == 0 {
		r.fault(at+".to", "", "names nobody: set user, email, webhooks or devices in it")
	}
	checkTemplated(r, at+".priority", c.Priority, "critical", "normal", "bulk")
	for i, device := range c.To.Devices {
		checkTemplated(r, fmt.Sprintf("%s.to.devices[%d].platform", at, i), device.Platform, "ios", "android", "web")
	}
}

// checkTemplated checks a word that may be a template over the event instead,
// whose outcome is not known before there is one.
func checkTemplated(r *rules, key, value string, known ...string) {
	if value == "" || strings.Contains(value, "{{") {
		return
	}
	if !slices.Contains(known, value) {
		r.fault(key, value, notOneOf(value, known))
	}
}
