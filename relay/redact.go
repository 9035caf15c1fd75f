package relay

import (
	"fmt"
	"strings"
)

// Redacted are patterns of header names, separated by commas: their values are not shown
// to whoever reads the log. In a pattern, * stands for any text; upper and lower case are
// the same. The zero value hides every value.
type Redacted string

// ParseRedacted reads patterns. Spaces around them do not count.
func ParseRedacted(text string) (Redacted, error) {
	var patterns []string
	for pattern := range strings.SplitSeq(text, ",") {
		pattern = strings.ToLower(strings.TrimSpace(pattern))
		if pattern == "" {
			return "", fmt.Errorf("there is an empty pattern: expected names of headers separated by single commas, such as authorization,*token*")
		}
		for strings.Contains(pattern, "**") {
			pattern = strings.ReplaceAll(pattern, "**", "*")
		}
		patterns = append(patterns, pattern)
	}
	return Redacted(strings.Join(patterns, ",")), nil
}

// UnmarshalText is [ParseRedacted].
func (r *Redacted) UnmarshalText(text []byte) error {
	var err error
	*r, err = ParseRedacted(string(text))
	return err
}

// hidden stands for a value that is not shown.
const hidden = "…"

// maxShown bounds the value of a header in the log, in bytes: a value is as long as a row
// may be.
const maxShown = 256

// Show is the value of a header as the log may have it: cut, or hidden if a pattern
// matches its name.
func (r Redacted) Show(h Header) string {
	if r == "" || r.hides(h.Name) {
		return hidden
	}
	value := OneLine(h.Value)
	if len(value) > maxShown {
		value = strings.ToValidUTF8(value[:maxShown], "") + hidden
	}
	return value
}

func (r Redacted) hides(name string) bool {
	name = strings.ToLower(name)
	for pattern := range strings.SplitSeq(string(r), ",") {
		// In the patterns of topics two stars are any text.
		if matches(strings.ReplaceAll(pattern, "*", "**"), name) {
			return true
		}
	}
	return false
}
