package config

// Templates is the catalogue.
type Templates struct {
	Dir   string `yaml:"dir" doc:"the catalogue's folder" default:"./catalogue" path:"dir" required:"true" want:"the catalogue's folder"`
	Cache Size   `yaml:"cache" doc:"the bound of the content cache: what does not depend on the reader is rendered once; compiled templates are not counted; 0 turns it off" default:"64MiB" max:"64GiB"`
}
