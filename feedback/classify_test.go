package feedback_test

import (
	"testing"

	"github.com/carillonhq/carillon/feedback"
	"github.com/carillonhq/carillon/notice"
)

func TestWhatAFailureMeansForItsAddress(t *testing.T) {
	for _, test := range []struct {
		name, status, words, code string
		kind                      notice.FeedbackKind
	}{
		{"no such mailbox", "5.1.1", "User unknown", "5.1.1", notice.FeedbackHard},
		{"no such domain", "5.1.2", "Host not found", "5.1.2", notice.FeedbackHard},
		{"no such recipient at Exchange", "5.1.10", "550 5.1.10 RESOLVER.ADR.RecipientNotFound", "5.1.10", notice.FeedbackHard},
		{"a mailbox that is disabled", "5.2.1", "", "5.2.1", notice.FeedbackHard},
		{"a mailbox that is disabled for now", "4.2.1", "", "4.2.1", notice.FeedbackSoft},
		{"a full mailbox", "5.2.2", "over quota", "5.2.2", notice.FeedbackSoft},
		{"given up after five days", "4.4.7", "retry timeout", "4.4.7", notice.FeedbackSoft},
		{"our reputation", "5.7.1", "Message rejected", "5.7.1", notice.FeedbackBlocked},
		{"what the mail holds", "5.6.0", "", "5.6.0", notice.FeedbackBlocked},
		{"a mail that is too large", "5.3.4", "", "5.3.4", notice.FeedbackBlocked},
		{"our own address", "5.1.8", "Sender rejected", "5.1.8", notice.FeedbackBlocked},
		{"a vague status and a telling reply", "5.0.0", "smtp; 550 5.1.1 <a@b.example> gone", "5.1.1", notice.FeedbackHard},
		{"a vague status and a reply of policy", "5.0.0", "554 5.7.1 blocked", "5.7.1", notice.FeedbackBlocked},
		{"words alone", "5.0.0", "550 No such user here", "5.1.1", notice.FeedbackHard},
		{"words of a failure that may pass", "4.0.0", "450 user unknown in this table, try later", "4.0.0", notice.FeedbackSoft},
		{"words that say nothing", "5.0.0", "550 rejected", "5.0.0", notice.FeedbackSoft},
		{"a telling status and a reply of another kind", "5.1.1", "554 5.7.1 blocked", "5.1.1", notice.FeedbackHard},
		{"numbers that look like a code", "", "connect to 5.1.1.9 and 192.5.1.1 failed", "", notice.FeedbackSoft},
		{"nothing", "", "", "", notice.FeedbackSoft},
	} {
		t.Run(test.name, func(t *testing.T) {
			code := feedback.Code(test.status, test.words)
			if code != test.code || feedback.Classify(code) != test.kind {
				t.Errorf("got %q, %s; want %q, %s", code, feedback.Classify(code), test.code, test.kind)
			}
		})
	}
}
