package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// prefix is that of all our variables.
const prefix = "OUTBOX_"

// readEnvironment returns the values of the known variables, the _FILE forms
// resolved, the files that these named, and what is wrong with the names. Empty
// values are left out, so that the default holds, except where empty is a value.
func readEnvironment(environ []string) (values, files map[string]string, faults Faults) {
	given := ours(environ)
	faults, _ = unknownNames(given)
	values, files = make(map[string]string), make(map[string]string)
	for _, v := range variables {
		value, path := given[v.Name], ""
		if _, set := given[v.Name]; set && v.Empty {
			values[v.Name] = value
		}
		if v.Secret {
			path = given[v.Name+fileSuffix]
		}
		switch {
		case value != "" && path != "":
			faults = append(faults, Fault{v.Name, redacted, "set together with " + v.Name + fileSuffix + ": keep one of them"})
		case path != "":
			content, err := readSecret(path)
			if err != nil {
				faults = append(faults, Fault{v.Name + fileSuffix, show(path), err.Error()})
			}
			value, files[v.Name] = content, path
		}
		if value != "" {
			values[v.Name] = value
		}
	}
	return values, files, faults
}

// maxSecret is more than any URL or token; a larger file is a mistake in the
// path, and /dev/zero must not fill the memory.
const maxSecret = 64 << 10

var errEmptyFile = errors.New("the file is empty")

// readSecret reads a file without the newline that editors put at its end.
func readSecret(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("cannot read the file: %w", unwrapPath(err))
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, maxSecret+1))
	if err != nil {
		return "", fmt.Errorf("cannot read the file: %w", unwrapPath(err))
	}
	text := strings.TrimRight(string(content), "\r\n")
	switch {
	case len(content) > maxSecret:
		return "", fmt.Errorf("the file is larger than %d bytes: is the path right?", maxSecret)
	case text == "":
		return "", errEmptyFile
	}
	return text, nil
}

// unwrapPath drops the path that the fault shows already.
func unwrapPath(err error) error {
	if pathError, ok := errors.AsType[*os.PathError](err); ok {
		return pathError.Err
	}
	return err
}

// ours are the entries of an environment whose names are like those of our variables.
func ours(environ []string) map[string]string {
	given := make(map[string]string)
	for _, entry := range environ {
		if name, value, found := strings.Cut(entry, "="); found && strings.HasPrefix(name, prefix) {
			given[name] = value
		}
	}
	return given
}

// Unknown returns the names of variables that this version does not know, and that
// resemble none that it knows, in alphabetical order. They may be of a newer version: a
// rollback has to start with the environment that was made for it. So they are a warning.
func Unknown(environ []string) []string {
	_, unknown := unknownNames(ours(environ))
	return unknown
}

// unknownNames finds misspelled variables, which are faults, and others that are not
// known. Their values are not shown: one of them may be a secret.
func unknownNames(given map[string]string) (misspelled Faults, unknown []string) {
	known := make([]string, 0, 2*len(variables))
	for _, v := range variables {
		known = append(known, v.Name)
		if v.Secret {
			known = append(known, v.Name+fileSuffix)
		}
	}
	for name, value := range given {
		if value == "" || slices.Contains(known, name) || isServiceLink(name, given) {
			continue
		}
		if advice := advise(name, known); advice != "" {
			misspelled = append(misspelled, Fault{Variable: name, Problem: "there is no such variable; " + advice})
		} else {
			unknown = append(unknown, name)
		}
	}
	slices.Sort(unknown)
	return misspelled, unknown
}

// advise says which variable is meant, if the name resembles one.
func advise(name string, known []string) string {
	if base := strings.TrimSuffix(name, fileSuffix); slices.Contains(known, base) {
		return "only secrets have a " + fileSuffix + " form: set " + base
	}
	if similar := closest(name, known); similar != "" {
		return "did you mean " + similar + "?"
	}
	if i := slices.IndexFunc(known, func(longer string) bool { return strings.HasPrefix(longer, name+"_") }); i >= 0 {
		return "did you mean " + known[i] + "?"
	}
	return ""
}

// ofTable are the variables that say which table is meant, and how it is reached.
var ofTable = []string{databaseURL, databaseURL + fileSuffix, "OUTBOX_TABLE", "OUTBOX_REQUIRE_TLS"}

// isOfOthers says whether an entry of the environment is for others than the table, as a
// misspelled name of theirs is. A misspelled name of the table is not: a command that
// went by it would work on another table than the one meant.
func isOfOthers(entry string) bool {
	name, _, _ := strings.Cut(entry, "=")
	if !strings.HasPrefix(name, prefix) || slices.Contains(ofTable, name) {
		return false
	}
	if _, known := lookup(strings.TrimSuffix(name, fileSuffix)); known {
		return true
	}
	known := slices.Clone(ofTable)
	for _, v := range variables {
		known = append(known, v.Name)
	}
	similar := closest(name, known)
	return similar != "" && !slices.Contains(ofTable, similar)
}
