package notice_test

import (
	"strings"
	"testing"

	"github.com/carillonhq/carillon/notice"
)

func TestASendersNameIsNoAddressAndNoHeader(t *testing.T) {
	for _, name := range []string{"", "Acme", "Acme Läden", "アクメ"} {
		if detail := notice.CheckSenderName(name); detail != "" {
			t.Errorf("%q %s", name, detail)
		}
	}
	for _, name := range []string{"security@bank.example", "A\r\nBcc: x", strings.Repeat("a", 201), "\u202eemca"} {
		if notice.CheckSenderName(name) == "" {
			t.Errorf("%q passed", name)
		}
	}
	for mailbox, ok := range map[string]bool{"": true, "help@acme.example": true, "Hilfe <help@acme.example>": true, "help": false, "a@b.example, c@d.example": false,
		"\"a@b\" <c@d.example>": false, "a@b.example\n": false} {
		if detail := notice.CheckReplyTo(mailbox); (detail == "") != ok {
			t.Errorf("%q %s", mailbox, detail)
		}
	}
}
