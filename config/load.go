package config

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"
)

// maxFile bounds a configuration file, and a secret read from a file, in bytes.
const maxFile = 1 << 20

// Default is the configuration of an empty file: every default, no channel,
// no key.
func Default() *Config {
	cfg := &Config{}
	setDefaults(reflect.ValueOf(cfg).Elem())
	return cfg
}

// Load reads the configuration file at path, lays the environment (as
// os.Environ gives it) over it and checks the whole. An empty path means no
// file: the defaults and the environment alone. The error is a Faults that
// holds everything that is wrong.
//
// A relative path in the file, a secret's file:PATH too, starts from the
// file's own folder; one in an environment variable from the working directory.
func Load(path string, environ []string) (*Config, error) {
	if path == "" {
		return newLoader("", environ).load(nil)
	}
	data, err := readFile(path)
	if err != nil {
		return nil, Faults{{Source: path, Detail: err.Error()}}
	}
	return Parse(path, data, environ)
}

// Parse is Load of a file that has been read already: name stands in the
// faults, and its folder is where relative paths start.
func Parse(name string, data []byte, environ []string) (*Config, error) {
	if len(data) > maxFile {
		return nil, Faults{{Source: name, Detail: errTooLarge.Error()}}
	}
	return newLoader(name, environ).load(data)
}

var errTooLarge = errors.New("is larger than 1 MiB: name the configuration file, and keep keys and certificates in files of their own")

// readFile reads a whole file of bounded size. Its errors follow the path in
// a fault, so they do not repeat it.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, describeFileError(err)
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.IsDir() {
		return nil, errors.New("is a directory: name the file in it")
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	switch {
	case err != nil:
		return nil, describeFileError(err)
	case len(data) > maxFile:
		return nil, errTooLarge
	}
	return data, nil
}

// describeFileError says what kept a file from being read, with the mend.
func describeFileError(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return errors.New("does not exist: check the path")
	case errors.Is(err, fs.ErrPermission):
		return errors.New("cannot be read: permission denied: let the user who runs carillon read it")
	}
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		err = pathErr.Err
	}
	return fmt.Errorf("cannot be read: %w", err)
}

// source is where values come from: the file, or one environment variable.
type source struct {
	name   string // the file's name, or the variable's
	isFile bool
	dir    string // that relative paths start from
}

// resolve makes path absolute.
func (s source) resolve(path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	path = filepath.Join(s.dir, path)
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

// place is where a key was set. Line and column are 0 outside the file.
type place struct {
	source       string
	line, column int
}

// loader is one reading of a configuration.
type loader struct {
	file    source // its name is empty when there is no file
	env     map[string]string
	from    source           // what is being decoded now
	places  map[string]place // by key: where it was set last
	named   map[string]bool  // variables that a value refers to as ${NAME}
	visited int              // nodes decoded: see maxNodes
	faults  Faults
}

func newLoader(name string, environ []string) *loader {
	l := &loader{
		env:    make(map[string]string, len(environ)),
		places: map[string]place{},
		named:  map[string]bool{},
	}
	if name != "" {
		l.file = source{name: name, isFile: true, dir: filepath.Dir(name)}
	}
	for _, entry := range environ {
		if name, value, ok := strings.Cut(entry, "="); ok {
			l.env[name] = value
		}
	}
	return l
}

// load runs the steps of a reading: defaults, file, environment, then what
// one section takes from another, then the rules.
func (l *loader) load(data []byte) (*Config, error) {
	cfg := Default()
	if l.file.name != "" {
		// As if the default stood in the file, so that writing it out there
		// changes nothing.
		cfg.Templates.Dir = l.file.resolve(cfg.Templates.Dir)
		if !l.decodeFile(data, cfg) {
			return nil, l.faults
		}
	}
	l.decodeEnvironment(cfg)
	if l.visited > maxNodes {
		return nil, Faults{{Source: l.file.name, Detail: fmt.Sprintf("has more than %d values, those that its aliases repeat among them: write fewer", maxNodes)}}
	}
	l.complete(cfg)
	l.addRuleFaults(cfg.Validate())
	if len(l.faults) > 0 {
		return nil, l.sorted()
	}
	return cfg, nil
}

// complete fills in what a section takes from others when its own key is not
// set.
func (l *loader) complete(cfg *Config) {
	for channel, limits := range cfg.Channels.limits() {
		if limits.Retry == nil {
			continue
		}
		at := "channels." + channel + ".retry."
		if _, set := l.places[at+"schedule"]; !set {
			limits.Retry.Schedule = slices.Clone(cfg.Retry.Schedule)
		}
		if _, set := l.places[at+"on_unknown"]; !set {
			limits.Retry.OnUnknown = cfg.Retry.OnUnknown
		}
	}
	for channel, timeout := range cfg.Channels.timeouts() {
		// A default must not make a short visibility, which stands in the
		// file, look like a mistake.
		if _, set := l.places["channels."+channel+".timeout"]; !set {
			*timeout = min(*timeout, max(cfg.Queue.Visibility*2/3, Duration(100*time.Millisecond)))
		}
	}
	for i := range cfg.Throttle.PerUser {
		c := &cfg.Throttle.PerUser[i]
		c.Name = c.Called()
	}
}

// addRuleFaults gives the rules' faults their places, and leaves out those
// that only follow from a value that could not be read.
func (l *loader) addRuleFaults(found Faults) {
	unread := map[string]bool{}
	for _, f := range l.faults {
		unread[f.Key] = true
	}
	for _, f := range found {
		if unread[f.Key] {
			continue
		}
		at := l.placeOf(f.Key)
		f.Source, f.Line, f.Column = at.source, at.line, at.column
		l.faults = append(l.faults, f)
	}
}

// placeOf is where key was set, or else the nearest section around it.
func (l *loader) placeOf(key string) place {
	for key != "" {
		if at, ok := l.places[key]; ok {
			return at
		}
		key = key[:max(0, strings.LastIndexAny(key, ".["))]
	}
	return l.places[""]
}

// sorted is the faults in the file's order, then the environment's.
func (l *loader) sorted() Faults {
	slices.SortStableFunc(l.faults, func(a, b Fault) int {
		if (a.Line == 0) != (b.Line == 0) {
			return cmp.Compare(b.Line, a.Line)
		}
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return l.faults
}
