package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/carillonhq/carillon/config"
)

// FuzzParse: whatever the file, the loader ends, blames it in faults of one
// line each that do not hold the secret, and what it accepts is valid and can
// be printed and read back.
func FuzzParse(f *testing.F) {
	files, _ := filepath.Glob("testdata/bad/*.yaml")
	for _, file := range append(files, "testdata/good.yaml") {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		if len(data) < 4<<10 {
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if strings.Contains(string(data), "file:") || strings.Contains(string(data), "_file") || strings.Contains(string(data), "client_") {
			t.Skip("would read this machine's files")
		}
		cfg, err := config.Parse("c.yaml", data, goodEnv)
		if err != nil {
			checkFaults(t, err)
			return
		}
		if faults := cfg.Validate(); faults != nil {
			t.Errorf("accepted, and at fault: %v", faults)
		}
		printed(t, cfg)
	})
}

func checkFaults(t *testing.T, err error) {
	t.Helper()
	var faults config.Faults
	if !errors.As(err, &faults) || len(faults) == 0 {
		t.Fatalf("%v is no list of faults", err)
	}
	for _, fault := range faults {
		if line := fault.String(); fault.Detail == "" || strings.ContainsAny(line, "\n\r\x1b\x00") {
			t.Errorf("not a line for a terminal: %q", line)
		}
		if strings.Contains(fault.String(), goodEnv[0][len("ACME_KEY="):]) {
			t.Errorf("a fault holds the key: %v", fault)
		}
	}
}

func TestValuesAreReadAsTheyAreWritten(t *testing.T) {
	duration := func(s string) (string, error) { d, err := config.ParseDuration(s); return d.String(), err }
	size := func(s string) (string, error) { n, err := config.ParseSize(s); return n.String(), err }
	rate := func(s string) (string, error) { r, err := config.ParseRate(s); return r.String(), err }
	tests := []struct {
		name  string
		parse func(string) (string, error)
		text  string
		want  string // empty: refused
	}{
		{"seconds", duration, "15s", "15s"},
		{"days", duration, "7d", "168h"},
		{"compound", duration, "1h30m", "1h30m"},
		{"ten hours keep their zero", duration, "10h", "10h"},
		{"ten minutes keep theirs", duration, "10m", "10m"},
		{"minutes and seconds", duration, "100m0s", "1h40m"},
		{"no unit", duration, "15", ""},
		{"days by the million", duration, "9999999d", ""},
		{"bytes", size, "512", "512"},
		{"binary", size, "1536KiB", "1536KiB"},
		{"decimal", size, "2GB", "2GB"},
		{"negative", size, "-1", ""},
		{"more than there is", size, "9999999999GiB", ""},
		{"a unit of another kind", size, "5m", ""},
		{"a second", rate, "100/s", "100/s"},
		{"a window", rate, "3/24h", "3/24h"},
		{"a window of days", rate, "3/7d", "3/168h"},
		{"none", rate, "0/s", ""},
		{"a tenth", rate, "0.1/s", ""},
		{"a count that no script can reckon with", rate, "1000000000/s", ""},
		{"in no time", rate, "3/0s", ""},
		{"no time", rate, "5/", ""},
		{"backwards", rate, "5/-1s", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := tt.parse(tt.text)
			if tt.want == "" {
				if err == nil || !strings.Contains(err.Error(), "write it as") {
					t.Errorf("%q gave %s, %v; want a fault with its mend", tt.text, got, err)
				}
				return
			}
			if err != nil || got != tt.want {
				t.Errorf("%q gave %s, %v; want %s", tt.text, got, err, tt.want)
			}
		})
	}
}
