package sqltext

import (
	"fmt"
	"io/fs"
	"regexp"
	"strings"
	"text/template"
)

// Files are statements, each in a file NAME.sql. A file names its parameters (@after)
// and the columns of its result. What a parameter cannot stand for, such as the table's
// name, stands between double braces, as in package text/template.
type Files struct{ texts *template.Template }

// Parse reads the files that match the patterns. It panics if one of them is no
// template: that is a mistake in the file.
func Parse(files fs.FS, patterns ...string) Files {
	return Files{template.Must(template.New("sql").Option("missingkey=error").ParseFS(files, patterns...))}
}

// Statement is SQL with named parameters.
type Statement string

// Statement returns the statement of a file, without its comments, which are not for
// the server's log. It panics if the file is missing or asks for a blank that is not
// given.
func (f Files) Statement(name string, blanks any) Statement {
	var text strings.Builder
	if err := f.texts.ExecuteTemplate(&text, name+".sql", blanks); err != nil {
		panic(fmt.Sprintf("%s.sql: %v", name, err))
	}
	return Statement(withoutComments(text.String()))
}

// withoutComments leaves out the lines that are comments.
func withoutComments(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(strings.TrimSpace(line), "--") {
			b.WriteString(line)
		}
	}
	return strings.TrimSpace(b.String())
}

// parameterPattern is a parameter. PostgreSQL's operators with an @, such as @>, are
// followed by no letter.
var parameterPattern = regexp.MustCompile(`@[a-z_]+`)

// Numbered returns the SQL with $1, $2 and so on in the place of the parameters, and
// their names in that order.
func (s Statement) Numbered() (sql string, params []string) {
	numbers := make(map[string]int)
	sql = parameterPattern.ReplaceAllStringFunc(string(s), func(name string) string {
		if numbers[name] == 0 {
			params = append(params, name[1:])
			numbers[name] = len(params)
		}
		return fmt.Sprintf("$%d", numbers[name])
	})
	return sql, params
}

// Args are the values of a statement's parameters.
type Args map[string]any

// inlined returns the SQL with the values as constants: the simple protocol knows no
// parameters. A value is written as fmt prints it and gets its type where it stands, as
// in @pid::int.
func (s Statement) inlined(given Args) (string, error) {
	var missing string
	sql := parameterPattern.ReplaceAllStringFunc(string(s), func(name string) string {
		value, ok := given[name[1:]]
		if !ok {
			missing = name
		}
		return Literal(fmt.Sprint(value))
	})
	if missing != "" {
		return "", fmt.Errorf("parameter %s is not given", missing)
	}
	return sql, nil
}
