package templates

import (
	"bytes"
	"fmt"
	htmltemplate "html/template"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/carillonhq/carillon/notice"
)

// orderMail is an HTML mail of 5 KB with ten variables and three items; own
// of the variables are the reader's.
func orderMail(own int) string {
	var b strings.Builder
	b.WriteString("<html><body>\n")
	for i := range 10 {
		value := fmt.Sprintf(".data.v%d", i)
		if i < own {
			value = ".to.name"
		}
		fmt.Fprintf(&b, "<p style=\"margin:0\">%s <b>{{%s}}</b></p>\n", strings.Repeat("lorem ipsum ", 36), value)
	}
	b.WriteString("<ul>{{range .data.items}}<li>{{.name}}: {{.price}}</li>{{end}}</ul></body></html>\n")
	return b.String()
}

func orderData(salt int) jsontext.Value {
	var b strings.Builder
	fmt.Fprintf(&b, `{"salt":%d,`, salt)
	for i := range 10 {
		fmt.Fprintf(&b, `"v%d":"value number %d",`, i, i)
	}
	b.WriteString(`"items":[{"name":"tea","price":"4.50"},{"name":"cake","price":"3.20"},{"name":"jam","price":"5.10"}]}`)
	return jsontext.Value(b.String())
}

func benchCatalogue(b testing.TB, part string, locales ...string) *Catalogue {
	pairs := []string{}
	for _, l := range append([]string{"en"}, locales...) {
		pairs = append(pairs, "m/"+l+"/email.subject.txt", "Hello", "m/"+l+"/email.html", part)
	}
	c, err := Load(folder(pairs...))
	if err != nil {
		b.Fatal(err)
	}
	return c
}

func benchRequest(data jsontext.Value) Request {
	return Request{Template: "m", Medium: notice.MediumEmail, Locale: "en", ID: "0-a", Data: data, Now: time.Unix(0, 0),
		To: notice.Person{User: "u1", Name: "Ada Example", Email: "ada@example.com"}}
}

// processorTime reports what a benchmark costs in processor time, which other
// work on the machine does not stretch as it does the clock's.
func processorTime(b *testing.B) (report func()) {
	spent := func() int64 {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return u.Utime.Nano() + u.Stime.Nano()
	}
	before := spent()
	return func() { b.ReportMetric(float64(spent()-before)/float64(b.N), "cpu-ns/op") }
}

func renderLoop(b *testing.B, c *Catalogue, next func(i int, req *Request)) {
	req := benchRequest(orderData(0))
	defer processorTime(b)()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if next != nil {
			next(i, &req)
		}
		if _, err := c.Render(req); err != nil {
			b.Fatal(err)
		}
	}
}

// plainLoop runs html/template alone over data that is decoded already.
func plainLoop(b *testing.B, part string) {
	t := htmltemplate.Must(htmltemplate.New("m").Option("missingkey=error").Parse(part))
	data, err := decodeData(orderData(0), plainFloat)
	if err != nil {
		b.Fatal(err)
	}
	root := map[string]any{"data": data, "to": map[string]any{"name": "Ada Example", "user": "u1"}, "unsubscribe_url": ""}
	var out bytes.Buffer
	defer processorTime(b)()
	b.ReportAllocs()
	for b.Loop() {
		out.Reset()
		if err := t.Execute(&out, root); err != nil {
			b.Fatal(err)
		}
		_ = out.String()
	}
}

// BenchmarkWarm renders a mail whose fragments are known, beside html/template
// alone: with all ten variables from the data, and with three of the reader's.
func BenchmarkWarm(b *testing.B) {
	for _, own := range []int{0, 3} {
		part := orderMail(own)
		b.Run(fmt.Sprintf("%d of the reader/cache", own), func(b *testing.B) {
			c := benchCatalogue(b, part)
			c.UseCache(NewCache(64 << 20))
			renderLoop(b, c, nil)
		})
		b.Run(fmt.Sprintf("%d of the reader/no cache", own), func(b *testing.B) { renderLoop(b, benchCatalogue(b, part), nil) })
		b.Run(fmt.Sprintf("%d of the reader/html_template", own), func(b *testing.B) { plainLoop(b, part) })
	}
}

// campaignMail is nine tenths shared: the reader has a greeting and a link.
func campaignMail() string {
	return strings.Replace(strings.Replace(orderMail(0), "<body>", "<body><h1>Hello {{.to.name}},</h1>", 1),
		"</body>", `<p>Sent to {{.to.user}}. <a href="{{.unsubscribe_url}}">Unsubscribe</a></p></body>`, 1)
}

// BenchmarkCampaign renders one content for 100,000 readers in five languages,
// beside html/template alone.
func BenchmarkCampaign(b *testing.B) {
	locales := []string{"en", "de", "fr", "it", "es"}
	links := make([]string, 100_000)
	users := make([]string, len(links))
	for i := range links {
		users[i] = fmt.Sprintf("u%d", i)
		links[i] = "https://notify.example/u/" + users[i] + "?c=news&l=de"
	}
	reader := func(i int, req *Request) {
		i %= len(links)
		req.Locale, req.To.User, req.UnsubscribeURL = locales[i%len(locales)], users[i], links[i]
		req.To.Locale = req.Locale
	}
	b.Run("cache", func(b *testing.B) {
		c := benchCatalogue(b, campaignMail(), locales[1:]...)
		c.UseCache(NewCache(64 << 20))
		renderLoop(b, c, reader)
	})
	b.Run("a condition on the reader, cache", func(b *testing.B) {
		part := strings.Replace(campaignMail(), "Hello {{.to.name}}", "{{with .to.name}}Hello {{.}}{{else}}Hello{{end}}", 1)
		c := benchCatalogue(b, part, locales[1:]...)
		c.UseCache(NewCache(64 << 20))
		renderLoop(b, c, reader)
	})
	b.Run("no cache", func(b *testing.B) { renderLoop(b, benchCatalogue(b, campaignMail(), locales[1:]...), reader) })
	b.Run("html_template", func(b *testing.B) { plainLoop(b, campaignMail()) })
}

// BenchmarkUnique renders data that is never seen again: what the cache costs
// where it can gain nothing.
func BenchmarkUnique(b *testing.B) {
	data := make([]jsontext.Value, 200_000)
	for i := range data {
		data[i] = orderData(i)
	}
	part := campaignMail()
	unique := func(i int, req *Request) { req.Data = data[i%len(data)] }
	b.Run("cache", func(b *testing.B) {
		c := benchCatalogue(b, part)
		c.UseCache(NewCache(64 << 20))
		renderLoop(b, c, unique)
	})
	b.Run("no cache", func(b *testing.B) { renderLoop(b, benchCatalogue(b, part), unique) })
}
