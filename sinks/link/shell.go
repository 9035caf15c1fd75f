package link

import "strings"

// ShellQuote makes one word of a POSIX shell of the text. The fixes that doctor
// prints are copied into a shell, and topics are written by anybody.
func ShellQuote(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }
