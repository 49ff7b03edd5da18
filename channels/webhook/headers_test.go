package webhook

import (
	"net/http"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

func TestHeadersAreWhatReceiversVerify(t *testing.T) {
	const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	body := []byte(`{"a":1}`)
	list, err := Headers(secret, "msg_1", time.Now(), body)
	if err != nil {
		t.Fatal(err)
	}
	h := http.Header{}
	for _, f := range list {
		h.Set(f.Name, f.Value)
	}
	judge, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	if err := judge.Verify(body, h); err != nil {
		t.Errorf("%v does not verify: %v", list, err)
	}
	if list, err := Headers("", "msg_1", time.Now(), body); err != nil || len(list) != 3 {
		t.Errorf("without a secret: %v, %v", list, err)
	}
	if _, err := Headers("whsec_?", "msg_1", time.Now(), body); err == nil {
		t.Error("a secret that cannot be read has signed")
	}
}
