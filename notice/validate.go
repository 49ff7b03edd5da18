package notice

import (
	_ "embed" // zones.txt
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // so that every name that is accepted can be loaded, in the barest container too
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/language"
)

// Bounds of a notification's parts, in bytes where not said otherwise.
const (
	MaxUser        = 256
	MaxName        = 256
	MaxTemplate    = 128
	MaxCategory    = 64
	MaxCollapseKey = 64  // APNs allows no more in apns-collapse-id
	MaxSubject     = 998 // RFC 5322 §2.1.1 allows no longer line
	MaxAddresses   = 64  // devices, and webhooks, of one notification
)

const (
	sendLate  = time.Minute          // how long past send_at may be and still mean "now"
	sendAhead = 366 * 24 * time.Hour // how far ahead send_at may be
)

// Validate finds every fault of a decoded notification that can be seen
// without a catalogue or a profile. now is when it is accepted.
func (n *Notification) Validate(now time.Time) Faults {
	var f Faults
	n.checkWhat(&f)
	n.To.check(&f)
	n.checkHow(&f)
	n.checkWhen(now, &f)
	return f
}

// checkWhat holds template, content and data against their rules.
func (n *Notification) checkWhat(f *Faults) {
	switch {
	case n.Template == "" && n.Content == nil:
		f.Add("/template", "name a template, or give content in its place")
	case n.Template != "" && n.Content != nil:
		f.Add("/content", "stands beside template: keep one of them")
	case len(n.Template) > MaxTemplate:
		f.Add("/template", tooLong(len(n.Template), MaxTemplate))
	}
	if n.Content != nil {
		n.Content.check(f)
	}
	if n.Data != nil && n.Data.Kind() != '{' {
		f.Add("/data", "want an object, got "+describe(n.Data))
	}
}

// checkHow holds channels, route, category, priority and collapse_key against
// their rules.
func (n *Notification) checkHow(f *Faults) {
	for i, m := range n.Channels {
		n.checkMedium(i, m, f)
	}
	if n.Route != "" && n.Route != RouteAll && n.Route != RouteFirst {
		f.Add("/route", unknownWord("route", string(n.Route), []string{string(RouteAll), string(RouteFirst)}))
	}
	if n.Priority != "" && !n.Priority.Valid() {
		f.Add("/priority", unknownWord("priority", string(n.Priority), words(Lanes())))
	}
	if n.Category != "" {
		if detail := CheckCategory(n.Category); detail != "" {
			f.Add("/category", detail)
		}
	}
	if detail := CheckCollapseKey(n.CollapseKey); detail != "" {
		f.Add("/collapse_key", detail)
	}
}

func (n *Notification) checkMedium(i int, m Medium, f *Faults) {
	detail := ""
	switch {
	case !m.Valid():
		detail = unknownWord("channel", string(m), words(Media()))
	case slices.Contains(n.Channels[:i], m):
		detail = fmt.Sprintf("%q stands twice: keep one", m)
	case n.Content != nil && !n.Content.Has(m):
		detail = fmt.Sprintf("content has no %s part: add /content/%s or leave %q out", m, m, m)
	}
	if detail != "" {
		f.Add("/channels/"+strconv.Itoa(i), detail)
	}
}

// checkWhen holds send_at and expires_at against the clock and each other.
func (n *Notification) checkWhen(now time.Time, f *Faults) {
	if !n.SendAt.IsZero() {
		switch {
		case n.SendAt.Before(now.Add(-sendLate)):
			f.Add("/send_at", stamp(n.SendAt)+" is in the past (it is "+stamp(now)+"): leave it out to send now")
		case n.SendAt.After(now.Add(sendAhead)):
			f.Add("/send_at", stamp(n.SendAt)+" is more than a year ahead: send it to us later")
		}
	}
	if n.ExpiresAt.IsZero() {
		return
	}
	switch {
	case !n.ExpiresAt.After(now):
		f.Add("/expires_at", stamp(n.ExpiresAt)+" is past (it is "+stamp(now)+"): nothing would be sent")
	case !n.SendAt.IsZero() && !n.ExpiresAt.After(n.SendAt):
		f.Add("/expires_at", stamp(n.ExpiresAt)+" is not after send_at "+stamp(n.SendAt)+": nothing would be sent")
	}
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// check holds a finished rendering against what each medium needs.
func (c *Content) check(f *Faults) {
	if c.Email == nil && c.Push == nil && len(c.Webhook) == 0 {
		f.Add("/content", "has no part: add email, push or webhook")
	}
	if c.Email != nil {
		c.Email.check(f)
	}
	if c.Push != nil {
		c.Push.check(f)
	}
}

func (e *EmailContent) check(f *Faults) {
	switch {
	case e.Subject == "":
		f.Add("/content/email/subject", "a mail needs a subject")
	case len(e.Subject) > MaxSubject:
		f.Add("/content/email/subject", tooLong(len(e.Subject), MaxSubject))
	case !printable(e.Subject):
		f.Add("/content/email/subject", unprintable(e.Subject))
	}
	if e.HTML == "" && e.Text == "" {
		f.Add("/content/email", "a mail needs html, text or both")
	}
	if detail := CheckSenderName(e.FromName); detail != "" {
		f.Add("/content/email/from_name", detail)
	}
	if detail := CheckReplyTo(e.ReplyTo); detail != "" {
		f.Add("/content/email/reply_to", detail)
	}
	e.checkAttachments(f)
}

func (p *PushContent) check(f *Faults) {
	if p.Data.Kind() == 'n' {
		p.Data = nil
	}
	if p.Data != nil && p.Data.Kind() != '{' {
		f.Add("/content/push/data", "want an object, got "+describe(p.Data))
	}
	if p.Data.Kind() == '{' && hasMember(p.Data, "aps") {
		f.Add("/content/push/data/aps", "is not data of yours: say it in /content/push/options/apns")
	}
	if p.Options != nil {
		p.Options.Check("/content/push/options", f)
	}
	if p.Title == "" && p.Body == "" && p.Data == nil && !p.hasAPS() {
		f.Add("/content/push", "a push needs title, body or data")
	}
}

// hasAPS reports whether the options hold a push of their own, as a live
// activity's update does.
func (p *PushContent) hasAPS() bool {
	return p.Options != nil && p.Options.APNs != nil && p.Options.APNs.APS.Kind() == '{'
}

// CheckCategory says what is wrong with a category's name, with the mend;
// empty when it can be one.
func CheckCategory(s string) string {
	ok := s != "" && len(s) <= MaxCategory && isAlphanumeric(s[0])
	for i := 1; ok && i < len(s); i++ {
		ok = isAlphanumeric(s[i]) || s[i] == '.' || s[i] == '_' || s[i] == '-'
	}
	if ok {
		return ""
	}
	return fmt.Sprintf("%q cannot be a category: use up to %d letters, digits, '.', '_' and '-'", clip(s), MaxCategory)
}

// CheckCollapseKey says what is wrong with a collapse key, and what to write
// instead; empty when nothing is. The empty key is none, and right.
func CheckCollapseKey(s string) string {
	switch {
	case len(s) > MaxCollapseKey:
		return tooLong(len(s), MaxCollapseKey)
	case !printable(s):
		return unprintable(s)
	}
	return ""
}

func isAlphanumeric(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// CheckUser says what is wrong with a user's id, with the mend; empty when it
// can be one.
func CheckUser(s string) string {
	switch {
	case s == "":
		return "is empty: name the user"
	case len(s) > MaxUser:
		return tooLong(len(s), MaxUser)
	case !printable(s) || s[0] == ' ' || s[len(s)-1] == ' ':
		return unprintable(s)
	}
	return ""
}

// CheckLocale says what is wrong with a language tag (BCP 47), with the mend;
// empty when it can be one.
func CheckLocale(s string) string {
	if _, err := language.Parse(s); err != nil {
		return fmt.Sprintf("%q is no language tag: write it as de or de-AT (BCP 47)", clip(s))
	}
	return ""
}

// zoneNames are the names of Go's own copy of the time zone database, one a
// line, sorted. It only saves reading a file for each notification: a name that is not
// among them is looked up.
//
//go:embed zones.txt
var zoneNames string

// CheckTimezone says what is wrong with a time zone's name, with the mend;
// empty when it is one.
func CheckTimezone(s string) string {
	if hasLine(zoneNames, s) {
		return ""
	}
	if _, err := time.LoadLocation(s); err != nil || s == "Local" || s == "" {
		return fmt.Sprintf("%q is no time zone: write it as Europe/Vienna (IANA name)", clip(s))
	}
	return ""
}

// hasLine reports whether line is one of text's, which are sorted and each
// ended by a newline.
func hasLine(text, line string) bool {
	for text != "" {
		start := strings.LastIndexByte(text[:len(text)/2], '\n') + 1
		end := start + strings.IndexByte(text[start:], '\n')
		switch strings.Compare(line, text[start:end]) {
		case 0:
			return true
		case -1:
			text = text[:start]
		default:
			text = text[end+1:]
		}
	}
	return false
}

// printable reports whether s is UTF-8 without control characters and the
// like, so that it is safe in a header, a log line and a key.
func printable(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < ' ' || s[i] >= 0x7f {
			return printableUTF8(s)
		}
	}
	return true
}

func printableUTF8(s string) bool {
	for _, r := range s {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return false
		}
	}
	return utf8.ValidString(s)
}

func unprintable(s string) string {
	return fmt.Sprintf("%q has characters that cannot be printed, or spaces at an end: remove them", clip(s))
}

func tooLong(got, most int) string {
	return fmt.Sprintf("is %d bytes: at most %d", got, most)
}

// unknownWord says that word is none of known, and which it may have meant.
func unknownWord(what, word string, known []string) string {
	if near := Nearest(word, known); near != "" {
		return fmt.Sprintf("unknown %s %q: did you mean %q?", what, clip(word), near)
	}
	return fmt.Sprintf("unknown %s %q: known are %s", what, clip(word), strings.Join(known, ", "))
}

// words turns names of a type of their own into strings.
func words[S ~string](in []S) []string {
	out := make([]string, len(in))
	for i, s := range in {
		out[i] = string(s)
	}
	return out
}
