// Package examples holds the catalogues, routes and events that `carillon dev`
// shows the gateway with, so that the binary needs no files beside it. Each is
// a folder that stands on its own and may be copied as a start.
package examples

import (
	"embed"
	"io/fs"
)

//go:embed all:shop/catalogue shop/requests all:github/catalogue github/carillon.yaml github/events.ndjson
var files embed.FS

// Example is one of the examples.
type Example struct {
	Name      string
	Catalogue fs.FS  // as templates.Load reads it
	Config    []byte // a whole configuration file with routes; nil when it has none
	Events    []byte // CloudEvents in structured mode, one a line; nil when it has none
	Requests  fs.FS  // bodies for POST /v1/notifications; nil when it has none
}

// Names lists the examples; the first is the one to show by default.
func Names() []string { return []string{"shop", "github"} }

// Find is the example of that name.
func Find(name string) (Example, bool) {
	switch name {
	case "shop":
		return Example{Name: name, Catalogue: folder("shop/catalogue"), Requests: folder("shop/requests")}, true
	case "github":
		return Example{
			Name:      name,
			Catalogue: folder("github/catalogue"),
			Config:    file("github/carillon.yaml"),
			Events:    file("github/events.ndjson"),
		}, true
	}
	return Example{}, false
}

// folder and file name what go:embed has put there, or the build had failed.
func folder(name string) fs.FS {
	sub, err := fs.Sub(files, name)
	if err != nil {
		panic("examples: " + err.Error())
	}
	return sub
}

func file(name string) []byte {
	data, err := files.ReadFile(name)
	if err != nil {
		panic("examples: " + err.Error())
	}
	return data
}
