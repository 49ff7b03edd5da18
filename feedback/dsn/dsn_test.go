package dsn_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/carillonhq/carillon/feedback/dsn"
)

const (
	messageID = "<0-06h0fb55798unvn7agmd-1@acme.example>"
	sender    = "bounce+TOKEN@bounces.acme.example"
	ada       = "ada@example.com"
)

func sample(t testing.TB, name string) []byte {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", name+".eml"))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestReportsAsTheCommonServersWriteThem(t *testing.T) {
	for name, want := range map[string]struct {
		kind     dsn.Kind
		to       dsn.Recipient // Diagnostic: a part of it
		returned bool          // the header of the mail came with it
	}{
		"postfix":           {dsn.Status, dsn.Recipient{Final: ada, Original: ada, Action: "failed", Status: "5.1.1", Diagnostic: "User unknown in virtual mailbox table"}, true},
		"postfix-delayed":   {dsn.Status, dsn.Recipient{Final: ada, Action: "delayed", Status: "4.4.1", Diagnostic: "Connection timed out"}, true},
		"postfix-delivered": {dsn.Status, dsn.Recipient{Final: ada, Original: ada, Action: "delivered", Status: "2.1.5"}, false},
		"exim":              {dsn.Status, dsn.Recipient{Final: ada, Action: "failed", Status: "5.0.0", Diagnostic: "550 No such user here"}, true},
		"exim-old":          {dsn.Status, dsn.Recipient{Final: ada, Action: "failed", Status: "5.0.0", Diagnostic: "Unrouteable address"}, true},
		"exchange":          {dsn.Status, dsn.Recipient{Final: ada, Action: "failed", Status: "5.1.10", Diagnostic: "550 5.1.10 RESOLVER.ADR.RecipientNotFound"}, true},
		"gmail":             {dsn.Status, dsn.Recipient{Final: ada, Action: "failed", Status: "5.2.2", Diagnostic: "over quota"}, true},
		"qmail":             {dsn.Status, dsn.Recipient{Final: ada, Action: "failed", Status: "5.1.1", Diagnostic: "Sorry, no mailbox here by that name."}, true},
		"policy":            {dsn.Status, dsn.Recipient{Final: ada, Action: "failed", Status: "5.7.1", Diagnostic: "its reputation"}, false},
		"forwarded":         {dsn.Status, dsn.Recipient{Final: "ada.lovelace@elsewhere.example", Action: "failed", Status: "5.1.1"}, true},
	} {
		for _, ends := range []struct{ name, line string }{{"lf", "\n"}, {"crlf", "\r\n"}} {
			t.Run(name+"/"+ends.name, func(t *testing.T) {
				raw := strings.ReplaceAll(string(sample(t, name)), "\n", ends.line)
				r, err := dsn.Parse([]byte(raw))
				if err != nil {
					t.Fatal(err)
				}
				if r.Kind != want.kind || len(r.Recipients) != 1 {
					t.Fatalf("kind %d with %d recipients: %+v", r.Kind, len(r.Recipients), r)
				}
				got := r.Recipients[0]
				if !strings.Contains(got.Diagnostic, want.to.Diagnostic) {
					t.Errorf("the diagnostic is %q, want %q in it", got.Diagnostic, want.to.Diagnostic)
				}
				got.Diagnostic = want.to.Diagnostic
				if got != want.to {
					t.Errorf("got %+v, want %+v", got, want.to)
				}
				if want.returned && (r.MessageID != messageID || !slices.Contains(r.Senders, sender) || !slices.Contains(r.Addresses, ada)) {
					t.Errorf("of the returned mail: id %q, senders %q, addresses %q", r.MessageID, r.Senders, r.Addresses)
				}
			})
		}
	}
}

func TestAComplaintSaysWhoseMailItWas(t *testing.T) {
	for name, feedback := range map[string]string{"arf": "abuse", "arf-not-spam": "not-spam"} {
		r, err := dsn.Parse(sample(t, name))
		if err != nil || r.Kind != dsn.Complaint || r.Feedback != feedback || r.MessageID != messageID ||
			!slices.Contains(r.Senders, sender) || !slices.Contains(r.Addresses, ada) {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
}

func TestWhatIsNoReportIsNone(t *testing.T) {
	for name, raw := range map[string]string{
		"an answer of a machine":          string(sample(t, "out-of-office")),
		"a mail that quotes a bounce":     "From: a@example.com\n\nI got this:\n<ada@example.com>:\nSorry, no mailbox here. (#5.1.1)\n",
		"failed recipients of a stranger": "X-Failed-Recipients: ada@example.com\n\nbuy now\n",
		"a multipart without a boundary":  "Content-Type: multipart/report; report-type=delivery-status\n\nFinal-Recipient: rfc822; ada@example.com\nAction: failed\n",
	} {
		if r, err := dsn.Parse([]byte(raw)); err != nil || r.Kind != dsn.Other || len(r.Recipients) != 0 {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
	if _, err := dsn.Parse([]byte("\x00\x01 no mail")); err == nil {
		t.Error("bytes without a header are a mail")
	}
}

func TestAHugeReportIsReadInPart(t *testing.T) {
	var b strings.Builder
	b.WriteString("Content-Type: multipart/report; boundary=b\n\n--b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; x\n\n")
	for range 5000 {
		b.WriteString("Final-Recipient: rfc822; ada@example.com\nAction: failed\nStatus: 5.1.1\n\n")
	}
	for range 500 {
		b.WriteString("--b\nContent-Type: message/delivery-status\n\n" + strings.Repeat("a", 100) + "\n")
	}
	r, err := dsn.Parse([]byte(b.String()))
	if err != nil || len(r.Recipients) != 50 {
		t.Errorf("%d recipients are kept, want 50: %v", len(r.Recipients), err)
	}
	deep := strings.Repeat("Content-Type: multipart/mixed; boundary=b\n\n--b\n", 2000)
	if r, err := dsn.Parse([]byte(deep)); err != nil || r.Kind != dsn.Other {
		t.Errorf("parts in parts: %+v, %v", r, err)
	}
}

func FuzzParse(f *testing.F) {
	all, err := filepath.Glob("testdata/*.eml")
	if err != nil || len(all) < 12 {
		f.Fatalf("%d samples: %v", len(all), err)
	}
	for _, name := range all {
		raw, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := dsn.Parse(raw)
		if err != nil {
			return
		}
		if len(r.Recipients) > 50 || len(r.Addresses) > 50 || len(r.Senders) > 50 || len(r.MessageID) > 1024 {
			t.Errorf("more is kept than is allowed: %d, %d, %d", len(r.Recipients), len(r.Addresses), len(r.Senders))
		}
		for _, to := range r.Recipients {
			if to.Action == "" || len(to.Diagnostic) > 1024 || strings.ContainsAny(to.Final+to.Original, "<> \n") && to.Final != "" {
				t.Errorf("a recipient of %q", to)
			}
		}
		if r.Kind == dsn.Other && len(r.Recipients) > 0 {
			t.Errorf("no report, and recipients: %+v", r)
		}
	})
}
