package examples_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/examples"
	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/notice/routing"
	"github.com/carillonhq/carillon/templates"
)

func find(t *testing.T, name string) (examples.Example, *templates.Catalogue) {
	t.Helper()
	example, ok := examples.Find(name)
	if !ok {
		t.Fatalf("no example %q", name)
	}
	catalogue, err := templates.Load(example.Catalogue)
	if err != nil {
		t.Fatalf("%s: the catalogue has faults:\n%v", name, err)
	}
	return example, catalogue
}

// render renders a notification as the consumer would, for every medium of its
// template in every locale of the examples, and hands each to look.
func render(t *testing.T, c *templates.Catalogue, n notice.Notification, look func(medium notice.Medium, locale string, content notice.Content)) {
	t.Helper()
	template, ok := c.Template(n.Template)
	if !ok {
		t.Fatalf("there is no template %q", n.Template)
	}
	if _, faults := template.CheckData(n.Data); len(faults) > 0 {
		t.Fatalf("%s: the data: %v", n.Template, faults)
	}
	for _, medium := range template.Channels() {
		for _, locale := range []string{"en", "de"} {
			at := time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)
			r, err := c.Render(templates.Request{
				Template: n.Template, Medium: medium, Locale: locale, ID: "0-abc", Data: n.Data, Category: template.Category,
				To:         notice.Person{User: n.To.User, Name: n.To.Name, Email: n.To.Email, Locale: locale},
				AcceptedAt: at, Now: at,
			})
			if err != nil {
				t.Fatalf("%s in %s for %s: %v", n.Template, locale, medium, err)
			}
			if medium != notice.MediumWebhook && r.Locale != locale {
				t.Errorf("%s has no %s of its own for %s", n.Template, locale, medium)
			}
			look(medium, locale, r.Content)
		}
	}
}

// checkContent holds what a reader would notice against any content.
func checkContent(t *testing.T, name string, medium notice.Medium, content notice.Content) {
	t.Helper()
	var texts []string
	switch medium {
	case notice.MediumEmail:
		e := content.Email
		texts = []string{e.Subject, e.HTML, e.Text}
	case notice.MediumPush:
		texts = []string{content.Push.Title, content.Push.Body}
	case notice.MediumWebhook:
		texts = []string{string(content.Webhook)}
	}
	if content.Email != nil && strings.Contains(content.Email.HTML, "<script") {
		t.Errorf("%s: the mail runs somebody's script:\n%s", name, content.Email.HTML)
	}
	for _, text := range texts {
		if strings.TrimSpace(text) == "" {
			t.Errorf("%s: a part of %s is blank", name, medium)
		}
		for _, slip := range []string{"<no value>", "%!", "map[", "ZgotmplZ", "<nil>", "{{"} {
			if strings.Contains(text, slip) {
				t.Errorf("%s: %s holds %q:\n%s", name, medium, slip, text)
			}
		}
	}
}

func TestEverySampleRendersOnEveryMediumInBothLanguages(t *testing.T) {
	for _, name := range examples.Names() {
		_, catalogue := find(t, name)
		if err := catalogue.Check(); err != nil {
			t.Errorf("%s:\n%v", name, err)
		}
		for _, template := range catalogue.Names() {
			t.Run(name+"/"+template, func(t *testing.T) {
				found, _ := catalogue.Template(template)
				if len(found.Samples) == 0 {
					t.Fatal("the template has no sample")
				}
				for _, sample := range found.Samples {
					n := notice.Notification{Template: template, Data: sample.Data, To: notice.Recipient{User: "ada", Name: "Ada"}}
					render(t, catalogue, n, func(m notice.Medium, _ string, content notice.Content) {
						checkContent(t, template+" "+sample.Name, m, content)
					})
				}
			})
		}
	}
}

// routed is what the GitHub example's routes make of its events.
func routed(t *testing.T) (events int, notifications []notice.Notification) {
	t.Helper()
	example, _ := examples.Find("github")
	cfg, err := config.Parse("carillon.yaml", example.Config, nil)
	if err != nil {
		t.Fatalf("the configuration: %v", err)
	}
	table, err := routing.Compile(cfg.Routes)
	if err != nil {
		t.Fatalf("the routes: %v", err)
	}
	lines := bufio.NewScanner(bytes.NewReader(example.Events))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		events++
		ev, err := notice.DecodeCloudEvent(lines.Bytes())
		if err != nil {
			t.Fatalf("event %d: %v", events, err)
		}
		ns, err := table.Route(ev)
		if err != nil {
			t.Fatalf("event %s of type %s: %v", ev.ID, ev.Type, err)
		}
		notifications = append(notifications, ns...)
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return events, notifications
}

func TestAllRealEventsPassTheRoutesAndEveryRoutedOneRenders(t *testing.T) {
	events, notifications := routed(t)
	if events != 329 {
		t.Errorf("%d events, want 329", events)
	}
	_, catalogue := find(t, "github")
	used := map[string]int{}
	for i, n := range notifications {
		used[n.Template]++
		render(t, catalogue, n, func(m notice.Medium, locale string, content notice.Content) {
			checkContent(t, fmt.Sprintf("notification %d (%s, %s)", i, n.Template, locale), m, content)
		})
	}
	want := map[string]int{
		"issue-opened": 4, "issue-assigned": 3, "comment-created": 5, "review-requested": 1, "pull-request-closed": 2,
		"review-submitted": 3, "push": 2, "release-published": 3, "check-run-failed": 1, "workflow-job-failed": 1,
		"vulnerable-dependency": 6, "dependabot-alert": 1, "code-scanning-alert": 1, "star-digest": 2, "member-added": 3,
	}
	for _, template := range catalogue.Names() {
		if used[template] != want[template] {
			t.Errorf("%s: %d notifications, want %d", template, used[template], want[template])
		}
	}
}

func TestRoutedNotificationsAreValidAndNeverForBots(t *testing.T) {
	_, notifications := routed(t)
	locales := map[string]int{}
	for _, n := range notifications {
		if faults := n.Validate(time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)); len(faults) > 0 {
			t.Errorf("%s: %v", n.Template, faults)
		}
		if strings.Contains(n.To.User, "[bot]") {
			t.Errorf("%s is for %s", n.Template, n.To.User)
		}
		if !strings.HasSuffix(n.To.Email, "@users.example") {
			t.Errorf("%s is for an address outside users.example", n.Template)
		}
		locales[n.To.Locale]++
	}
	if locales["en"] == 0 || locales["de"] == 0 || len(locales) != 2 {
		t.Errorf("locales %v, want both English and German", locales)
	}
}

func TestSecurityAlertsAreCriticalAndReachTheTeamToo(t *testing.T) {
	_, notifications := routed(t)
	var users []string
	for _, n := range notifications {
		if n.Template != "vulnerable-dependency" {
			continue
		}
		users = append(users, n.To.User)
		if n.To.User != "security-team" && n.Priority != notice.LaneCritical {
			t.Errorf("the owner's alert goes by lane %q", n.Priority)
		}
	}
	want := []string{"security-team", "Codertocat", "security-team", "Codertocat", "security-team", "Octocoders"}
	if !slices.Equal(users, want) {
		t.Errorf("alerts for %q, want %q", users, want)
	}
}

func TestTheShopsRequestsAreValidAndRender(t *testing.T) {
	example, catalogue := find(t, "shop")
	names, err := fs.Glob(example.Requests, "*.json")
	if err != nil || len(names) == 0 {
		t.Fatalf("%d requests, %v", len(names), err)
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			body, err := fs.ReadFile(example.Requests, name)
			if err != nil {
				t.Fatal(err)
			}
			n, err := notice.DecodeNotification(body)
			if err != nil {
				t.Fatalf("decode: %v", err)
			}
			if faults := n.Validate(time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)); len(faults) > 0 {
				t.Errorf("validate: %v", faults)
			}
			if want := strings.TrimSuffix(path.Base(name), ".json"); n.Template != want {
				t.Errorf("the template is %q, want %q", n.Template, want)
			}
			render(t, catalogue, n, func(m notice.Medium, _ string, content notice.Content) {
				checkContent(t, name, m, content)
			})
		})
	}
}
