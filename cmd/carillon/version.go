package main

import (
	"fmt"
	"runtime/debug"
)

// version and commit are set when a release is linked:
//
//	go build -ldflags "-X main.version=v1.2.3 -X main.commit=0123abc" ./cmd/carillon
//
// Variables, because that is all that the linker can set; nothing else does.
var version, commit string

// release is what receivers are told of the version: the release's, or dev.
func release() string {
	if version == "" {
		return "dev"
	}
	return version
}

// versionCmd is `carillon version`.
type versionCmd struct {
	Format string `enum:"text,json" default:"text" help:"How to print it: ${enum}."`
}

// Help is the command's example.
func (versionCmd) Help() string { return "Example:\n\n    carillon version --format json" }

// Run prints what this binary was built from.
func (c versionCmd) Run(a *app) error {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = &debug.BuildInfo{}
	}
	b := describeBuild(info, version, commit)
	if c.Format == "json" {
		return a.printJSON(b)
	}
	_, err := fmt.Fprintf(a.stdout, "carillon %s (commit %s, %s)\n", b.Version, b.Commit, b.Go)
	return err
}

// build is what a binary was built from.
type build struct {
	Version string `json:"version"` // "devel" when it was built outside a release
	Commit  string `json:"commit"`  // "unknown" without version control; "-dirty" follows when files had changed
	Go      string `json:"go"`
}

// describeBuild prefers what the linker was told to what the toolchain found.
func describeBuild(info *debug.BuildInfo, version, commit string) build {
	b := build{Version: version, Commit: commit, Go: info.GoVersion}
	if b.Version == "" {
		b.Version = info.Main.Version
	}
	if b.Version == "" || b.Version == "(devel)" {
		b.Version = "devel"
	}
	if b.Commit == "" {
		b.Commit = vcsRevision(info)
	}
	return b
}

// vcsRevision is the commit that the toolchain recorded.
func vcsRevision(info *debug.BuildInfo) string {
	revision, dirty := "unknown", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "-dirty"
		}
	}
	return revision + dirty
}
