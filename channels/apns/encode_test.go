package apns

import (
	"strings"
	"testing"

	"github.com/carillonhq/carillon/notice"
	"github.com/go-json-experiment/json/jsontext"
)

func TestEncodeIsWhatSendSends(t *testing.T) {
	got, err := Encode(&notice.PushContent{Title: "Hi", Body: "there", Data: jsontext.Value(`{"a":1}`)}, notice.LaneBulk)
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"aps":{"alert":{"title":"Hi","body":"there"},"sound":"default"},"a":1}`; string(got.Payload) != want {
		t.Errorf("payload %s, want %s", got.Payload, want)
	}
	if got.Most != 4096 || got.Type != notice.PushAlert || got.Priority != "5" {
		t.Errorf("encoded as %+v", got)
	}
	if got, err := Encode(&notice.PushContent{Title: "Hi", Body: strings.Repeat("ä", 4096)}, notice.LaneNormal); err != nil || len(got.Payload) > 4096 {
		t.Errorf("a long body has %d bytes (%v), at most 4096", len(got.Payload), err)
	}
	if _, err := Encode(&notice.PushContent{Title: strings.Repeat("x", 5000), Body: "y"}, notice.LaneNormal); err == nil {
		t.Error("a title of 5000 bytes was encoded")
	}
	if _, err := Encode(nil, notice.LaneNormal); err == nil {
		t.Error("no content was encoded")
	}
}
