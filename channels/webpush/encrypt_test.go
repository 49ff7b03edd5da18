package webpush

import (
	"bytes"
	"crypto/ecdh"
	"net/http"
	"strings"
	"testing"

	other "github.com/SherClockHolmes/webpush-go"
)

// The example of RFC 8291 §5, byte for byte.
func TestTheExampleOfRFC8291ComesOut(t *testing.T) {
	s, err := parseSubscription(`{"endpoint":"https://push.example.net/push/JzLQ3raZJfFBR0aqvOMsLrt54w4rJUsV","keys":{
		"p256dh":"BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4",
		"auth":"BTBZMqHH6r4Tts7J_aSIgg"}}`)
	if err != nil {
		t.Fatal(err)
	}
	own, err := ecdh.P256().NewPrivateKey(unb64(t, "yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"))
	if err != nil {
		t.Fatal(err)
	}
	salt := [saltBytes]byte(unb64(t, "DGv6ra1nlYgDCS1FRnbzlw"))
	got, err := seal(s, own, salt, []byte("When I grow up, I want to be a watermelon\x02"))
	if err != nil {
		t.Fatal(err)
	}
	const want = "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIg" +
		"Dll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
	if b64(got) != want {
		t.Errorf("got\n%s, want\n%s", b64(got), want)
	}
}

func TestOneReaderReadsOursAndTheUsualLibrarys(t *testing.T) {
	b := newBrowser(t)
	const text = `{"id":"d-1","title":"Grüße"}`
	s, err := parseSubscription(b.subscription("https://push.example.net/x"))
	if err != nil {
		t.Fatal(err)
	}
	ours, err := encrypt(s, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	theirs := libraryBody(t, b, text)
	for name, body := range map[string][]byte{"ours": ours, "the library's": theirs} {
		got, err := b.read(body)
		if err != nil || string(got) != text {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if len(ours) >= len(theirs) {
		t.Errorf("ours has %d bytes and the library's %d", len(ours), len(theirs))
	}
}

// libraryBody is the body that webpush-go sends.
func libraryBody(t testing.TB, b *browser, text string) []byte {
	private, public, err := other.GenerateVAPIDKeys()
	if err != nil {
		t.Fatal(err)
	}
	var c capture
	_, err = other.SendNotification([]byte(text),
		&other.Subscription{Endpoint: "https://push.example.net/x", Keys: other.Keys{P256dh: b64(b.key.PublicKey().Bytes()), Auth: b64(b.auth)}},
		&other.Options{HTTPClient: &c, Subscriber: "ops@acme.example", VAPIDPrivateKey: private, VAPIDPublicKey: public})
	if err != nil {
		t.Fatal(err)
	}
	return c.body.Bytes()
}

// capture takes a request in place of a network.
type capture struct{ body bytes.Buffer }

func (c *capture) Do(r *http.Request) (*http.Response, error) {
	c.body.ReadFrom(r.Body)
	return &http.Response{StatusCode: http.StatusCreated, Body: http.NoBody}, nil
}

func TestEveryLengthSurvivesAndFitsOneRecord(t *testing.T) {
	b := newBrowser(t)
	s, err := parseSubscription(b.subscription("https://push.example.net/x"))
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{0, 1, 126, 127, 128, 129, maxPayload, maxPlain - 1, maxPlain} {
		text := bytes.Repeat([]byte{0}, n) // zeros look like padding
		body, err := encrypt(s, text)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := b.read(body); err != nil || !bytes.Equal(got, text) {
			t.Errorf("%d bytes: read %d, %v", n, len(got), err)
		}
		if plain := len(body) - headBytes - tagBytes; plain%padTo != 0 && len(body) != recordSize {
			t.Errorf("%d bytes: a length that tells: %d", n, plain)
		}
	}
}

func TestTwoMessagesShareNeitherKeyNorSalt(t *testing.T) {
	s, err := parseSubscription(newBrowser(t).subscription("https://push.example.net/x"))
	if err != nil {
		t.Fatal(err)
	}
	one, _ := encrypt(s, []byte("same"))
	two, _ := encrypt(s, []byte("same"))
	if bytes.Equal(one[:saltBytes], two[:saltBytes]) || bytes.Equal(one[21:headBytes], two[21:headBytes]) {
		t.Error("a salt or a key was used twice")
	}
}

func TestSubscriptionsAreCheckedWithoutBeingRepeated(t *testing.T) {
	b := newBrowser(t)
	good := b.subscription("https://push.example.net/secret-capability")
	if _, err := parseSubscription(good); err != nil {
		t.Fatal(err)
	}
	key, auth := b64(b.key.PublicKey().Bytes()), b64(b.auth)
	for name, tc := range map[string]struct{ text, says string }{
		"not JSON":                       {`secret`, "not the JSON"},
		"nothing":                        {``, "not the JSON"},
		"a list":                         {`[]`, "not the JSON"},
		"no endpoint":                    {b.subscription(""), "no endpoint"},
		"plain http":                     {b.subscription("http://push.example.net/secret"), "https"},
		"another scheme":                 {b.subscription("file:///etc/secret"), "not a URL"},
		"no host":                        {b.subscription("https:///secret"), "not a URL"},
		"a port without a host":          {b.subscription("https://:443/secret"), "not a URL"},
		"a password":                     {b.subscription("https://u:secret@push.example.net/"), "user or password"},
		"a control character":            {b.subscription("https://push.example.net/\x01secret"), "not"},
		"no keys":                        {`{"endpoint":"https://push.example.net/secret"}`, "p256dh"},
		"a key that is not base64":       {strings.Replace(good, key, "!secret!", 1), "p256dh is not base64url"},
		"a key that is short":            {strings.Replace(good, key, key[:40], 1), "not a point"},
		"a key that is not on the curve": {strings.Replace(good, key, b64(append([]byte{4}, make([]byte, 64)...)), 1), "not a point"},
		"a secret that is short":         {strings.Replace(good, auth, auth[:10], 1), "16 bytes"},
		"far too long":                   {`{"endpoint":"https://push.example.net/` + strings.Repeat("secret", 2000) + `"}`, "at most"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parseSubscription(tc.text)
			if err == nil || !strings.Contains(err.Error(), tc.says) {
				t.Fatalf("error %v, want it to say %q", err, tc.says)
			}
			if strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "example.net") {
				t.Errorf("it repeats what it was given: %v", err)
			}
		})
	}
}

func TestKeysInEitherBase64AreRead(t *testing.T) {
	raw := []byte{0xfb, 0xef, 0xff, 0x01}
	for _, s := range []string{"++//AQ==", "++//AQ", "--__AQ==", "--__AQ"} {
		if got, err := decode(s); err != nil || !bytes.Equal(got, raw) {
			t.Errorf("%s: %x, %v", s, got, err)
		}
	}
}

func TestAnAudienceIsTheOrigin(t *testing.T) {
	for endpoint, want := range map[string]string{
		"https://Push.Example.net/x?y":   "https://push.example.net",
		"https://push.example.net:443/x": "https://push.example.net",
		"https://push.example.net:8443/": "https://push.example.net:8443",
	} {
		u, err := parseEndpoint(endpoint)
		if err != nil {
			t.Fatal(err)
		}
		if got := (&subscription{endpoint: u}).audience(); got != want {
			t.Errorf("%s: %s, want %s", endpoint, got, want)
		}
	}
}

func FuzzASubscriptionIsReadOrRefused(f *testing.F) {
	f.Add(newBrowser(f).subscription("https://push.example.net/x"))
	f.Add(`{"endpoint":"https://[::1%25eth0]/","keys":{}}`)
	f.Fuzz(func(t *testing.T, text string) {
		s, err := parseSubscription(text)
		if err != nil {
			return
		}
		if s.endpoint.Scheme != "https" || s.endpoint.Hostname() == "" {
			t.Errorf("read %q", text)
		}
		if _, err := encrypt(s, []byte("x")); err != nil {
			t.Errorf("%q cannot be encrypted for: %v", text, err)
		}
	})
}
