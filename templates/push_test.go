package templates

import (
	"strings"
	"testing"

	"github.com/carillonhq/carillon/notice"
)

func pushFolder(options string) []string {
	return []string{"catalogue.yaml", "default_locale: en", "m/template.yaml", "schema: {type: object, required: [thread, n], properties: {thread: {type: string}, n: {type: integer}}}",
		"m/en/push.title.txt", "hi", "m/en/push.options.json", options, "m/de/push.title.txt", "hallo"}
}

func TestPushOptionsAreRenderedInEveryLanguageOfTheirTemplate(t *testing.T) {
	c := mustLoad(t, folder(pushFolder(`{"apns": {"thread_id": {{json .data.thread}}, "badge": {{json .data.n}}, "sound": null}}`)...))
	for _, locale := range []string{"en", "de"} {
		req := request("m", notice.MediumPush, `{"thread":"a\"b","n":3}`)
		req.Locale = locale
		r, err := c.Render(req)
		if err != nil {
			t.Fatal(err)
		}
		if o := r.Content.Push.Options; o == nil || o.APNs.ThreadID != `a"b` || *o.APNs.Badge != 3 || string(o.APNs.Sound) != "null" {
			t.Errorf("%s: got %+v", locale, o)
		}
	}
}

func TestPushOptionsThatCannotBeAreNamedWithoutTheirValues(t *testing.T) {
	for name, tc := range map[string]struct{ options, at string }{
		"an unknown option":       {`{"apns": {"bagde": 1}}`, `"/apns/bagde"`},
		"a value out of range":    {`{"apns": {"badge": {{json .data.n}}, "thread_id": "a\nb"}}`, `"/apns/badge", "/apns/thread_id"`},
		"a value of another kind": {`{"fcm": {"android": {"priority": {{json .data.thread}}}}}`, `"/fcm/android/priority"`},
		"no object":               {`[{{json .data.thread}}]`, `""`},
	} {
		t.Run(name, func(t *testing.T) {
			c := mustLoad(t, folder(pushFolder(tc.options)...))
			_, err := c.Render(request("m", notice.MediumPush, `{"thread":"secret","n":-1}`))
			if err == nil || !strings.Contains(err.Error(), "push.options.json") || !strings.Contains(err.Error(), "at "+tc.at+":") || strings.Contains(err.Error(), "secret") {
				t.Errorf("got %v, want it to name %s", err, tc.at)
			}
		})
	}
}
