package templates

import (
	"testing"
	"testing/fstest"
)

func TestASchemaIsGivenInTheOrderInWhichItWasWritten(t *testing.T) {
	c, err := Load(fstest.MapFS{
		"hello/en/email.subject.txt": {Data: []byte("Hello")},
		"hello/en/email.txt":         {Data: []byte("Hello")},
		"hello/template.yaml": {Data: []byte("schema:\n  type: object\n  properties:\n    zebra: &z {type: string, minLength: 1}\n" +
			"    apple: {enum: [null, 1, 1.5, true, \"a\\\"b\"]}\n    mango: *z\n")},
		"plain/en/email.subject.txt": {Data: []byte("Hello")},
		"plain/en/email.txt":         {Data: []byte("Hello")},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := `{"type":"object","properties":{"zebra":{"type":"string","minLength":1},"apple":{"enum":[null,1,1.5,true,"a\"b"]},"mango":{"type":"string","minLength":1}}}`
	if got := string(c.templates["hello"].Schema); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := c.templates["plain"].Schema; got != nil {
		t.Errorf("a template without a schema has %s", got)
	}
}
