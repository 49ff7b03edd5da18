package fcm

import (
	"strings"
	"testing"
	"time"

	"github.com/carillonhq/carillon/channels"
	"github.com/carillonhq/carillon/notice"
	"github.com/go-json-experiment/json/jsontext"
)

func TestEncodeCountsWhatFCMCounts(t *testing.T) {
	m := channels.Message{ID: "0-abc", Address: notice.Address{Channel: notice.ChannelFCM, To: "token"},
		Content: notice.Content{Push: &notice.PushContent{Title: "Hi", Body: "there", Data: jsontext.Value(`{"a":[1, 2]}`)}}}
	raw, size, err := Encode(m, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if want := len("Hi") + len("there") + len("a") + len("[1,2]"); size != want {
		t.Errorf("size %d, want %d", size, want)
	}
	if !strings.Contains(string(raw), `"data":{"a":"[1,2]"}`) || !strings.Contains(string(raw), `"token":"token"`) {
		t.Errorf("message %s", raw)
	}
	m.Content.Push.Title = strings.Repeat("x", MaxPayload)
	if _, _, err := Encode(m, time.Now()); err == nil {
		t.Error("a message over the limit was encoded")
	}
}
