package templates

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/carillonhq/carillon/notice"
)

// What takes the place of a call has no source of its own, and the engine
// looked for its position in that of the part, which was shorter.
func TestAPartialMayBeLongerThanThePartThatCallsIt(t *testing.T) {
	long := strings.Repeat("long ", 100)
	for _, ext := range []string{".txt", ".html"} {
		c := mustLoad(t, folder("m/en/email.subject.txt", "s", "m/en/email"+ext, `{{template "p" "2027-01-02"}}`, "_partials/p"+ext, long+`{{date "2006" .}}`))
		r, err := c.Render(request("m", notice.MediumEmail, `{}`))
		if err != nil || r.Content.Email.Text+r.Content.Email.HTML != long+"2027" {
			t.Errorf("%s: %+v, %v", ext, r.Content.Email, err)
		}
	}
}

func TestAFaultInAPartialThatTookItsCallsPlaceNamesThePartialAsItWasWritten(t *testing.T) {
	c := mustLoad(t, mail(`{{range .data.l}}{{template "p" .}}{{end}}`, "_partials/p.txt", strings.Repeat("long\n", 100)+`{{date "date" .x}}`))
	_, err := c.Render(request("m", notice.MediumEmail, `{"l":[{"x":"yesterday"}]}`))
	if err == nil || !strings.Contains(err.Error(), `_partials/p.txt:101:3: at <date "date" .x>: error calling date: date wants a time`) || strings.Contains(err.Error(), "yesterday") {
		t.Errorf("error %v", err)
	}
}

// The HTML engine's error asked a node without a source for it, in a goroutine
// of its own, which ended the process.
func TestAPartialThatWritesADateAndLeavesATagOpenIsAFault(t *testing.T) {
	faults := loadFaults(t, folder("m/en/email.subject.txt", "s", "m/en/email.html", "<p>\n{{range .data.l}}{{template \"p\" .}}{{end}}", "_partials/p.html", `<a href="{{date "date" .at}}`))
	wantFault(t, faults, "m/en/email.html:2:1", "different context")
}

func TestWhatFallsOverIsAnError(t *testing.T) {
	err := survive(func() { panic("the engine") })
	if err == nil || !strings.Contains(err.Error(), "fault of the gateway") || !strings.Contains(err.Error(), "the engine") {
		t.Errorf("error %v", err)
	}
	if err := survive(func() {}); err != nil {
		t.Errorf("what goes well: %v", err)
	}
}

// A hundred thousand times 1 MB stays within the steps and the sizes.
func TestALoopThatComputesMuchAndWritesNothingEnds(t *testing.T) {
	data := `{"l":["` + strings.Repeat("x", 1<<19) + `","` + strings.Repeat("y", 1<<19-10) + `"]}`
	for _, body := range []string{`{{range 99999}}{{if join "," $.data.l}}{{end}}{{end}}`, `{{range 99999}}{{$x := upper (join "," $.data.l)}}{{end}}`} {
		c := mustLoad(t, mail(body))
		start := time.Now()
		_, err := c.Render(request("m", notice.MediumEmail, data))
		if err == nil || !strings.Contains(err.Error(), "m/en/email.txt:1:1: takes more than 1s") {
			t.Errorf("%s: error %v", body, err)
		}
		if took := time.Since(start); took > 30*time.Second { // one second, on a machine that is not shared
			t.Errorf("%s: took %v", body, took)
		}
	}
}

// A part is not run without data for longer than with it.
func TestAPartThatComputesMuchWithoutAnyDataIsRefused(t *testing.T) {
	faults := loadFaults(t, mail(`{{$x := "x"}}{{range 19}}{{$x = print $x $x}}{{end}}{{range 99999}}{{if upper $x}}{{end}}{{end}}`))
	wantFault(t, faults, "m/en/email.txt:1", "takes more than 1s")
}

func TestTheClockOfAPart(t *testing.T) {
	at := time.Unix(0, 0)
	out := output{clock: func() time.Time { return at }}
	step := func(times int, each time.Duration) (err error) {
		for range times {
			at = at.Add(each)
			if _, err = out.Write(nil); err != nil {
				return err
			}
		}
		return nil
	}
	if err := step(looksEvery, time.Hour); err != nil {
		t.Errorf("before the first look: %v", err)
	}
	if err := step(3*looksEvery, time.Hour); err != nil {
		t.Errorf("a process that was stopped three times: %v", err)
	}
	if err := step(1000, 10*time.Millisecond); err != errTime {
		t.Errorf("10 s of work: error %v", err)
	}
	out.reset()
	if err := step(90, 10*time.Millisecond); err != nil {
		t.Errorf("the next part has its own time: %v", err)
	}
}

func TestAPartThatHoldsManyTextsAtOnceIsRefused(t *testing.T) {
	repeat := func(n int, format string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, format, i)
		}
		return b.String()
	}
	chain := []string{}
	for i := range 10 {
		chain = append(chain, fmt.Sprintf("_partials/p%d.txt", i), repeat(8, "{{$v%d := upper .data.x}}")+fmt.Sprintf("{{template %q .}}", fmt.Sprint("p", i+1)))
	}
	chain = append(chain, "_partials/p10.txt", "")
	for _, c := range []struct{ name, part, place string }{
		{"variables", repeat(65, "{{$v%d := upper .data.x}}"), "m/en/email.txt:1"},
		{"variables that are set later", repeat(65, `{{$v%[1]d := ""}}{{$v%[1]d = upper .data.x}}`), "m/en/email.txt:1"},
		{"arguments", "{{print" + strings.Repeat(" (upper .data.x)", 70) + "}}", "m/en/email.txt:1"},
		{"a pipeline", "{{.data.x" + strings.Repeat(" | upper", 70) + "}}", "m/en/email.txt:1"},
		{"a condition", "{{if and" + strings.Repeat(" (upper .data.x)", 70) + "}}{{end}}", "m/en/email.txt:1"},
		{"variables of partials within each other", `{{template "p0" .}}`, "_partials/p1.txt:1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			wantFault(t, loadFaults(t, mail(c.part, chain...)), c.place, "more than 64 texts")
		})
	}
	for name, part := range map[string]string{
		"one after the other":          strings.Repeat("{{upper .data.x}}", 500),
		"names of the data's values":   repeat(200, "{{$v%d := .data.x}}"),
		"in branches, only one counts": repeat(20, "{{if .data.x}}"+strings.Repeat("{{with upper .data.x}}{{.}}{{end}}", 10)+"{{end}}%d"),
	} {
		if _, err := Load(mail(part)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Without a loop, a part is run in no more than a few calls between two steps.
func TestALongPartWithoutLoopsTakesSteps(t *testing.T) {
	data := `{"x":"` + strings.Repeat("x", 1<<19) + `"}`
	c := mustLoad(t, mail(`{{$x := ""}}`+strings.Repeat(`{{$x = upper .data.x}}{{if lower $x}}{{end}}`, 2_500)))
	start := time.Now()
	_, err := c.Render(request("m", notice.MediumEmail, data))
	if err == nil || !strings.Contains(err.Error(), "takes more than 1s") {
		t.Errorf("after %v: error %v", time.Since(start), err)
	}
}

// Every place of HTML from which a reader's program could be led to run or
// fetch what a value says.
func TestNoPlaceOfHTMLTakesALinkThatRuns(t *testing.T) {
	places := []string{
		`<a href="{{.data.u}}">x</a>`, `<a href='{{.data.u}}'>x</a>`, `<a href={{.data.u}}>x</a>`, `<A HREF="{{.data.u}}">x</A>`, `<a href=" {{.data.u}}">x</a>`,
		`<img src="{{.data.u}}" alt="">`, `<form action="{{.data.u}}"></form>`, `<button formaction="{{.data.u}}">x</button>`, `<input formaction="{{.data.u}}">`,
		`<svg><a xlink:href="{{.data.u}}"></a></svg>`, `<svg><image xlink:href="{{.data.u}}"></image></svg>`, `<img srcset="{{.data.u}} 2x" alt="">`, `<img srcset="https://a.example/1 1x, {{.data.u}} 2x" alt="">`,
		`<p style="background:url({{.data.u}})">x</p>`, `<p style="background:url('{{.data.u}}')">x</p>`, `<p style="{{.data.u}}">x</p>`, `<style>p{background:url("{{.data.u}}")}</style>`,
		`<meta http-equiv="refresh" content="0;url={{.data.u}}">`, `<meta http-equiv="refresh" content="{{.data.u}}">`, `<iframe src="{{.data.u}}"></iframe>`, `<object data="{{.data.u}}"></object>`,
		`<video poster="{{.data.u}}"></video>`, `<td background="{{.data.u}}">x</td>`, `<base href="{{.data.u}}">`, `<link rel="stylesheet" href="{{.data.u}}">`, `<embed src="{{.data.u}}">`,
		`<a {{.data.n}}="{{.data.u}}">x</a>`, `<a href="{{if true}}{{.data.u}}{{end}}">x</a>`, `<a href="{{with .data.u}}{{.}}{{end}}">x</a>`, `{{range .data.l}}<a href="{{.}}">x</a>{{end}}`,
		`<a onclick="{{.data.u}}">x</a>`, `<a href="{{print .data.u}}">x</a>`, `<a href="{{.data.u | html}}">x</a>`, `<a href="{{.data.a}}{{.data.b}}">x</a>`,
	}
	tried := 0
	for _, place := range places {
		c, err := Load(folder("m/en/email.subject.txt", "s", "m/en/email.html", place))
		if err != nil || c.Check() != nil {
			continue // refused: nothing can come out
		}
		tried++
		for _, u := range []string{"javascript:alert(1)", " javascript:alert(1)", "JaVaScRiPt:alert(1)", "java\tscript:alert(1)", "java\nscript:alert(1)", "\x01javascript:alert(1)", "\u00a0javascript:alert(1)",
			"javascript&colon;alert(1)", "javascript\x00:alert(1)", "vbscript:msgbox(1)", "data:text/html,<script>alert(1)</script>", "feed:javascript:alert(1)", "0;url=javascript:alert(1)", "1;URL='javascript:alert(1)'", "expression(alert(1))", "x);background:url(javascript:alert(1)", `"onload="alert(1)`, "'><script>alert(1)</script>"} {
			data, _ := appendJSON(nil, map[string]any{"u": u, "n": "href", "l": []any{u}, "a": u[:4], "b": u[4:]}, 0)
			r, err := c.Render(request("m", notice.MediumEmail, string(data)))
			if err != nil {
				continue
			}
			for _, what := range dangers(r.Content.Email.HTML) {
				t.Errorf("%s with %q has %s:\n%s", place, u, what, r.Content.Email.HTML)
			}
		}
	}
	if tried < 20 {
		t.Errorf("only %d places were tried", tried)
	}
}

func TestAMailThatLeadsAwayByItselfIsRefused(t *testing.T) {
	for _, tag := range []string{`<meta http-equiv="refresh" content="0;url=https://a.example">`, `<META HTTP-EQUIV=" Refresh " content="{{.data.u}}">`, `<meta http-equiv="{{.data.u}}" content="x">`} {
		c := mustLoad(t, folder("m/en/email.subject.txt", "s", "m/en/email.html", "<p>x</p>"+tag))
		wantFault(t, c.Examine(), "m/en/email.html:1:9", "leads readers away")
		if c.Check() == nil {
			t.Errorf("%s is only warned of", tag)
		}
	}
}

// dangers lists the scripts and the links that run in a text.
func dangers(text string) (found []string) {
	z := html.NewTokenizer(strings.NewReader(text))
	for kind := z.Next(); kind != html.ErrorToken; kind = z.Next() {
		tag := z.Token()
		if kind != html.StartTagToken && kind != html.SelfClosingTagToken {
			continue
		}
		if tag.Data == "script" {
			found = append(found, "a script")
		}
		for _, a := range tag.Attr {
			value := strings.ToLower(strings.Map(func(r rune) rune {
				if r <= ' ' || r == '\u00a0' {
					return -1
				}
				return r
			}, a.Val))
			switch {
			case a.Key == "onload":
				found = append(found, "a handler that no author wrote")
			case !isLink(tag.Data, a.Key) && a.Key != "srcset" && a.Key != "content" && a.Key != "style":
				continue
			}
			for _, scheme := range []string{"javascript:", "vbscript:", "data:text", "feed:"} {
				if strings.HasPrefix(value, scheme) || strings.Contains(value, "url="+scheme) || strings.Contains(value, "url='"+scheme) || strings.Contains(value, "url("+scheme) || strings.Contains(value, "url('"+scheme) || a.Key == "srcset" && strings.Contains(value, ","+scheme) {
					found = append(found, "a link that runs in "+a.Key)
				}
			}
			if a.Key == "style" && strings.Contains(value, "expression(") {
				found = append(found, "an expression in a style")
			}
		}
	}
	return found
}

// The author of a template cannot have it say what lies beside the catalogue.
func TestNothingBesideTheCatalogueIsRead(t *testing.T) {
	outside := t.TempDir()
	secret := filepath.Join(outside, "secret.txt")
	if err := os.WriteFile(secret, []byte("s3cret"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, make := range map[string]func(dir string) error{
		"a part that is a link":              func(dir string) error { return os.Symlink(secret, filepath.Join(dir, "m/en/email.txt")) },
		"a folder that is a link":            func(dir string) error { return os.Symlink(outside, filepath.Join(dir, "_partials")) },
		"a link that leads out step by step": func(dir string) error { return os.Symlink("../../../secret.txt", filepath.Join(dir, "m/en/email.txt")) },
		"a link to /proc":                    func(dir string) error { return os.Symlink("/proc/self/environ", filepath.Join(dir, "m/en/email.txt")) },
		"settings that are a link":           func(dir string) error { return os.Symlink(secret, filepath.Join(dir, "m/template.yaml")) },
		"messages that are a link": func(dir string) error {
			if err := os.Mkdir(filepath.Join(dir, "_locales"), 0o700); err != nil {
				return err
			}
			return os.Symlink(secret, filepath.Join(dir, "_locales/en.yaml"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "catalogue")
			if err := os.MkdirAll(filepath.Join(dir, "m/en"), 0o700); err != nil {
				t.Fatal(err)
			}
			writeFile(t, dir, "m/en/email.subject.txt", "s")
			if err := make(dir); err != nil {
				t.Fatal(err)
			}
			_, err := OpenStore(dir, slog.New(slog.DiscardHandler))
			if err == nil || !strings.Contains(err.Error(), "cannot be followed within the catalogue") || strings.Contains(err.Error(), "s3cret") {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestASchemaReachesForNothing(t *testing.T) {
	for _, ref := range []string{"http://127.0.0.1:9/schema", "https://169.254.169.254/latest", "file:///etc/passwd", "//host/x", "../other/template.yaml", "template:///other", "jar:x"} {
		for _, key := range []string{"$ref", "$dynamicRef", "$schema"} {
			faults := loadFaults(t, mail("x", "m/template.yaml", fmt.Sprintf("schema: {%q: %q}", key, ref)))
			wantFault(t, faults, "m/template.yaml:1")
		}
	}
}

func TestYAMLThatGrowsIsRefusedWhereverItStands(t *testing.T) {
	var bomb strings.Builder
	bomb.WriteString("a: &a [x,x,x,x,x,x,x,x,x,x]\n")
	for i := range 8 {
		fmt.Fprintf(&bomb, "%c: &%c [%s]\n", 'b'+i, 'b'+i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*%c,", 'a'+i), 10), ","))
	}
	for _, file := range []string{"catalogue.yaml", "m/template.yaml", "_locales/en.yaml"} {
		start := time.Now()
		if faults := loadFaults(t, mail("x", file, bomb.String())); faults[0].File != file {
			t.Errorf("%s: %v", file, faults)
		}
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("%s took %v", file, took)
		}
	}
	loop := "m/template.yaml"
	wantFault(t, loadFaults(t, mail("x", loop, "samples: &a {default: *a}")), loop)
}

// A text that is no UTF-8, half a surrogate, or NUL never makes another field,
// another line or another script of what is around it.
func TestTextsThatReadersShowOtherwiseThanTheyAre(t *testing.T) {
	c := mustLoad(t, folder("m/en/email.subject.txt", "Order {{.data.x}}", "m/en/email.html", `<p title="{{.data.x}}">{{.data.x}}</p>`, "m/en/push.title.txt", "{{.data.x}}", "m/en/push.body.txt", "b",
		"m/en/webhook.json", `{"x": {{json .data.x}}}`))
	for name, x := range map[string]string{
		"half a surrogate": `"\ud800"`, "NUL": `"a\u0000b"`, "line ends": `"a\r\nBcc: b@example.com\u2028\u0085c"`, "broken UTF-8": "\"a\xffb\"", "an overlong slash": "\"a\xc0\xafb\"",
	} {
		data := `{"x":` + x + `}`
		for _, m := range []notice.Medium{notice.MediumEmail, notice.MediumPush, notice.MediumWebhook} {
			r, err := c.Render(request("m", m, data))
			if err != nil {
				continue // no JSON
			}
			var all bytes.Buffer
			if mail := r.Content.Email; mail != nil {
				all.WriteString(mail.Subject)
			}
			if push := r.Content.Push; push != nil {
				all.WriteString(push.Title)
			}
			if strings.ContainsAny(all.String(), "\r\n\u2028\u0085") {
				t.Errorf("%s: %q has more lines than one", name, all.String())
			}
			if !r.Content.Webhook.IsValid() && m == notice.MediumWebhook {
				t.Errorf("%s: %s is no JSON", name, r.Content.Webhook)
			}
		}
	}
}
