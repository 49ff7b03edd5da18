package config

// Route turns integration events of one type into notifications. The fields
// of To and Category, Priority and CollapseKey are Go text templates over
// .id .source .type .subject .time .data of the event.
type Route struct {
	Type        string   `yaml:"type" doc:"the event's type: exact, or * within and ** across dots"`
	Source      string   `yaml:"source" doc:"the event's source, with the same wildcards over slashes; any when empty"`
	When        string   `yaml:"when" doc:"a CEL expression over id, source, type, subject, time, data"`
	Template    string   `yaml:"template" doc:"the template to send"`
	To          RouteTo  `yaml:"to" doc:"the recipient"`
	Category    string   `yaml:"category" doc:"the template's when empty"`
	Priority    string   `yaml:"priority" doc:"the template's when empty"`
	CollapseKey string   `yaml:"collapse_key" doc:"the notification's collapse key"`
	Channels    []string `yaml:"channels" doc:"email, push, webhook; every one that the template renders and the recipient has when empty"`
	Continue    bool     `yaml:"continue" doc:"look for further routes after this one"`
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
	URL    string `yaml:"url" doc:"the endpoint's URL"`
	Secret Secret `yaml:"secret" doc:"its signing secret"`
}

// RouteDevice is a device of a routed event.
type RouteDevice struct {
	Platform string `yaml:"platform" doc:"ios, android or web"`
	Token    string `yaml:"token" doc:"the device's token"`
}
