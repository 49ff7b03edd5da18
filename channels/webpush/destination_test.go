package webpush

import (
	"testing"

	"github.com/carillonhq/carillon/notice"
)

func TestSubscriptionsOfOneServiceHaveOneDestination(t *testing.T) {
	for text, want := range map[string]string{
		`{"endpoint":"https://push.example/a/b","keys":{}}`: "https://push.example",
		`{"keys":{},"endpoint":"https://push.example/a/b"}`: "https://push.example",
		`{ "endpoint" : "https:\/\/PUSH.example:443\/a" }`:  "https://push.example",
		`{"endpoint":"https://push.example:8443/a"}`:        "https://push.example:8443",
		`{"endpoint":"https://u:p@push.example/a"}`:         "",
		`{"endpoint":"http://push.example/a"}`:              "",
		`{"endpoint":"https:///a"}`:                         "",
		`{"endpoint":`:                                      "", `no JSON`: "", ``: "",
	} {
		if got := (*Adapter)(nil).Destination(notice.Address{To: text}); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}
