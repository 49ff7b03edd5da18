package notice_test

import (
	"strings"
	"testing"
	"time"

	"github.com/carillonhq/carillon/notice"
)

// faultsOf decodes and validates a body.
func faultsOf(body string) error {
	n, err := notice.DecodeNotification([]byte(body))
	if err != nil {
		return err
	}
	return n.Validate(time.Now()).Err()
}

func TestWhatAPushMayBeToldBesideItsText(t *testing.T) {
	for name, tc := range map[string]struct{ push, pointer, says string }{
		"everything of apns": {`"title":"t","options":{"apns":{"push_type":"alert","priority":5,"badge":0,"sound":{"critical":1,"name":"a.caf","volume":0.5},"thread_id":"t","category":"c",
			"interruption_level":"time-sensitive","relevance_score":0.5,"mutable_content":true,"content_available":true,"target_content_id":"w","filter_criteria":"f","aps":{"alert":{"subtitle":"s"}}}}`, "", ""},
		"everything of fcm": {`"title":"t","options":{"fcm":{"analytics_label":"a-1","image":"https://i.example/a.png","android":{"priority":"high","notification":{"channel_id":"c","color":"#a1B2c3"}},
			"apns":{"headers":{"apns-priority":"5"},"payload":{"aps":{}}},"webpush":{"link":"https://x.example","notification":{"icon":"i"}}}}`, "", ""},
		"everything of webpush":           {`"title":"t","options":{"webpush":{"urgency":"very-low","notification":{"tag":"x"}}}`, "", ""},
		"a live activity without text":    {`"options":{"apns":{"push_type":"liveactivity","relevance_score":100,"aps":{"event":"end","timestamp":1}}}`, "", ""},
		"a sound that is silence":         {`"title":"t","options":{"apns":{"sound":null}}`, "", ""},
		"data that would overwrite aps":   {`"title":"t","data":{"aps":{"badge":1}}`, "/content/push/data/aps", "options/apns"},
		"the same under an escape":        {`"title":"t","data":{"\u0061ps":1}`, "/content/push/data/aps", "options/apns"},
		"nothing to say":                  {`"options":{"apns":{"badge":1}}`, "/content/push", "title, body or data"},
		"an unknown option":               {`"title":"t","options":{"apns":{"bagde":1}}`, "/content/push/options/apns/bagde", "badge"},
		"an unknown service":              {`"title":"t","options":{"apn":{}}`, "/content/push/options/apn", "apns"},
		"an unknown push type":            {`"title":"t","options":{"apns":{"push_type":"alrt"}}`, "/content/push/options/apns/push_type", "alert"},
		"a priority that is none":         {`"title":"t","options":{"apns":{"priority":7}}`, "/content/push/options/apns/priority", "want 10"},
		"a background push in haste":      {`"data":{},"options":{"apns":{"push_type":"background","priority":10}}`, "/content/push/options/apns/priority", "refuses"},
		"push to talk that waits":         {`"data":{},"options":{"apns":{"push_type":"pushtotalk","priority":5}}`, "/content/push/options/apns/priority", "10"},
		"a negative badge":                {`"title":"t","options":{"apns":{"badge":-1}}`, "/content/push/options/apns/badge", "want 0"},
		"a badge that is a text":          {`"title":"t","options":{"apns":{"badge":"1"}}`, "/content/push/options/apns/badge", "number"},
		"a relevance beyond one":          {`"title":"t","options":{"apns":{"relevance_score":2}}`, "/content/push/options/apns/relevance_score", "0 to 1"},
		"a sound that is a number":        {`"title":"t","options":{"apns":{"sound":1}}`, "/content/push/options/apns/sound", "file's name"},
		"a sound with another member":     {`"title":"t","options":{"apns":{"sound":{"critical":1,"loud":1}}}`, "/content/push/options/apns/sound", "critical"},
		"a volume beyond one":             {`"title":"t","options":{"apns":{"sound":{"volume":2}}}`, "/content/push/options/apns/sound/volume", "0 to 1"},
		"an aps that says it twice":       {`"title":"t","options":{"apns":{"aps":{"thread-id":"x"}}}`, "/content/push/options/apns/aps/thread-id", "thread_id"},
		"an aps that is a list":           {`"title":"t","options":{"apns":{"aps":[]}}`, "/content/push/options/apns/aps", "object"},
		"a thread that reads backwards":   {`"title":"t","options":{"apns":{"thread_id":"a\u202eb"}}`, "/content/push/options/apns/thread_id", "printed"},
		"a thread with NUL":               {`"title":"t","options":{"apns":{"thread_id":"a\u0000b"}}`, "/content/push/options/apns/thread_id", "printed"},
		"a category without end":          {`"title":"t","options":{"apns":{"category":"` + strings.Repeat("c", 513) + `"}}`, "/content/push/options/apns/category", "512"},
		"a label with a space":            {`"title":"t","options":{"fcm":{"analytics_label":"a b"}}`, "/content/push/options/fcm/analytics_label", "letters"},
		"a picture without TLS":           {`"title":"t","options":{"fcm":{"image":"http://i.example"}}`, "/content/push/options/fcm/image", "https"},
		"a color by name":                 {`"title":"t","options":{"fcm":{"android":{"notification":{"color":"red"}}}}`, "/content/push/options/fcm/android/notification/color", "#rrggbb"},
		"a header that breaks its line":   {`"title":"t","options":{"fcm":{"apns":{"headers":{"a":"b\r\nc"}}}}`, "/content/push/options/fcm/apns/headers", "header"},
		"an urgency that is none":         {`"title":"t","options":{"webpush":{"urgency":"hihg"}}`, "/content/push/options/webpush/urgency", "high"},
		"a notification that is a number": {`"title":"t","options":{"webpush":{"notification":1}}`, "/content/push/options/webpush/notification", "object"},
		"data that is a bomb":             {`"title":"t","data":{"a":` + strings.Repeat("[", 70) + strings.Repeat("]", 70) + `}`, "", "nests deeper"},
	} {
		t.Run(name, func(t *testing.T) {
			err := faultsOf(`{"to":{"user":"u"},"content":{"push":{` + tc.push + `}}}`)
			faults, _ := err.(notice.Faults)
			switch {
			case tc.says == "" && err != nil:
				t.Errorf("refused: %v", err)
			case tc.says != "" && (len(faults) != 1 || faults[0].Pointer != tc.pointer || !strings.Contains(faults[0].Detail, tc.says)):
				t.Errorf("got %v, want %s to say %q", err, tc.pointer, tc.says)
			}
		})
	}
}

func TestTopicsConditionsAndEnvironmentsOfDevices(t *testing.T) {
	ios := strings.Repeat("ab", 32)
	for name, tc := range map[string]struct{ device, pointer string }{
		"a topic":                          {`"platform":"android","token":"topic:news-de_1.0~%20"`, ""},
		"a condition":                      {`"platform":"android","token":"condition:'a' in topics && ('b' in topics || !('c' in topics))"`, ""},
		"a registration token":             {`"platform":"android","token":"dK3xyz:APA91b-_x"`, ""},
		"an environment":                   {`"platform":"ios","environment":"sandbox","token":"` + ios + `"`, ""},
		"an environment that is none":      {`"platform":"ios","environment":"staging","token":"` + ios + `"`, "/to/devices/0/environment"},
		"a topic with a slash":             {`"platform":"android","token":"topic:/topics/news"`, "/to/devices/0/token"},
		"a topic without a name":           {`"platform":"android","token":"topic:"`, "/to/devices/0/token"},
		"a condition that ends early":      {`"platform":"android","token":"condition:'a' in topics &&"`, "/to/devices/0/token"},
		"a condition with a quote open":    {`"platform":"android","token":"condition:'a in topics"`, "/to/devices/0/token"},
		"a bracket that is not closed":     {`"platform":"android","token":"condition:('a' in topics"`, "/to/devices/0/token"},
		"a bracket too many":               {`"platform":"android","token":"condition:'a' in topics)"`, "/to/devices/0/token"},
		"six topics":                       {`"platform":"android","token":"condition:` + strings.Repeat("'a' in topics || ", 5) + `'a' in topics"`, "/to/devices/0/token"},
		"brackets without end":             {`"platform":"android","token":"condition:` + strings.Repeat("(", 4000) + `"`, "/to/devices/0/token"},
		"a topic where there are none":     {`"platform":"ios","token":"topic:news"`, "/to/devices/0/token"},
		"a registration token with spaces": {`"platform":"android","token":"a b"`, "/to/devices/0/token"},
	} {
		t.Run(name, func(t *testing.T) {
			err := faultsOf(`{"template":"t","to":{"devices":[{` + tc.device + `}]}}`)
			faults, _ := err.(notice.Faults)
			if tc.pointer == "" && err != nil || tc.pointer != "" && (len(faults) != 1 || faults[0].Pointer != tc.pointer) {
				t.Errorf("got %v, want a fault at %q", err, tc.pointer)
			}
		})
	}
}

func FuzzAConditionIsReadInBoundedTime(f *testing.F) {
	f.Add("condition:'a' in topics && ('b' in topics || !'c' in topics)")
	f.Add("condition:((((((('a' in topics")
	f.Fuzz(func(t *testing.T, token string) {
		var faults notice.Faults
		d := notice.Device{Platform: notice.PlatformAndroid, Token: token}
		d.Check("", &faults)
		if len(faults) == 0 && notice.IsTopic(token) && strings.ContainsAny(token, "\r\n\x00") {
			t.Errorf("%q passes", token)
		}
	})
}
