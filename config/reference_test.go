package config

import (
	"flag"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
)

// TestTheReferenceListsEveryKey keeps docs/configuration.md true to the tags:
// go test ./config -run Reference -update writes it again.
func TestTheReferenceListsEveryKey(t *testing.T) {
	const file = "../docs/configuration.md"
	got := reference()
	if flag.Lookup("update").Value.String() == "true" {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s is not what the tags say: run go test ./config -run Reference -update", file)
	}
}

const referenceIntroduction = "# Configuration\n\n" +
	"<!-- Written by `go test ./config -run Reference -update` from the tags in config/. Change it there. -->\n\n" +
	"`carillon config check --config FILE` reports everything that is wrong with a file at once; `carillon config print` shows what a command\n" +
	"would use; `carillon config schema` is for editors.\n\n" +
	"* **Precedence**: flag, environment, file, default.\n" +
	"* **Environment**: every key below is also a variable. Text is taken as it is; lists and sections are YAML flow text, as\n" +
	"  `CARILLON_RETRY_SCHEDULE='[5s, 1m]'`. A list replaces the file's. An empty variable counts as not set. Setting a key of a section that\n" +
	"  is absent makes the section. A `CARILLON_` variable that sets nothing is an error, unless the file refers to it as `${NAME}` or\n" +
	"  Kubernetes set it for a service (`CARILLON_SERVICE_HOST`, `CARILLON_PORT=tcp://…`). `CARILLON_CONFIG` names the file where `--config` does not.\n" +
	"* **Variables in values**: `${NAME}` in any value is replaced by that variable; one that is not set is an error. `$${` stands for `${` itself.\n" +
	"* **Secrets** are written as themselves, as `${NAME}`, or as `file:PATH`: the file's content, without the newline that ends it. They never\n" +
	"  appear in a log, an error or `config print`.\n" +
	"* **Relative paths**, a secret's too, start from the folder of the configuration file; those in an environment variable from the working directory.\n" +
	"* **Durations** are written `15s`, `2m`, `1h30m`, `7d`; **sizes** `512`, `64KiB`, `1MiB`, `2GB`; **rates** `100/s`, `10/1m`, `3/24h`.\n" +
	"* A file is at most 1 MiB. Keys are checked: an unknown one is an error that names the nearest known one. Anchors and aliases work, merge keys (`<<`) do not.\n" +
	"* **↻** marks what `ingest`, `consume` and `dev` follow while they run, within a second of the file's change or of SIGHUP; anything else takes a\n" +
	"  restart, which the log and `/readyz` say. A file with a fault is refused as a whole ([more](operations.md#changing-the-configuration)).\n"

// reference is docs/configuration.md.
func reference() string {
	var b strings.Builder
	b.WriteString(referenceIntroduction)
	for _, f := range fieldsOf(reflect.TypeFor[Config]()) {
		fmt.Fprintf(&b, "\n## %s\n\n%s.\n", f.key, upperFirst(f.doc))
		if shapeOf(f.typ) == shapeList {
			fmt.Fprintf(&b, "A list; as a variable: `%s`.\n", envName(f.key))
		}
		b.WriteString("\n| key | default | what it is |\n|---|---|---|\n")
		referenceRows(&b, f.key, f.typ, f.live)
	}
	return b.String()
}

// referenceRows writes a row for each key in t, a section or a list of them.
func referenceRows(b *strings.Builder, path string, t reflect.Type, live bool) {
	for _, f := range fieldsOf(elementSection(&path, t)) {
		at := child(path, f.key)
		fmt.Fprintf(b, "| `%s`%s | %s | %s |\n", at, variableCell(at), defaultCell(f), f.doc+constraint(f)+liveMark(live || f.live))
		inner := f.typ
		if shapeOf(inner) == shapeSection || shapeOf(inner) == shapeList && shapeOf(inner.Elem()) == shapeSection {
			referenceRows(b, at, inner, live || f.live)
		}
	}
}

// elementSection is the section in t, a list's marked in path.
func elementSection(path *string, t reflect.Type) reflect.Type {
	if shapeOf(t) == shapeList {
		*path += "[]"
		return t.Elem()
	}
	return sectionType(t)
}

// liveMark tells keys that a running process follows.
func liveMark(live bool) string {
	if live {
		return " ↻"
	}
	return ""
}

func variableCell(path string) string {
	if strings.Contains(path, "[") {
		return ""
	}
	return "<br>`" + envName(path) + "`"
}

func defaultCell(f field) string {
	switch {
	case f.def != "":
		return "`" + f.def + "`"
	case f.required:
		return "required"
	case f.typ.Kind() == reflect.Pointer:
		return "off"
	}
	return ""
}

// constraint says what the value may be, where the doc does not.
func constraint(f field) string {
	switch {
	case f.enum != nil && f.typ.Kind() != reflect.Slice:
		return "; one of `" + strings.Join(f.enum, "`, `") + "`"
	case f.min != "" && f.max != "":
		return "; " + f.min + " to " + f.max
	case f.min != "":
		return "; at least " + f.min
	case f.max != "":
		return "; at most " + f.max
	}
	return ""
}

func upperFirst(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

func TestEveryDefaultTagIsReadable(t *testing.T) {
	checkTags(t, "", reflect.TypeFor[Config]())
}

// checkTags checks the tags of every key under t, those in lists too.
func checkTags(t *testing.T, path string, typ reflect.Type) {
	t.Helper()
	for _, f := range fieldsOf(typ) {
		at := child(path, f.key)
		if f.doc == "" {
			t.Errorf("%s has no doc tag", at)
		}
		if (f.required || f.pattern != "") && f.want == "" {
			t.Errorf("%s has no want tag, which its faults are made of", at)
		}
		if f.def != "" {
			if faults := decodeDefault(f.def, reflect.New(f.typ).Elem()); faults != nil {
				t.Errorf("%s: default %q: %v", at, f.def, faults)
			}
		}
		checkLimitTags(t, at, f)
		checkInner(t, at, f.typ)
	}
}

func checkLimitTags(t *testing.T, at string, f field) {
	t.Helper()
	typ := f.typ
	if shapeOf(typ) == shapeList {
		typ = typ.Elem()
	}
	for _, tag := range []string{f.min, f.max} {
		if tag == "" {
			continue
		}
		if wrong := setText(reflect.New(typ).Elem(), tag); wrong != "" {
			t.Errorf("%s: limit %q %s", at, tag, wrong)
		}
	}
}

func checkInner(t *testing.T, at string, typ reflect.Type) {
	t.Helper()
	if shapeOf(typ) == shapeList {
		typ = typ.Elem()
	}
	if shapeOf(typ) == shapeSection {
		checkTags(t, at, sectionType(typ))
	}
}

func TestEveryVariableSetsOneKey(t *testing.T) {
	keys := map[string]string{}
	walkKeys(reflect.TypeFor[Config](), "", func(path string, _ field) {
		name := envName(path)
		if other, taken := keys[name]; taken {
			t.Errorf("%s sets %s and %s", name, other, path)
		}
		if name == PathVariable {
			t.Errorf("%s sets %s, and names the file", name, path)
		}
		keys[name] = path
	})
	if keys["CARILLON_CHANNELS_EMAIL_SMTP_PASSWORD"] != "channels.email.smtp.password" || len(keys) < 90 {
		t.Errorf("found %d variables, not every one", len(keys))
	}
}
