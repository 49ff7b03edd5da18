package notice

import (
	"strings"
	"time"
)

// FeedbackKind is what became of a mail after its relay had taken it.
type FeedbackKind string

// The kinds of feedback, and what follows from each.
const (
	FeedbackHard      FeedbackKind = "hard"      // the address is dead: it is suppressed
	FeedbackSoft      FeedbackKind = "soft"      // it did not arrive this time: counted
	FeedbackBlocked   FeedbackKind = "blocked"   // refused for what it is or whom it is from: says nothing of the address
	FeedbackComplaint FeedbackKind = "complaint" // its reader called it spam: the address is suppressed
	FeedbackDelivery  FeedbackKind = "delivery"  // it arrived: soft bounces before it count no more
)

// Bounce reports whether k says that a mail did not arrive.
func (k FeedbackKind) Bounce() bool {
	return k == FeedbackHard || k == FeedbackSoft || k == FeedbackBlocked
}

// Feedback is what somebody says of a mail that was delivered, as far as it is
// known.
type Feedback struct {
	Source   string // who says it, as metrics name it: api, smtp, or a provider
	Kind     FeedbackKind
	Tenant   string
	Address  string    // whom the mail was for; empty: not said
	Delivery string    // its id; empty: not known
	Code     string    // the enhanced status code (RFC 3463), or the provider's word
	Detail   string    // the words of whoever said it, scrubbed; see ScrubMail
	At       time.Time // when it happened; zero: not said
	Event    string    // the provider's id of this report; the same report counts once
}

// Words is the feedback in one line, as records and suppressions have it.
func (f Feedback) Words() string { return strings.TrimSpace(f.Code + " " + f.Detail) }

// DeliveryOfMessageID is the delivery that a mail's Message-ID names, with or
// without its angle brackets; empty when it is none of this gateway's.
func DeliveryOfMessageID(header string) string {
	id, _, _ := strings.Cut(strings.Trim(strings.TrimSpace(header), "<>"), "@")
	if _, _, ordinal, err := SplitID(id); err != nil || ordinal < 0 {
		return ""
	}
	return id
}

// mostScrubbed bounds what ScrubMail keeps, in bytes.
const mostScrubbed = 120

// ScrubMail makes the words of a mail server safe to keep: on one line, short,
// and without any address, which they like to repeat.
func ScrubMail(words string) string {
	var b strings.Builder
	for word := range strings.FieldsSeq(strings.Map(visible, strings.ToValidUTF8(words, "?"))) {
		if strings.Contains(word, "@") || strings.Contains(strings.ToLower(word), "%40") {
			word = "[address]"
		}
		if b.Len()+len(word) >= mostScrubbed {
			break
		}
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(word)
	}
	return b.String()
}

// visible makes a space of what is no character to show.
func visible(r rune) rune {
	if r < ' ' || r == 0x7f || r == '\u2028' || r == '\u2029' {
		return ' '
	}
	return r
}
