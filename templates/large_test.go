package templates

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// largeCatalogue writes a catalogue of 1,000 templates in 5 locales: a mail
// with a layout and a partial, its text, and a push.
func largeCatalogue(tb testing.TB) string {
	tb.Helper()
	dir := tb.TempDir()
	write := func(name, text string) {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			tb.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			tb.Fatal(err)
		}
	}
	write("catalogue.yaml", "default_locale: en\n")
	write("_layouts/email.html", "<!doctype html>\n<html><head><meta charset=\"utf-8\"><style>p { margin: 0 }</style></head>\n<body><table role=\"presentation\"><tr><td>\n{{template \"content\" .}}\n</td></tr></table>\n{{template \"footer\" .}}</body></html>\n")
	write("_partials/footer.html", "<p>{{t \"bye\"}}, {{.to.name}}{{with .unsubscribe_url}} <a href=\"{{.}}\">x</a>{{end}}</p>\n")
	for _, locale := range largeLocales() {
		write("_locales/"+locale+".yaml", "bye: Bye\n")
	}
	for i := range 1000 {
		name := fmt.Sprintf("template-%04d", i)
		write(name+"/template.yaml", `category: shipping
layout: email
schema:
  type: object
  required: [order, total, items]
  properties:
    order: {type: string}
    total: {type: number}
    note: {type: string}
    items: {type: array, items: {type: object, required: [name, qty], properties: {name: {type: string}, qty: {type: integer}, url: {type: string, format: uri}}}}
samples:
  default: {order: A-1, total: 12.5, items: [{name: tea, qty: 2, url: "https://shop.example/tea"}, {name: bell, qty: 1}]}
  short: {order: A-2, total: 3, note: hello, items: []}
`)
		for _, locale := range largeLocales() {
			write(name+"/"+locale+"/email.subject.txt", "Order {{.data.order}}\n")
			write(name+"/"+locale+"/email.html", "<h1>Order {{.data.order}}</h1>\n{{with .data.note}}<p>{{.}}</p>{{end}}\n<ul>{{range .data.items}}<li>{{.qty}} x {{if .url}}<a href=\"{{.url}}\">{{.name}}</a>{{else}}{{.name}}{{end}}</li>\n{{end}}</ul>\n{{if gt .data.total 10}}<p>Total {{.data.total}}</p>{{end}}\n")
			write(name+"/"+locale+"/email.txt", "Order {{.data.order}}\n{{range .data.items}}{{.qty}} x {{.name}}\n{{end}}")
			write(name+"/"+locale+"/push.title.txt", "Order {{.data.order}}")
			write(name+"/"+locale+"/push.body.txt", "{{len .data.items}} items for {{.to.name}}")
		}
	}
	return dir
}

func largeLocales() []string { return []string{"en", "de", "fr", "es", "pl"} }

// processorSeconds is what the process has used of all processors; clocks on
// the wall lie where machines are shared.
func processorSeconds(tb testing.TB) float64 {
	tb.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}

// BenchmarkLoad1000x5 loads a catalogue of 1,000 templates in 5 locales.
func BenchmarkLoad1000x5(b *testing.B) {
	dir := largeCatalogue(b)
	b.ResetTimer()
	before := processorSeconds(b)
	for b.Loop() {
		if _, err := LoadDir(dir); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric((processorSeconds(b)-before)/float64(b.N), "cpu-s/op")
}

// BenchmarkCheck1000x5 is what `preview check` does of it: loading, 15,000
// renderings, and a look at each.
func BenchmarkCheck1000x5(b *testing.B) {
	dir := largeCatalogue(b)
	b.ResetTimer()
	before := processorSeconds(b)
	for b.Loop() {
		c, err := LoadDir(dir)
		if err != nil {
			b.Fatal(err)
		}
		if faults := c.Examine(); len(faults) > 0 {
			b.Fatal(faults[0])
		}
	}
	b.ReportMetric((processorSeconds(b)-before)/float64(b.N), "cpu-s/op")
}
