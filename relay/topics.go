package relay

import (
	"errors"
	"fmt"
	"strings"
)

// Topics are patterns of topics, separated by commas. The empty value allows every topic.
//
// In a pattern, * stands for any text without a dot, and ** for any text. Everything
// else stands for itself.
type Topics string

// errEmptyPattern is a comma too many, which could be meant to allow everything or
// nothing.
var errEmptyPattern = errors.New("there is an empty pattern: expected patterns separated by single commas, such as orders.**,billing.*.paid")

// ParseTopics reads patterns. Spaces around them do not count.
func ParseTopics(text string) (Topics, error) {
	if text == "" { // a blank one would be a fence that lets everything through
		return "", nil
	}
	var patterns []string
	for pattern := range strings.SplitSeq(text, ",") {
		pattern = strings.TrimSpace(pattern)
		if pattern == "" {
			return "", errEmptyPattern
		}
		if strings.Contains(pattern, "***") {
			return "", fmt.Errorf("%s has more than two stars in a row: expected * for one token, ** for any number", Quote(pattern))
		}
		patterns = append(patterns, pattern)
	}
	return Topics(strings.Join(patterns, ",")), nil
}

// UnmarshalText is [ParseTopics].
func (t *Topics) UnmarshalText(text []byte) error {
	var err error
	*t, err = ParseTopics(string(text))
	return err
}

// Allows tells whether a pattern matches the whole topic.
func (t Topics) Allows(topic string) bool {
	if t == "" {
		return true
	}
	for pattern := range strings.SplitSeq(string(t), ",") {
		if matches(pattern, topic) {
			return true
		}
	}
	return false
}

// matches compares from left to right. Where it fails, the newest star takes one byte
// more. A * cannot take a dot; then the newest ** has to. Nothing else is ever gone back
// to, so the time is bounded whatever a row contains.
func matches(pattern, topic string) bool {
	type place struct{ pattern, topic int }
	none := place{-1, -1}
	one, any := none, none // where to go on after the newest * and ** took a byte more
	p, at := 0, 0
	for at < len(topic) || p < len(pattern) {
		switch {
		case strings.HasPrefix(pattern[p:], "**"):
			p += 2
			any, one = place{p, at}, none
			continue
		case p < len(pattern) && pattern[p] == '*':
			p++
			one = place{p, at}
			continue
		case p < len(pattern) && at < len(topic) && pattern[p] == topic[at]:
			p, at = p+1, at+1
			continue
		case one != none && one.topic < len(topic) && topic[one.topic] != '.':
			one.topic++
			p, at = one.pattern, one.topic
			continue
		case any != none && any.topic < len(topic):
			any.topic++
			p, at, one = any.pattern, any.topic, none
			continue
		}
		return false
	}
	return true
}
