package e2e_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/carillonhq/carillon/channels/sandbox"
	"github.com/carillonhq/carillon/notice"
)

// TestAMailsOwnLinkEndsItsCategory follows the link of a mail that arrived, for
// a user and for an address that is nobody's, and takes it back.
func TestAMailsOwnLinkEndsItsCategory(t *testing.T) {
	t.Parallel()
	box, err := sandbox.Start(t.Context(), sandbox.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { box.Close() })
	relay := box.Section().Email.SMTP
	g := newGateway(t, sections{"channels": fmt.Sprintf(`{email: {smtp: {host: %q, port: %d, tls: none}, from: "no-reply@acme.example", mandatory: [security],
  unsubscribe_url: "https://notify.acme.example/u", unsubscribe_key: "0123456789abcdef0123456789abcdef"}}`, relay.Host, relay.Port)})
	g.write("catalogue/order-shipped/en/email.txt", "Your order is on its way.{{with .unsubscribe_url}} Leave: {{.}}{{end}}\n")
	api := newClient(t, g.ingest().api)
	g.consume("a")
	for name, to := range map[string]object{
		"a user":     {"user": "u42", "email": "ada@example.com"},
		"an address": {"email": "bob@example.com"},
	} {
		order := object{"template": "order-shipped", "to": to, "data": object{"order": "A-1"}, "channels": []string{"email"}}
		api.awaitStatus(api.post(order), "delivered")
		mails, err := box.Wait(t.Context(), 1, sandbox.Filter{Channel: notice.ChannelEmail, To: to["email"].(string)})
		if err != nil {
			t.Fatal(err)
		}
		link := strings.Trim(mails[0].Header("List-Unsubscribe"), "<> ")
		if mails[0].Header("List-Unsubscribe-Post") != "List-Unsubscribe=One-Click" || !strings.Contains(mails[0].Text, "Leave: "+link) {
			t.Fatalf("%s: the mail has the headers %v and the text %q", name, mails[0].Headers, mails[0].Text)
		}
		path := strings.TrimPrefix(link, "https://notify.acme.example")
		say := func(word string) {
			t.Helper()
			if a := api.call("POST", path, []byte("List-Unsubscribe="+word), "Content-Type", "application/x-www-form-urlencoded"); a.status != 200 {
				t.Fatalf("%s: %s: %d %s", name, word, a.status, a.body)
			}
		}
		say("One-Click")
		r := api.awaitStatus(api.post(order), "suppressed")
		if last := r.Deliveries[0].Timeline[len(r.Deliveries[0].Timeline)-1]; last.Code != "preferences" {
			t.Errorf("%s: the record says %+v", name, last)
		}
		security := object{"to": to, "category": "security", "content": object{"email": object{"subject": "A new login", "text": "from Vienna"}}}
		api.awaitStatus(api.post(security), "delivered")
		say("Undo")
		api.awaitStatus(api.post(order), "delivered")
		for _, m := range box.Messages(sandbox.Filter{Channel: notice.ChannelEmail, Search: "A new login"}) {
			if m.Header("List-Unsubscribe") != "" {
				t.Errorf("%s: a mandatory mail has a link", name)
			}
		}
	}
}
