package recipients

import (
	"strings"
	"testing"

	"github.com/carillonhq/carillon/notice"
)

func TestTheOwnerOfAKeyIsWhatItsPartitionWasChosenBy(t *testing.T) {
	var tenant, subject string
	k := keys{"ns", func(a, b string) int { tenant, subject = a, b; return 3 }}
	for _, key := range []func() (int, string){
		func() (int, string) { return k.profile("a:c%m", "u:1") },
		func() (int, string) { return k.suppression("acme", notice.ChannelEmail, "ada@example.com") },
		func() (int, string) { return k.suppression("a%3Ab", notice.ChannelWebhook, "https://a.example:8/h") },
		func() (int, string) { return k.optOuts("acme", "ada@example.com") },
	} {
		_, name := key()
		gotTenant, gotSubject, ok := Owner(strings.TrimPrefix(name, "{ns:3}:"))
		if !ok || gotTenant != tenant || gotSubject != subject {
			t.Errorf("%s is of %q, %q (%t), want %q, %q", name, gotTenant, gotSubject, ok, tenant, subject)
		}
	}
	for _, name := range []string{"failing", "n:06h0gd90eatdk9rvfar9", "c:x:acme:u", "events:normal", "later"} {
		if _, _, ok := Owner(name); ok {
			t.Errorf("%s has an owner here", name)
		}
	}
}
