package feedback

import (
	"regexp"
	"strings"

	"github.com/carillonhq/carillon/notice"
)

// whole matches an enhanced status code (RFC 3463) of a failure, and inWords
// one among words, where parts of IP addresses look like one.
var (
	whole   = regexp.MustCompile(`^[45]\.\d{1,3}\.\d{1,3}$`)
	inWords = regexp.MustCompile(`(?:^|[^0-9.])([45]\.\d{1,3}\.\d{1,3})(?:$|[^0-9.]|\.(?:$|[^0-9]))`)
)

// unknownUser matches how servers without enhanced codes say that there is no
// such mailbox. Only what says so in as many words: an address that is
// suppressed by mistake gets nothing any more.
var unknownUser = regexp.MustCompile(`(?i)\b(user unknown|unknown (local )?(user|recipient|mailbox)|no such (user|mailbox|recipient|address|person)|` +
	`(user|mailbox|recipient|address|account)( you tried to reach)? (does not|doesn't) exist|no mailbox here|(user|recipient|mailbox) not found|` +
	`unrouteable address|invalid recipient|unknown address)\b`)

// Code is the most telling enhanced status code of a failure: the report's own,
// unless that says nothing and the words of the server say more.
func Code(status, words string) string {
	status = strings.TrimSpace(status)
	if Telling(status) {
		return status
	}
	if m := inWords.FindStringSubmatch(words); m != nil && Telling(m[1]) && (status == "" || m[1][0] == status[0]) {
		return m[1]
	}
	if unknownUser.MatchString(words) && (status == "" || status[0] == '5') {
		return "5.1.1"
	}
	return status
}

// Telling reports whether an enhanced status code says more than "other or
// undefined".
func Telling(code string) bool {
	return whole.MatchString(code) && !strings.HasSuffix(code, ".0.0")
}

// Classify says what a failed mail's code means for its address. Only what
// names the mailbox itself is hard: a refusal for policy or for what the mail
// holds says nothing of the address, and everything else may pass.
func Classify(code string) notice.FeedbackKind {
	class, rest, _ := strings.Cut(code, ".")
	switch rest {
	case "1.7", "1.8", "1.9": // the sender's address
		return notice.FeedbackBlocked
	case "2.3", "3.4": // the mail is too large
		return notice.FeedbackBlocked
	case "2.1": // the mailbox is disabled
		if class == "5" {
			return notice.FeedbackHard
		}
	}
	subject, _, _ := strings.Cut(rest, ".")
	switch {
	case subject == "6", subject == "7": // content; policy and security
		return notice.FeedbackBlocked
	case class == "5" && subject == "1":
		return notice.FeedbackHard
	}
	return notice.FeedbackSoft
}
