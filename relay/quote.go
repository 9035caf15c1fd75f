package relay

import (
	"strings"
	"unicode"
)

// Text that others wrote (topics, names of streams, queues, applications and
// transactions) stands in what commands print, and what doctor prints is copied into
// a shell. These functions are the one place where such text is made harmless.

// OneLine returns text that stays on its line and moves no cursor: line breaks and
// tabs become spaces, other control characters and what cannot be printed become
// U+FFFD.
func OneLine(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n', r == '\r', r == '\t':
			return ' '
		case !unicode.IsPrint(r):
			return unicode.ReplacementChar
		}
		return r
	}, text)
}

// ShellQuote makes one word of a POSIX shell of the text, on one line: of a text
// with line breaks the second line could be copied alone, and would be a command.
// Such a text comes out as another one, with which the command fails.
func ShellQuote(text string) string {
	return "'" + strings.ReplaceAll(OneLine(text), "'", `'\''`) + "'"
}
