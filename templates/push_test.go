package templates

import (
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

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

func TestPushOptionsOfASettingsFileHoldWhereThePartSaysNothing(t *testing.T) {
	const settings = "push: {apns: {thread_id: orders, sound: chime.caf, aps: {alert: {subtitle: Acme}}}, fcm: {image: \"https://acme.example/box.png\", android: {notification: {channel_id: orders}}}}"
	for name, tc := range map[string]struct{ defaults, part, apns, fcm string }{
		"no part": {"", "", `{"sound":"chime.caf","thread_id":"orders","aps":{"alert":{"subtitle":"Acme"}}}`,
			`{"image":"https://acme.example/box.png","android":{"notification":{"channel_id":"orders"}}}`},
		"a part wins member by member": {"", `{"apns": {"badge": 3, "thread_id": {{json .id}}}, "fcm": {"android": {"priority": "high"}}}`,
			`{"badge":3,"sound":"chime.caf","thread_id":"3-abc","aps":{"alert":{"subtitle":"Acme"}}}`,
			`{"image":"https://acme.example/box.png","android":{"priority":"high","notification":{"channel_id":"orders"}}}`},
		"null is a value, and silences": {"", `{"apns": {"sound": null, "aps": {"alert": {"loc-key": "K"}}}}`,
			`{"sound":null,"thread_id":"orders","aps":{"alert":{"loc-key":"K","subtitle":"Acme"}}}`,
			`{"image":"https://acme.example/box.png","android":{"notification":{"channel_id":"orders"}}}`},
		"the catalogue's lie below the template's": {"defaults: {push: {apns: {sound: default, category: BOX}}}\n", "",
			`{"sound":"chime.caf","thread_id":"orders","category":"BOX","aps":{"alert":{"subtitle":"Acme"}}}`,
			`{"image":"https://acme.example/box.png","android":{"notification":{"channel_id":"orders"}}}`},
	} {
		t.Run(name, func(t *testing.T) {
			files := []string{"catalogue.yaml", "default_locale: en\n" + tc.defaults, "m/template.yaml", settings, "m/en/push.title.txt", "hi"}
			if tc.part != "" {
				files = append(files, "m/en/push.options.json", tc.part)
			}
			c := mustLoad(t, folder(files...))
			for range 2 { // what renderings share is as it was
				r, err := c.Render(request("m", notice.MediumPush, "{}"))
				if err != nil {
					t.Fatal(err)
				}
				o := r.Content.Push.Options
				if o == nil || marshal(t, o.APNs) != tc.apns || marshal(t, o.FCM) != tc.fcm {
					t.Errorf("got %s, want %s and %s", marshal(t, o), tc.apns, tc.fcm)
				}
			}
		})
	}
}

func marshal(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v, json.Deterministic(true))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestPushOptionsOfASettingsFileAreCheckedWhereTheyStand(t *testing.T) {
	for name, tc := range map[string]struct {
		file, text, place string
		words             []string
	}{
		"an unknown option":               {"m/template.yaml", "category: news\npush:\n  apns:\n    thread: orders", "m/template.yaml:4:13", []string{"push: /apns/thread"}},
		"a value out of range":            {"m/template.yaml", "push: {apns: {badge: -1}}", "m/template.yaml:1:22", []string{"push: /apns/badge", "-1"}},
		"two that cannot be together":     {"m/template.yaml", "push: {apns: {push_type: background, priority: 10}}", "m/template.yaml:1:48", []string{"Apple refuses"}},
		"no mapping":                      {"m/template.yaml", "push: loud", "m/template.yaml:1:7", []string{"wants push options", "docs/push.md"}},
		"nothing":                         {"m/template.yaml", "push:", "m/template.yaml:1:6", []string{"wants push options"}},
		"a value of another kind":         {"m/template.yaml", "push: {fcm: {image: [a]}}", "m/template.yaml:1:21", []string{"push: /fcm/image"}},
		"the catalogue's":                 {"catalogue.yaml", "defaults:\n  push: {apns: {priority: 7}}", "catalogue.yaml:2:27", []string{"push: /apns/priority", "is 7"}},
		"one that only both together are": {"m/template.yaml", "push: {apns: {aps: {badge: 2}}}", "m/template.yaml:1:28", []string{"write it as badge"}},
	} {
		t.Run(name, func(t *testing.T) {
			faults := loadFaults(t, folder("m/en/push.title.txt", "hi", tc.file, tc.text))
			wantFault(t, faults, tc.place, tc.words...)
			if len(faults) != 1 {
				t.Errorf("got %v, want one fault", faults)
			}
		})
	}
	t.Run("a template that sends no push", func(t *testing.T) {
		wantFault(t, loadFaults(t, mail("hi", "m/template.yaml", "push: {apns: {badge: 1}}")), "m/template.yaml:1:7", "no parts for push", "m/en/push.title.txt")
	})
}

func TestAPartThatTheSettingsMakeImpossibleIsNamedWithoutValues(t *testing.T) {
	c := mustLoad(t, folder("m/template.yaml", "push: {apns: {push_type: background}}", "m/en/push.title.txt", "hi",
		"m/en/push.options.json", `{"apns": {"priority": {{json .data.n}}}}`))
	if _, err := c.Render(request("m", notice.MediumPush, `{"n":10}`)); err == nil || !strings.Contains(err.Error(), `push.options.json`) || !strings.Contains(err.Error(), `at "/apns/priority":`) {
		t.Errorf("got %v, want it to name the part and the option", err)
	}
	if r, err := c.Render(request("m", notice.MediumPush, `{"n":5}`)); err != nil || r.Content.Push.Options.APNs.PushType != notice.PushBackground {
		t.Errorf("with 5: got %+v, %v", r.Content.Push, err)
	}
}

func TestPushOptionsAreOfTheVersion(t *testing.T) {
	versions := map[string]bool{}
	for _, text := range []string{"{}", "push: {apns: {badge: 1}}", "push: {apns: {badge: 2}}"} {
		c := mustLoad(t, folder("m/en/push.title.txt", "hi", "m/template.yaml", text))
		m, _ := c.Template("m")
		versions[m.Version] = true
	}
	if len(versions) != 3 {
		t.Errorf("got the versions %v, want three", versions)
	}
}

// FuzzMergedOptionsHoldEveryMemberOfBoth merges whatever objects there are.
func FuzzMergedOptionsHoldEveryMemberOfBoth(f *testing.F) {
	f.Add(`{"a":{"b":1}}`, `{"a":{"c":2},"d":null}`)
	f.Add(`{"a":1}`, `{"a":{"b":2}}`)
	f.Add(`{}`, `{"a":1,"a":2}`)
	f.Fuzz(func(t *testing.T, low, high string) {
		under, over := jsontext.Value(low), jsontext.Value(high)
		if !under.IsValid() || !over.IsValid() || under.Kind() != '{' || over.Kind() != '{' {
			return
		}
		var a, b, both map[string]any
		if json.Unmarshal(under, &a) != nil || json.Unmarshal(over, &b) != nil || json.Unmarshal(mergeJSON(under, over), &both) != nil {
			t.Fatalf("%s over %s came to %s", high, low, mergeJSON(under, over))
		}
		for name := range a {
			if _, there := both[name]; !there {
				t.Errorf("%s over %s lost %q", high, low, name)
			}
		}
		for name := range both {
			_, below := a[name]
			if _, above := b[name]; !below && !above {
				t.Errorf("%s over %s made %q up", high, low, name)
			}
		}
	})
}
