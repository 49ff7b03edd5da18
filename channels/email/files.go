package email

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"unicode"

	"github.com/carillonhq/carillon/channels"
	"github.com/carillonhq/carillon/channels/egress"
	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/notice"
	gomail "github.com/wneessen/go-mail"
)

// file is one attachment, ready to be written out.
type file struct {
	name    string
	kind    string // media type
	content []byte
	cid     string // empty: listed beside the mail
}

// files gets a mail's attachments together, fetching those that are elsewhere.
// A URL comes from whoever sends notifications, so it is fetched through the
// guard that keeps webhooks out of the operator's network.
type files struct {
	transport http.RoundTripper
	most      int64 // bytes of one mail's together
}

// defaultAttachments is what a section that was not loaded from a file has.
const defaultAttachments = 5 << 20

func newFiles(cfg config.Email) (*files, error) {
	t, err := egress.NewTransport(egress.Options{AllowNetworks: cfg.AllowNetworks})
	if err != nil {
		return nil, err
	}
	most := int64(cfg.MaxAttachment)
	if most == 0 {
		most = defaultAttachments
	}
	return &files{transport: t, most: most}, nil
}

// fileFault is why a mail's attachments cannot be had, as a verdict.
type fileFault struct {
	verdict channels.Verdict
	err     error
}

func (f *fileFault) Error() string { return f.err.Error() }
func (f *fileFault) Unwrap() error { return f.err }

func rejectFile(format string, args ...any) error {
	return &fileFault{channels.Rejected, fmt.Errorf(format, args...)}
}

// gather returns the attachments' content. Files are named by their place,
// since a name may hold personal data.
func (g *files) gather(ctx context.Context, attachments []notice.Attachment) ([]file, error) {
	var out []file
	left := g.most
	for i := range attachments {
		f, err := g.one(ctx, &attachments[i], left)
		if err != nil {
			var fault *fileFault
			if errors.As(err, &fault) {
				return nil, &fileFault{fault.verdict, fmt.Errorf("attachment %d: %w", i+1, fault.err)}
			}
			return nil, err
		}
		left -= int64(len(f.content))
		out = append(out, f)
	}
	return out, nil
}

func (g *files) one(ctx context.Context, a *notice.Attachment, left int64) (f file, err error) {
	kind := a.ContentType
	switch {
	case a.URL != "":
		f.content, kind, err = g.fetch(ctx, a.URL, kind, left)
	case int64(base64.StdEncoding.DecodedLen(len(a.Content)))-2 > left:
		err = g.tooLarge()
	default:
		if f.content, err = base64.StdEncoding.DecodeString(a.Content); err != nil {
			err = rejectFile("its content is no base64")
		}
	}
	if err == nil && int64(len(f.content)) > left {
		err = g.tooLarge()
	}
	f.name, f.kind, f.cid = fileName(a.Filename), mediaType(kind), a.Inline
	return f, err
}

func (g *files) tooLarge() error {
	return rejectFile("the attachments hold more than %v together: raise email.max_attachment, or send a link", config.Size(g.most))
}

// fetch gets what a URL holds, at most so many bytes. No redirect is followed:
// the transport follows none.
func (g *files) fetch(ctx context.Context, url, kind string, most int64) ([]byte, string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, "", rejectFile("its url is none") // err repeats the URL, which may hold a token
	}
	res, err := g.transport.RoundTrip(req)
	if err != nil {
		if egress.Refused(err) {
			return nil, "", rejectFile("its url leads to an address that is not on the public internet: see email.allow_networks")
		}
		failed := channels.TransportFailure(err, false)
		return nil, "", &fileFault{channels.Retry, failed.Err}
	}
	defer res.Body.Close()
	if err := fetched(res.StatusCode); err != nil {
		return nil, "", err
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, most+1))
	if err != nil {
		return nil, "", &fileFault{channels.Retry, errors.New("its url's answer broke off")}
	}
	if kind == "" {
		kind = res.Header.Get("Content-Type")
	}
	return body, kind, nil
}

// fetched says what an answer's status means for the mail: what may be there
// later is tried again (RFC 9110 §15.5.9, §15.6; RFC 6585 §4).
func fetched(status int) error {
	switch {
	case status == http.StatusOK:
		return nil
	case status >= 500, status == http.StatusTooManyRequests, status == http.StatusRequestTimeout, status == http.StatusTooEarly:
		return &fileFault{channels.Retry, fmt.Errorf("its url answered %d", status)}
	}
	return rejectFile("its url answered %d", status)
}

// fileName keeps of a name what can neither lead to another folder nor be read
// backwards.
func fileName(name string) string {
	name = strings.Map(func(r rune) rune {
		if r == '/' || r == '\\' || unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) {
			return '_'
		}
		return r
	}, strings.ToValidUTF8(name, "_"))
	if name == "" {
		return "attachment"
	}
	return name
}

// mediaType is kind, written anew so that nothing but a media type can come of
// it.
func mediaType(kind string) string {
	parsed, params, err := mime.ParseMediaType(kind)
	if err != nil || strings.HasPrefix(parsed, "multipart/") || strings.HasPrefix(parsed, "message/") {
		return "application/octet-stream"
	}
	delete(params, "boundary")
	if written := mime.FormatMediaType(parsed, params); written != "" && len(written) < mostLine/2 {
		return written
	}
	return "application/octet-stream"
}

// attach adds the file to a mail. The headers are written here and not by
// go-mail (v0.8.1), which puts encoded words into parameters, where RFC 2047 §5
// forbids them; RFC 2231 is what readers decode.
func (f *file) attach(msg *gomail.Msg) error {
	disposition := "attachment"
	if f.cid != "" {
		disposition = "inline"
	}
	headers := func(to *gomail.File) {
		to.Header.Set("Content-Type", f.kind)
		to.Header.Set("Content-Disposition", mime.FormatMediaType(disposition, map[string]string{"filename": f.name}))
		if f.cid != "" {
			to.Header.Set("Content-ID", "<"+f.cid+">")
		}
	}
	if f.cid != "" {
		return msg.EmbedReader(f.name, bytes.NewReader(f.content), headers)
	}
	return msg.AttachReader(f.name, bytes.NewReader(f.content), headers)
}
