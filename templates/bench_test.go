package templates

import (
	"bytes"
	"fmt"
	htmltemplate "html/template"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/carillonhq/carillon/notice"
)

// fiveKilobyteMail is an HTML mail of 5 KB with ten variables.
func fiveKilobyteMail() string {
	var b strings.Builder
	b.WriteString("<html><body>\n")
	for i := range 10 {
		fmt.Fprintf(&b, "<p style=\"margin:0\">%s <b>{{.data.v%d}}</b></p>\n", strings.Repeat("lorem ipsum ", 40), i)
	}
	b.WriteString("</body></html>\n")
	return b.String()
}

func tenValues() jsontext.Value {
	var fields []string
	for i := range 10 {
		fields = append(fields, fmt.Sprintf(`"v%d":"value number %d"`, i, i))
	}
	return jsontext.Value("{" + strings.Join(fields, ",") + "}")
}

// BenchmarkRender renders a 5 KB mail with ten variables: through the
// catalogue, and beside it through the bare engine with its data decoded.
func BenchmarkRender(b *testing.B) {
	mail := fiveKilobyteMail()
	c, err := Load(fstest.MapFS{
		"m/en/email.subject.txt": {Data: []byte("Hello {{.to.name}}")},
		"m/en/email.html":        {Data: []byte(mail)},
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Run("catalogue", func(b *testing.B) {
		req := Request{Template: "m", Medium: notice.MediumEmail, Locale: "en", ID: "0-a", Data: tenValues(), To: notice.Person{Name: "Ada"}, Now: time.Unix(0, 0)}
		b.ReportAllocs()
		for b.Loop() {
			if _, err := c.Render(req); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("plain html/template", func(b *testing.B) {
		t := htmltemplate.Must(htmltemplate.New("m").Option("missingkey=error").Parse(mail))
		data, err := decodeData(tenValues(), plainFloat)
		if err != nil {
			b.Fatal(err)
		}
		var out bytes.Buffer
		b.ReportAllocs()
		for b.Loop() {
			out.Reset()
			if err := t.Execute(&out, map[string]any{"data": data}); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkCheckData holds a notification's data against a schema, as every
// accepted notification is.
func BenchmarkCheckData(b *testing.B) {
	c := loadTestdata(b)
	t, _ := c.Template("order-shipped")
	b.ReportAllocs()
	for b.Loop() {
		if _, faults := t.CheckData(t.Samples[0].Data); len(faults) > 0 {
			b.Fatal(faults)
		}
	}
}
