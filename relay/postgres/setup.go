package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/schema"
	"github.com/outbox-relay/outbox-relay/schema/sqltext"
)

// checkSetup checks whether the session can work with the table, and returns its
// columns. It reports all faults of one kind at once: all columns, or all grants.
func (s *session) checkSetup(ctx context.Context, after AfterSend) ([]column, error) {
	ctx, cancel := context.WithTimeout(ctx, shortDeadline)
	defer cancel()
	if err := s.checkWritable(ctx); err != nil {
		return nil, err
	}
	t, err := s.lookUpTable(ctx)
	if err != nil {
		return nil, err
	}
	columns, err := s.lookUpColumns(ctx, t.oid)
	if err != nil {
		return nil, err
	}
	if err := checkShape(s.table, columns); err != nil {
		return nil, err
	}
	if err := s.checkGrants(t, columns, after); err != nil {
		return nil, err
	}
	return columns, checkRowSecurity(s.table, t)
}

func checkRowSecurity(table schema.Table, t tableFacts) error {
	if !t.rowSecurity {
		return nil
	}
	bypass := fmt.Sprintf("ALTER ROLE %s BYPASSRLS", sqltext.Identifier(t.role))
	return &flaw{
		found:  fmt.Sprintf("row-level security of table %s hides rows from role %s", table, t.role),
		advice: "as a superuser run: " + bypass,
		fix:    bypass + ";  -- as a superuser",
	}
}

func (s *session) checkWritable(ctx context.Context) error {
	var standby bool
	var readOnly string
	err := s.conn.QueryRow(ctx, `SELECT pg_is_in_recovery(), current_setting('transaction_read_only')`).Scan(&standby, &readOnly)
	if err != nil {
		return s.explain("look up the server's state", err)
	}
	const advice = "name the primary in OUTBOX_DATABASE_URL, or all hosts with target_session_attrs=read-write"
	switch {
	case standby:
		return &flaw{found: "the server is a standby", advice: advice, fix: advice}
	case readOnly == "on":
		return &flaw{found: "the server is read-only", advice: advice, fix: advice}
	}
	return nil
}

// tableFacts is what the catalogs say about the table as such.
type tableFacts struct {
	oid         uint32
	role        string
	usage       bool // of the schema
	deletable   bool
	rowSecurity bool // it applies to this role
	writers     bool // the role may see which transactions wrote the rows
}

func (s *session) lookUpTable(ctx context.Context) (tableFacts, error) {
	const sql = `SELECT c.oid, c.relkind::text, current_user::text, has_schema_privilege(n.oid, 'USAGE'),
			has_table_privilege(c.oid, 'DELETE'), row_security_active(c.oid),
			CASE WHEN c.relkind IN ('r', 'p') THEN has_column_privilege(c.oid, 'xmin', 'SELECT') ELSE false END
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2`
	var t tableFacts
	var kind string
	err := s.conn.QueryRow(ctx, sql, s.table.Schema, s.table.Name).
		Scan(&t.oid, &kind, &t.role, &t.usage, &t.deletable, &t.rowSecurity, &t.writers)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return t, s.missingTable(ctx)
	case err != nil:
		return t, s.explain("look up the table", err)
	case kind != "r" && kind != "p":
		const advice = "set OUTBOX_TABLE to the outbox table's name"
		return t, &flaw{found: s.table.String() + " is not a table", advice: advice, fix: advice}
	}
	return t, nil
}

// column is what the relay wants of a column, and what the catalogs say.
type column struct {
	name   string
	types  []string // any of them
	filled nulls
	writes bool
	// later versions of the migration have added it: without it the relay works, with
	// something off.
	later bool

	exists, notNull, canSelect, canUpdate bool
	is                                    string // its type
}

// nulls says what a NULL in a column does.
type nulls uint8

const (
	nullsFine   nulls = iota
	nullsDefect       // the row can never be published, and ends dead
	nullsHide         // the row is in no index, so nobody finds it
)

var nullsNames = [...]string{"fine", "defect", "hidden"}

// String returns the consequence in lower case.
func (n nulls) String() string { return nullsNames[n] }

func wantedColumns() []column {
	text := []string{"text", "character varying"}
	instant := []string{"timestamp with time zone"}
	return []column{
		{name: "id", types: []string{"bigint"}, filled: nullsHide},
		{name: "message_id", types: []string{"uuid"}, filled: nullsDefect},
		{name: "topic", types: text, filled: nullsDefect},
		{name: "key", types: text},
		{name: "payload", types: []string{"json", "jsonb", "text", "character varying", "bytea"}, filled: nullsDefect},
		{name: "content_type", types: text},
		{name: "headers", types: []string{"jsonb"}},
		{name: "created_at", types: instant},
		{name: "available_at", types: instant, writes: true},
		{name: "sent_at", types: instant, writes: true},
		{name: "attempts", types: []string{"integer"}, filled: nullsHide, writes: true},
		{name: "first_attempt_at", types: instant, writes: true},
		{name: "last_error", types: []string{"text"}, writes: true},
		{name: "error_type", types: text, writes: true, later: true},
		{name: "dead_at", types: instant, writes: true},
		{name: "dead_letter_at", types: instant, writes: true, later: true},
	}
}

// lookUpColumns asks for a domain's base type, which is what the wire carries.
func (s *session) lookUpColumns(ctx context.Context, table uint32) ([]column, error) {
	const sql = `SELECT a.attname::text, format_type(base.oid, NULL), a.attnotnull AND NOT EXISTS (
				SELECT FROM pg_constraint n WHERE n.conrelid = a.attrelid AND n.contype = 'n' AND NOT n.convalidated AND a.attnum = ANY (n.conkey)
			) OR base.filled,
			has_column_privilege(a.attrelid, a.attnum, 'SELECT'), has_column_privilege(a.attrelid, a.attnum, 'UPDATE')
		FROM pg_attribute a CROSS JOIN LATERAL (
			WITH RECURSIVE types (oid, filled) AS (
				SELECT oid, typnotnull FROM pg_type WHERE oid = a.atttypid
				UNION ALL SELECT b.oid, types.filled OR b.typnotnull
				FROM types JOIN pg_type d ON d.oid = types.oid JOIN pg_type b ON b.oid = d.typbasetype
			) SELECT types.oid, types.filled FROM types JOIN pg_type t ON t.oid = types.oid WHERE t.typbasetype = 0 OR t.typtype <> 'd'
		) AS base
		WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped`
	rows, err := s.conn.Query(ctx, sql, table)
	if err != nil {
		return nil, s.explain("look up the columns", err)
	}
	found := make(map[string]column)
	var c column
	_, err = pgx.ForEachRow(rows, []any{&c.name, &c.is, &c.notNull, &c.canSelect, &c.canUpdate}, func() error {
		found[c.name] = c
		return nil
	})
	if err != nil {
		return nil, s.explain("look up the columns", err)
	}
	columns := wantedColumns()
	for i := range columns {
		want := &columns[i]
		if is, ok := found[want.name]; ok {
			want.exists, want.is, want.notNull = true, is.is, is.notNull
			want.canSelect, want.canUpdate = is.canSelect, is.canUpdate
		}
	}
	return columns, nil
}

// checkShape names every column that is missing or of another type.
func checkShape(table schema.Table, columns []column) error {
	var faults []string
	missing := false
	for _, c := range columns {
		switch {
		case !c.exists && c.later:
		case !c.exists:
			missing = true
			faults = append(faults, fmt.Sprintf("column %s is missing", c.name))
		case !slices.Contains(c.types, c.is):
			faults = append(faults, fmt.Sprintf("column %s is %s, expected %s", c.name, c.is, strings.Join(c.types, " or ")))
		case c.filled == nullsHide && !c.notNull:
			faults = append(faults, fmt.Sprintf("column %s must be NOT NULL", c.name))
		}
	}
	if len(faults) == 0 {
		return nil
	}
	fix := "alter these columns, or set OUTBOX_TABLE to another name"
	if missing {
		fix = "run outbox-relay migrate, which adds what is missing"
	}
	return &flaw{
		found:  fmt.Sprintf("table %s has another shape: %s", table, strings.Join(faults, "; ")),
		advice: fix,
		fix:    fixShape(table, columns),
	}
}

// checkNulls names every column in which a NULL makes a row that cannot be sent.
func checkNulls(table schema.Table, columns []column) error {
	var open []string
	for _, c := range columns {
		if c.filled == nullsDefect && !c.notNull {
			open = append(open, c.name)
		}
	}
	if len(open) == 0 {
		return nil
	}
	return &flaw{
		found:  fmt.Sprintf("rows with a NULL in %s end dead, and the table allows them", strings.Join(open, " or ")),
		advice: "make these columns NOT NULL",
		fix:    fixShape(table, columns),
	}
}

// checkGrants names the statements that give the role what it lacks.
func (s *session) checkGrants(t tableFacts, columns []column, after AfterSend) error {
	unreadable := !t.writers // SELECT on some columns is not enough
	updates, needed := []string{}, false
	for _, c := range columns {
		unreadable = unreadable || c.exists && !c.canSelect
		if c.exists && c.writes && !c.canUpdate {
			updates = append(updates, c.name)
			needed = needed || !c.later
		}
	}
	if !needed {
		updates = nil
	}
	return s.lacking(t, unreadable, updates, after == Delete)
}

// lacking names the statements that let the role into the schema, have it read the
// table, update these columns, and delete, where it may not.
func (s *session) lacking(t tableFacts, unreadable bool, updates []string, deletes bool) error {
	role := sqltext.Identifier(t.role)
	var grants, privileges []string
	if !t.usage {
		grants = append(grants, fmt.Sprintf("GRANT USAGE ON SCHEMA %s TO %s;", sqltext.Identifier(s.table.Schema), role))
	}
	if unreadable {
		privileges = append(privileges, "SELECT")
	}
	if len(updates) > 0 {
		privileges = append(privileges, "UPDATE ("+strings.Join(updates, ", ")+")")
	}
	if deletes && !t.deletable {
		privileges = append(privileges, "DELETE")
	}
	if len(privileges) > 0 {
		grants = append(grants, fmt.Sprintf("GRANT %s ON %s TO %s;", strings.Join(privileges, ", "), s.table.Quoted(), role))
	}
	if len(grants) == 0 {
		return nil
	}
	return &flaw{
		found:  fmt.Sprintf("role %s lacks privileges on table %s", t.role, s.table),
		advice: "run " + strings.Join(grants, " "),
		fix:    strings.Join(grants, "\n"),
	}
}
