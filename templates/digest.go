package templates

import (
	"fmt"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/carillonhq/carillon/notice"
)

// checkDigests holds every template that names a digest against it: what is
// collected of the one must be rendered by the other, in the same media.
func checkDigests(built []*builder, faults *Faults) {
	byName := make(map[string]*builder, len(built))
	for _, b := range built {
		byName[b.out.Name] = b
	}
	for _, b := range built {
		if b.settings.digest == nil {
			continue
		}
		b.out.Digest = b.settings.digest.Value
		b.checkDigest(byName, faults)
	}
}

func (b *builder) checkDigest(byName map[string]*builder, faults *Faults) {
	at, name := b.settings.doc.at(b.settings.digest), b.out.Digest
	digest := byName[name]
	switch {
	case digest == nil:
		faults.add(at, "digest: there is no template %q%s", name, known(name, keys(byName)))
		return
	case digest == b:
		faults.add(at, "digest: %q is this template itself: name one that lists the items of many", name)
		return
	case digest.settings.digest != nil:
		faults.add(at, "digest: %q has a digest of its own, and a digest is collected in none: delete digest from %s/template.yaml", name, name)
	case b.out.Mandatory && !digest.out.Mandatory:
		faults.add(at, "digest: people can opt out of %q and not of this template: write opt_out: false in %s/template.yaml", name, name)
	}
	for _, m := range b.out.channels {
		if !digest.out.Renders(m) {
			faults.add(at, "digest: %q has no parts for %s, which %s goes over: add them under %s/%s", name, m, b.out.Name, name, b.out.defaultLocale)
		}
	}
	if digest.faults.errors() == 0 && b.faults.errors() == 0 {
		b.checkDigestData(at, digest.out, faults)
	}
}

// checkDigestData holds digests of each sample against what the digest's
// template needs: with nothing kept back, and with more that is only counted.
func (b *builder) checkDigestData(at position, digest *Template, faults *Faults) {
	for _, s := range b.out.trials() {
		data, err := DigestSample(s.Data)
		if err != nil {
			faults.add(at, "digest: %v", err)
			return
		}
		if _, found := digest.CheckData(data); len(found) > 0 {
			faults.add(at, "digest: %s takes no digest of the sample %s: %s: its data is {items: [the data of each], count, more}, which its schema must allow",
				digest.Name, s.Name, wordsOf(found))
		}
	}
}

func wordsOf(faults notice.Faults) string {
	words := make([]string, len(faults))
	for i, f := range faults {
		words[i] = f.Pointer + " " + f.Detail
	}
	return strings.Join(words, "; ")
}

// DigestSample is the data of a digest of two notifications with the same data,
// and three more that are only counted.
func DigestSample(data jsontext.Value) (jsontext.Value, error) {
	if len(data) == 0 {
		data = jsontext.Value("{}")
	}
	b, err := json.Marshal(struct {
		Items []jsontext.Value `json:"items"`
		Count int              `json:"count"`
		More  int              `json:"more"`
	}{[]jsontext.Value{data, data}, 2, 3})
	if err != nil {
		return nil, fmt.Errorf("the data of a digest: %w", err)
	}
	return b, nil
}
