package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/schema"
	"github.com/outbox-relay/outbox-relay/schema/sqltext"
)

// examineObjects looks at the table's indexes, guard and sequence. The relay works
// without them, but slower or with one guarantee less.
func (s *session) examineObjects(ctx context.Context, e *Examination, t tableFacts) {
	for _, examine := range []func(context.Context, tableFacts) (relay.Check, error){
		s.examineIndexes, s.examineGuard, s.examineSequence,
	} {
		check, err := examine(ctx, t)
		if err != nil {
			check.Severity, check.Found, check.Fix = relay.Warning, err.Error(), ""
		}
		e.add(check)
	}
}

func (s *session) examineIndexes(ctx context.Context, t tableFacts) (relay.Check, error) {
	check := relay.Check{Name: checkIndexes, Found: "present"}
	rows, err := s.conn.Query(ctx, `SELECT c.relname::text, i.indisvalid
		FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE i.indrelid = $1`, t.oid)
	if err != nil {
		return check, s.explain("look up the indexes", err)
	}
	valid := make(map[string]bool)
	var name string
	var is bool
	if _, err := pgx.ForEachRow(rows, []any{&name, &is}, func() error { valid[name] = is; return nil }); err != nil {
		return check, s.explain("look up the indexes", err)
	}
	var found, fixes []string
	missing := false
	for _, index := range s.table.Indexes() {
		name := index.Name
		is, exists := valid[name]
		switch {
		case !exists:
			missing = true
			found = append(found, sqltext.Identifier(name)+" is missing")
		case !is:
			found = append(found, sqltext.Identifier(name)+" is not valid")
			fixes = append(fixes, fmt.Sprintf("REINDEX INDEX %s.%s;", sqltext.Identifier(s.table.Schema), sqltext.Identifier(name)))
		}
	}
	if missing {
		fixes = append(fixes, fixMigrate)
	}
	if len(found) > 0 {
		check.Severity, check.Found = relay.Warning, strings.Join(found, ", ")+": queries that need it read the whole table"
		check.Fix = strings.Join(fixes, "\n")
	}
	return check, nil
}

// examineGuard: without its triggers, a row that is changed or deleted in the
// transaction that inserted it is published as it was inserted.
func (s *session) examineGuard(ctx context.Context, t tableFacts) (relay.Check, error) {
	check := relay.Check{Name: checkGuard, Found: "present"}
	var found, fixes []string
	for _, guard := range []string{s.table.Guard(), s.table.TruncateGuard()} {
		var enabled string
		err := s.conn.QueryRow(ctx, `SELECT tgenabled::text FROM pg_trigger WHERE tgrelid = $1 AND tgname = $2`, t.oid, guard).Scan(&enabled)
		switch {
		case errors.Is(err, pgx.ErrNoRows):
			found, fixes = append(found, "trigger "+sqltext.Identifier(guard)+" is missing"), append(fixes, fixMigrate)
		case err != nil:
			return check, s.explain("look up the guard", err)
		case enabled != "O" && enabled != "A":
			found = append(found, "trigger "+sqltext.Identifier(guard)+" is disabled")
			fixes = append(fixes, fmt.Sprintf("ALTER TABLE %s ENABLE TRIGGER %s;", s.table.Quoted(), sqltext.Identifier(guard)))
		}
	}
	if len(found) > 0 {
		check.Severity, check.Fix = relay.Warning, strings.Join(slices.Compact(fixes), "\n")
		check.Found = strings.Join(found, ", ") + ": a row that is changed or deleted in the transaction that inserted it may be published as it was inserted"
	}
	return check, nil
}

// examineSequence: a cache hands ids out in blocks, and passes read in id order.
func (s *session) examineSequence(ctx context.Context, t tableFacts) (relay.Check, error) {
	check := relay.Check{Name: checkSequence, Found: "ids are given out one by one"}
	var name string
	var cache int64
	var identity bool
	err := s.conn.QueryRow(ctx, `SELECT format('%I.%I', n.nspname, c.relname), q.seqcache, d.deptype = 'i'
		FROM pg_depend d JOIN pg_sequence q ON q.seqrelid = d.objid JOIN pg_class c ON c.oid = q.seqrelid
		JOIN pg_namespace n ON n.oid = c.relnamespace
		JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid AND a.attname = 'id'
		WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid = $1`, t.oid).
		Scan(&name, &cache, &identity)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		check.Found = "ids are given by the application" // or by a sequence that the table does not own
	case err != nil:
		return check, s.explain("look up the sequence of ids", err)
	case cache > 1:
		check.Severity = relay.Warning
		check.Found = fmt.Sprintf("sequence %s has a cache of %d: sessions get ids in blocks, so a later row of a key may have a lower id", name, cache)
		check.Fix = fmt.Sprintf("ALTER SEQUENCE %s CACHE 1;", relay.OneLine(name))
		if identity {
			check.Fix = fmt.Sprintf("ALTER TABLE %s ALTER COLUMN id SET CACHE 1;", s.table.Quoted())
		}
	}
	return check, nil
}

// repeatsCap is how many pending rows are looked at for repeated ids, and how
// many of these are named.
const (
	repeatsCap   = 100_000
	repeatsNamed = 5
)

// examineRepeats looks for message ids that several pending rows have: the broker
// keeps the first one of them and drops the others.
func (s *session) examineRepeats(ctx context.Context, e *Examination) {
	check := relay.Check{Name: checkRepeats, Found: "none is used twice among the pending rows"}
	// Both indexes of pending rows, as in counting.
	table := s.table.Quoted()
	rows, err := s.conn.Query(ctx, fmt.Sprintf(`SELECT message_id::text FROM (
			(SELECT message_id FROM %[1]s WHERE `+schema.Due+` ORDER BY id LIMIT %[2]d)
			UNION ALL (SELECT message_id FROM %[1]s WHERE `+schema.Scheduled+` ORDER BY available_at LIMIT %[2]d)
		) AS pending GROUP BY message_id HAVING count(*) > 1 ORDER BY message_id LIMIT %[3]d`, table, repeatsCap, repeatsNamed+1))
	var ids []string
	if err == nil {
		ids, err = pgx.CollectRows(rows, pgx.RowTo[string])
	}
	switch {
	case err != nil:
		check.Severity, check.Found = relay.Warning, s.explain("look for repeated message ids", err).Error()
	case len(ids) > 0:
		more := ""
		if len(ids) > repeatsNamed {
			ids, more = ids[:repeatsNamed], " and more"
		}
		check.Severity = relay.Warning
		check.Found = "several pending rows have the message id " + strings.Join(ids, ", ") + more + ": the broker takes one of them and drops the others"
		const pending = `sent_at IS NULL AND dead_at IS NULL`
		check.Fix = fmt.Sprintf("UPDATE %[1]s AS o SET message_id = gen_random_uuid() WHERE %[2]s AND EXISTS (SELECT FROM %[1]s AS e "+
			"WHERE e.message_id = o.message_id AND e.id < o.id AND e.sent_at IS NULL AND e.dead_at IS NULL);  "+
			"-- unless they are meant to be one event; and let the application give each row its own", table, pending)
	}
	e.add(check)
}

// examineKeys looks for pending rows with the empty key, which many programs write
// for "none". To the relay it is a key like any other: those rows go one by one.
func (s *session) examineKeys(ctx context.Context, e *Examination) {
	check := relay.Check{Name: checkKeys, Found: "none of the pending rows has the empty key"}
	var empty int64
	err := s.conn.QueryRow(ctx, fmt.Sprintf(`SELECT count(*) FROM (
			(SELECT key FROM %[1]s WHERE `+schema.Due+` ORDER BY id LIMIT %[2]d)
			UNION ALL (SELECT key FROM %[1]s WHERE `+schema.Scheduled+` ORDER BY available_at LIMIT %[2]d)
		) AS pending WHERE key = ''`, s.table.Quoted(), repeatsCap)).Scan(&empty)
	switch {
	case err != nil:
		check.Severity, check.Found = relay.Warning, s.explain("look for empty keys", err).Error()
	case empty > 0:
		check.Severity = relay.Warning
		check.Found = fmt.Sprintf("%d pending rows have the empty key '': they are sent one after the other, each after the acknowledgement of the one before", empty)
		check.Fix = fmt.Sprintf("UPDATE %s SET key = NULL WHERE key = '' AND sent_at IS NULL AND dead_at IS NULL;  "+
			"-- unless they are to keep their order; and let the application write NULL where there is no key", s.table.Quoted())
	}
	e.add(check)
}

// topicsSeen is how many rows of a kind are looked at for their topics.
const topicsSeen = 10_000

// topics are those of pending rows, else of the newest rows.
func (s *session) topics(ctx context.Context, limit int) ([]string, error) {
	table := s.table.Quoted()
	pending := fmt.Sprintf(`(SELECT topic FROM %[1]s WHERE `+schema.Due+` ORDER BY id LIMIT %[2]d)
		UNION ALL (SELECT topic FROM %[1]s WHERE `+schema.Scheduled+` ORDER BY available_at LIMIT %[2]d)`, table, topicsSeen)
	newest := fmt.Sprintf(`SELECT topic FROM %s ORDER BY id DESC LIMIT %d`, table, topicsSeen)
	for _, from := range []string{pending, newest} {
		rows, err := s.conn.Query(ctx, `SELECT DISTINCT topic FROM (`+from+`) AS seen ORDER BY topic LIMIT $1`, limit)
		if err != nil {
			return nil, s.explain("look up the topics", err)
		}
		found, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return nil, s.explain("look up the topics", err)
		}
		if len(found) > 0 {
			return found, nil
		}
	}
	return nil, nil
}
