package schema

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/outbox-relay/outbox-relay/schema/sqltext"
)

// maxIdentifier is PostgreSQL's NAMEDATALEN - 1. The server cuts longer names
// silently, so that two tables could turn out to be one: here they are an error.
const maxIdentifier = 63

// ParseIdentifier reads one name in SQL identifier syntax: unquoted names are
// folded to lower case, quoted ones are taken as they are with "" for a quote.
func ParseIdentifier(s string) (string, error) {
	name, rest, err := scanIdentifier(s)
	if err != nil {
		return "", err
	}
	if strings.TrimSpace(rest) != "" {
		return "", fmt.Errorf("unexpected %q after the name %s", rest, displayIdentifier(name))
	}
	return name, nil
}

// scanIdentifier reads the name at the start of s and returns what follows it.
func scanIdentifier(s string) (name, rest string, err error) {
	s = strings.TrimLeft(s, " \t\r\n")
	if strings.HasPrefix(s, `"`) {
		name, rest, err = scanQuoted(s[1:])
	} else {
		name, rest, err = scanPlain(s)
	}
	if err != nil {
		return "", "", err
	}
	return name, rest, checkIdentifier(name)
}

func scanQuoted(s string) (name, rest string, err error) {
	var b strings.Builder
	for {
		before, after, found := strings.Cut(s, `"`)
		if !found {
			return "", "", errors.New(`a double quote is not closed: write "name", and "" for a quote inside it`)
		}
		b.WriteString(before)
		if !strings.HasPrefix(after, `"`) {
			return b.String(), after, nil
		}
		b.WriteByte('"')
		s = after[1:]
	}
}

func scanPlain(s string) (name, rest string, err error) {
	end := 0
	for end < len(s) && isPlainByte(s[end], end == 0) {
		end++
	}
	if end == 0 && (s == "" || s[0] == '.') {
		return "", "", errors.New("a name is missing: write name or schema.name")
	}
	if end < len(s) && !strings.ContainsRune(". \t\r\n", rune(s[end])) || end == 0 {
		r, _ := utf8.DecodeRuneInString(s[end:])
		return "", "", fmt.Errorf(`%q cannot stand there in a name without quotes: put the name in double quotes, like "my-table"`, r)
	}
	return foldASCII(s[:end]), s[end:], nil
}

// isPlainByte follows PostgreSQL's scan.l: ident_start and ident_cont.
func isPlainByte(c byte, first bool) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', c == '_', c >= utf8.RuneSelf:
		return true
	case '0' <= c && c <= '9', c == '$':
		return !first
	}
	return false
}

// foldASCII folds as PostgreSQL does in a multi-byte encoding such as UTF8:
// letters outside ASCII keep their case.
func foldASCII(s string) string {
	folded := []byte(s)
	for i, c := range folded {
		if 'A' <= c && c <= 'Z' {
			folded[i] = c + 'a' - 'A'
		}
	}
	return string(folded)
}

func checkIdentifier(name string) error {
	switch {
	case name == "":
		return errors.New("a name is empty")
	case !utf8.ValidString(name):
		return fmt.Errorf("the name %q is not valid UTF-8", name)
	case strings.ContainsFunc(name, unicode.IsControl):
		return fmt.Errorf("the name %q contains a control character", name)
	case len(name) > maxIdentifier:
		return fmt.Errorf("the name %q has %d bytes, PostgreSQL takes at most %d: choose a shorter name",
			name, len(name), maxIdentifier)
	}
	return nil
}

// displayIdentifier quotes a name only where it would not read back as itself.
func displayIdentifier(name string) string {
	plain := name != ""
	for i := range len(name) {
		plain = plain && isPlainByte(name[i], i == 0) && (name[i] < 'A' || name[i] > 'Z')
	}
	if plain {
		return name
	}
	return sqltext.Identifier(name)
}
