package postgres

import (
	"fmt"
	"log/slog"
	"strings"

	"github.com/outbox-relay/outbox-relay/schema/sqltext"
)

// later are the columns of later versions of the migration that the relay can write. A
// relay works on an older table too: what needs these columns is off until then.
type later struct {
	errorType  bool // the error_type of a refusal
	deadLetter bool // when the copy of a dead row was acknowledged
}

// writable says whether the relay can write the column.
func (c column) writable() bool { return c.exists && c.is.CanUpdate }

func newLater(columns []column) later {
	can := make(map[string]bool)
	for _, c := range columns {
		can[c.name] = c.writable()
	}
	return later{errorType: can["error_type"], deadLetter: can["dead_letter_at"]}
}

// checkLater names what is off because the table is older than the relay, or because
// the role may not write what was added.
func (s *session) checkLater(t tableFacts, columns []column) error {
	var missing, forbidden []string
	for _, c := range columns {
		switch {
		case !c.later:
		case !c.exists:
			missing = append(missing, c.name)
		case !c.is.CanUpdate:
			forbidden = append(forbidden, c.name)
		}
	}
	var found, fixes []string
	if len(missing) > 0 {
		found = append(found, "the table has no column "+strings.Join(missing, ", "))
		fixes = append(fixes, fixMigrate)
	}
	if len(forbidden) > 0 {
		found = append(found, fmt.Sprintf("role %s may not write %s", t.Role, strings.Join(forbidden, ", ")))
		fixes = append(fixes, fmt.Sprintf("GRANT UPDATE (%s) ON %s TO %s;",
			strings.Join(forbidden, ", "), s.table.Quoted(), sqltext.Identifier(t.Role)))
	}
	if len(found) == 0 {
		return nil
	}
	return &flaw{
		found:  strings.Join(found, ", and ") + ": the relay leaves out what it would write there",
		advice: strings.Join(fixes, " and "),
		fix:    strings.Join(fixes, "\n"),
	}
}

// tellLater logs once what is off.
func (d *Database) tellLater(s *session, columns []column) {
	var off []string
	for _, c := range columns {
		if c.later && !c.writable() {
			off = append(off, c.name)
		}
	}
	if len(off) == 0 {
		return
	}
	d.toldLater.Do(func() {
		d.options.Logger.Warn("the relay writes less than it could: the table is of an older version, or the role may not write its new columns",
			slog.String("table", s.table.String()), slog.Any("columns", off), slog.String("fix", "outbox-relay migrate, or see outbox-relay doctor"))
	})
}
