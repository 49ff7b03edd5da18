package email

import (
	"fmt"
	"net/textproto"
	"slices"
	"testing"

	"github.com/carillonhq/carillon/channels"
)

func everyStage() []stage {
	return []stage{stageGreeting, stageHello, stageTLS, stageAuth, stageMail, stageRcpt, stageData, stageContent, stageDot}
}

// eachReply calls visit with the replies that there can be at each stage: every
// basic code from 200 to 599 bare, and those that a rule or RFC 5321 §4.2.3
// names, with the enhanced codes of their class up to x.7.39.
func eachReply(visit func(at stage, code int, enhanced string, r channels.Result)) {
	for _, at := range everyStage() {
		for code := 200; code <= 599; code++ {
			visit(at, code, "", replied(at, &textproto.Error{Code: code, Msg: "words"}, adaAddress))
			if !slices.Contains([]int{0, 11, 20, 21, 30, 50, 51, 52, 54, 99}, code%100) {
				continue
			}
			for subject := range 8 {
				for detail := range 40 {
					enhanced := fmt.Sprintf("%d.%d.%d", code/100, subject, detail)
					visit(at, code, enhanced, replied(at, &textproto.Error{Code: code, Msg: enhanced + " words"}, adaAddress))
				}
			}
		}
	}
}

// TestTheWholeSpaceOfReplies holds every reply against what must be so whatever
// the table says.
func TestTheWholeSpaceOfReplies(t *testing.T) {
	seen := 0
	eachReply(func(at stage, code int, enhanced string, r channels.Result) {
		seen++
		if broken := firstBroken(at, code, enhanced, r); broken != "" && !t.Failed() {
			t.Errorf("%d %s at %s is %v (%v): %s", code, enhanced, at, r.Verdict, r.Err, broken)
		}
	})
	if seen < 100_000 {
		t.Errorf("only %d replies were seen", seen)
	}
}

func firstBroken(at stage, code int, enhanced string, r channels.Result) string {
	dead := enhanced == "5.1.1" || enhanced == "5.1.2" || enhanced == "5.1.10"
	recipient := at == stageRcpt || at == stageDot
	class := code / 100
	for rule, broken := range map[string]bool{
		"it has no code, or no words":                                         r.Code == "" || r.Err == nil,
		"an address is dead on other words than RFC 3463's for that":          r.Verdict == channels.Gone && !(class == 5 && dead && recipient),
		"an address that is dead is not said to be":                           class == 5 && dead && recipient && code != 530 && r.Verdict != channels.Gone,
		"4yz may work later (RFC 5321 §4.2.1)":                                class == 4 && r.Verdict != channels.Retry && r.Verdict != channels.Throttled,
		"5yz never works later (RFC 5321 §4.2.1)":                             class == 5 && (r.Verdict == channels.Retry || r.Verdict == channels.Throttled || r.Verdict == channels.Unknown),
		"a set-up that is refused is ours to mend":                            class == 5 && at.isSetUp() && enhanced != "5.3.4" && len(enhanced) > 2 && enhanced[2] != '6' && r.Verdict != channels.Broken,
		"a reply that a relay gave out of step is taken for acceptance":       r.Verdict == channels.Sent,
		"it is unknown whether the mail was taken, and it is not":             r.Verdict == channels.Unknown && at != stageDot,
		"after the dot neither 4yz nor 5yz: it may have been taken":           at == stageDot && class < 4 && r.Verdict != channels.Unknown,
		"the mailbox is full (X.2.2), which is no set-up and no dead address": enhanced == "5.2.2" && recipient && code != 530 && r.Verdict != channels.Rejected,
		"policy (5.7.x) is held against the address":                          class == 5 && len(enhanced) > 2 && enhanced[2] == '7' && r.Verdict == channels.Gone,
	} {
		if broken {
			return rule
		}
	}
	return ""
}

// TestEveryRuleDecidesSomething finds rules that an earlier one hides.
func TestEveryRuleDecidesSomething(t *testing.T) {
	for i, r := range rules {
		words := "words"
		if r.words != nil {
			words = "too many connections"
		}
		hidden := true
		for _, at := range everyStage() {
			for code := 400; code <= 599; code++ {
				for _, enhanced := range []string{"", fmt.Sprintf("%d.0.0", code/100), r.enhanced, r.enhanced + ".1"} {
					reply := &textproto.Error{Code: code, Msg: enhanced + " " + words}
					for k, other := range rules {
						if other.fits(at, reply, enhancedPattern.FindString(reply.Msg)) {
							hidden = hidden && k != i
							break
						}
					}
				}
			}
		}
		if hidden {
			t.Errorf("rule %d (%s) never decides", i, r.meaning)
		}
	}
}
