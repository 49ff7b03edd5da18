package delivery_test

import (
	"slices"
	"testing"
	"time"

	"github.com/carillonhq/carillon/channels"
	"github.com/carillonhq/carillon/delivery"
	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/recipients"
)

// What nobody can leave goes out in spite of every wish, by a template's
// opt_out as by a category of mail, and not to a mailbox that does not exist.
func TestWhatNobodyCanLeaveIsHeldBackByNoWish(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{catalogue: map[string]string{
		"code/template.yaml":        "category: news\nopt_out: false\n",
		"code/en/email.subject.txt": "Your code",
		"code/en/email.txt":         "1234{{with .unsubscribe_url}} Leave: {{.}}{{end}}",
		"code/en/push.title.txt":    "Your code",
	}})
	w.start("c1", func(o *delivery.Options) {
		o.Mandatory = []string{"security"}
		o.UnsubscribeLink = func(d *notice.Delivery) string { return "https://u.example/" + d.Category }
	})
	phone := []recipients.Device{{Platform: "ios", Token: "abababababababababababababababababababababababababababababababab"}}
	w.profile("unwilling", recipients.Profile{Email: "unwilling@example.com", Devices: phone, Preferences: recipients.Preferences{"*": {"*": false}}})
	w.profile("complained", recipients.Profile{Email: "complained@example.com"})
	w.profile("bounced", recipients.Profile{Email: "bounced@example.com"})
	w.profile("refused", recipients.Profile{Email: "refused@example.com"})
	w.reported(notice.FeedbackComplaint, "complained@example.com")
	w.reported(notice.FeedbackHard, "bounced@example.com")
	if err := w.people.Suppress(t.Context(), "acme", notice.ChannelEmail, "refused@example.com", "legal"); err != nil {
		t.Fatal(err)
	}
	if err := w.people.OptOut(t.Context(), "acme", "left@example.com", "news"); err != nil {
		t.Fatal(err)
	}
	both := func(template, category string) []notice.Notification {
		out := make([]notice.Notification, 5)
		for i, user := range []string{"unwilling", "complained", "bounced", "refused", ""} {
			out[i] = toUser(user, notice.MediumEmail)
			out[i].Template, out[i].Category = template, category
		}
		out[4].To.Email = "left@example.com"
		return out
	}
	for name, tc := range map[string]struct {
		template, category string
		want               []string // of unwilling, complained, bounced, refused, left
		link               bool
	}{
		"another template can be left": {"ping", "news",
			[]string{"suppressed preferences", "suppressed suppressed", "suppressed suppressed", "suppressed suppressed", "suppressed preferences"}, true},
		"a template with opt_out: false": {"code", "news",
			[]string{"delivered 200", "delivered 200", "suppressed suppressed", "suppressed suppressed", "delivered 200"}, false},
		"a mandatory category of mail": {"ping", "security",
			[]string{"delivered 200", "delivered 200", "suppressed suppressed", "suppressed suppressed", "delivered 200"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := w.in(t)
			var got []string
			for _, n := range both(tc.template, tc.category) {
				id := w.admit(n)
				got = append(got, statuses(w.ended(id))...)
				for _, m := range w.email.sent(id) {
					if m.Unsubscribe != "" {
						t.Errorf("what nobody can leave has the link %q", m.Unsubscribe)
					}
					if tc.template == "code" && m.Content.Email.Text != "1234" {
						t.Errorf("the mail says %q", m.Content.Email.Text)
					}
				}
			}
			if !slices.Equal(got, tc.want) {
				t.Errorf("ended as %v, want %v", got, tc.want)
			}
			w.profile("willing", recipients.Profile{Email: "willing@example.com"})
			n := toUser("willing", notice.MediumEmail)
			n.Template, n.Category = tc.template, tc.category
			id := w.admit(n)
			w.ended(id)
			if m := w.email.sent(id); len(m) != 1 || (m[0].Unsubscribe != "") != tc.link {
				t.Errorf("sent %+v, want a link: %v", m, tc.link)
			}
		})
	}
	t.Run("a push of the template too, and none of the category of mail", func(t *testing.T) {
		w := w.in(t)
		n := toUser("unwilling", notice.MediumPush)
		n.Template = "code"
		if got := statuses(w.ended(w.admit(n))); !slices.Equal(got, []string{"delivered 200"}) {
			t.Errorf("of the template: %v", got)
		}
		n.Template, n.Category = "ping", "security"
		if got := statuses(w.ended(w.admit(n))); !slices.Equal(got, []string{"suppressed preferences"}) {
			t.Errorf("of the category: %v", got)
		}
	})
	t.Run("a given content knows no template", func(t *testing.T) {
		w := w.in(t)
		n := toUser("unwilling", notice.MediumEmail)
		n.Template, n.Data, n.Content = "", nil, &notice.Content{Email: &notice.EmailContent{Subject: "s", Text: "t"}}
		if got := statuses(w.ended(w.admit(n))); !slices.Equal(got, []string{"suppressed preferences"}) {
			t.Errorf("ended as %v", got)
		}
	})
	w.nothingLeft()
}

// reported has the provider say what became of a mail to an address.
func (w *world) reported(kind notice.FeedbackKind, address string) {
	w.t.Helper()
	f := notice.Feedback{Kind: kind, Tenant: "acme", Address: address, Code: "5.1.1", At: w.clock.Now()}
	if _, err := w.people.TakeFeedback(w.t.Context(), f, recipients.SoftLimit{Count: 5, Within: time.Hour}); err != nil {
		w.t.Fatal(err)
	}
}

// A link is as the delivery's own version wants it, on every attempt.
func TestEveryAttemptHasTheLinkOfItsVersion(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{})
	w.email.results(channels.Result{Verdict: channels.Retry, Code: "451"}, channels.Result{Verdict: channels.Sent, Code: "250"})
	w.start("c1", func(o *delivery.Options) {
		o.UnsubscribeLink = func(*notice.Delivery) string { return "https://u.example/1" }
	})
	w.profile("ada", recipients.Profile{Email: "ada@example.com"})
	n := toUser("ada", notice.MediumEmail)
	n.Template = "mail"
	id := w.admit(n)
	w.became(id, 1, notice.StatusRetrying)
	before, _ := w.store.Current().Template("mail")
	w.setup.catalogue = map[string]string{"mail/template.yaml": "category: news\nopt_out: false\nsamples: {default: {n: 1}}\n"}
	w.writeCatalogue()
	w.await("the change of the catalogue", func() bool {
		now, _ := w.store.Current().Template("mail")
		return now.Version != before.Version && now.Mandatory
	})
	w.clock.Advance(time.Minute)
	w.ended(id)
	sent := w.email.sent(id)
	if len(sent) != 2 || sent[0].Unsubscribe == "" || sent[1].Unsubscribe != sent[0].Unsubscribe {
		t.Errorf("sent %+v, want the same link twice", sent)
	}
	w.nothingLeft()
}
