package webhook

import (
	"testing"

	"github.com/carillonhq/carillon/notice"
)

func TestAddressesOfOneHostHaveOneDestination(t *testing.T) {
	a := localAdapter(t)
	for raw, want := range map[string]string{
		"https://a.example/hook":           "https://a.example",
		"https://a.example":                "https://a.example",
		"https://a.example:443/hook":       "https://a.example",
		"https://A.example/hook":           "https://a.example",
		"https://a.example:8443/hook?x=/y": "https://a.example:8443",
		"https://a.example?x=1":            "https://a.example",
		"https://u:p@a.example/hook":       "https://a.example",
		"http://a.example/hook":            "http://a.example",
		"http://127.0.0.1:9/h":             "http://127.0.0.1:9",
		"http://[::1]:9/h":                 "http://[::1]:9",
		"https://b\u00fccher.example/h":    "https://xn--bcher-kva.example",
		"ftp://a.example/":                 "",
		"https:///hook":                    "",
		"https://":                         "",
		"":                                 "",
	} {
		if got := a.Destination(notice.Address{To: raw}); got != want {
			t.Errorf("%q: %q, want %q", raw, got, want)
		}
	}
}
