package main

import (
	"fmt"

	"github.com/carillonhq/carillon/config"
)

// loadConfig reads the configuration that a command's --config names; an
// empty path means the defaults and the environment alone. Every fault is
// reported at once, with exit code 2.
func (a *app) loadConfig(path string) (*config.Config, error) {
	cfg, err := config.Load(path, a.environ)
	if err != nil {
		return nil, usage(err)
	}
	return cfg, nil
}

// configCmd is `carillon config`.
type configCmd struct {
	Check configCheckCmd `cmd:"" help:"Check a configuration: every fault at once, with its mend."`
}

// configCheckCmd is `carillon config check`.
type configCheckCmd struct {
	Config string `required:"" placeholder:"FILE" help:"The configuration file."`
}

// Help is the command's example.
func (configCheckCmd) Help() string {
	return "Example:\n\n    carillon config check --config carillon.yaml"
}

// Run loads the file and says that it is good.
func (c configCheckCmd) Run(a *app) error {
	if _, err := a.loadConfig(c.Config); err != nil {
		return err
	}
	_, err := fmt.Fprintf(a.stdout, "%s: ok\n", c.Config)
	return err
}
