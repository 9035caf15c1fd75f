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

// checkSetup checks whether the session can work with the table, and returns what it has
// looked up. It reports all faults of one kind at once: all columns, or all grants.
func (s *session) checkSetup(ctx context.Context, after AfterSend) (tableFacts, []column, error) {
	ctx, cancel := context.WithTimeout(ctx, shortDeadline)
	defer cancel()
	if err := s.checkWritable(ctx); err != nil {
		return tableFacts{}, nil, err
	}
	t, columns, err := s.lookUpShape(ctx)
	if err != nil {
		return t, nil, err
	}
	if err := s.checkGrants(t, columns, after); err != nil {
		return t, nil, err
	}
	return t, columns, checkRowSecurity(s.table, t)
}

// lookUpShape looks the table and its columns up, and checks that they are as the relay
// needs them.
func (s *session) lookUpShape(ctx context.Context) (tableFacts, []column, error) {
	t, err := s.lookUpTable(ctx)
	if err != nil {
		return t, nil, err
	}
	columns, err := s.lookUpColumns(ctx, t.OID)
	if err != nil {
		return t, nil, err
	}
	return t, columns, checkShape(s.table, columns)
}

var (
	serverStateStatement = files.Statement("server_state", nil)
	tableStatement       = files.Statement("table", nil)
	columnsStatement     = files.Statement("columns", nil)
)

func checkRowSecurity(table schema.Table, t tableFacts) error {
	if !t.RowSecurity {
		return nil
	}
	bypass := fmt.Sprintf("ALTER ROLE %s BYPASSRLS", sqltext.Identifier(t.Role))
	return &flaw{
		found:  fmt.Sprintf("row-level security of table %s hides rows from role %s", table, t.Role),
		advice: "as a superuser run: " + bypass,
		fix:    bypass + ";  -- as a superuser",
	}
}

func (s *session) checkWritable(ctx context.Context) error {
	server, err := sqltext.One[struct{ Standby, ReadOnly bool }](ctx, sqltext.On(s.conn), serverStateStatement, nil)
	if err != nil {
		return s.explain("look up the server's state", err)
	}
	const advice = "name the primary in OUTBOX_DATABASE_URL, or all hosts with target_session_attrs=read-write"
	switch {
	case server.Standby:
		return &flaw{found: "the server is a standby", advice: advice, fix: advice}
	case server.ReadOnly:
		return &flaw{found: "the server is read-only", advice: advice, fix: advice}
	}
	return nil
}

// tableFacts is what the catalogs say about the table as such.
type tableFacts struct {
	OID         uint32
	IsTable     bool
	Role        string // of this session
	Usable      bool   // the role may use the schema
	Deletable   bool
	RowSecurity bool // it applies to this role
	Writers     bool // the role may see which transactions wrote the rows
	NoteHidden  bool // the table has a note, and the role may not read it
}

func (s *session) lookUpTable(ctx context.Context) (tableFacts, error) {
	t, err := sqltext.One[tableFacts](ctx, sqltext.On(s.conn), tableStatement, sqltext.Args{
		"schema": s.table.Schema, "table": s.table.Name, "note": s.table.Note().Name,
	})
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return t, s.missingTable(ctx)
	case err != nil:
		return t, s.explain("look up the table", err)
	case !t.IsTable:
		const advice = "set OUTBOX_TABLE to the outbox table's name"
		return t, &flaw{found: s.table.String() + " is not a table", advice: advice, fix: advice}
	}
	return t, nil
}

// named are the parameters that name the table.
func (s *session) named() sqltext.Args {
	return sqltext.Args{"schema": s.table.Schema, "table": s.table.Name}
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

	exists bool
	is     columnFacts
}

// columnFacts is what the catalogs say about a column.
type columnFacts struct {
	Name, Type string // of a domain the base type
	NotNull    bool
	CanSelect  bool
	CanUpdate  bool
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

func (s *session) lookUpColumns(ctx context.Context, table uint32) ([]column, error) {
	rows, err := sqltext.All[columnFacts](ctx, sqltext.On(s.conn), columnsStatement, sqltext.Args{"table": table})
	if err != nil {
		return nil, s.explain("look up the columns", err)
	}
	found := make(map[string]columnFacts, len(rows))
	for _, c := range rows {
		found[c.Name] = c
	}
	columns := wantedColumns()
	for i := range columns {
		want := &columns[i]
		want.is, want.exists = found[want.name]
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
		case !slices.Contains(c.types, c.is.Type):
			faults = append(faults, fmt.Sprintf("column %s is %s, expected %s", c.name, c.is.Type, strings.Join(c.types, " or ")))
		case c.filled == nullsHide && !c.is.NotNull:
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
		if c.filled == nullsDefect && !c.is.NotNull {
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
	unreadable := !t.Writers // SELECT on some columns is not enough
	updates, needed := []string{}, false
	for _, c := range columns {
		unreadable = unreadable || c.exists && !c.is.CanSelect
		if c.exists && c.writes && !c.is.CanUpdate {
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
	role := sqltext.Identifier(t.Role)
	var grants, privileges []string
	if !t.Usable {
		grants = append(grants, fmt.Sprintf("GRANT USAGE ON SCHEMA %s TO %s;", sqltext.Identifier(s.table.Schema), role))
	}
	if unreadable {
		privileges = append(privileges, "SELECT")
	}
	if len(updates) > 0 {
		privileges = append(privileges, "UPDATE ("+strings.Join(updates, ", ")+")")
	}
	if deletes && !t.Deletable {
		privileges = append(privileges, "DELETE")
	}
	if len(privileges) > 0 {
		grants = append(grants, fmt.Sprintf("GRANT %s ON %s TO %s;", strings.Join(privileges, ", "), s.table.Quoted(), role))
	}
	if t.NoteHidden {
		grants = append(grants, fmt.Sprintf("GRANT SELECT ON %s TO %s;", s.table.Note().Quoted(), role))
	}
	if len(grants) == 0 {
		return nil
	}
	return &flaw{
		found:  fmt.Sprintf("role %s lacks privileges on table %s", t.Role, s.table),
		advice: "run " + strings.Join(grants, " "),
		fix:    strings.Join(grants, "\n"),
	}
}
