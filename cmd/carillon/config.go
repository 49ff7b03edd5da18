package main

import (
	"fmt"
	"strings"

	"github.com/carillonhq/carillon/config"
)

// loadConfig reads the configuration that a command's --config names, or else
// the one that CARILLON_CONFIG names; without either, the defaults and the
// environment alone. Every fault is reported at once, with exit code 2.
func (a *app) loadConfig(path string) (*config.Config, error) {
	cfg, err := config.Load(a.configPath(path), a.environ)
	if err != nil {
		return nil, usage(err)
	}
	return cfg, nil
}

// configPath is the file that loadConfig reads; empty for none.
func (a *app) configPath(flag string) string {
	if flag != "" {
		return flag
	}
	path := ""
	for _, entry := range a.environ {
		if value, ok := strings.CutPrefix(entry, config.PathVariable+"="); ok {
			path = value
		}
	}
	return path
}

// configCmd is `carillon config`.
type configCmd struct {
	Check  configCheckCmd  `cmd:"" help:"Check a configuration: every fault at once, with its mend."`
	Schema configSchemaCmd `cmd:"" help:"Print the JSON Schema of the configuration file."`
	Print  configPrintCmd  `cmd:"" help:"Print the effective configuration, secrets redacted."`
}

// Help is the command's example.
func (configCmd) Help() string {
	return "Example:\n\n    carillon config check --config carillon.yaml"
}

// configCheckCmd is `carillon config check`.
type configCheckCmd struct {
	Config string `placeholder:"FILE" help:"The configuration file; CARILLON_CONFIG's when left out."`
}

// Help is the command's example.
func (configCheckCmd) Help() string {
	return "What is allowed but may be a slip, as a cap of a channel that is off, is said too, and the file is good all the same.\n\nExample:\n\n    carillon config check --config carillon.yaml"
}

// Run says that the configuration is good, or everything that is wrong with
// it.
func (c configCheckCmd) Run(a *app) error {
	path := a.configPath(c.Config)
	cfg, err := a.loadConfig(path)
	if err != nil {
		return err
	}
	if path == "" {
		path = "defaults and environment"
	}
	for _, doubt := range cfg.Doubts() {
		fmt.Fprintf(a.stderr, "%s: perhaps not meant: %s\n", path, oneLine(doubt.String()))
	}
	_, err = fmt.Fprintf(a.stdout, "%s: ok\n", path)
	return err
}

// configSchemaCmd is `carillon config schema`.
type configSchemaCmd struct{}

// Help is the command's example.
func (configSchemaCmd) Help() string {
	return "Editors that know the YAML language server check a file against it that begins with\n" +
		"# yaml-language-server: $schema=carillon.schema.json\n\n" +
		"Example:\n\n    carillon config schema > carillon.schema.json"
}

// Run prints the schema.
func (configSchemaCmd) Run(a *app) error {
	schema, err := config.Schema()
	if err != nil {
		return err
	}
	_, err = a.stdout.Write(schema)
	return err
}

// configPrintCmd is `carillon config print`.
type configPrintCmd struct {
	Config string `placeholder:"FILE" help:"The configuration file; CARILLON_CONFIG's when left out."`
}

// Help is the command's example.
func (configPrintCmd) Help() string {
	return "Example:\n\n    carillon config print --config carillon.yaml"
}

// Run prints what a command started with this file and environment would use.
func (c configPrintCmd) Run(a *app) error {
	cfg, err := a.loadConfig(c.Config)
	if err != nil {
		return err
	}
	return config.Print(a.stdout, cfg)
}
