package templates

import (
	"strings"
	"testing"
)

func TestATemplateSaysWhatItIsAndWhetherItCanBeLeft(t *testing.T) {
	c := mustLoad(t, folder(
		"code/template.yaml", "title: Security  code\ncollapse_key: code\ndescription: |\n  Sent when somebody\n  logs in anew.\nopt_out: false", "code/en/push.title.txt", "x",
		"news/template.yaml", "opt_out: true", "news/en/push.title.txt", "x"))
	code, _ := c.Template("code")
	if code.Title != "Security code" || code.Description != "Sent when somebody logs in anew." || !code.Mandatory || code.CollapseKey != "code" {
		t.Errorf("got %q, %q, mandatory %v, collapse key %q", code.Title, code.Description, code.Mandatory, code.CollapseKey)
	}
	for name, want := range map[string]bool{"code": true, "news": false, "gone": false} {
		if got := c.Mandatory(name, ""); got != want {
			t.Errorf("%s: mandatory is %v, want %v", name, got, want)
		}
	}
	if !c.Mandatory("code", "000000000000") {
		t.Error("a version that is no longer held is not as the current one")
	}
}

func TestWhatATemplateSaysOfItselfIsChecked(t *testing.T) {
	for name, tc := range map[string]struct {
		text, place string
		words       []string
	}{
		"opt_out in other words":            {"category: news\nopt_out: no", "m/template.yaml:2:10", []string{`opt_out: "no" is none of true, false`}},
		"opt_out as a text":                 {`opt_out: "false"`, "m/template.yaml:1:10", []string{"none of true, false"}},
		"opt_out as a list":                 {"opt_out: [email]", "m/template.yaml:1:10", []string{"none of true, false"}},
		"a title that fills a page":         {"title: " + strings.Repeat("ä", 101), "m/template.yaml:1:8", []string{"101 characters", "100"}},
		"a description that fills a book":   {"description: " + strings.Repeat("ä", 1001), "m/template.yaml:1:14", []string{"1001 characters", "1000"}},
		"a title with an escape":            {`title: "a\eb"`, "m/template.yaml:1:8", []string{"control character"}},
		"a collapse key that Apple refuses": {"collapse_key: " + strings.Repeat("k", 65), "m/template.yaml:1:15", []string{"collapse_key: is 65 bytes", "64"}},
		"a collapse key with an escape":     {`collapse_key: "a\eb"`, "m/template.yaml:1:15", []string{"cannot be printed"}},
		"a title of two":                    {"title: {en: a, de: b}", "m/template.yaml:1:8", []string{"wants one value"}},
	} {
		t.Run(name, func(t *testing.T) {
			faults := loadFaults(t, mail("x", "m/template.yaml", tc.text))
			wantFault(t, faults, tc.place, tc.words...)
			if len(faults) != 1 {
				t.Errorf("got %v, want one fault", faults)
			}
		})
	}
	t.Run("for a whole catalogue", func(t *testing.T) {
		wantFault(t, loadFaults(t, mail("x", "catalogue.yaml", "defaults: {opt_out: false}")), "catalogue.yaml:1:12", `unknown key "opt_out"`)
	})
}

func TestADigestCanBeLeftNoMoreThanWhatItCollects(t *testing.T) {
	files := func(digest string) []string {
		return []string{"code/template.yaml", "opt_out: false\ndigest: codes\nsamples: {default: {}}", "code/en/push.title.txt", "x",
			"codes/template.yaml", digest, "codes/en/push.title.txt", "{{.data.count}} codes"}
	}
	wantFault(t, loadFaults(t, folder(files("{}")...)), "code/template.yaml:2:9", "opt out", "opt_out: false in codes/template.yaml")
	mustLoad(t, folder(files("opt_out: false")...))
}
