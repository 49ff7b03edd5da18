package templates

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/carillonhq/carillon/notice"
)

func TestRenderOfAWholeMail(t *testing.T) {
	req := request("order-shipped", notice.MediumEmail, `{"order":"A-1","items":["tea","<b>cake</b>"],"eta":"2027-01-02T09:00:00Z"}`)
	r, err := loadTestdata(t).Render(req)
	if err != nil {
		t.Fatal(err)
	}
	mail := r.Content.Email
	if want := "Your order A-1 is on its way"; mail.Subject != want {
		t.Errorf("subject %q, want %q", mail.Subject, want)
	}
	for _, want := range []string{"<!doctype html>", "Hello Ada,", "<li>&lt;b&gt;cake&lt;/b&gt;</li>", "02.01.2027 10:00", "Sent to ada@example.com", "#3-abc</a>"} {
		if !strings.Contains(mail.HTML, want) {
			t.Errorf("the HTML lacks %q:\n%s", want, mail.HTML)
		}
	}
	if want := "Hello Ada,\nyour order A-1 has left us.\n* tea\n* <b>cake</b>\n-- Sent to ada@example.com.\n\n"; mail.Text != want {
		t.Errorf("text %q, want %q", mail.Text, want)
	}
	if r.Content.Push != nil || r.Content.Webhook != nil {
		t.Error("a mail was asked for, but there is a push or a webhook too")
	}
}

func TestLocalesFallBackForEachChannelByItself(t *testing.T) {
	c := mustLoad(t, folder(
		"catalogue.yaml", "default_locale: en_gb",
		"m/en-GB/email.subject.txt", "en", "m/en-GB/email.txt", "en", "m/en-GB/push.title.txt", "en", "m/en-GB/push.data.json", `{"k":1}`,
		"m/de/email.subject.txt", "de", "m/de/email.txt", "de",
		"m/de_at/push.title.txt", "at",
		"m/zh-hant/push.title.txt", "zh",
	))
	for _, w := range []struct {
		asked  string
		medium notice.Medium
		want   string
	}{
		{"de", notice.MediumEmail, "de"},
		{"de-AT", notice.MediumEmail, "de"},
		{"de_at", notice.MediumPush, "de-AT"},
		{"DE-at", notice.MediumPush, "de-AT"},
		{"de-AT-1996", notice.MediumPush, "de-AT"},
		{"de", notice.MediumPush, "en-GB"},
		{"de-x-private", notice.MediumEmail, "de"},
		{"zh-Hant-TW", notice.MediumPush, "zh-Hant"},
		{"fr", notice.MediumEmail, "en-GB"},
		{"", notice.MediumEmail, "en-GB"},
		{"not a locale at all", notice.MediumEmail, "en-GB"},
		{"-_-", notice.MediumEmail, "en-GB"},
	} {
		req := request("m", w.medium, `{}`)
		req.Locale = w.asked
		r, err := c.Render(req)
		if err != nil || r.Locale != w.want {
			t.Errorf("%q %s rendered in %q (%v), want %q", w.asked, w.medium, r.Locale, err, w.want)
		}
		if w.medium == notice.MediumPush && string(r.Content.Push.Data) != `{"k":1}` {
			t.Errorf("%q push lacks the data of the default locale: %s", w.asked, r.Content.Push.Data)
		}
	}
	req := request("m", notice.MediumEmail, `{}`)
	req.Locale, req.To.Locale = "", "de-CH"
	if r, _ := c.Render(req); r.Locale != "de" {
		t.Errorf("without a locale of its own the person's counts: got %q, want de", r.Locale)
	}
}

func TestMessagesSpeakTheReadersLanguage(t *testing.T) {
	c := mustLoad(t, mail(`{{t "hi" .to.name}} {{t "cart.items" .data.n .data.shop}}`,
		"_locales/en.yaml", "hi: Hello {1}\ncart:\n  items: {one: '{1} item of {2}', other: '{1} items of {2}'}",
		"_locales/pl.yaml", "cart: {items: {one: '{1} rzecz', few: '{1} rzeczy', many: '{1} rzeczy-m', other: '{1} rzeczy-o'}}",
		"_locales/de.yaml", "hi: Hallo {1}"))
	for _, w := range []struct{ locale, data, want string }{
		{"en", `{"n":1,"shop":"{1}"}`, "Hello Ada 1 item of {1}"},
		{"en", `{"n":1.5,"shop":"x"}`, "Hello Ada 1.5 items of x"},
		{"en", `{"n":0,"shop":"x"}`, "Hello Ada 0 items of x"},
		{"pl", `{"n":3,"shop":"x"}`, "Hello Ada 3 rzeczy"},
		{"pl", `{"n":5,"shop":"x"}`, "Hello Ada 5 rzeczy-m"},
		{"pl-PL", `{"n":1.5,"shop":"x"}`, "Hello Ada 1.5 rzeczy-o"},
		{"de-AT", `{"n":2,"shop":"x"}`, "Hallo Ada 2 items of x"},
		{"fr", `{"n":2,"shop":"x"}`, "Hello Ada 2 items of x"},
	} {
		req := request("m", notice.MediumEmail, w.data)
		req.Locale = w.locale
		r, err := c.Render(req)
		if err != nil {
			t.Errorf("%s: %v", w.locale, err)
		} else if r.Content.Email.Text != w.want {
			t.Errorf("%s %s: %q, want %q", w.locale, w.data, r.Content.Email.Text, w.want)
		}
	}
}

func TestValuesPrintAsPeopleWriteThem(t *testing.T) {
	for _, w := range []struct{ part, data, want string }{
		{"{{.data.n}}", `{"n":12345678}`, "12345678"},
		{"{{.data.n}}", `{"n":-9223372036854775808}`, "-9223372036854775808"},
		{"{{.data.n}}", `{"n":123456789012345678901234567890}`, "123456789012345678901234567890"},
		{"{{.data.n}}", `{"n":1234567.5}`, "1234567.5"},
		{"{{.data.n}}", `{"n":1.50}`, "1.5"},
		{"{{.data.n}}", `{"n":0.0000001}`, "0.0000001"},
		{`{{printf "%.2f" .data.n}}`, `{"n":1234567.5}`, "1234567.50"},
		{"{{if gt .data.n 1.5}}more{{end}}", `{"n":2.5}`, "more"},
		{"{{if eq .data.n 5}}five{{end}}", `{"n":5}`, "five"},
		{"{{json .data}}", `{"b":[1,2.5,null,true],"a":"\u003c\"","big":123456789012345678901234567890}`, `{"a":"<\"","b":[1,2.5,null,true],"big":123456789012345678901234567890}`},
		{`{{upper .data.s}} {{lower .data.s}}`, `{"s":"Straße"}`, "STRAßE straße"},
		{`{{truncate 5 .data.s}}|{{truncate 10 .data.s}}`, `{"s":"äöü äöü"}`, "äöü…|äöü äöü"},
		{`{{join ", " .data.l}}`, `{"l":["a",1,2.5]}`, "a, 1, 2.5"},
		{`{{.data.x | default "none"}} {{.data.z | default 7}} {{.data.f | default true}}`, `{"z":0,"f":false}`, "none 0 false"},
		{`{{date "02.01.2006 15:04" .now}}`, `{}`, "01.01.2027 10:30"},
		{`{{date "datetime" .data.at}}`, `{"at":"2027-07-01T22:30:00Z"}`, "2027-07-02 00:30"},
		{`{{date "date" .data.at}} {{.data.at | date "02/01"}}`, `{"at":"2027-07-01"}`, "2027-07-01 01/07"},
		{`{{dateIn "America/New_York" "time" .data.at}}`, `{"at":1798794000}`, "04:00"},
		{`{{with .data.at}}{{date "time" .}}{{end}}`, `{"at":"2027-01-01T00:00:00Z"}`, "01:00"},
		{`{{dateIn "Not/AZone" "time" .now}}`, `{}`, "09:30"},
		{`{{.id}} {{.category}} {{.template}} {{.to.user}}`, `{}`, "3-abc  m u1"},
		{`{{urlquery .data.s}}`, `{"s":"a b&c"}`, "a+b%26c"},
	} {
		if got := renderText(t, mail(w.part), w.data); got != w.want {
			t.Errorf("%s over %s\n got %q\nwant %q", w.part, w.data, got, w.want)
		}
	}
}

func TestSubjectsAndTitlesStayOnOneLine(t *testing.T) {
	c := mustLoad(t, folder("m/en/email.subject.txt", "\n Order {{.data.o}}\n", "m/en/email.txt", "t",
		"m/en/push.title.txt", "{{.data.o}}\n\n", "m/en/push.body.txt", "\nline\nline\n"))
	data := `{"o":"A\r\nBcc: everybody@example.com\u2028x"}`
	r, err := c.Render(request("m", notice.MediumEmail, data))
	if want := "Order A Bcc: everybody@example.com x"; err != nil || r.Content.Email.Subject != want {
		t.Errorf("subject %q (%v), want %q", r.Content.Email.Subject, err, want)
	}
	r, err = c.Render(request("m", notice.MediumPush, data))
	if want := (notice.PushContent{Title: "A Bcc: everybody@example.com x", Body: "line\nline"}); err != nil || r.Content.Push.Title != want.Title || r.Content.Push.Body != want.Body {
		t.Errorf("push %+v (%v), want %+v", r.Content.Push, err, want)
	}
}

func TestAWebhookWithoutPartsCarriesTheData(t *testing.T) {
	c := mustLoad(t, mail("t"))
	r, err := c.Render(request("m", notice.MediumWebhook, `{"b":1,"a":1.50}`))
	want := `{"id":"3-abc","type":"m","timestamp":"2027-01-01T09:30:00Z","data":{"b":1,"a":1.50}}`
	if err != nil || string(r.Content.Webhook) != want {
		t.Errorf("body %s (%v), want %s", r.Content.Webhook, err, want)
	}
	r, err = c.Render(request("m", notice.MediumWebhook, ``))
	if err != nil || !strings.HasSuffix(string(r.Content.Webhook), `"data":{}}`) {
		t.Errorf("without data the body is %s (%v)", r.Content.Webhook, err)
	}
}

func TestJSONPartsCannotBeBrokenOutOf(t *testing.T) {
	c := mustLoad(t, folder("m/en/webhook.json", "{\n  \"a\": {{json .data.a}} }\n"))
	r, err := c.Render(request("m", notice.MediumWebhook, `{"a":"\",\"admin\":true,\"x\":\""}`))
	if want := `{"a":"\",\"admin\":true,\"x\":\""}`; err != nil || string(r.Content.Webhook) != want {
		t.Errorf("body %s (%v), want %s", r.Content.Webhook, err, want)
	}
}

func TestResultsThatAreNoJSONAreErrorsThatTellWhere(t *testing.T) {
	c := mustLoad(t, folder("m/en/webhook.json", "{\n  \"a\": {{json .data.a}},\n}"))
	_, err := c.Render(request("m", notice.MediumWebhook, `{"a":"secret"}`))
	if err == nil || !strings.Contains(err.Error(), "m/en/webhook.json") || !strings.Contains(err.Error(), "line 2") || strings.Contains(err.Error(), "secret") {
		t.Errorf("error %v, want the file and the place, and not the data", err)
	}
	c = mustLoad(t, folder("m/en/push.title.txt", "t", "m/en/push.data.json", "[]"))
	if _, err := c.Render(request("m", notice.MediumPush, `{}`)); err == nil || !strings.Contains(err.Error(), "no JSON object") {
		t.Errorf("push data that is a list: %v", err)
	}
}

func TestErrorsOfARenderingNameThePlaceAndQuoteNoData(t *testing.T) {
	for _, w := range []struct{ name, part, data, want string }{
		{"a missing value", "one\n{{.data.a}}", `{}`, "m/en/email.txt:2:"},
		{"a range over text", "{{range .data.a}}{{end}}", `{"a":"secret"}`, "m/en/email.txt:1:"},
		{"a date that is none", `{{date "date" .data.a}}`, `{"a":"secret"}`, "m/en/email.txt:1:"},
		{"an index that is none", `{{index .data.l .data.a}}`, `{"l":[1],"a":"secret"}`, "m/en/email.txt:1:"},
		{"a join of text", `{{join "," .data.a}}`, `{"a":"secret"}`, "m/en/email.txt:1:"},
		{"a comparison of a text with a number", `{{if lt .data.a 3}}x{{end}}`, `{"a":"secret"}`, "m/en/email.txt:1:"},
	} {
		t.Run(w.name, func(t *testing.T) {
			r, err := mustLoad(t, mail(w.part)).Render(request("m", notice.MediumEmail, w.data))
			var fault Fault
			if !errors.As(err, &fault) || !strings.Contains(err.Error(), `"m"`) || !strings.Contains(err.Error(), w.want) || strings.Contains(err.Error(), "secret") {
				t.Errorf("error %v, want the template, %q and no data", err, w.want)
			}
			if r.Content.Email != nil {
				t.Errorf("an error came with content %+v", r.Content.Email)
			}
		})
	}
}

func TestRenderNamesTheNearestTemplate(t *testing.T) {
	_, err := loadTestdata(t).Render(request("order-shiped", notice.MediumEmail, `{}`))
	if err == nil || !strings.Contains(err.Error(), "did you mean order-shipped?") {
		t.Errorf("error %v", err)
	}
	_, err = loadTestdata(t).Render(request("price-drop", notice.MediumEmail, `{}`))
	if err == nil || !strings.Contains(err.Error(), "no parts for email") {
		t.Errorf("error %v", err)
	}
}

// Renderings share pooled buffers and maps; none may see another's person.
func TestRenderingsAtOnceDoNotMix(t *testing.T) {
	c := loadTestdata(t)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 50 {
				order := fmt.Sprintf("G%d-%d", g, i)
				req := request("order-shipped", notice.MediumEmail, `{"order":"`+order+`"}`)
				req.To.Name = "name-" + order
				r, err := c.Render(req)
				if err != nil {
					t.Error(err)
					return
				}
				mail := r.Content.Email
				if !strings.Contains(mail.Subject, order) || strings.Count(mail.HTML+mail.Text, "name-"+order) != 2 {
					t.Errorf("%s came out as %+v", order, mail)
				}
			}
		})
	}
	wg.Wait()
}

func TestCheckFindsWhatOnlyARenderingShows(t *testing.T) {
	c := mustLoad(t, folder(
		"m/template.yaml", "samples: {default: {a: x}, blank: {a: ''}}",
		"m/en/email.subject.txt", "{{.data.a}}", "m/en/email.txt", "t",
		"m/en/webhook.json", `{"a" {{json .data.a}}}`,
		"n/en/push.title.txt", "n"))
	var faults Faults
	if err := c.Check(); !errors.As(err, &faults) {
		t.Fatalf("check gave %v, want faults", err)
	}
	wantFault(t, faults, "m/en/email.subject.txt:1:1", "blank", "sample blank, locale en")
	wantFault(t, faults, "m/en/webhook.json:1:1", "no JSON")
	if err := loadTestdata(t).Check(); err != nil {
		t.Errorf("the good catalogue: %v", err)
	}
}
