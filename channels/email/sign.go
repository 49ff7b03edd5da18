package email

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"hash"
	"strconv"
)

// The canonicalization is "relaxed" for header and body: relays fold headers
// anew and trim spaces, and relaxed outlives both.

const (
	// chunk is how much of a body is canonicalized before it is hashed.
	chunk = 4 << 10
	// signatureLine is how many bytes of a signature stand on a line: a multiple
	// of three, so that base64 needs no padding between lines.
	signatureLine = 54
)

// sign writes the header fields that sign mail to p.signatures, the first key's
// first. All share what is the same for each: the body's hash and the header's
// canonical form.
func (s *signer) sign(p *paper, mail []byte) error {
	var room [32]field
	fields, body := splitMail(room[:0], mail)
	digest, scratch := bodyHash(p.scratch[:0], body)
	scratch = appendSigned(scratch[:0], fields, s.names)
	p.signatures, p.scratch = p.signatures[:0], scratch
	at := s.now().Unix()
	for i := range s.keys {
		var err error
		p.signatures, err = s.keys[i].appendSignature(p.signatures, scratch, digest[:], at)
		if err != nil {
			return err
		}
	}
	return nil
}

// appendSignature appends the header field that signs a mail with the given
// canonical header and hash of the body.
func (k *dkimKey) appendSignature(dst, header, bodyHash []byte, at int64) ([]byte, error) {
	start := len(dst)
	dst = append(dst, k.head...)
	dst = strconv.AppendInt(dst, at, 10)
	dst = append(dst, ";\r\n\tbh="...)
	dst = base64.StdEncoding.AppendEncode(dst, bodyHash)
	dst = append(dst, k.tail...)

	// RFC 6376 §3.7: the field itself is signed last, with an empty b= and
	// without the line end behind it.
	name, value, _ := bytes.Cut(dst[start:], []byte(":"))
	input := appendField(header, field{name: name, value: value})
	digest := sha256.Sum256(input[:len(input)-len("\r\n")])
	signature, err := k.key.Sign(nil, digest[:], k.hash) // neither kind needs randomness
	if err != nil {
		return nil, fmt.Errorf("signing with DKIM: %w", err)
	}
	return appendBase64(dst, signature), nil
}

// appendBase64 appends a signature over several lines, and the last one's end:
// RFC 6376 §3.5 has white space in b= ignored.
func appendBase64(dst, signature []byte) []byte {
	for len(signature) > signatureLine {
		dst = base64.StdEncoding.AppendEncode(dst, signature[:signatureLine])
		dst = append(dst, "\r\n\t"...)
		signature = signature[signatureLine:]
	}
	dst = base64.StdEncoding.AppendEncode(dst, signature)
	return append(dst, '\r', '\n')
}

// field is one header field of a mail: what is before the colon, and behind it
// with its folded lines and its line end.
type field struct {
	name, value []byte
	signed      bool
}

// splitMail appends the header fields of a mail to fields, and returns its
// body too. What is no field is passed over.
func splitMail(fields []field, mail []byte) ([]field, []byte) {
	for len(mail) > 0 {
		if mail[0] == '\n' || bytes.HasPrefix(mail, []byte("\r\n")) {
			_, body := cutLine(mail)
			return fields, body
		}
		var one []byte
		one, mail = cutField(mail)
		if name, value, ok := bytes.Cut(one, []byte(":")); ok {
			fields = append(fields, field{name: trimRight(name), value: value})
		}
	}
	return fields, nil
}

// cutField splits the first header field from the rest; lines that begin with
// white space continue it (RFC 5322 §2.2.3).
func cutField(mail []byte) (one, rest []byte) {
	for at := 0; at < len(mail); {
		end := bytes.IndexByte(mail[at:], '\n')
		if end < 0 {
			break
		}
		if at += end + 1; at == len(mail) || !isSpace(mail[at]) {
			return mail[:at], mail[at:]
		}
	}
	return mail, nil
}

// appendSigned appends the canonical form of the fields that are signed, in the
// order of names. RFC 6376 §5.4.2: of several fields of a name the last one is
// taken first, and a name without a field left adds nothing.
func appendSigned(dst []byte, fields []field, names []string) []byte {
	for _, name := range names {
		for i := len(fields) - 1; i >= 0; i-- {
			if f := &fields[i]; !f.signed && len(f.name) == len(name) && bytes.EqualFold(f.name, []byte(name)) {
				f.signed = true
				dst = appendField(dst, *f)
				break
			}
		}
	}
	return dst
}

// appendField appends a header field's relaxed form (RFC 6376 §3.4.2): the name
// in lower case, unfolded, each run of white space one space, and none around
// the colon and at the end.
func appendField(dst []byte, f field) []byte {
	for _, c := range f.name {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		dst = append(dst, c)
	}
	dst = append(dst, ':')
	start, gap := len(dst), false
	for _, c := range f.value {
		if isSpace(c) || c == '\r' || c == '\n' {
			gap = true
			continue
		}
		if gap && len(dst) > start {
			dst = append(dst, ' ')
		}
		gap = false
		dst = append(dst, c)
	}
	return append(dst, '\r', '\n')
}

// bodyHash is the SHA-256 of a body's relaxed form (RFC 6376 §3.4.4): white
// space at the end of lines is left out, as are empty lines at the end of the
// body, and what is left ends with a line end. An empty body stays empty. It
// works in scratch, which it returns for the next time.
func bodyHash(scratch, body []byte) ([sha256.Size]byte, []byte) {
	h := sha256.New()
	empty := 0 // lines, which count once another line follows
	for len(body) > 0 {
		var line []byte
		line, body = cutLine(body)
		if line = trimRight(line); len(line) == 0 {
			empty++
			continue
		}
		for ; empty > 0; empty-- {
			scratch = spill(h, append(scratch, '\r', '\n'))
		}
		scratch = spill(h, append(appendSqueezed(scratch, line), '\r', '\n'))
	}
	h.Write(scratch)
	var sum [sha256.Size]byte
	h.Sum(sum[:0])
	return sum, scratch
}

// spill hashes what has gathered when it is a chunk or more.
func spill(h hash.Hash, gathered []byte) []byte {
	if len(gathered) < chunk {
		return gathered
	}
	h.Write(gathered)
	return gathered[:0]
}

// appendSqueezed appends a line with each run of white space made one space.
func appendSqueezed(dst, line []byte) []byte {
	if bytes.IndexByte(line, '\t') < 0 && !bytes.Contains(line, []byte("  ")) {
		return append(dst, line...)
	}
	gap := false
	for _, c := range line {
		switch {
		case !isSpace(c):
			dst, gap = append(dst, c), false
		case !gap:
			dst, gap = append(dst, ' '), true
		}
	}
	return dst
}

// cutLine splits the first line from the rest, without its line end: CR LF, or
// the bare LF that stuff makes one.
func cutLine(text []byte) (line, rest []byte) {
	line = text
	if end := bytes.IndexByte(text, '\n'); end >= 0 {
		line, rest = text[:end], text[end+1:]
	}
	return bytes.TrimSuffix(line, []byte("\r")), rest
}

func trimRight(s []byte) []byte {
	for len(s) > 0 && isSpace(s[len(s)-1]) {
		s = s[:len(s)-1]
	}
	return s
}

// isSpace reports whether c is white space by RFC 6376 §2.8.
func isSpace(c byte) bool { return c == ' ' || c == '\t' }
