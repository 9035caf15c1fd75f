package relay

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// errHeadersSyntax cannot come from a jsonb column.
var errHeadersSyntax = errors.New("headers are not JSON")

// ParseHeaders reads the text of a jsonb: an object of strings, as PostgreSQL
// writes it. They are sorted by name. An error makes the row defective; it says what
// is wrong and quotes no value. NULL, null and the empty array mean no headers: object
// mappers and PHP write these for a row without any.
func ParseHeaders(b []byte) ([]Header, error) {
	switch string(b) {
	case "", "{}", "null", "[]":
		return nil, nil
	}
	if b[0] != '{' {
		return nil, fmt.Errorf("headers are %s, not an object of strings", kindOf(b[0]))
	}
	// One copy, of which names and values are parts.
	p := headerParser{rest: string(b[1:])}
	headers := make([]Header, 0, strings.Count(p.rest, `": `))
	for first := true; ; first = false {
		name, ok, err := p.name(first)
		if err != nil {
			return nil, err
		}
		if !ok {
			break
		}
		value, err := p.value(name)
		if err != nil {
			return nil, err
		}
		headers = append(headers, Header{Name: name, Value: value})
	}
	slices.SortFunc(headers, func(a, b Header) int { return strings.Compare(a.Name, b.Name) })
	return headers, nil
}

type headerParser struct{ rest string }

// name reads the next name and the colon; ok is false at the object's end.
func (p *headerParser) name(first bool) (name string, ok bool, err error) {
	p.skip()
	if strings.HasPrefix(p.rest, "}") {
		p.rest = p.rest[1:]
		p.skip()
		if p.rest != "" {
			return "", false, errHeadersSyntax
		}
		return "", false, nil
	}
	if !first {
		if !strings.HasPrefix(p.rest, ",") {
			return "", false, errHeadersSyntax
		}
		p.rest = p.rest[1:]
		p.skip()
	}
	if name, err = p.string(); err != nil {
		return "", false, err
	}
	p.skip()
	if !strings.HasPrefix(p.rest, ":") {
		return "", false, errHeadersSyntax
	}
	p.rest = p.rest[1:]
	return name, true, nil
}

func (p *headerParser) value(name string) (string, error) {
	p.skip()
	if p.rest == "" {
		return "", errHeadersSyntax
	}
	if p.rest[0] != '"' {
		return "", fmt.Errorf("header %s is %s, not a string", Quote(name), kindOf(p.rest[0]))
	}
	return p.string()
}

// string reads a JSON string. Nearly all have no escapes.
func (p *headerParser) string() (string, error) {
	if !strings.HasPrefix(p.rest, `"`) {
		return "", errHeadersSyntax
	}
	escaped := false
	for i := 1; i < len(p.rest); i++ {
		switch p.rest[i] {
		case '\\':
			escaped = true
			i++ // an escaped quote does not end it
		case '"':
			token := p.rest[:i+1]
			p.rest = p.rest[i+1:]
			if !escaped {
				return token[1:i], nil
			}
			var s string
			if err := json.Unmarshal([]byte(token), &s); err != nil {
				return "", errHeadersSyntax
			}
			return s, nil
		}
	}
	return "", errHeadersSyntax
}

func (p *headerParser) skip() { p.rest = strings.TrimLeft(p.rest, " \t\r\n") }

// kindOf names a JSON value by its first byte.
func kindOf(c byte) string {
	switch c {
	case '{':
		return "an object"
	case '[':
		return "an array"
	case '"':
		return "a string"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	}
	return "a number"
}
