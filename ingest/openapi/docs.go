package openapi

import (
	"crypto/sha256"
	_ "embed" // the page and its style
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"net/url"
	"strings"
)

//go:embed docs.html
var docsHTML string

//go:embed docs.css
var docsCSS string

// writeDocs writes the page for people and returns the policy under which it
// is to be shown: its own style, and nothing else from anywhere.
func writeDocs(w io.Writer) (policy string, err error) {
	d, err := load(source)
	if err != nil {
		return "", err
	}
	t, err := template.New("docs").Funcs(template.FuncMap{"curl": curl, "lower": strings.ToLower}).Parse(docsHTML)
	if err != nil {
		return "", fmt.Errorf("parsing docs.html: %w", err)
	}
	view := struct {
		*document
		Style template.CSS
	}{d, template.CSS(docsCSS)}
	if err := t.Execute(w, view); err != nil {
		return "", fmt.Errorf("writing the page: %w", err)
	}
	sum := sha256.Sum256([]byte(docsCSS))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'", nil
}

// curl is a command line that makes the call with its first example.
func curl(op *operation) (string, error) {
	var b strings.Builder
	b.WriteString("curl -sS")
	if op.Method != "GET" {
		b.WriteString(" -X " + op.Method)
	}
	fmt.Fprintf(&b, ` "$CARILLON%s"`, op.samplePath())
	if op.Scope() != "" {
		b.WriteString(" \\\n  -H \"Authorization: Bearer $KEY\"")
	}
	for _, p := range op.Parameters {
		if p.In == "header" && !p.Example.IsZero() {
			fmt.Fprintf(&b, " \\\n  -H %s", quote(p.Name+": "+p.Example.Value))
		}
	}
	if op.RequestBody == nil {
		return b.String(), nil
	}
	err := writeSample(&b, op)
	return b.String(), err
}

// samplePath is the path with the examples of its parameters.
func (o *operation) samplePath() string {
	path, query := o.Path, url.Values{}
	for _, p := range o.Parameters {
		switch {
		case p.In == "path" && p.Example.IsZero():
			path = strings.Replace(path, "{"+p.Name+"}", "$"+strings.ToUpper(p.Name), 1)
		case p.In == "path":
			path = strings.Replace(path, "{"+p.Name+"}", url.PathEscape(p.Example.Value), 1)
		case p.In == "query" && !p.Example.IsZero():
			query.Set(p.Name, p.Example.Value)
		}
	}
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	return path
}

// writeSample adds the first example of a body.
func writeSample(b *strings.Builder, op *operation) error {
	for _, m := range op.RequestBody.Content {
		all := m.Value.All()
		if len(all) == 0 {
			continue
		}
		if m.Name == "application/x-www-form-urlencoded" {
			fmt.Fprintf(b, " \\\n  -d %s", quote(form(all[0].Value)))
			return nil
		}
		text, err := all[0].Value.JSON()
		if err != nil {
			return fmt.Errorf("the example %s: %w", all[0].Name, err)
		}
		fmt.Fprintf(b, " \\\n  -H 'Content-Type: %s' \\\n  --data-binary %s", m.Name, quote(text))
		return nil
	}
	return nil
}

// form is an example's members as a form has them.
func form(e example) string {
	values := url.Values{}
	for i := 0; i+1 < len(e.Value.Content); i += 2 {
		values.Set(e.Value.Content[i].Value, e.Value.Content[i+1].Value)
	}
	return values.Encode()
}

// quote is s as one word of a POSIX shell.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
