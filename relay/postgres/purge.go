package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/schema/sqltext"
)

var _ relay.Purger = (*purger)(nil)

// Retention says when sent rows are deleted.
type Retention struct {
	// Age since a row was sent; 0 keeps all.
	Age time.Duration
	// Chosen: a person has set the age. The default deletes nothing from a table that a
	// foreign key references: a cascade would delete the application's own rows.
	Chosen bool
}

// purgeSettings: what is in the way of a deletion is left for later.
var purgeSettings = []setting{
	{"lock_timeout", "100ms"},
	{"idle_session_timeout", "0"},
	{"synchronous_commit", "off"},
	unsorted,
}

// purgeDeadline is for one step: a slow disk, or an index full of dead entries.
const purgeDeadline = 60 * time.Second

type purger struct {
	*session
	statement, next statement
}

// OpenPurger opens the session that deletes old sent rows.
func (d *Database) OpenPurger(ctx context.Context, leader relay.Control) (relay.Purger, error) {
	c, ok := leader.(*control)
	if !ok {
		return nil, fmt.Errorf("open the purging session: the control session is a %T, not one of this package", leader)
	}
	s, err := d.openVia(ctx, c.sameRoute, purgeSettings)
	if err != nil {
		return nil, err
	}
	if err := c.checkLeader(ctx, s.pg); err != nil {
		s.close()
		return nil, fmt.Errorf("open the purging session: %w", err)
	}
	if err := s.checkPurge(ctx, d.options.Retention); err != nil {
		s.close()
		return nil, fmt.Errorf("%w: %w", relay.ErrNoPurge, err)
	}
	p := &purger{session: s}
	if err := p.describe(ctx); err != nil {
		s.close()
		return nil, err
	}
	return p, nil
}

// describe makes the statements for the table as it is now.
func (p *purger) describe(ctx context.Context) error {
	layout, err := p.lookUpLayout(ctx)
	if err != nil {
		return err
	}
	blanks := newReadBlanks(p.table, payloadKind{}, "")
	blanks.pruning = layout.forRow()
	p.statement, p.next = newStatement("purge", "", blanks), newStatement("purge_next", "", blanks)
	return p.planOnce(ctx, layout)
}

var referencesStatement = files.Statement("references", nil)

// checkPurge says whether the role may delete, and whether anybody's rows go with those.
func (s *session) checkPurge(ctx context.Context, r Retention) error {
	ctx, cancel := context.WithTimeout(ctx, shortDeadline)
	defer cancel()
	t, err := s.lookUpTable(ctx)
	if err != nil {
		return err
	}
	if !t.Deletable {
		grant := fmt.Sprintf("GRANT DELETE ON %s TO %s", s.table.Quoted(), sqltext.Identifier(t.Role))
		return &flaw{
			found:  fmt.Sprintf("role %s may not delete sent rows from %s, so the table grows", t.Role, s.table),
			advice: "run " + grant + ", or set OUTBOX_RETENTION=0 to keep them",
			fix:    grant + ";",
		}
	}
	if r.Chosen {
		return nil
	}
	tables, err := sqltext.Column[string](ctx, sqltext.On(s.conn), referencesStatement, sqltext.Args{"oid": t.OID})
	switch {
	case err != nil:
		return s.explain("look up foreign keys", err)
	case len(tables) > 0:
		return &flaw{
			found: fmt.Sprintf("sent rows of %s are kept, because a foreign key of %s references them", s.table, strings.Join(tables, ", ")),
			advice: fmt.Sprintf("look at what ON DELETE does there, and set OUTBOX_RETENTION=%s to have them deleted, or OUTBOX_RETENTION=0 to keep them",
				r.Age),
			fix: "set OUTBOX_RETENTION, after a look at what ON DELETE does in " + strings.Join(tables, ", "),
		}
	}
	return nil
}

// Purge deletes old sent rows among the next ones.
func (p *purger) Purge(ctx context.Context, run relay.PurgeRun) (relay.Purged, error) {
	done := relay.Purged{Next: run.From, Left: run.From, Done: true}
	given := args{"from": int8Param(run.From), "rows": int8Param(int64(run.Rows)), "age": int8Param(run.Age.Microseconds())}
	err := p.query(ctx, purgeDeadline, p.statement, given, func(c *columns) func([][]byte) {
		seen, last, purged, young, remains := c.at("seen"), c.at("last"), c.at("purged"), c.at("young"), c.at("remains")
		return func(row [][]byte) {
			if row[last] == nil {
				return // there are no further rows
			}
			done = relay.Purged{
				Rows: int64Of(row[purged]), Next: int64Of(row[last]) + 1,
				Done: int64Of(row[seen]) < int64(run.Rows) || row[young] != nil && boolOf(row[young]),
			}
			done.Left = done.Next
			if row[remains] != nil {
				done.Left = int64Of(row[remains])
			}
		}
	})
	switch {
	case err == nil:
		return done, nil
	case isLocked(err): // ALTER TABLE and the like: there is time
		return relay.Purged{Next: run.From, Left: run.From, Done: true}, nil
	}
	if err = p.explainPurge(err); errors.Is(err, relay.ErrWriteRefused) && run.Rows == 1 {
		return p.pastNext(ctx, run.From, err)
	}
	return relay.Purged{}, err
}

// pastNext is the step past the one row that cannot be deleted.
func (p *purger) pastNext(ctx context.Context, from int64, refused error) (relay.Purged, error) {
	past := relay.Purged{Next: from, Left: from}
	err := p.query(ctx, shortDeadline, p.next, args{"from": int8Param(from)}, func(c *columns) func([][]byte) {
		id := c.at("id")
		return func(row [][]byte) {
			past.Left = int64Of(row[id])
			past.Next = past.Left + 1
		}
	})
	if err != nil {
		return relay.Purged{}, p.explain("look up a row that cannot be purged", err)
	}
	return past, refused
}

// explainPurge tells what the server refuses because of the rows (a foreign key, a trigger)
// from what ends the session.
func (p *purger) explainPurge(err error) error {
	explained := p.explain("purge sent rows", err)
	if sqltext.Code(err) == codeForeignKey {
		explained = fmt.Errorf("purge sent rows: a foreign key of another table keeps some: delete what references them, or set OUTBOX_RETENTION=0: %w", err)
	}
	if refused, ok := errors.AsType[*pgconn.PgError](err); ok && refused.Severity == "ERROR" && refused.Code != codeReadOnly && !p.pg.IsClosed() {
		return refusedWrite{error: explained}
	}
	return explained
}

// Close ends the session.
func (p *purger) Close() { p.close() }

// checkRetention is the name of doctor's check.
const checkRetention = "retention"

// examineRetention says whether sent rows will be deleted.
func (s *session) examineRetention(ctx context.Context, e *Examination, r Retention) {
	if r.Age == 0 {
		e.add(relay.Check{Name: checkRetention, Found: "sent rows are kept (OUTBOX_RETENTION=0, or OUTBOX_AFTER_SEND=delete)"})
		return
	}
	err := s.checkPurge(ctx, r)
	if f, ok := errors.AsType[*flaw](err); ok {
		e.add(relay.Check{Name: checkRetention, Severity: relay.Warning, Found: f.found, Fix: f.fix})
		return
	}
	e.judge(checkRetention, fmt.Sprintf("sent rows are deleted after %v", r.Age), err)
}
