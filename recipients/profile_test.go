package recipients_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"

	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/recipients"
)

func TestTheMostSpecificPreferenceHolds(t *testing.T) {
	cases := []struct {
		name, preferences, category string
		medium                      notice.Medium
		want                        bool
	}{
		{"with none, everything is wanted", `{}`, "news", notice.MediumEmail, true},
		{"the category on the channel", `{"news":{"email":false,"*":true},"*":{"*":true}}`, "news", notice.MediumEmail, false},
		{"the category on any channel", `{"news":{"*":false},"*":{"email":true}}`, "news", notice.MediumEmail, false},
		{"another channel of the category", `{"news":{"push":false}}`, "news", notice.MediumEmail, true},
		{"any category on the channel", `{"*":{"email":false,"*":true}}`, "news", notice.MediumEmail, false},
		{"any category on any channel", `{"*":{"*":false}}`, "news", notice.MediumWebhook, false},
		{"an exception from everything", `{"*":{"*":false},"news":{"push":true}}`, "news", notice.MediumPush, true},
		{"the exception is for its channel only", `{"*":{"*":false},"news":{"push":true}}`, "news", notice.MediumEmail, false},
		{"no category follows the rule for any", `{"*":{"email":false}}`, "", notice.MediumEmail, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			p, err := recipients.Decode([]byte(`{"preferences":` + c.preferences + `}`))
			if err != nil {
				t.Fatal(err)
			}
			if got := p.Allows(c.category, c.medium); got != c.want {
				t.Errorf("%s: Allows(%q, %s) = %v, want %v", c.preferences, c.category, c.medium, got, c.want)
			}
		})
	}
	if none := (*recipients.Profile)(nil); !none.Allows("news", notice.MediumEmail) || none.Addresses() != nil {
		t.Error("without a profile: something is forbidden, or there is an address")
	}
}

func TestWhatCannotBeIsNamedByItsPointer(t *testing.T) {
	many := func(n int, item string) string {
		items := make([]string, n)
		for i := range items {
			items[i] = strings.ReplaceAll(item, "#", fmt.Sprint(i))
		}
		return strings.Join(items, ",")
	}
	cases := []struct{ name, body, pointer, says string }{
		{"a mail address without a domain", `{"email":"ada"}`, "/email", "ada@example.com"},
		{"a name with a line break", `{"name":"Ada\r\nBcc: x"}`, "/name", "remove"},
		{"a locale that is none", `{"locale":"klingonisch-!"}`, "/locale", "de-AT"},
		{"a time zone that is none", `{"timezone":"Europe/Wien"}`, "/timezone", "Europe/Wien"},
		{"the machine's own zone", `{"timezone":"Local"}`, "/timezone", "Local"},
		{"an unknown platform", `{"devices":[{"platform":"iso","token":"` + iosToken + `"}]}`, "/devices/0/platform", `"ios"`},
		{"a token that is no hex", `{"devices":[{"platform":"ios","token":"zz"}]}`, "/devices/0/token", "hex"},
		{"a device twice", `{"devices":[{"platform":"android","token":"a"},{"platform":"android","token":"a"}]}`, "/devices/1/token", "twice"},
		{"a time that is none", `{"devices":[{"platform":"android","token":"a","registered_at":"soon"}]}`, "/devices/0/registered_at", "soon"},
		{"more devices than there may be", `{"devices":[` + many(65, `{"platform":"android","token":"t#"}`) + `]}`, "/devices", "64"},
		{"more webhooks than there may be", `{"webhooks":[` + many(17, `{"url":"https://example.com/#"}`) + `]}`, "/webhooks", "16"},
		{"a webhook that is no URL", `{"webhooks":[{"url":"ftp://example.com"}]}`, "/webhooks/0/url", "https"},
		{"an unknown channel", `{"preferences":{"news":{"emial":true}}}`, "/preferences/news/emial", `"email"`},
		{"a category that cannot be, with a slash", `{"preferences":{"a/b":{"email":true}}}`, "/preferences/a~1b", "category"},
		{"a preference that is no yes or no", `{"preferences":{"news":{"email":"yes"}}}`, "/preferences/news/email", "true or false"},
		{"more categories than there may be", `{"preferences":{` + many(257, `"c#":{}`) + `}}`, "/preferences", "256"},
		{"a time of day that is none", `{"quiet_hours":{"from":"24:00","to":"08:00"}}`, "/quiet_hours/from", "24:00"},
		{"a time of day with one digit", `{"quiet_hours":{"from":"22:00","to":"8:00"}}`, "/quiet_hours/to", "8:00"},
		{"hours without length", `{"quiet_hours":{"from":"22:00","to":"22:00"}}`, "/quiet_hours/to", "same"},
		{"an exception that cannot be", `{"quiet_hours":{"from":"22:00","to":"08:00","except":["critical","a b"]}}`, "/quiet_hours/except/1", "a b"},
		{"an unknown field", `{"time_zone":"UTC"}`, "/time_zone", `"timezone"`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := recipients.Decode([]byte(c.body))
			var faults notice.Faults
			if !errors.As(err, &faults) || len(faults) != 1 || faults[0].Pointer != c.pointer || !strings.Contains(faults[0].Detail, c.says) {
				t.Errorf("got %v, want one fault at %q that says %q", err, c.pointer, c.says)
			}
		})
	}
}

func TestNoSecretAndNoTokenIsRepeatedInAFault(t *testing.T) {
	_, err := recipients.Decode([]byte(`{"webhooks":[{"url":"https://u:hunter2@example.com","secret":"whsec_hunter2"}],"devices":[{"platform":"ios","token":"hunter2"}]}`))
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("got %v, want faults without the secrets", err)
	}
}

func TestAllFaultsAreReportedAtOnce(t *testing.T) {
	p := recipients.Profile{Email: "x", Timezone: "y", Locale: "?", QuietHours: &recipients.QuietHours{}}
	if faults := p.Validate(); len(faults) != 5 {
		t.Errorf("%d faults, want email, timezone, locale and both ends of the quiet hours: %v", len(faults), faults)
	}
}

// FuzzDecode holds that no body panics, and that whatever is taken is stored
// and read as the same.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"email":"ada@example.com","devices":[{"platform":"android","token":"t","registered_at":"2026-01-01T00:00:00Z"}]}`))
	f.Add([]byte(`{"preferences":{"*":{"email":false}},"quiet_hours":{"from":"22:00","to":"08:00"}}`))
	f.Add([]byte(`{"name":null,"webhooks":[{"url":"https://example.com"}]}`))
	f.Add([]byte(`[`))
	f.Fuzz(func(t *testing.T, body []byte) {
		p, err := recipients.Decode(body)
		if err != nil {
			return
		}
		first, err := json.Marshal(p, json.Deterministic(true))
		if err != nil {
			t.Fatalf("taken, but cannot be stored: %v", err)
		}
		again, err := recipients.Decode(first)
		if err != nil {
			t.Fatalf("stored as %s, and refused: %v", first, err)
		}
		if second, _ := json.Marshal(again, json.Deterministic(true)); string(first) != string(second) {
			t.Fatalf("stored as %s, read as %s", first, second)
		}
	})
}
