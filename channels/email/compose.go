package email

import (
	"bytes"

	"github.com/carillonhq/carillon/channels"
)

// Compose writes the mail of m as Send would put it on the wire of a relay
// without 8BITMIME, signed where the section says so, and sends nothing. Files
// that the content links to are left out. An error names no address.
func (a *Adapter) Compose(m channels.Message) ([]byte, error) {
	l, err := a.composer.compose(m)
	if err != nil {
		return nil, err
	}
	var p paper
	if err := l.render(&p, false); err != nil {
		return nil, err
	}
	return append(bytes.Clone(p.signatures), p.plain.Bytes()...), nil
}
