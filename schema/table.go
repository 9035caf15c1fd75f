package schema

import (
	"errors"
	"fmt"
	"strings"

	"github.com/outbox-relay/outbox-relay/schema/sqltext"
)

// Table names an outbox table. The parts are the real names, unquoted, as the
// catalogs store them.
type Table struct {
	Schema string
	Name   string
}

// ParseTable reads a table's name in SQL identifier syntax, as OUTBOX_TABLE
// gives it: name or schema.name, unquoted parts folded to lower case, quoted
// ones taken as they are with "" for a quote. The default schema is public.
func ParseTable(s string) (Table, error) {
	t, err := scanTable(s)
	if err != nil {
		return Table{}, fmt.Errorf("OUTBOX_TABLE=%q is not a table name: %w", s, err)
	}
	return t, nil
}

func scanTable(s string) (Table, error) {
	first, rest, err := scanIdentifier(s)
	if err != nil {
		return Table{}, err
	}
	rest = strings.TrimSpace(rest)
	if rest == "" {
		return Table{Schema: "public", Name: first}, nil
	}
	if rest[0] != '.' {
		return Table{}, fmt.Errorf("unexpected %q after %s: write schema.name, and names with spaces in double quotes",
			rest, displayIdentifier(first))
	}
	second, rest, err := scanIdentifier(rest[1:])
	if err != nil {
		return Table{}, err
	}
	if rest = strings.TrimSpace(rest); rest != "" {
		if rest[0] == '.' {
			return Table{}, errors.New("it has more than two parts: write schema.name, the database is chosen by OUTBOX_DATABASE_URL")
		}
		return Table{}, fmt.Errorf("unexpected %q after %s: write schema.name, and names with spaces in double quotes",
			rest, displayIdentifier(second))
	}
	return Table{Schema: first, Name: second}, nil
}

// String returns the name for people, with quotes only where SQL needs them;
// [ParseTable] reads it back.
func (t Table) String() string {
	return displayIdentifier(t.Schema) + "." + displayIdentifier(t.Name)
}

// Quoted returns the name for SQL text, both parts between double quotes. Given
// as a string to ::regclass it names the same table.
func (t Table) Quoted() string {
	return sqltext.Identifier(t.Schema) + "." + sqltext.Identifier(t.Name)
}
