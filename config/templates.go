package config

// Templates is the catalogue.
type Templates struct {
	Dir   string `yaml:"dir" doc:"the catalogue's folder" default:"./catalogue" path:"dir" required:"true" want:"the catalogue's folder"`
	Cache Size   `yaml:"cache" doc:"the bound of the content cache; nothing but compiled templates is cached yet, which it does not count" default:"64MiB" max:"64GiB"`
}
