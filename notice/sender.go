package notice

import (
	"net/mail"
	"strings"
)

// maxSenderName is how long a sender's name may be, in bytes.
const maxSenderName = 200

// CheckSenderName says what is wrong with the name of a mail's sender, with the
// mend; empty when nothing is, or when there is no name.
func CheckSenderName(name string) string {
	switch {
	case len(name) > maxSenderName:
		return tooLong(len(name), maxSenderName)
	case !printable(name):
		return unprintable(name)
	case strings.Contains(name, "@"):
		return "is a name that readers would take for an address: write the name alone, the address is the channel's"
	}
	return ""
}

// CheckReplyTo says what is wrong with a mailbox that answers go to, with the
// mend; empty when nothing is, or when there is none. It does not quote it.
func CheckReplyTo(mailbox string) string {
	if mailbox == "" {
		return ""
	}
	addr, err := mail.ParseAddress(mailbox)
	if err != nil || !printable(mailbox) {
		return "is no mailbox: write it as help@acme.example or \"Help <help@acme.example>\""
	}
	return CheckSenderName(addr.Name)
}
