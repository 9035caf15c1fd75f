package postgres

import (
	"embed"
	"fmt"
	"regexp"
	"strings"
	"text/template"
)

// The statements of the relay are files of SQL. A file names its parameters
// (@after) and its result's columns; what depends on the table stands between
// double braces.
//
//go:embed sql/*.sql
var sqlFiles embed.FS

var sqlTexts = template.Must(template.New("sql").Option("missingkey=error").ParseFS(sqlFiles, "sql/*.sql"))

// statement is prepared at its first use and then known by its name.
type statement struct {
	name   string
	sql    string
	params []string // the names of $1, $2 and so on
}

// newStatement fills in a file. Where several statements are made of one, variant
// tells their names apart.
func newStatement(file, variant string, blanks any) statement {
	var text strings.Builder
	if err := sqlTexts.ExecuteTemplate(&text, file+".sql", blanks); err != nil {
		panic(fmt.Sprintf("sql/%s.sql: %v", file, err)) // a mistake in the file
	}
	st := statement{name: file + variant}
	st.sql, st.params = numbered(withoutComments(text.String()))
	return st
}

// withoutComments leaves out the lines that are comments: they are for who reads
// the file, not for the server's log.
func withoutComments(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(strings.TrimSpace(line), "--") {
			b.WriteString(line)
		}
	}
	return strings.TrimSpace(b.String())
}

// parameterPattern is a parameter in a file; PostgreSQL's operators with an @, such
// as @>, are followed by no letter.
var parameterPattern = regexp.MustCompile(`@[a-z_]+`)

// numbered puts $1, $2 and so on in the place of the parameters' names.
func numbered(text string) (sql string, params []string) {
	numbers := make(map[string]int)
	sql = parameterPattern.ReplaceAllStringFunc(text, func(name string) string {
		if numbers[name] == 0 {
			params = append(params, name[1:])
			numbers[name] = len(params)
		}
		return fmt.Sprintf("$%d", numbers[name])
	})
	return sql, params
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
