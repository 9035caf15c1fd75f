package postgres

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
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

// lookUpLacks looks the table up, and what it lacks.
func (s *session) lookUpLacks(ctx context.Context) (t tableFacts, lacks string, err error) {
	ctx, cancel := context.WithTimeout(ctx, shortDeadline)
	defer cancel()
	if t, err = s.lookUpTable(ctx); err != nil {
		return t, "", err
	}
	columns, err := s.lookUpColumns(ctx, t.OID)
	if err != nil {
		return t, "", err
	}
	lacks, err = s.lacks(ctx, t, columns)
	return t, lacks, err
}

// lacks names what the table of an older version has not, or the role may not write.
func (s *session) lacks(ctx context.Context, t tableFacts, columns []column) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, shortDeadline)
	defer cancel()
	indexes, err := s.indexes(ctx, t)
	if err != nil {
		return "", err
	}
	var lacking []string
	for _, c := range columns {
		switch {
		case !c.later || c.writable():
		case c.exists:
			lacking = append(lacking, "the right to write "+c.name)
		default:
			lacking = append(lacking, "column "+c.name)
		}
	}
	for _, index := range s.table.Indexes() {
		if !slices.ContainsFunc(indexes, func(i indexFacts) bool { return i.Name == index.Name && i.Valid }) {
			lacking = append(lacking, "index "+index.Name)
		}
	}
	return strings.Join(lacking, ", "), nil
}

// tellLater logs once what is off.
func (d *Database) tellLater(ctx context.Context, s *session, t tableFacts, columns []column) error {
	lacking, err := s.lacks(ctx, t, columns)
	if lacking != "" {
		d.toldLater.Do(func() {
			d.options.Logger.Warn("the table is older than the relay, which works without what it lacks: columns are not written, and without an index more is read",
				slog.String("table", s.table.String()), slog.String("lacks", lacking), slog.String("fix", "outbox-relay migrate, or see outbox-relay doctor"))
		})
	}
	return err
}
