package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// parseYAML reads one YAML document, and says where it is not one.
func parseYAML(data []byte) (root *yaml.Node, at place, err error) {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc, second yaml.Node
	switch err := dec.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return nil, place{line: 1, column: 1}, errors.New("the file is empty: write {} to run on the defaults alone")
	case err != nil:
		at, err := describeYAMLError(data, err)
		return nil, at, err
	}
	if err := dec.Decode(&second); err == nil {
		return nil, place{line: second.Line, column: second.Column}, errors.New("a second YAML document begins: keep one in a file")
	} else if !errors.Is(err, io.EOF) {
		at, err := describeYAMLError(data, err)
		return nil, at, err
	}
	return doc.Content[0], place{}, nil
}

var yamlErrorLine = regexp.MustCompile(`^yaml: line (\d+): `)

// describeYAMLError words a parser's error without repeating the file's text,
// which may hold secrets, and finds its line.
func describeYAMLError(data []byte, err error) (place, error) {
	at, words := place{line: 1, column: 1}, err.Error()
	if m := yamlErrorLine.FindStringSubmatch(words); m != nil {
		at.line, _ = strconv.Atoi(m[1])
		words = words[len(m[0]):]
	}
	words = strings.TrimPrefix(words, "yaml: ")
	switch {
	case strings.HasPrefix(words, "unknown anchor"):
		return at, errors.New("an alias names an anchor that is not there: put a value that begins with * in quotes")
	case strings.Contains(words, "cannot start any token"):
		if line, ok := tabLine(data); ok {
			return place{line: line, column: 1}, errors.New("the line is indented with a tab: YAML wants spaces")
		}
		words += ": put a value that begins with @, ` or % in quotes"
	}
	return at, fmt.Errorf("not YAML: %s", words)
}

// tabLine finds the first line that is indented with a tab.
func tabLine(data []byte) (int, bool) {
	line := 0
	for text := range bytes.Lines(data) {
		line++
		if bytes.HasPrefix(bytes.TrimLeft(text, " "), []byte("\t")) {
			return line, true
		}
	}
	return 0, false
}
