package sqltext

import "strings"

// Identifier returns name between double quotes, fit for SQL.
func Identifier(name string) string {
	return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
}

// Literal returns s as a string constant of SQL that means the same whatever
// standard_conforming_strings says.
func Literal(s string) string {
	plain := ReplicationLiteral(s)
	if strings.Contains(s, `\`) {
		return "E" + strings.ReplaceAll(plain, `\`, `\\`)
	}
	return plain
}

// ReplicationLiteral returns s as a string constant of a replication command. To those a
// backslash is a character like any other, and E'...' a syntax error.
func ReplicationLiteral(s string) string {
	return `'` + strings.ReplaceAll(s, `'`, `''`) + `'`
}
