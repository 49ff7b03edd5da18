package templates

import (
	"strings"
	"testing"
	"time"

	"github.com/carillonhq/carillon/notice"
)

func TestARenderingWithoutEndEnds(t *testing.T) {
	for _, w := range []struct{ name, part, data, want string }{
		{"a range over a huge number", "{{range 100000000000}}{{end}}", `{}`, "takes more than 100000 steps"},
		{"a range over a huge number from the data", "{{range .data.n}}{{end}}", `{"n":9000000000000000}`, "takes more than 100000 steps"},
		{"ranges within ranges", strings.Repeat("{{range 1000}}", 9) + strings.Repeat("{{end}}", 9), `{}`, "takes more than 100000 steps"},
		{"a huge range inside a condition in a partial", `{{template "spin" .}}`, `{}`, "takes more than 100000 steps"},
		{"output without end", "{{range 100000000000}}lorem ipsum dolor sit amet{{end}}", `{}`, "makes more than 1048576 bytes"},
		{"a text that doubles", `{{$x := "ab"}}{{range 99}}{{$x = print $x $x}}{{end}}`, `{}`, "makes more than 1048576 bytes"},
		{"a text that doubles by escaping", `{{$x := "&"}}{{range 99}}{{$x = html $x $x}}{{end}}`, `{}`, "makes more than 1048576 bytes"},
		{"a wide format", `{{$f := "%99999d"}}{{printf $f 1}}`, `{}`, "more than 3 digits"},
		{"a format with a width from the data", `{{$f := "%*d"}}{{printf $f .data.n 1}}`, `{"n":99999999}`, "no * widths"},
	} {
		for _, part := range []string{"email.txt", "email.html"} {
			t.Run(w.name+" in "+part, func(t *testing.T) {
				c := mustLoad(t, folder("m/en/email.subject.txt", "s", "m/en/"+part, w.part,
					"_partials/spin.txt", "{{if 1}}{{range 100000000000}}{{end}}{{end}}", "_partials/spin.html", "{{if 1}}{{range 100000000000}}{{end}}{{end}}"))
				start := time.Now()
				_, err := c.Render(request("m", notice.MediumEmail, w.data))
				if err == nil || !strings.Contains(err.Error(), w.want) {
					t.Errorf("error %v, want %q", err, w.want)
				}
				if took := time.Since(start); took > 5*time.Second { // milliseconds, but machines are shared
					t.Errorf("took %v", took)
				}
			})
		}
	}
}

// Each partial calls the next one twice, so that 40 of them are 2^40 calls
// without any loop.
func TestPartialsThatDoubleEnd(t *testing.T) {
	pairs := []string{"m/en/push.title.txt", `{{template "p0" .}}`}
	for i := range 40 {
		name := "_partials/p" + string(rune('a'+i/10)) + string(rune('0'+i%10)) + ".txt"
		next := "p" + string(rune('a'+(i+1)/10)) + string(rune('0'+(i+1)%10))
		text := `{{template "` + next + `" .}}{{template "` + next + `" .}}`
		if i == 39 {
			text = ""
		}
		pairs = append(pairs, name, text)
	}
	pairs[1] = `{{template "pa0" .}}`
	c := mustLoad(t, folder(pairs...))
	if _, err := c.Render(request("m", notice.MediumPush, `{}`)); err == nil || !strings.Contains(err.Error(), "steps") {
		t.Errorf("error %v, want the step budget", err)
	}
}

func TestALongListIsNoEndlessOne(t *testing.T) {
	list := `{"l":[` + strings.Repeat("1,", 49_999) + `1]}`
	if got := renderText(t, mail("{{range .data.l}}{{.}}{{end}}"), list); len(got) != 50_000 {
		t.Errorf("rendered %d elements, want 50000", len(got))
	}
}

func TestYAMLThatAliasesBlowUpIsRefused(t *testing.T) {
	var b strings.Builder
	b.WriteString("samples:\n  default:\n    a: &a [x,x,x,x,x,x,x,x,x,x]\n")
	for i := range 8 {
		prev, next := string(rune('a'+i)), string(rune('b'+i))
		b.WriteString("    " + next + ": &" + next + " [" + strings.Repeat("*"+prev+",", 9) + "*" + prev + "]\n")
	}
	faults := loadFaults(t, mail("t", "m/template.yaml", b.String()))
	wantFault(t, faults, "m/template.yaml:3:5", "too large")
}
