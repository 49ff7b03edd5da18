package notice_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/carillonhq/carillon/notice"
)

var now = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

const (
	iosToken     = "00fc13adff785122b4ad28809a3420982341241421348097878e577c991de8f0"
	subscription = `{\"endpoint\":\"https://push.example.com/send/abc\",\"expirationTime\":null,\"keys\":{\"p256dh\":\"BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4\",\"auth\":\"BTBZMqHH6r4Tts7J_aSIgg\"}}`
)

// valid wraps members in a notification that is good without them.
func valid(members string) string {
	if strings.Contains(members, `"to"`) {
		return `{"template":"a",` + members + `}`
	}
	return `{"template":"a","to":{"user":"u"},` + members + `}`
}

func to(members string) string { return valid(`"to":{` + members + `}`) }

func content(c string) string { return `{"to":{"user":"u"},"content":` + c + `}` }

func TestValidateTakesWhatCanBe(t *testing.T) {
	long := strings.Repeat("x", 255)
	for name, body := range map[string]string{
		"the whole contract":                        full,
		"an address without a user":                 to(`"email":"ada@example.com"`),
		"a mail address with a tag and a subdomain": to(`"email":"ada.l+tag@mail.example.co.uk"`),
		"a mail address in quotes":                  to(`"email":"\"ada l\"@example.com"`),
		"an internationalised mail address":         to(`"email":"björn@exämple.com"`),
		"a mail address at a bare host":             to(`"email":"root@localhost"`),
		"a user of 256 bytes":                       to(`"user":"` + long + `x"`),
		"a user that is no ASCII":                   to(`"user":"日本 ユーザー"`),
		"a browser's subscription":                  to(`"devices":[{"platform":"web","token":"` + subscription + `"}]`),
		"an Android token":                          to(`"devices":[{"platform":"android","token":"dQw4w9WgXcQ:APA91bH-_x"}]`),
		"a webhook with a private key and a secret": to(`"webhooks":[{"url":"https://a.b","secret":"whsk_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE= whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz"}]`),
		"a webhook with two secrets":                to(`"webhooks":[{"url":"http://example.com:8080/h?x=1","secret":"whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz whsec_MTEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz"}]`),
		"a webhook without a secret":                to(`"webhooks":[{"url":"https://[2001:db8::1]/h"}]`),
		"a locale with a script":                    to(`"user":"u","locale":"zh-Hant-TW"`),
		"a zone that is a link":                     to(`"user":"u","timezone":"US/Pacific"`),
		"UTC":                                       to(`"user":"u","timezone":"UTC"`),
		"the first zone and the last":               to(`"user":"u","timezone":"Zulu"`),
		"sending just now":                          valid(`"send_at":"2026-11-20T11:59:01Z"`),
		"sending in another zone's words":           valid(`"send_at":"2026-11-20T14:00:00+01:00"`),
		"sending in a year":                         valid(`"send_at":"2027-11-20T12:00:00Z"`),
		"a category with every kind of character":   valid(`"category":"a.b_c-9"`),
		"a collapse key of 64 bytes":                valid(`"collapse_key":"` + long[:64] + `"`),
		"content for all":                           content(`{"email":{"subject":"s","html":"<p>"},"push":{"data":{"a":1}},"webhook":[1]}`),
		"a push of a body alone":                    content(`{"push":{"body":"b"}}`),
	} {
		t.Run(name, func(t *testing.T) { wantFaults(t, check(body), nil) })
	}
}

// check decodes and validates.
func check(body string) error {
	n, err := notice.DecodeNotification([]byte(body))
	if err != nil {
		return err
	}
	return n.Validate(now).Err()
}

func TestValidateNamesFieldValueAndMend(t *testing.T) {
	x := func(n int) string { return strings.Repeat("x", n) }
	secret := `/to/webhooks/0/secret: is no Standard Webhooks secret: write "whsec_" and the base64 of 24 to 64 bytes, or "whsk_" and the base64 of an ed25519 private key`
	for _, row := range []struct{ name, body, want string }{
		{"neither template nor content", `{"to":{"user":"u"}}`, `/template: name a template, or give content`},
		{"both template and content", valid(`"content":{"push":{"title":"t"}}`), `/content: stands beside template`},
		{"a template's name without end", `{"to":{"user":"u"},"template":"` + x(129) + `"}`, `/template: is 129 bytes: at most 128`},
		{"data that is a list", valid(`"data":[1]`), `/data: want an object, got an array`},
		{"nobody", to(``), `/to: names nobody: give user, email, devices or webhooks`},
		{"a name alone", to(`"name":"Ada"`), `/to: names nobody`},
		{"a user of 257 bytes", to(`"user":"` + x(257) + `"`), `/to/user: is 257 bytes: at most 256`},
		{"a user with a line break", to(`"user":"a\nb"`), `/to/user: "a\nb" has characters that cannot be printed`},
		{"a user with a space at its end", to(`"user":"a "`), `/to/user: "a " has characters`},
		{"a user with an invisible character", to(`"user":"a\u200bb"`), `/to/user: `},
		{"a name with a control character", to(`"user":"u","name":"a\u0000"`), `/to/name: "a\x00" has characters`},
		{"a name of 257 bytes", to(`"user":"u","name":"` + x(257) + `"`), `/to/name: is 257 bytes`},
		{"a mail address without @", to(`"email":"ada"`), `/to/email: "ada" cannot be a mail address: write it as ada@example.com`},
		{"a mail address with two @", to(`"email":"a@b@c"`), `/to/email: "a@b@c" cannot be`},
		{"a mail address with a display name", to(`"email":"Ada <a@b.c>"`), `/to/email: "Ada <a@b.c>" cannot be`},
		{"two mail addresses", to(`"email":"a@b.c, d@e.f"`), `/to/email: "a@b.c, d@e.f" cannot be`},
		{"a mail address with a header", to(`"email":"a@b.c\r\nBcc: d@e.f"`), `/to/email: "a@b.c\r\nBcc: d@e.f" cannot be`},
		{"a mail address with dots side by side", to(`"email":"a..b@c.d"`), `/to/email: "a..b@c.d" cannot be`},
		{"a mail address with an empty domain", to(`"email":"a@"`), `/to/email: "a@" cannot be`},
		{"a mail address with a dot at its end", to(`"email":"a@b.c."`), `/to/email: "a@b.c." cannot be`},
		{"a mail address with a space", to(`"email":"a b@c.d"`), `/to/email: "a b@c.d" cannot be`},
		{"a mail address of 255 bytes", to(`"email":"a@` + x(253) + `"`), `/to/email: is 255 bytes: at most 254`},
		{"a locale with spaces", to(`"user":"u","locale":"not a locale"`), `/to/locale: "not a locale" is no language tag: write it as de or de-AT`},
		{"a zone that is not", to(`"user":"u","timezone":"Mars/Olympus"`), `/to/timezone: "Mars/Olympus" is no time zone: write it as Europe/Vienna`},
		{"the server's own zone", to(`"user":"u","timezone":"Local"`), `/to/timezone: "Local" is no time zone`},
		{"a zone that climbs out of its folder", to(`"user":"u","timezone":"../../etc/passwd"`), `/to/timezone: "../../etc/passwd" is no`},
		{"two zones in one", to(`"user":"u","timezone":"UTC\nUTC"`), `/to/timezone: "UTC\nUTC" is no`},
		{"an unknown platform", to(`"devices":[{"platform":"iOS","token":"x"}]`), `/to/devices/0/platform: unknown platform "iOS": did you mean "ios"?`},
		{"a device without a token", to(`"devices":[{"platform":"ios"}]`), `/to/devices/0/token: is empty`},
		{"an iOS token that is no hex", to(`"devices":[{"platform":"ios","token":"zz` + iosToken[2:] + `"}]`), `/to/devices/0/token: cannot be an iOS device token: give it in hex`},
		{"an iOS token cut short by a digit", to(`"devices":[{"platform":"ios","token":"` + iosToken[1:] + `"}]`), `/to/devices/0/token: cannot be an iOS`},
		{"an iOS token that is a path", to(`"devices":[{"platform":"ios","token":"../../3/device/` + iosToken + `"}]`), `/to/devices/0/token: cannot be an iOS`},
		{"an Android token with a space", to(`"devices":[{"platform":"android","token":"a b"}]`), `/to/devices/0/token: cannot be an FCM registration token`},
		{"a token of 4097 bytes", to(`"devices":[{"platform":"android","token":"` + x(4097) + `"}]`), `/to/devices/0/token: is 4097 bytes: at most 4096`},
		{"a subscription that is no JSON", to(`"devices":[{"platform":"web","token":"abc"}]`), `/to/devices/0/token: want the browser's subscription as JSON in a string`},
		{"a subscription without keys", to(`"devices":[{"platform":"web","token":"{\"endpoint\":\"https://p.example\"}"}]`), `/to/devices/0/token: the subscription's keys.p256dh`},
		{"a subscription to a file", to(`"devices":[{"platform":"web","token":"{\"endpoint\":\"file:///etc/passwd\"}"}]`), `/to/devices/0/token: the subscription's endpoint is no https:// URL`},
		{"a subscription with a short secret", to(`"devices":[{"platform":"web","token":"` + strings.Replace(subscription, "BTBZMqHH6r4Tts7J_aSIgg", "BTBZ", 1) + `"}]`), `/to/devices/0/token: the subscription's keys.auth`},
		{"too many devices", to(`"devices":[` + strings.Repeat(`{"platform":"android","token":"x"},`, 64) + `{"platform":"android","token":"x"}]`), `/to/devices: are 65: at most 64`},
		{"too many webhooks", to(`"webhooks":[` + strings.Repeat(`{"url":"https://a.b"},`, 64) + `{"url":"https://a.b"}]`), `/to/webhooks: are 65: at most 64`},
		{"a webhook without a URL", to(`"webhooks":[{"url":""}]`), `/to/webhooks/0/url: is empty: give an https:// URL`},
		{"a webhook that is a path", to(`"webhooks":[{"url":"/hook"}]`), `/to/webhooks/0/url: "/hook" is no http or https URL`},
		{"a webhook over FTP", to(`"webhooks":[{"url":"ftp://a.b/c"}]`), `/to/webhooks/0/url: "ftp://a.b/c" is no http or https URL`},
		{"a webhook without a host", to(`"webhooks":[{"url":"https:///c"}]`), `/to/webhooks/0/url: "https:///c" names no host`},
		{"a webhook with port 0", to(`"webhooks":[{"url":"https://a.b:0/"}]`), `/to/webhooks/0/url: "https://a.b:0/" names no host, or no port`},
		{"a webhook with a password", to(`"webhooks":[{"url":"https://u:hunter2@a.b/"}]`), `/to/webhooks/0/url: holds a user name or password`},
		{"a webhook with a line break", to(`"webhooks":[{"url":"https://a.b/\r\nX: y"}]`), `/to/webhooks/0/url: is no URL`},
		{"a webhook with a space", to(`"webhooks":[{"url":"https://a.b/x y"}]`), `/to/webhooks/0/url: is no URL`},
		{"a webhook of 2049 bytes", to(`"webhooks":[{"url":"https://a.b/` + x(2037) + `"}]`), `/to/webhooks/0/url: is 2049 bytes: at most 2048`},
		{"a secret without its prefix", to(`"webhooks":[{"url":"https://a.b","secret":"hunter2"}]`), secret},
		{"a secret that is no base64", to(`"webhooks":[{"url":"https://a.b","secret":"whsec_hunter2!"}]`), secret},
		{"a secret of 23 bytes", to(`"webhooks":[{"url":"https://a.b","secret":"whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI="}]`), secret},
		{"a private key of 31 bytes", to(`"webhooks":[{"url":"https://a.b","secret":"whsk_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MA=="}]`), secret},
		{"a private key with the public half of another", to(`"webhooks":[{"url":"https://a.b","secret":"whsk_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDEwMTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMQ=="}]`), secret},
		{"a public key", to(`"webhooks":[{"url":"https://a.b","secret":"whpk_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="}]`), secret},
		{"a good secret and a bad one", to(`"webhooks":[{"url":"https://a.b","secret":"whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz whsec_x"}]`), secret},
		{"an unknown channel", valid(`"channels":["email","webhok"]`), `/channels/1: unknown channel "webhok": did you mean "webhook"?`},
		{"a channel like none", valid(`"channels":["carrier-pigeon"]`), `/channels/0: unknown channel "carrier-pigeon": known are push, email, webhook`},
		{"a channel twice", valid(`"channels":["push","email","push"]`), `/channels/2: "push" stands twice`},
		{"an unknown route", valid(`"route":"frist"`), `/route: unknown route "frist": did you mean "first"?`},
		{"an unknown priority", valid(`"priority":"hihg"`), `/priority: unknown priority "hihg": `},
		{"a category that is a path", valid(`"category":"a/b"`), `/category: "a/b" cannot be a category`},
		{"every category", valid(`"category":"*"`), `/category: "*" cannot be a category`},
		{"a category of 65 bytes", valid(`"category":"` + x(65) + `"`), `/category: "xxx`},
		{"a collapse key of 65 bytes", valid(`"collapse_key":"` + x(65) + `"`), `/collapse_key: is 65 bytes: at most 64`},
		{"a collapse key with a line break", valid(`"collapse_key":"a\r\nb"`), `/collapse_key: "a\r\nb" has characters`},
		{"sending two minutes ago", valid(`"send_at":"2026-11-20T11:58:00Z"`), `/send_at: 2026-11-20T11:58:00Z is in the past (it is 2026-11-20T12:00:00Z): leave it out to send now`},
		{"sending in two years", valid(`"send_at":"2028-11-20T12:00:00Z"`), `/send_at: 2028-11-20T12:00:00Z is more than a year ahead`},
		{"an expiry now", valid(`"expires_at":"2026-11-20T12:00:00Z"`), `/expires_at: 2026-11-20T12:00:00Z is past`},
		{"an expiry at the time of sending", valid(`"send_at":"2026-11-21T00:00:00Z","expires_at":"2026-11-21T00:00:00Z"`), `/expires_at: 2026-11-21T00:00:00Z is not after send_at`},
		{"content without a part", content(`{}`), `/content: has no part`},
		{"a mail without a subject", content(`{"email":{"text":"t"}}`), `/content/email/subject: a mail needs a subject`},
		{"a mail without a body", content(`{"email":{"subject":"s"}}`), `/content/email: a mail needs html, text or both`},
		{"a subject with a header", content(`{"email":{"subject":"s\r\nBcc: x","text":"t"}}`), `/content/email/subject: "s\r\nBcc: x" has characters`},
		{"a subject of 999 bytes", content(`{"email":{"subject":"` + x(999) + `","text":"t"}}`), `/content/email/subject: is 999 bytes: at most 998`},
		{"an empty push", content(`{"push":{}}`), `/content/push: a push needs title, body or data`},
		{"push data that is a list", content(`{"push":{"title":"t","data":[]}}`), `/content/push/data: want an object, got an array`},
		{"a channel without its content", `{"to":{"user":"u"},"content":{"push":{"title":"t"}},"channels":["push","email"]}`, `/channels/1: content has no email part: add /content/email`},
	} {
		t.Run(row.name, func(t *testing.T) {
			err := check(row.body)
			wantFaults(t, err, []string{row.want})
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("a secret is repeated: %v", err)
			}
		})
	}
}

func TestValidateFindsEveryFaultAtOnce(t *testing.T) {
	err := check(`{"to":{"user":"a\n","email":"x","devices":[{"platform":"fax"}],"webhooks":[{"url":"x"}]},"channels":["a","a"],"route":"x","priority":"x","category":" ","send_at":"2000-01-01T00:00:00Z","expires_at":"2000-01-01T00:00:00Z"}`)
	for _, pointer := range []string{"/template", "/to/user", "/to/email", "/to/devices/0/platform", "/to/webhooks/0/url", "/channels/0", "/channels/1", "/route", "/priority", "/category", "/send_at", "/expires_at"} {
		if err == nil || !strings.Contains(err.Error(), pointer+": ") {
			t.Errorf("no fault at %s in %v", pointer, err)
		}
	}
}

func TestEveryZoneThatIsTakenCanBeLoaded(t *testing.T) {
	for _, name := range []string{"Africa/Abidjan", "Europe/Berlin", "America/Argentina/Buenos_Aires", "Zulu", "UTC", "Etc/GMT+12"} {
		if detail := notice.CheckTimezone(name); detail != "" {
			t.Errorf("%s: %s", name, detail)
		}
		if _, err := time.LoadLocation(name); err != nil {
			t.Errorf("taken and not there: %v", err)
		}
	}
}

func TestAMendThatClipsNeverCutsARune(t *testing.T) {
	for n := range 8 {
		err := check(to(fmt.Sprintf(`"user":"u","locale":"%s%s"`, strings.Repeat("x", n), strings.Repeat("日", 50))))
		if err == nil || strings.Contains(err.Error(), `\x`) || strings.Contains(err.Error(), "\ufffd") {
			t.Errorf("clipped after %d bytes and some runes: %v", n, err)
		}
	}
}
