package email

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/textproto"
	"regexp"
	"strconv"
	"strings"

	"github.com/carillonhq/carillon/channels"
)

// rule is what a reply means. A field that is empty holds for every reply.
type rule struct {
	stages   string // the stages it holds for
	enhanced string // the enhanced code (RFC 3463), or its beginning up to a dot
	codes    string // the basic codes (RFC 5321 §4.2.3), or their first digit
	words    *regexp.Regexp
	verdict  channels.Verdict
	meaning  string
}

// Groups of stages, for the rules.
const (
	ofSetUp     = string(stageGreeting) + "|" + string(stageHello) + "|" + string(stageTLS) + "|" + string(stageAuth)
	ofSender    = string(stageMail)
	ofRecipient = string(stageRcpt) + "|" + string(stageDot)
)

// asksForLess matches how relays word a limit on the sender's rate: Postfix
// ("too many connections", "too much mail from"), Amazon SES ("Throttling
// failure: Maximum sending rate exceeded"), Gmail ("unusual rate of mail").
var asksForLess = regexp.MustCompile(`(?i)\b(too many (connections|messages|mails|errors)|too much mail|throttl\w*|(sending|message|connection) rate|rate (limit|of)|slow down)\b`)

// rules is read from the top; the first that fits decides.
var rules = [...]rule{
	// Set-up: the relay refuses us, whoever the recipient is.
	{codes: "530", verdict: channels.Broken, meaning: "the relay wants a login"},                       // RFC 4954 §6
	{enhanced: "5.7.8", verdict: channels.Broken, meaning: "the relay refuses the login"},              // RFC 4954 §6
	{stages: ofSetUp, codes: "5", verdict: channels.Broken, meaning: "the relay refuses this gateway"}, // RFC 5321 §3.1, 554

	// Any stage.
	{enhanced: "4.7.28", verdict: channels.Throttled, meaning: "the relay asks for less"},              // Gmail's SMTP error reference
	{codes: "4", words: asksForLess, verdict: channels.Throttled, meaning: "the relay asks for less"},  // see asksForLess
	{codes: "4", enhanced: "4.4.5", verdict: channels.Throttled, meaning: "the relay is congested"},    // RFC 3463 §3.5
	{codes: "4", enhanced: "4.2.2", verdict: channels.Retry, meaning: "the mailbox is full"},           // RFC 3463 §3.3
	{codes: "4", verdict: channels.Retry, meaning: "the relay cannot take the mail now"},               // RFC 5321 §4.2.1, 421 too
	{enhanced: "5.3.4", verdict: channels.Rejected, meaning: "the mail is too big"},                    // RFC 3463 §3.4
	{enhanced: "5.6", verdict: channels.Rejected, meaning: "the mail's content cannot be transported"}, // RFC 3463 §3.7

	// The size is declared with the sender: 552 is about the mail, not about us.
	{stages: ofSender, codes: "552", verdict: channels.Rejected, meaning: "the mail is too big"}, // RFC 1870 §6.1
	// The sender is ours, from the configuration: every mail would fail alike.
	{stages: ofSender, codes: "5", verdict: channels.Broken, meaning: "the relay refuses the sender"}, // RFC 5321 §3.3, 550 and 553

	// The recipient. Gone suppresses the address, so it takes the words that say
	// so, RFC 3463 §3.2; a bare 550 may as well be policy (RFC 5321 §4.2.2).
	{stages: ofRecipient, enhanced: "5.1.1", verdict: channels.Gone, meaning: "there is no such mailbox"},  // RFC 3463 §3.2
	{stages: ofRecipient, enhanced: "5.1.2", verdict: channels.Gone, meaning: "there is no such domain"},   // RFC 3463 §3.2
	{stages: ofRecipient, enhanced: "5.1.10", verdict: channels.Gone, meaning: "the domain takes no mail"}, // RFC 7505
	{enhanced: "5.2.2", verdict: channels.Rejected, meaning: "the mailbox is full"},                        // RFC 3463 §3.3: full is not dead
	{enhanced: "5.7", verdict: channels.Rejected, meaning: "policy forbids the mail"},                      // RFC 3463 §3.8: theirs or ours, never the address
	{codes: "5", verdict: channels.Rejected, meaning: "the relay refuses the mail"},                        // RFC 5321 §4.2.1
}

// enhancedPattern is an enhanced status code where RFC 2034 §4 puts it.
var enhancedPattern = regexp.MustCompile(`^[245]\.\d{1,3}\.\d{1,3}\b`)

// classify makes the result of a failed attempt. to is the recipient's
// address, which no word of the result may repeat.
func classify(err error, to string) channels.Result {
	var f *failure
	if !errors.As(err, &f) {
		return channels.TransportFailure(err, true) // cannot be; Unknown is the safe side
	}
	if f.stage == stageCompose {
		return channels.Result{Verdict: channels.Rejected, Unsent: true, Code: "invalid", Err: f.err}
	}
	if r := replyOf(f); r != nil {
		return replied(f.stage, r, to)
	}
	if setUpIsWrong(f.err) {
		return channels.Result{Verdict: channels.Broken, Code: "setup", Err: fmt.Errorf("%s: %w", f.stage, f.err)}
	}
	// Only the final dot makes a mail: before it, nothing was sent.
	r := channels.TransportFailure(f.err, f.stage == stageDot)
	r.Err = fmt.Errorf("%s: %w", f.stage, r.Err)
	return r
}

func replied(at stage, r *textproto.Error, to string) channels.Result {
	enhanced := enhancedPattern.FindString(r.Msg)
	code := enhanced
	if code == "" {
		code = strconv.Itoa(r.Code)
	}
	words := scrub(r.Msg, to)
	if at == stageAuth {
		words = "" // what is said about a login may name it
	}
	for _, rule := range rules {
		if rule.fits(at, r, enhanced) {
			return channels.Result{Verdict: rule.verdict, Code: code, Err: describe(rule.meaning, at, r.Code, words)}
		}
	}
	// A reply that is neither 4yz nor 5yz where another was due: out of step.
	verdict := channels.Retry
	if at == stageDot {
		verdict = channels.Unknown
	}
	return channels.Result{Verdict: verdict, Code: code, Err: describe("the relay's reply makes no sense", at, r.Code, words)}
}

func (r rule) fits(at stage, reply *textproto.Error, enhanced string) bool {
	return (r.stages == "" || strings.Contains("|"+r.stages+"|", "|"+string(at)+"|")) &&
		(r.codes == "" || strings.HasPrefix(strconv.Itoa(reply.Code), r.codes)) &&
		(r.enhanced == "" || r.enhanced == enhanced || strings.HasPrefix(enhanced, r.enhanced+".")) &&
		(r.words == nil || r.words.MatchString(reply.Msg))
}

func describe(meaning string, at stage, code int, words string) error {
	if words == "" {
		return fmt.Errorf("%s (%d at %s)", meaning, code, at)
	}
	return fmt.Errorf("%s (%d at %s: %s)", meaning, code, at, words)
}

// setUpIsWrong tells a relay that cannot be trusted or talked to as configured
// from one that is out of reach for a while. A certificate that does not verify
// is Broken and not Retry: an attempt a mail would be used up for a fault that
// only the operator can mend, be it ca_file, host, or the relay's own expiry.
func setUpIsWrong(err error) bool {
	var cert *tls.CertificateVerificationError
	var record tls.RecordHeaderError // the port does not speak TLS
	return errors.Is(err, errNoStartTLS) || errors.Is(err, errNoAuth) || errors.Is(err, errToken) ||
		errors.As(err, &cert) || errors.As(err, &record)
}
