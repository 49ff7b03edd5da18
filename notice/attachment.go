package notice

import (
	"encoding/base64"
	"fmt"
	"mime"
	"strconv"
	"strings"
)

// Bounds of a mail's attachments. What they hold together is bounded by
// channels.email.max_attachment, where they are sent.
const (
	MaxAttachments = 20
	MaxFilename    = 200 // bytes; with every byte escaped it still fits a header's line
	MaxContentID   = 64
)

// Attachment is a file that a mail carries: its content, or where it is to be
// fetched when the mail is sent.
type Attachment struct {
	Filename    string `json:"filename"`
	ContentType string `json:"content_type,omitzero"` // a media type; empty: what the URL's server says, or application/octet-stream
	Content     string `json:"content,omitzero"`      // base64, RFC 4648 §4; beside URL it is empty
	URL         string `json:"url,omitzero"`          // fetched at each attempt
	// Inline is a content id, RFC 2392: the HTML part shows the file where it
	// says src="cid:…". Empty: the file is listed beside the mail.
	Inline string `json:"inline,omitzero"`
}

// checkAttachments holds the attachments against their rules.
func (e *EmailContent) checkAttachments(f *Faults) {
	const at = "/content/email/attachments"
	if len(e.Attachments) > MaxAttachments {
		f.Add(at, fmt.Sprintf("are %d: at most %d", len(e.Attachments), MaxAttachments))
		return
	}
	seen := map[string]bool{}
	for i := range e.Attachments {
		a, here := &e.Attachments[i], at+"/"+strconv.Itoa(i)
		a.check(here, f)
		if a.Inline != "" && seen[a.Inline] {
			f.Add(here+"/inline", fmt.Sprintf("%q stands twice: each file needs an id of its own", clip(a.Inline)))
		}
		seen[a.Inline] = true
		if a.Inline != "" && e.HTML == "" {
			f.Add(here+"/inline", "is shown by an HTML part, and there is none: add /content/email/html or leave inline out")
		}
	}
}

func (a *Attachment) check(at string, f *Faults) {
	addIf(f, at+"/inline", a.Inline, checkContentID)
	addIf(f, at+"/content_type", a.ContentType, checkMediaType)
	switch {
	case a.Filename == "":
		f.Add(at+"/filename", "is empty: name the file, as invoice.pdf")
	case len(a.Filename) > MaxFilename:
		f.Add(at+"/filename", tooLong(len(a.Filename), MaxFilename))
	case !printable(a.Filename) || strings.ContainsAny(a.Filename, `/\`):
		f.Add(at+"/filename", fmt.Sprintf("%q cannot be a file's name: leave out folders and control characters", clip(a.Filename)))
	}
	switch {
	case a.Content == "" && a.URL == "":
		f.Add(at, "holds nothing: give content in base64, or a url to fetch it from")
	case a.Content != "" && a.URL != "":
		f.Add(at+"/url", "stands beside content: keep one of them")
	case a.URL != "":
		addIf(f, at+"/url", a.URL, checkURL)
	default:
		addIf(f, at+"/content", a.Content, checkBase64)
	}
}

func checkBase64(s string) string {
	if len(s)%4 != 0 || strings.ContainsAny(s, "\r\n") {
		return "is no base64: want RFC 4648 §4, with padding and without line breaks"
	}
	if _, err := base64.StdEncoding.Strict().DecodeString(s); err != nil {
		return "is no base64: want RFC 4648 §4, with padding and without line breaks"
	}
	return ""
}

// checkMediaType refuses what is no media type, and the composite types, which
// would make a mail within the mail (RFC 2046 §5).
func checkMediaType(s string) string {
	kind, _, err := mime.ParseMediaType(s)
	if err != nil || !strings.Contains(kind, "/") || len(s) > MaxName || !printable(s) {
		return fmt.Sprintf("%q is no media type: write it as application/pdf", clip(s))
	}
	if strings.HasPrefix(kind, "multipart/") || strings.HasPrefix(kind, "message/") {
		return fmt.Sprintf("%q holds other parts, which an attachment cannot: send it as application/octet-stream", clip(s))
	}
	return ""
}

func checkContentID(s string) string {
	if len(s) > MaxContentID || strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-@") != "" {
		return fmt.Sprintf("%q cannot be a content id: use up to %d letters, digits, '.', '_', '-' and '@'", clip(s), MaxContentID)
	}
	return ""
}
