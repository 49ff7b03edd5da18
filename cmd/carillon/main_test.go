package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/carillonhq/carillon/config"
)

// outcome is what a command line gave.
type outcome struct {
	code           int
	stdout, stderr string
}

// carillon runs one command line.
func carillon(t *testing.T, environ []string, args ...string) outcome {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code := run(t.Context(), args, environ, strings.NewReader(""), &stdout, &stderr)
	return outcome{code, stdout.String(), stderr.String()}
}

func writeConfig(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "carillon.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestTheCommandLine(t *testing.T) {
	good := writeConfig(t, "queue: {partitions: 16}\nauth: {keys: [{tenant: a, key: \"${KEY}\"}]}")
	bad := writeConfig(t, "queue:\n  partitions: 0\n  durabilty: disk\n")
	environ := []string{"KEY=hunter2-hunter2-hunter2"}
	tests := []struct {
		name           string
		environ        []string
		args           string
		code           int
		stdout, stderr string // substrings; an empty one wants silence
	}{
		{"nothing asked for prints the help as an error", nil, "", 2, "", "Usage: carillon <command>"},
		{"help is no error", nil, "--help", 0, "Usage: carillon <command>", ""},
		{"a command's help has an example", nil, "config check --help", 0, "carillon config check --config carillon.yaml", ""},
		{"an unknown command suggests", nil, "vresion", 2, "", "carillon: unexpected argument vresion, did you mean \"version\"?: see carillon --help\n"},
		{"a command without its subcommand", nil, "config", 2, "", "see carillon config --help\n"},
		{"an unknown flag", nil, "version --fromat json", 2, "", "carillon: unknown flag --fromat, did you mean \"--format\"?"},
		{"a flag's wrong value", nil, "version --format xml", 2, "", "carillon: --format must be one of"},
		{"version", nil, "version", 0, "carillon devel (commit unknown, go1", ""},
		{"a good file", environ, "config check --config " + good, 0, good + ": ok\n", ""},
		{"a good file that the environment names", append(environ, "CARILLON_CONFIG="+good), "config check", 0, good + ": ok\n", ""},
		{"the flag wins over the environment", append(environ, "CARILLON_CONFIG="+bad), "config check --config " + good, 0, good + ": ok\n", ""},
		{"no file at all", nil, "config check", 0, "defaults and environment: ok\n", ""},
		{"every fault of a bad file", nil, "config check --config " + bad, 2, "",
			bad + `:2:15: queue.partitions: "0" is out of range: want 1 to 4096` + "\n" +
				bad + `:3:3: queue.durabilty: is not a key here: did you mean durability?` + "\n"},
		{"a fault of the environment", append(environ, "CARILLON_QUEUE_PARTITIONS=x"), "config check --config " + good, 2, "",
			`carillon: CARILLON_QUEUE_PARTITIONS: queue.partitions: "x" is no whole number: write it in digits alone, as 1000000` + "\n"},
		{"a file that is not there", nil, "config check --config /nowhere.yaml", 2, "", "carillon: /nowhere.yaml: does not exist: check the path\n"},
		{"print shows the effective value", append(environ, "CARILLON_QUEUE_PARTITIONS=32"), "config print --config " + good, 0, "partitions: 32\n", ""},
		{"print hides secrets", environ, "config print --config " + good, 0, "key: '[redacted]'\n", ""},
		{"print of a bad file", nil, "config print --config " + bad, 2, "", "queue.partitions"},
		{"schema", nil, "config schema", 0, `"$schema": "https://json-schema.org/draft/2020-12/schema"`, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := carillon(t, tt.environ, strings.Fields(tt.args)...)
			if got.code != tt.code {
				t.Errorf("exit code %d, want %d", got.code, tt.code)
			}
			checkOutput(t, "stdout", got.stdout, tt.stdout)
			checkOutput(t, "stderr", got.stderr, tt.stderr)
			if strings.Contains(got.stdout+got.stderr, "hunter2") {
				t.Errorf("a secret is shown: %+v", got)
			}
		})
	}
}

func checkOutput(t *testing.T, stream, got, want string) {
	t.Helper()
	if want == "" && got != "" || !strings.Contains(got, want) {
		t.Errorf("%s is %q, want %q in it", stream, got, want)
	}
}

func TestVersionIsReadableByPrograms(t *testing.T) {
	got := carillon(t, nil, "version", "--format", "json")
	var b map[string]string
	if err := json.Unmarshal([]byte(got.stdout), &b); err != nil {
		t.Fatalf("%v in %q", err, got.stdout)
	}
	for _, key := range []string{"version", "commit", "go"} {
		if b[key] == "" {
			t.Errorf("%s is missing from %v", key, b)
		}
	}
}

func TestVersionPrefersWhatTheLinkerWasTold(t *testing.T) {
	stamped := &debug.BuildInfo{GoVersion: "go1.26", Settings: []debug.BuildSetting{
		{Key: "vcs.revision", Value: "abc123"}, {Key: "vcs.modified", Value: "true"},
	}}
	installed := &debug.BuildInfo{GoVersion: "go1.26", Main: debug.Module{Version: "v1.2.3"}}
	tests := []struct {
		name            string
		info            *debug.BuildInfo
		version, commit string
		want            build
	}{
		{"a release", stamped, "v9.9.9", "fff", build{"v9.9.9", "fff", "go1.26"}},
		{"a working copy with changes", stamped, "", "", build{"devel", "abc123-dirty", "go1.26"}},
		{"go install module@version", installed, "", "", build{"v1.2.3", "unknown", "go1.26"}},
		{"nothing known", &debug.BuildInfo{}, "", "", build{"devel", "unknown", ""}},
	}
	for _, tt := range tests {
		if got := describeBuild(tt.info, tt.version, tt.commit); got != tt.want {
			t.Errorf("%s: got %+v, want %+v", tt.name, got, tt.want)
		}
	}
}

func TestAnErrorDecidesTheExitCode(t *testing.T) {
	cause := errors.New("the cause")
	tests := []struct {
		name string
		err  error
		code int
		line string
	}{
		{"not so", notSo(cause), 1, "carillon: the cause\n"},
		{"not so, and all said", notSo(nil), 1, ""},
		{"usage", usage(cause), 2, "carillon: the cause\n"},
		{"unreachable", unreachable(cause), 3, "carillon: the cause\n"},
		{"wrapped", fmt.Errorf("start: %w", unreachable(cause)), 3, "carillon: start: the cause\n"},
		{"of no kind", cause, 1, "carillon: the cause\n"},
		{"a configuration's faults", fmt.Errorf("start: %w", config.Faults{{Key: "a", Detail: "b"}, {Key: "c", Detail: "d"}}), 2, "carillon: a: b\ncarillon: c: d\n"},
		{"of several lines", usage(errors.New("one\ntwo\r\n")), 2, "carillon: one; two\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var b bytes.Buffer
			report(&b, tt.err)
			if b.String() != tt.line || exitCode(tt.err) != tt.code {
				t.Errorf("got %q and %d, want %q and %d", b.String(), exitCode(tt.err), tt.line, tt.code)
			}
		})
	}
	if !errors.Is(notSo(cause), cause) {
		t.Error("the cause is lost")
	}
}

// TestMain lets a test start this binary as a program that catches signals as
// carillon does and then hangs.
func TestMain(m *testing.M) {
	if os.Getenv("HANG_ON_SIGNAL") == "" {
		os.Exit(m.Run())
	}
	ctx, stop := notifyContext(context.Background())
	defer stop()
	fmt.Println("ready")
	<-ctx.Done()
	fmt.Println("stopping")
	select {}
}

func TestTheFirstSignalStopsAndTheSecondEndsAtOnce(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		t.Run(sig.String(), func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			cmd := exec.CommandContext(ctx, os.Args[0])
			cmd.Env = append(os.Environ(), "HANG_ON_SIGNAL=1")
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			lines := bufio.NewScanner(out)
			for _, want := range []string{"ready", "stopping"} {
				if !lines.Scan() || lines.Text() != want {
					t.Fatalf("got %q, want %q", lines.Text(), want)
				}
				cmd.Process.Signal(sig)
			}
			io.Copy(io.Discard, out)
			var exit *exec.ExitError
			if err := cmd.Wait(); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != sig {
				t.Errorf("ended by %v, want %v", err, sig)
			}
		})
	}
}
