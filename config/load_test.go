package config_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/carillonhq/carillon/config"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// secretWord is part of every secret in testdata/bad: no fault may hold it.
const secretWord = "hunter2"

func TestEveryBadFileIsRefusedWithItsPlaceItsValueAndItsMend(t *testing.T) {
	files, _ := filepath.Glob("testdata/bad/*.yaml")
	if len(files) < 70 {
		t.Fatalf("found %d bad files, want one for each rule", len(files))
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		t.Run(name, func(t *testing.T) {
			_, err := config.Load(file, nil)
			var faults config.Faults
			if !errors.As(err, &faults) {
				t.Fatalf("Load gave %v, want faults", err)
			}
			got := relative(t, err.Error()) + "\n"
			if strings.Contains(strings.ReplaceAll(got, file, ""), secretWord) {
				t.Errorf("a fault holds a secret:\n%s", got)
			}
			golden(t, "testdata/bad/"+name+".want", got)
		})
	}
}

// relative takes this machine's paths out of text.
func relative(t *testing.T, text string) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(text, dir+"/", "")
}

// golden compares got with a file, which -update rewrites.
func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s (run with -update to accept)\ngot:\n%s\nwant:\n%s", file, got, want)
	}
}

var goodEnv = []string{"ACME_KEY=0123456789abcdef0123456789abcdef"}

func loadGood(t *testing.T, environ ...string) *config.Config {
	t.Helper()
	cfg, err := config.Load("testdata/good.yaml", append(environ, goodEnv...))
	if err != nil {
		t.Fatalf("the good file is refused:\n%v", err)
	}
	return cfg
}

func TestTheGoodFileSetsEveryKindOfValue(t *testing.T) {
	cfg := loadGood(t)
	tests := []struct {
		name      string
		got, want any
	}{
		{"a URL", cfg.Redis.URL.Reveal(), "redis://127.0.0.1:6379/0"},
		{"a number", cfg.Queue.Partitions, 8},
		{"a duration", cfg.Queue.Visibility.Std(), time.Minute},
		{"a size", cfg.Ingest.MaxBody, config.Size(1 << 20)},
		{"a choice", cfg.Queue.Durability, config.DurabilityMemory},
		{"a secret from a variable", cfg.Auth.Keys[0].Key.Reveal(), "0123456789abcdef0123456789abcdef"},
		{"a secret from a file, without the newline that ends it", cfg.Channels.Email.SMTP.Password.Reveal(), "correct horse battery staple"},
		{"a list of choices", cfg.Auth.Keys[0].Scopes, []config.Scope{config.ScopeSend, config.ScopeRead, config.ScopeAdmin}},
		{"a rate", cfg.Auth.Keys[0].Rate, config.Rate{Count: 500, Per: time.Second}},
		{"a cap's window", cfg.Throttle.PerUser[0].Limit, config.Rate{Count: 3, Per: 24 * time.Hour}},
		{"a cap's made-up name", cfg.Throttle.PerUser[0].Name, "marketing/*:3/24h"},
		{"a key of a section that is inlined", cfg.Channels.Email.Rate, config.Rate{Count: 100, Per: time.Second}},
		{"a default in a section that is present", cfg.Channels.APNs.Timeout.Std(), 15 * time.Second},
		{"a default of an inlined key in one", cfg.Channels.APNs.Concurrency, 64},
		{"an absent section", cfg.Redis.Sentinel == nil, true},
		{"a list of durations", cfg.Retry.Schedule[3].Std(), 10 * time.Minute},
		{"a template, left as it is", cfg.Routes[0].To.User, "{{ .data.issue.user.login }}"},
	}
	for _, tt := range tests {
		if !reflect.DeepEqual(tt.got, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.name, tt.got, tt.want)
		}
	}
}

func TestTheEnvironmentWinsOverTheFileAndTheFileOverTheDefault(t *testing.T) {
	tests := []struct {
		name, file, env string
		want            int
	}{
		{"the default alone", "{}", "", 8},
		{"the file over the default", "queue: {partitions: 16}", "", 16},
		{"the environment over the file", "queue: {partitions: 16}", "CARILLON_QUEUE_PARTITIONS=32", 32},
		{"the environment over the default", "{}", "CARILLON_QUEUE_PARTITIONS=32", 32},
		{"an empty variable counts as not set", "queue: {partitions: 16}", "CARILLON_QUEUE_PARTITIONS=", 16},
		{"an explicit null leaves the default", "queue: {partitions: }", "", 8},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg, err := config.Parse("c.yaml", []byte(tt.file), []string{tt.env})
			if err != nil {
				t.Fatal(err)
			}
			if cfg.Queue.Partitions != tt.want {
				t.Errorf("partitions = %d, want %d", cfg.Queue.Partitions, tt.want)
			}
		})
	}
}

func TestTheEnvironmentReachesEveryShapeOfKey(t *testing.T) {
	cfg := loadGood(t,
		"CARILLON_REDIS_SENTINEL={master: m, addresses: ['s:1']}",
		"CARILLON_RETRY_SCHEDULE=[5s, 1m]",
		"CARILLON_CHANNELS_EMAIL_SMTP_PASSWORD=a: b # c ",
		"CARILLON_CHANNELS_WEBHOOK_ALLOW_NETWORKS=[10.0.0.0/8]",
		`CARILLON_AUTH_KEYS=[{"tenant": "emca", "key": "${ACME_KEY}"}]`,
		"CARILLON_INGEST_LISTEN=:8081",
	)
	tests := []struct {
		name      string
		got, want any
	}{
		{"an absent section as flow text", cfg.Redis.Sentinel.Master, "m"},
		{"a list as flow text, in place of the file's", len(cfg.Retry.Schedule), 2},
		{"text is taken as it is, not as YAML", cfg.Channels.Email.SMTP.Password.Reveal(), "a: b # c "},
		{"a list in a channel", cfg.Channels.Webhook.AllowNetworks, []string{"10.0.0.0/8"}},
		{"a list of sections, with a variable in it", cfg.Auth.Keys[0].Key.Reveal(), "0123456789abcdef0123456789abcdef"},
		{"text that YAML would not take", cfg.Ingest.Listen, ":8081"},
	}
	for _, tt := range tests {
		if !reflect.DeepEqual(tt.got, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.name, tt.got, tt.want)
		}
	}
}

func TestAVariableOfAnAbsentSectionMakesItWithItsDefaults(t *testing.T) {
	cfg, err := config.Load("", []string{"CARILLON_CHANNELS_WEBHOOK_RATE=10/s"})
	if err != nil {
		t.Fatal(err)
	}
	got := cfg.Channels.Webhook
	if got == nil || got.Rate.Count != 10 || got.Timeout.Std() != 15*time.Second || got.Concurrency != 64 {
		t.Errorf("webhook = %+v, want the rate and every default", got)
	}
	if cfg.Channels.Email != nil {
		t.Error("another channel was turned on")
	}
}

func TestFaultsOfTheEnvironmentNameTheVariable(t *testing.T) {
	tests := []struct{ name, env, want string }{
		{"a wrong value", "CARILLON_QUEUE_PARTITIONS=many", `CARILLON_QUEUE_PARTITIONS: queue.partitions: "many" is no whole number: write it in digits alone, as 1000000`},
		{"a value that breaks a rule", "CARILLON_QUEUE_PARTITIONS=0", `CARILLON_QUEUE_PARTITIONS: queue.partitions: "0" is out of range: want 1 to 4096`},
		{"an element of a list", "CARILLON_RETRY_SCHEDULE=[5s, soon]", `CARILLON_RETRY_SCHEDULE: retry.schedule[1]: "soon" is no duration: write it as 15s, 2m, 24h or 7d`},
		{"a list that is no list", "CARILLON_RETRY_SCHEDULE=5s", `CARILLON_RETRY_SCHEDULE: retry.schedule: is text, want a list: write it as [one, two]`},
		{"broken flow text", "CARILLON_RETRY_SCHEDULE=[5s", `CARILLON_RETRY_SCHEDULE: retry.schedule: is no YAML: write a list as [one, two] and a section as {key: value}`},
		{"an unknown variable", "CARILLON_REDIS_ULR=x", `CARILLON_REDIS_ULR: sets nothing: did you mean CARILLON_REDIS_URL?`},
		{"an unknown variable far from any", "CARILLON_WHATEVER_THIS_MAY_BE_ONE_DAY=x", `CARILLON_WHATEVER_THIS_MAY_BE_ONE_DAY: sets nothing: unset it`},
		{"what the section that it makes lacks", "CARILLON_CHANNELS_FCM_ENDPOINT=http://127.0.0.1:1", `channels.fcm.project: is missing: want the Firebase project's id, as acme-1a2b3`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := config.Load("", []string{tt.env})
			if err == nil || err.Error() != tt.want {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
}

func TestVariablesThatSetNoKeyAndAreNoMistakeAreLeftAlone(t *testing.T) {
	tests := []struct{ name, env string }{
		{"the file's own name", "CARILLON_CONFIG=/etc/carillon.yaml"},
		{"one that the file refers to", "CARILLON_NAMESPACE_OF_MINE=ns"},
		{"Kubernetes' host of a service named carillon", "CARILLON_SERVICE_HOST=10.0.0.1"},
		{"its named port", "CARILLON_SERVICE_PORT_HTTP=8080"},
		{"its link", "CARILLON_PORT=tcp://10.0.0.1:8080"},
		{"its link's parts", "CARILLON_PORT_8080_TCP_ADDR=10.0.0.1"},
		{"the link of a service named carillon-redis", "CARILLON_REDIS_PORT=tcp://10.0.0.2:6379"},
		{"another program's", "CARILLONS_QUEUE=x"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			file := "{}"
			if strings.Contains(tt.env, "OF_MINE") {
				file = "queue: {namespace: \"${CARILLON_NAMESPACE_OF_MINE}\"}"
			}
			if _, err := config.Parse("c.yaml", []byte(file), []string{tt.env}); err != nil {
				t.Errorf("refused: %v", err)
			}
		})
	}
	_, err := config.Load("", []string{"CARILLON_REDIS_PORT=6379"})
	if err == nil {
		t.Error("CARILLON_REDIS_PORT=6379 is a mistake and was let through")
	}
}

func TestVariablesAreExpandedInEveryText(t *testing.T) {
	environ := []string{"HOST=redis.internal", "N=16", "EMPTY=", "LOOP=${HOST}", "FILE=file:/etc/passwd"}
	tests := []struct{ name, file, want string }{
		{"in the middle", "redis: {url: 'redis://${HOST}:6379'}", "redis://redis.internal:6379"},
		{"twice", "redis: {url: 'redis://${HOST}:63${N}'}", "redis://redis.internal:6316"},
		{"an empty one", "redis: {url: 'redis://h${EMPTY}:6379'}", "redis://h:6379"},
		{"a dollar without a brace", "redis: {url: 'redis://u:$HOST@h:6379'}", "redis://u:$HOST@h:6379"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg, err := config.Parse("c.yaml", []byte(tt.file), environ)
			if err != nil {
				t.Fatal(err)
			}
			if got := cfg.Redis.URL.Reveal(); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
	routes, err := config.Parse("c.yaml", []byte("routes:\n  - {type: 'a$${HOST}$${x}', template: '${LOOP}', to: {user: u}}"), environ)
	if err != nil {
		t.Fatal(err)
	}
	if got := routes.Routes[0].Type; got != "a${HOST}${x}" {
		t.Errorf("an escaped variable became %q", got)
	}
	if got := routes.Routes[0].Template; got != "${HOST}" {
		t.Errorf("a variable's value was looked into again: %q", got)
	}
	cfg, err := config.Parse("c.yaml", []byte(`{queue: {partitions: "${N}"}, auth: {keys: [{tenant: a, key: "${FILE}"}]}}`), append(environ, "FILE=file:/etc/not-followed"))
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Queue.Partitions != 16 {
		t.Errorf("a number from a variable is %d, want 16", cfg.Queue.Partitions)
	}
	if got := cfg.Auth.Keys[0].Key.Reveal(); got != "file:/etc/not-followed" {
		t.Errorf("a variable's file: was followed: %q", got)
	}
}

func TestRelativePathsStartFromTheFileTheyAreWrittenIn(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "etc/key", "0123456789abcdef\r\n")
	write(t, dir, "etc/ca.pem", "-")
	write(t, dir, "etc/c.yaml", "templates: {dir: mails}\nauth: {keys: [{tenant: a, key: 'file:key'}]}\nchannels: {webhook: {ca_file: ca.pem}}")
	write(t, dir, "cwd/other.pem", "-")
	write(t, dir, "etc/bare.yaml", "{}")
	t.Chdir(filepath.Join(dir, "cwd"))

	load := func(path string, environ ...string) *config.Config {
		cfg, err := config.Load(path, environ)
		if err != nil {
			t.Fatal(err)
		}
		return cfg
	}
	fromFile := load("../etc/c.yaml")
	fromEnv := load("../etc/c.yaml", "CARILLON_TEMPLATES_DIR=mails", "CARILLON_CHANNELS_WEBHOOK_CA_FILE=other.pem")
	tests := []struct{ name, got, want string }{
		{"a secret's file, whose CRLF is dropped", fromFile.Auth.Keys[0].Key.Reveal(), "0123456789abcdef"},
		{"a folder", fromFile.Templates.Dir, filepath.Join(dir, "etc/mails")},
		{"a file", fromFile.Channels.Webhook.CAFile, filepath.Join(dir, "etc/ca.pem")},
		{"a folder in a variable: the working directory", fromEnv.Templates.Dir, filepath.Join(dir, "cwd/mails")},
		{"a file in a variable: the working directory", fromEnv.Channels.Webhook.CAFile, filepath.Join(dir, "cwd/other.pem")},
		{"the default, as if the file had it", load("../etc/bare.yaml").Templates.Dir, filepath.Join(dir, "etc/catalogue")},
		{"the default without a file", load("").Templates.Dir, "./catalogue"},
	}
	for _, tt := range tests {
		if tt.got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, tt.got, tt.want)
		}
	}
}

func write(t *testing.T, dir, name, content string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestAFileThatCannotBeReadIsAFaultThatNamesIt(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "huge.yaml", strings.Repeat("# padding\n", 1<<17))
	tests := []struct{ name, path, want string }{
		{"it is not there", dir + "/none.yaml", "does not exist: check the path"},
		{"it is a folder", dir, "is a directory: name the file in it"},
		{"it is huge", dir + "/huge.yaml", "is larger than 1 MiB: name the configuration file, and keep keys and certificates in files of their own"},
		{"it has no end", "/dev/zero", "is larger than 1 MiB: name the configuration file, and keep keys and certificates in files of their own"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := config.Load(tt.path, nil)
			if want := tt.path + ": " + tt.want; err == nil || err.Error() != want {
				t.Errorf("got  %v\nwant %s", err, want)
			}
		})
	}
}

func TestAFileThatMayNotBeReadSaysSo(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may read every file")
	}
	dir := t.TempDir()
	write(t, dir, "locked.yaml", "{}")
	os.Chmod(dir+"/locked.yaml", 0)
	_, err := config.Load(dir+"/locked.yaml", nil)
	if err == nil || !strings.Contains(err.Error(), "permission denied") {
		t.Errorf("got %v, want permission denied", err)
	}
}

func TestAValueThatTheEnvironmentReplacesIsNotJudged(t *testing.T) {
	file := []byte("auth: {keys: [{tenant: a, key: 'file:/run/secrets/not-here'}]}\nredis: {url: '${NOT_SET}'}")
	_, err := config.Parse("c.yaml", file, []string{
		"CARILLON_REDIS_URL=redis://h:6379", "CARILLON_AUTH_KEYS=[{tenant: a, key: 0123456789abcdef}]",
	})
	if err != nil {
		t.Errorf("refused: %v", err)
	}
}

func TestAChannelsRetryTakesWhatItLeavesOutFromTheCommonOne(t *testing.T) {
	file := "retry: {schedule: [1s, 2s], on_unknown: hold}\n" +
		"channels:\n  webhook: {retry: {on_unknown: resend}}\n  fcm: {project: p, endpoint: 'http://127.0.0.1:1', retry: {schedule: [3s]}}"
	cfg, err := config.Parse("c.yaml", []byte(file), nil)
	if err != nil {
		t.Fatal(err)
	}
	webhook, fcm := cfg.Channels.Webhook.Retry, cfg.Channels.FCM.Retry
	if len(webhook.Schedule) != 2 || webhook.OnUnknown != config.OnUnknownResend {
		t.Errorf("webhook's retry is %v, want the common schedule and its own resend", webhook)
	}
	if len(fcm.Schedule) != 1 || fcm.OnUnknown != config.OnUnknownHold {
		t.Errorf("fcm's retry is %v, want its own schedule and the common hold", fcm)
	}
}

func TestAnAliasStandsForItsAnchor(t *testing.T) {
	file := "routes:\n  - {type: a, template: t, to: &who {user: u1}}\n  - {type: b, template: t, to: *who}"
	cfg, err := config.Parse("c.yaml", []byte(file), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := cfg.Routes[1].To.User; got != "u1" {
		t.Errorf("the alias gave %q, want u1", got)
	}
}

func TestFaultsStandInTheFilesOrder(t *testing.T) {
	file := "retry: {on_unknown: x}\nqueue:\n  durability: y\n  zzzzzzzzz: 1\nredis: {url: ''}"
	_, err := config.Parse("c.yaml", []byte(file), []string{"CARILLON_QUEUE_PARTITIONS=0"})
	var faults config.Faults
	errors.As(err, &faults)
	var lines []int
	for _, f := range faults {
		lines = append(lines, f.Line)
	}
	if want := []int{1, 3, 4, 5, 0}; !reflect.DeepEqual(lines, want) {
		t.Errorf("lines %v, want %v:\n%v", lines, want, err)
	}
}

func TestValidateFindsWhatAFlagBroke(t *testing.T) {
	cfg := loadGood(t)
	if faults := cfg.Validate(); faults != nil {
		t.Fatalf("a loaded configuration is at fault: %v", faults)
	}
	cfg.Admin.Listen = cfg.Ingest.Listen
	want := `admin.listen: "127.0.0.1:8080" is ingest.listen's address too: give it another port`
	if got := cfg.Validate().Error(); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestIngestNeedsKeysOrAuthDisabled(t *testing.T) {
	cfg := config.Default()
	err := cfg.ValidateIngest().Err()
	if err == nil || !strings.Contains(err.Error(), "auth.keys") || !strings.Contains(err.Error(), "auth.disabled") {
		t.Errorf("got %v, want both mends", err)
	}
	cfg.Auth.Disabled = true
	if err := cfg.ValidateIngest().Err(); err != nil {
		t.Errorf("with auth disabled: %v", err)
	}
	if err := loadGood(t).ValidateIngest().Err(); err != nil {
		t.Errorf("with a key: %v", err)
	}
}

func TestTheDefaultsAreValid(t *testing.T) {
	if err := config.Default().Validate().Err(); err != nil {
		t.Error(err)
	}
}

func TestSecretsAreHiddenFromEveryVerb(t *testing.T) {
	cfg := loadGood(t, "CARILLON_REDIS_URL=redis://u:correct-horse@127.0.0.1:6379/0")
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x"} {
		text := fmt.Sprintf(verb, cfg.Redis) + fmt.Sprintf(verb, *cfg.Channels.Email) + fmt.Sprintf(verb, cfg.Auth)
		for _, secret := range []string{"correct", "0123456789abcdef", "636f7272656374"} {
			if strings.Contains(text, secret) {
				t.Errorf("%s shows a secret: %s", verb, text)
			}
		}
	}
}

func TestAliasesCannotMakeASmallFileHuge(t *testing.T) {
	data, err := os.ReadFile("testdata/bad/alias-bomb.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	config.Parse("c.yaml", data, nil)
	runtime.ReadMemStats(&after)
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 1<<30 {
		t.Errorf("%d bytes of YAML took %d MiB", len(data), grown>>20)
	}
}

func TestADefaultTimeoutStaysBelowAShortVisibility(t *testing.T) {
	cfg, err := config.Parse("carillon.yaml", []byte("queue: {visibility: 15s}\nchannels:\n  webhook: {}\n  email: {smtp: {host: h}, from: a@b.example}\n"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := cfg.Channels.Webhook.Timeout; got.Std() != 10*time.Second {
		t.Errorf("webhook.timeout is %v, want two thirds of queue.visibility", got)
	}
	_, err = config.Parse("carillon.yaml", []byte("queue: {visibility: 15s}\nchannels: {webhook: {timeout: 15s}}\n"), nil)
	if err == nil || !strings.Contains(err.Error(), "queue.visibility") {
		t.Errorf("a timeout that was written down and does not fit: %v", err)
	}
}
