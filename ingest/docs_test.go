package ingest_test

import (
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/carillonhq/carillon/ingest"
	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/recipients"
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

func TestEveryKindOfProblemIsInTheDocument(t *testing.T) {
	docs, err := os.ReadFile("../docs/problems.md")
	if err != nil {
		t.Fatal(err)
	}
	var documented []string
	for _, one := range loadContract(t).Components.Schemas["ProblemType"].Value.OneOf {
		documented = append(documented, strings.TrimPrefix(one.Value.Const.(string), "https://carillon.dev/problems/"))
	}
	var kinds []string
	for _, m := range regexp.MustCompile(`(?m)^## ([a-z-]+)$`).FindAllStringSubmatch(string(docs), -1) {
		kinds = append(kinds, m[1])
	}
	if !slices.Equal(documented, kinds) {
		t.Errorf("the document has the problems\n%q, docs/problems.md\n%q", documented, kinds)
	}
}

// A member that is added to what the API takes and not to the document would
// be found by no request of the tests.
func TestEachSchemaHasTheMembersOfItsType(t *testing.T) {
	for name, of := range map[string]any{
		"Notification": notice.Notification{}, "To": notice.Recipient{}, "Device": notice.Device{}, "Webhook": notice.Webhook{},
		"Content": notice.Content{}, "EmailContent": notice.EmailContent{}, "Attachment": notice.Attachment{}, "PushContent": notice.PushContent{},
		"PushOptions": notice.PushOptions{}, "APNsOptions": notice.APNsOptions{}, "FCMOptions": notice.FCMOptions{},
		"AndroidOptions": notice.AndroidOptions{}, "WebPushOptions": notice.WebPushOptions{}, "Fault": notice.Fault{}, "Problem": ingest.Problem{},
		"Profile": recipients.Profile{}, "RegisteredDevice": recipients.Device{}, "RemovedDevice": recipients.RemovedDevice{}, "QuietHours": recipients.QuietHours{},
	} {
		var members, documented []string
		for field := range reflect.TypeOf(of).Fields() {
			if tag, _, _ := strings.Cut(field.Tag.Get("json"), ","); tag != "" {
				members = append(members, tag)
			}
		}
		for member := range loadContract(t).Components.Schemas[name].Value.Properties {
			documented = append(documented, member)
		}
		slices.Sort(members)
		slices.Sort(documented)
		if !slices.Equal(members, documented) {
			t.Errorf("%s has the members\n%q, and the document\n%q", name, members, documented)
		}
	}
}
