package fcm

import (
	"testing"

	"github.com/go-json-experiment/json/jsontext"
)

// canonical is the JSON in its canonical form (RFC 8785), to compare by.
func canonical(t *testing.T, raw []byte) string {
	t.Helper()
	v := jsontext.Value(raw).Clone()
	if err := v.Canonicalize(); err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	return string(v)
}
