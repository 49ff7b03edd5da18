package config

import (
	"fmt"
	"strings"

	"github.com/agnivade/levenshtein"
)

// expand replaces each ${NAME} in text by the environment variable's value,
// which is not looked into again; $${ stands for ${ itself. It tells what is
// wrong without repeating the text, which may be a secret.
func (l *loader) expand(text string) (expanded, wrong string) {
	var b strings.Builder
	for {
		at := strings.Index(text, "${")
		if at < 0 {
			return b.String() + text, ""
		}
		if at > 0 && text[at-1] == '$' {
			b.WriteString(text[:at] + "{")
			text = text[at+2:]
			continue
		}
		b.WriteString(text[:at])
		name, rest, closed := strings.Cut(text[at+2:], "}")
		if !closed || !isVariableName(name) {
			return "", "has a ${ without NAME} after it: write ${NAME} for an environment variable, $${ for ${ itself"
		}
		value, set := l.env[name]
		if l.named[name] = true; !set {
			return "", fmt.Sprintf("needs the environment variable %s, which is not set: set it, or write $${%s} for the text itself", name, name)
		}
		b.WriteString(value)
		text = rest
	}
}

// isVariableName reports whether name is made as POSIX makes the names of
// environment variables.
func isVariableName(name string) bool {
	for i, r := range name {
		letter := r == '_' || 'A' <= r && r <= 'Z' || 'a' <= r && r <= 'z'
		if !letter && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return name != "" && len(name) <= 128
}

// readSecret resolves a secret that was written as file:PATH: the file's
// content without the newline that ends it. Only what was written counts: a
// variable's value that happens to begin with file: is the secret itself.
func (l *loader) readSecret(written, expanded string) (secret, wrong string) {
	if !strings.HasPrefix(written, "file:") {
		return expanded, ""
	}
	path := l.from.resolve(strings.TrimPrefix(expanded, "file:"))
	if path == "" {
		return "", "names no file: write it as file:PATH"
	}
	data, err := readFile(path)
	if err != nil {
		return "", fmt.Sprintf("names the file %q, which %v", path, err)
	}
	text, ended := strings.CutSuffix(string(data), "\n")
	if ended {
		text = strings.TrimSuffix(text, "\r")
	}
	return text, ""
}

// redactURL hides the password in a text that is a URL with one, and the
// whole of a text that looks like such a URL and cannot be read.
func redactURL(text string) string {
	if !strings.Contains(text, "://") || !strings.Contains(text, "@") {
		return text
	}
	return NewURL(text).String()
}

// nearest is the known word that word was most likely meant to be; empty when
// none is near.
func nearest(word string, known []string) string {
	best, least := "", min(len(word)/3+2, 8)
	if len(word) > 100 {
		return ""
	}
	for _, k := range known {
		if d := levenshtein.ComputeDistance(strings.ToLower(word), strings.ToLower(k)); d < least {
			best, least = k, d
		}
	}
	return best
}
