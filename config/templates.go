package config

import (
	"net/url"
	"time"
)

// Templates is the catalogue.
type Templates struct {
	Source TemplateSource `yaml:"source" doc:"where the catalogue comes from: folder, which each process follows by itself, or redis, where carillon catalogue push puts it for all of them at once" default:"folder" enum:"folder,redis"`
	Dir    string         `yaml:"dir" doc:"the catalogue's folder; with source: redis it is what carillon catalogue push takes" default:"./catalogue" path:"dir" required:"true" want:"the catalogue's folder"`
	Cache  Size           `yaml:"cache" doc:"the bound of the content cache: what does not depend on the reader is rendered once; compiled templates are not counted; 0 turns it off" default:"64MiB" max:"64GiB"`
	Keep   int            `yaml:"keep" doc:"how many pushes Redis remembers whole, for list, diff, rollback and preview" default:"20" min:"1" max:"1000"`
	Held   Size           `yaml:"held" doc:"the bound of compiled earlier versions in one process, for deliveries that were planned with them" default:"32MiB" max:"64GiB"`
	Shelf  Size           `yaml:"shelf" doc:"the bound of earlier versions in Redis, for the same deliveries in another process or after a restart; 0 turns it off" default:"64MiB" max:"64GiB"`
}

// TemplateSource is where a process takes its catalogue from.
type TemplateSource string

// The sources of the catalogue.
const (
	TemplatesFromFolder TemplateSource = "folder"
	TemplatesFromRedis  TemplateSource = "redis"
)

// Assets are the images and fonts of the catalogue.
type Assets struct {
	BaseURL string `yaml:"base_url" doc:"where the world gets the catalogue's assets: this API's /assets, or a CDN that has them, as https://cdn.acme.example/mail; without it mails name them by a path that only a preview can follow"`
}

// check refuses a base that is no absolute URL.
func (a Assets) check(r *rules) {
	if a.BaseURL == "" {
		return
	}
	u, err := url.Parse(a.BaseURL)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		r.fault("assets.base_url", a.BaseURL, "must be a URL without query or password, as https://cdn.acme.example/mail")
	}
}

// LongestLife is how long a delivery that is planned now may live: until its
// record's retention and every retry of the slowest schedule are over. What it
// was planned with must last as long.
func (c *Config) LongestLife() time.Duration {
	longest := c.Retry.span()
	for _, retry := range c.Channels.retries() {
		longest = max(longest, retry.span())
	}
	return c.Queue.Retention.Std() + longest
}

// span is how long a schedule takes at the most, jitter and all.
func (r Retry) span() (total time.Duration) {
	for _, wait := range r.Schedule {
		total += wait.Std()
	}
	return total
}

// retries are the schedules that channels have of their own.
func (c *Channels) retries() (own []Retry) {
	for _, limits := range c.limits() {
		if limits.Retry != nil {
			own = append(own, *limits.Retry)
		}
	}
	return own
}
