package relay

import (
	"strings"
	"unicode"
)

// Commands print text that others wrote (topics, names of streams, queues,
// applications and transactions), and users paste what doctor prints into a shell.
// These functions are the one place where such text is made harmless.

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

// ShellQuote quotes text as one word of a POSIX shell, on one line. If a line break
// were kept, the second line could be pasted alone and run as a command. Text with a
// line break is changed, so the pasted command fails instead.
func ShellQuote(text string) string {
	return "'" + strings.ReplaceAll(OneLine(text), "'", `'\''`) + "'"
}
