package ingest_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// A client follows a problem's type to its section, so each kind has one.
func TestEveryKindOfProblemIsDocumented(t *testing.T) {
	source, err := os.ReadFile("problem.go")
	if err != nil {
		t.Fatal(err)
	}
	docs, err := os.ReadFile("../docs/problems.md")
	if err != nil {
		t.Fatal(err)
	}
	kinds := regexp.MustCompile(`kind\w+\s+kind = "([a-z-]+)"`).FindAllStringSubmatch(string(source), -1)
	if len(kinds) < 20 {
		t.Fatalf("found only %d kinds in problem.go", len(kinds))
	}
	for _, k := range kinds {
		if !strings.Contains(string(docs), "\n## "+k[1]+"\n") {
			t.Errorf("docs/problems.md has no section %q", k[1])
		}
	}
	if sections := strings.Count(string(docs), "\n## "); sections != len(kinds) {
		t.Errorf("docs/problems.md has %d sections for %d kinds", sections, len(kinds))
	}
}
