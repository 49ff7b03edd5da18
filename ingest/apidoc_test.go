package ingest_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	stdjson "encoding/json"

	"github.com/getkin/kin-openapi/openapi3"
)

// snippets are the fenced blocks of docs/api.md in a language.
func snippets(t *testing.T, language string) []string {
	t.Helper()
	docs, err := os.ReadFile("../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, m := range regexp.MustCompile("(?s)\n```"+language+"\n(.*?)\n```").FindAllStringSubmatch(string(docs), -1) {
		out = append(out, m[1])
	}
	return out
}

// commands are the curl commands of a block: a new one begins with a line that
// begins with curl.
func commands(block string) []string {
	var out []string
	for line := range strings.Lines(block) {
		if strings.HasPrefix(line, "curl ") || len(out) == 0 {
			out = append(out, "")
		}
		out[len(out)-1] += line
	}
	return out
}

// Each command of docs/api.md is run by a shell as it stands, against an API
// that has what the commands name. What answers is held against the document.
func TestEveryCommandOfTheDocumentationWorksAsPasted(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("there is no curl here")
	}
	count := 0
	for _, block := range snippets(t, "sh") {
		for _, command := range commands(block) {
			count++
			name, _, _ := strings.Cut(strings.TrimPrefix(command, "curl "), "\n")
			t.Run(name, func(t *testing.T) {
				w := startWhole(t)
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				cmd := exec.CommandContext(ctx, "sh", "-euc", strings.Replace(command, "curl ", "curl -w '\n%{http_code}' ", 1))
				cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "KEY=" + acmeKey, "CARILLON=" + w.url, "TOKEN=" + w.token}
				out, err := cmd.CombinedOutput()
				at := bytes.LastIndexByte(out, '\n')
				if err != nil || at < 0 || out[at+1] != '2' {
					t.Errorf("%v: %s", err, out)
				}
			})
		}
	}
	if count < 20 {
		t.Errorf("found only %d commands", count)
	}
}

// The answers that docs/api.md shows are answers of the API: each fits one of
// the document's schemas of answers.
func TestEveryAnswerOfTheDocumentationFitsASchema(t *testing.T) {
	schemas := loadContract(t).Components.Schemas
	count := 0
	for _, block := range snippets(t, "json") {
		dec := stdjson.NewDecoder(strings.NewReader(block))
		for dec.More() {
			var answer any
			if err := dec.Decode(&answer); err != nil {
				t.Errorf("%v in %s", err, block)
				break
			}
			count++
			fits := false
			for _, name := range []string{"Accepted", "BatchResults", "EventResult", "Record", "Cancellation", "Profile", "Suppression", "DeadLetters", "Redriven",
				"Templates", "Rendering", "MailReportResult"} {
				fits = fits || schemas[name].Value.VisitJSON(answer, openapi3.EnableJSONSchema2020()) == nil
			}
			if !fits {
				t.Errorf("this is no answer of the API: %s", block)
			}
		}
	}
	if count < 10 {
		t.Errorf("found only %d answers", count)
	}
}
