package notice_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/carillonhq/carillon/notice"
)

func withAttachments(list string) string {
	return `{"to":{"email":"ada@example.com"},"content":{"email":{"subject":"s","html":"<img src=cid:logo>","attachments":` + list + `}}}`
}

func TestWhatAnAttachmentMayBe(t *testing.T) {
	good := `{"filename":"a.pdf","content":"aGk="}`
	for _, c := range []struct{ name, list, pointer, says string }{
		{"content", `[` + good + `]`, "", ""},
		{"a name in any script", `[{"filename":"Größe – 請求書.pdf","content":"aGk=","content_type":"application/pdf; x=y"}]`, "", ""},
		{"a URL", `[{"filename":"a.pdf","url":"https://files.example/a.pdf?x=1"}]`, "", ""},
		{"a picture in the text", `[{"filename":"logo.png","content":"aGk=","content_type":"image/png","inline":"logo"}]`, "", ""},
		{"no name", `[{"content":"aGk="}]`, "/content/email/attachments/0/filename", "name the file"},
		{"a folder in the name", `[` + good + `,{"filename":"../a.pdf","content":"aGk="}]`, "/content/email/attachments/1/filename", "leave out folders"},
		{"a line break in the name", `[{"filename":"a\r\nX: y.pdf","content":"aGk="}]`, "/content/email/attachments/0/filename", "control characters"},
		{"a name that reads backwards", `[{"filename":"a\u202efdp.exe","content":"aGk="}]`, "/content/email/attachments/0/filename", "control characters"},
		{"a name without end", `[{"filename":"` + strings.Repeat("a", 201) + `","content":"aGk="}]`, "/content/email/attachments/0/filename", "200"},
		{"nothing in it", `[{"filename":"a.pdf"}]`, "/content/email/attachments/0", "holds nothing"},
		{"both", `[{"filename":"a.pdf","content":"aGk=","url":"https://f.example"}]`, "/content/email/attachments/0/url", "keep one"},
		{"no base64", `[{"filename":"a.pdf","content":"hi there"}]`, "/content/email/attachments/0/content", "no base64"},
		{"base64 without padding", `[{"filename":"a.pdf","content":"aGk"}]`, "/content/email/attachments/0/content", "no base64"},
		{"base64 in lines", `[{"filename":"a.pdf","content":"aG\nkx"}]`, "/content/email/attachments/0/content", "no base64"},
		{"a URL of another kind", `[{"filename":"a.pdf","url":"file:///etc/passwd"}]`, "/content/email/attachments/0/url", "http"},
		{"a type that is none", `[{"filename":"a.pdf","content":"aGk=","content_type":"pdf"}]`, "/content/email/attachments/0/content_type", "application/pdf"},
		{"a header in the type", `[{"filename":"a.pdf","content":"aGk=","content_type":"a/b\r\nX: y"}]`, "/content/email/attachments/0/content_type", "no media type"},
		{"a mail within the mail", `[{"filename":"a.eml","content":"aGk=","content_type":"message/rfc822"}]`, "/content/email/attachments/0/content_type", "application/octet-stream"},
		{"an id that closes its bracket", `[{"filename":"a.png","content":"aGk=","inline":"a>"}]`, "/content/email/attachments/0/inline", "content id"},
		{"one id twice", `[{"filename":"a.png","content":"aGk=","inline":"a"},{"filename":"b.png","content":"aGk=","inline":"a"}]`, "/content/email/attachments/1/inline", "twice"},
		{"more than there may be", `[` + strings.Repeat(good+",", notice.MaxAttachments) + good + `]`, "/content/email/attachments", strconv.Itoa(notice.MaxAttachments)},
		{"an unknown member", `[{"filename":"a.pdf","content":"aGk=","name":"b"}]`, "/content/email/attachments/0/name", "filename"},
		{"a list of texts", `["a.pdf"]`, "/content/email/attachments/0", "object"},
	} {
		t.Run(c.name, func(t *testing.T) {
			n, err := notice.DecodeNotification([]byte(withAttachments(c.list)))
			if err == nil {
				err = n.Validate(time.Now()).Err()
			}
			faults, _ := err.(notice.Faults)
			switch {
			case c.pointer == "" && err != nil:
				t.Errorf("refused: %v", err)
			case c.pointer != "" && (len(faults) != 1 || faults[0].Pointer != c.pointer || !strings.Contains(faults[0].Detail, c.says)):
				t.Errorf("got %v, want %s to say %q", err, c.pointer, c.says)
			}
		})
	}
}

func TestAPictureNeedsAPartThatShowsIt(t *testing.T) {
	body := strings.Replace(withAttachments(`[{"filename":"a.png","content":"aGk=","inline":"a"}]`), `"html":"<img src=cid:logo>"`, `"text":"t"`, 1)
	n, err := notice.DecodeNotification([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	if f := n.Validate(time.Now()); len(f) != 1 || f[0].Pointer != "/content/email/attachments/0/inline" {
		t.Errorf("got %v", f)
	}
}
