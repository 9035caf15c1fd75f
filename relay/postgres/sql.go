package postgres

import (
	"embed"
	"fmt"

	"github.com/outbox-relay/outbox-relay/schema/sqltext"
)

// The statements that touch rows are in sql, and prepared where a session runs them many
// times. Look-ups in the catalogs are in catalog; only doctor and the first moments of a
// session use most of them.
//
//go:embed sql/*.sql catalog/*.sql
var sqlFiles embed.FS

var files = sqltext.Parse(sqlFiles, "sql/*.sql", "catalog/*.sql")

// statement is prepared at its first use and then known by its name.
type statement struct {
	name   string
	sql    string
	params []string // the names of $1, $2 and so on
}

// newStatement fills in a file. Where several statements are made of one, variant
// tells their names apart.
func newStatement(file, variant string, blanks any) statement {
	st := statement{name: file + variant}
	st.sql, st.params = files.Statement(file, blanks).Numbered()
	return st
}

// args are a statement's parameters, in the binary format. A nil one is NULL.
type args map[string][]byte

// order returns the values in the statement's order. Statements that are run with
// the same parameters need not all have each of them.
func (st statement) order(given args) ([][]byte, error) {
	values := make([][]byte, len(st.params))
	for i, name := range st.params {
		value, ok := given[name]
		if !ok {
			return nil, fmt.Errorf("statement %s: parameter %s is not given", st.name, name)
		}
		values[i] = value
	}
	return values, nil
}
