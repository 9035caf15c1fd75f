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

var (
	indexesStatement  = files.Statement("indexes", nil)
	triggerStatement  = files.Statement("trigger", nil)
	sequenceStatement = files.Statement("sequence", nil)
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
	rows, err := s.indexes(ctx, t)
	if err != nil {
		return check, err
	}
	valid := make(map[string]bool, len(rows))
	byID, divided := false, false
	for _, r := range rows {
		valid[r.Name] = r.Valid
		byID, divided = byID || r.ByID && r.Valid, divided || r.Divided
	}
	var found, fixes []string
	missing := false
	if !byID {
		found = append(found, "no index begins with id")
		fixes = append(fixes, fmt.Sprintf("CREATE INDEX ON %s (id);  -- better: make id the first column of the primary key", s.table.Quoted()))
	}
	for _, index := range s.table.Indexes() {
		name := index.Name
		is, exists := valid[name]
		switch {
		case !exists:
			missing = true
			found = append(found, sqltext.Identifier(name)+" is missing")
		case !is && divided:
			missing = true
			found = append(found, sqltext.Identifier(name)+" is missing on some partitions")
		case !is:
			missing = true
			found = append(found, sqltext.Identifier(name)+" is not valid")
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

// indexFacts is what the catalogs say about an index of the table.
type indexFacts struct {
	Name    string
	Valid   bool
	Divided bool // it consists of those of the partitions
	ByID    bool // of all rows, by id
}

func (s *session) indexes(ctx context.Context, t tableFacts) ([]indexFacts, error) {
	rows, err := sqltext.All[indexFacts](ctx, sqltext.On(s.conn), indexesStatement, sqltext.Args{"table": t.OID})
	if err != nil {
		return nil, s.explain("look up the indexes", err)
	}
	return rows, nil
}

// examineGuard: without its triggers, a row that is changed or deleted in the
// transaction that inserted it is published as it was inserted.
func (s *session) examineGuard(ctx context.Context, t tableFacts) (relay.Check, error) {
	check := relay.Check{Name: checkGuard, Found: "present"}
	var found, fixes []string
	for _, guard := range []string{s.table.Guard(), s.table.DeadGuard(), s.table.TruncateGuard()} {
		trigger, err := sqltext.One[struct{ Enabled bool }](ctx, sqltext.On(s.conn), triggerStatement, sqltext.Args{"table": t.OID, "trigger": guard})
		switch {
		case errors.Is(err, pgx.ErrNoRows):
			found, fixes = append(found, "trigger "+sqltext.Identifier(guard)+" is missing"), append(fixes, fixMigrate)
		case err != nil:
			return check, s.explain("look up the guard", err)
		case !trigger.Enabled:
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
	type row struct {
		Name     string
		Cache    int64
		Identity bool
	}
	sequence, err := sqltext.One[row](ctx, sqltext.On(s.conn), sequenceStatement, sqltext.Args{"table": t.OID})
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		check.Found = "ids are given by the application" // or by a sequence that the table does not own
	case err != nil:
		return check, s.explain("look up the sequence of ids", err)
	case sequence.Cache > 1:
		check.Severity = relay.Warning
		check.Found = fmt.Sprintf("sequence %s has a cache of %d: sessions get ids in blocks, so a later row of a key may have a lower id", sequence.Name, sequence.Cache)
		check.Fix = fmt.Sprintf("ALTER SEQUENCE %s CACHE 1;", relay.OneLine(sequence.Name))
		if sequence.Identity {
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
	table := s.table.Quoted()
	check := relay.Check{Name: checkRepeats, Found: "none is used twice among the pending rows"}
	ids, err := sqltext.Column[string](ctx, sqltext.On(s.conn), files.Statement("repeats", s.sample("message_id")),
		sqltext.Args{"most": repeatsCap, "named": repeatsNamed + 1})
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
			"-- stop the relays first: what one has in memory has the old id; not if they are meant to be one event; and let the application give each row its own", table, pending)
	}
	e.add(check)
}

// examineKeys looks for pending rows with the empty key, which many programs write
// for "none". To the relay it is a key like any other: those rows go one by one.
func (s *session) examineKeys(ctx context.Context, e *Examination) {
	check := relay.Check{Name: checkKeys, Found: "none of the pending rows has the empty key"}
	empty, err := sqltext.One[struct{ Rows int64 }](ctx, sqltext.On(s.conn), files.Statement("empty_keys", s.sample("key")),
		sqltext.Args{"most": repeatsCap})
	switch {
	case err != nil:
		check.Severity, check.Found = relay.Warning, s.explain("look for empty keys", err).Error()
	case empty.Rows > 0:
		check.Severity = relay.Warning
		check.Found = fmt.Sprintf("%d pending rows have the empty key '': they are sent one after the other, each after the acknowledgement of the one before", empty.Rows)
		check.Fix = fmt.Sprintf("UPDATE %s SET key = NULL WHERE key = '' AND sent_at IS NULL AND dead_at IS NULL;  "+
			"-- unless they are to keep their order; and let the application write NULL where there is no key", s.table.Quoted())
	}
	e.add(check)
}

// topicsSeen is how many rows of a kind are looked at for their topics.
const topicsSeen = 10_000

// topics are those of pending rows, else of the newest rows.
func (s *session) topics(ctx context.Context, limit int) ([]string, error) {
	for _, newest := range []bool{false, true} {
		blanks := s.sample("topic")
		blanks.Newest = newest
		found, err := sqltext.Column[string](ctx, sqltext.On(s.conn), files.Statement("topics", blanks),
			sqltext.Args{"most": topicsSeen, "topics": limit})
		if err != nil {
			return nil, s.explain("look up the topics", err)
		}
		if len(found) > 0 {
			return found, nil
		}
	}
	return nil, nil
}

// sampleBlanks fill in a look-up that reads a column of some rows.
type sampleBlanks struct {
	Table, Column  string // Table is quoted
	Due, Scheduled string // conditions
	Newest         bool   // whatever their state
}

func (s *session) sample(column string) sampleBlanks {
	return sampleBlanks{Table: s.table.Quoted(), Column: column, Due: schema.Due, Scheduled: schema.Scheduled}
}
