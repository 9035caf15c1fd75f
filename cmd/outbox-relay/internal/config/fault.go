package config

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// Fault is one thing wrong with the configuration.
type Fault struct {
	// Variable is the name of the environment variable.
	Variable string
	// Value as far as it may be shown; empty where there is none to show.
	Value string
	// Problem says what is expected, or what to do.
	Problem string
}

// Error returns "NAME=value: problem".
func (f Fault) Error() string {
	if f.Value == "" {
		return f.Variable + ": " + f.Problem
	}
	return f.Variable + "=" + f.Value + ": " + f.Problem
}

// Faults is all that is wrong with a configuration, sorted by variable.
type Faults []Fault

// Error returns one line per fault.
func (fs Faults) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "configuration: %d fault", len(fs))
	if len(fs) != 1 {
		b.WriteByte('s')
	}
	for _, f := range fs {
		b.WriteString("\n  " + f.Error())
	}
	return b.String()
}

func (fs Faults) sorted() Faults {
	slices.SortStableFunc(fs, func(a, b Fault) int { return cmp.Compare(a.Variable, b.Variable) })
	return fs
}

// blames says whether a fault has been found with a variable already, so that
// what follows from it need not be told.
func (fs Faults) blames(variable string) bool {
	return slices.ContainsFunc(fs, func(f Fault) bool { return f.Variable == variable })
}

// maxShown is how much of a value is shown, in bytes.
const maxShown = 80

// show returns a value fit for an error: quoted where it would not read well,
// cut where it is long, and hidden where it looks like a secret that was put
// into the wrong variable.
func show(value string) string {
	switch {
	case strings.Contains(value, "://"), strings.Contains(strings.ToLower(value), "password"):
		return redacted
	case len(value) > maxShown:
		return strconv.Quote(strings.ToValidUTF8(value[:maxShown], "")) + "…"
	case strings.ContainsFunc(value, func(r rune) bool { return r == '"' || unicode.IsSpace(r) || !unicode.IsPrint(r) }):
		return strconv.Quote(value)
	}
	return value
}
