package templates

import (
	"testing"

	"github.com/carillonhq/carillon/notice"
)

// digested is a catalogue in which m, a mail, has digests by the template d.
func digested(settings string, more ...string) []string {
	return append([]string{"d/template.yaml", settings, "d/en/email.subject.txt", "{{.data.count}} more", "d/en/email.txt", "{{range .data.items}}[{{.order}}]{{end}}"}, more...)
}

const (
	itemSchema   = "schema: {type: object, required: [order], properties: {order: {type: string}}}\nsamples: {default: {order: A-1}}\n"
	digestSchema = "schema: {type: object, required: [items, count], properties: {items: {type: array, items: {type: object, required: [order], properties: {order: {type: string}}}}, count: {type: integer}, more: {type: integer}}}\n" +
		"samples: {default: {items: [{order: A-1}], count: 1, more: 0}}\n"
)

func TestATemplateNamesTheTemplateOfItsDigests(t *testing.T) {
	c := mustLoad(t, mail("{{.data.order}}", digested(digestSchema, "m/template.yaml", "category: shipping\ndigest: d\n"+itemSchema)...))
	m, _ := c.Template("m")
	if m.Digest != "d" {
		t.Errorf("its digest is %q, want d", m.Digest)
	}
	data, err := DigestSample(m.Samples[0].Data)
	if err != nil {
		t.Fatal(err)
	}
	req := SampleRequest(m, notice.MediumEmail, "en")
	req.Template, req.Data = "d", data
	got, err := c.Render(req)
	if err != nil || got.Content.Email.Text != "[A-1][A-1]" || got.Content.Email.Subject != "2 more" {
		t.Errorf("rendered %+v, %v", got.Content.Email, err)
	}
}

func TestADigestThatCannotBeRenderedIsAFaultWhereItIsNamed(t *testing.T) {
	named := "category: shipping\ndigest: d\n" + itemSchema
	for _, c := range []struct {
		name, settings string
		more           []string
		words          []string
	}{
		{"a template that is not there", digestSchema, []string{"m/template.yaml", "digest: dd\n" + itemSchema}, []string{`no template "dd"`, "did you mean d?"}},
		{"itself", digestSchema, []string{"m/template.yaml", "digest: m\n" + itemSchema}, []string{"this template itself"}},
		{"one with a digest of its own", "digest: e\n" + digestSchema, []string{"m/template.yaml", named, "e/en/email.subject.txt", "s", "e/en/email.txt", "t"}, []string{"has a digest of its own", "d/template.yaml"}},
		{"one without a medium", digestSchema, []string{"m/template.yaml", named, "m/en/push.body.txt", "b"}, []string{"no parts for push", "d/en"}},
		{"one whose schema refuses the items", digestSchema[:len(digestSchema)-1] + "\n", []string{"m/template.yaml", "category: shipping\ndigest: d\nschema: {type: object, required: [order], properties: {order: {type: integer}}}\nsamples: {default: {order: 1}}\n"}, []string{"sample default", "/data/items/0/order"}},
		{"one whose schema knows no more", "schema: {type: object, required: [items, count], additionalProperties: false, properties: {items: {type: array, items: {type: object, required: [order], properties: {order: {type: string}}}}, count: {type: integer}}}\nsamples: {default: {items: [{order: a}], count: 1}}\n",
			[]string{"m/template.yaml", named}, []string{"/data/more", "count, more"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			line := "m/template.yaml:2:9"
			if c.more[1][0] == 'd' {
				line = "m/template.yaml:1:9"
			}
			wantFault(t, loadFaults(t, mail("{{.data.order}}", digested(c.settings, c.more...)...)), line, c.words...)
		})
	}
}
