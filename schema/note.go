package schema

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/schema/sqltext"
)

// Place is where a table is, or belongs. An empty string is unknown.
type Place struct {
	System   string // the server's system identifier, which a physical copy has too
	Database string
	// Environment is OUTBOX_ENVIRONMENT.
	Environment string
}

// Note says where a table belongs. It stands beside the table, in a table of its own, so
// that every kind of copy takes it along.
type Note struct {
	NotedAt time.Time
	NotedBy string
	Place
	// PausedAt is nil while the table is not paused.
	PausedAt              *time.Time
	PausedBy, PauseReason string
}

// Note is the table that holds the note.
func (t Table) Note() Table { return Table{Schema: t.Schema, Name: t.derive("note")} }

var (
	noteStateStatement = lookUpFiles.Statement("note_state", nil)
	systemStatement    = lookUpFiles.Statement("system", nil)
)

// HasNote says whether the table has a note. One that an older version has made has none.
func HasNote(ctx context.Context, on sqltext.Session, t Table) (bool, error) {
	state, err := sqltext.One[struct{ Noted bool }](ctx, on, noteStateStatement, sqltext.Args{"note": t.Note().Quoted()})
	return state.Noted, err
}

// ReadNotes reads what is noted: one note, and more where those of other systems were
// restored into this one.
func ReadNotes(ctx context.Context, on sqltext.Session, t Table) ([]Note, error) {
	return sqltext.All[Note](ctx, on, lookUpFiles.Statement("note", struct{ Note string }{t.Note().Quoted()}), nil)
}

// System is the server's system identifier; empty where the server does not tell.
func System(ctx context.Context, on sqltext.Session) (string, error) {
	found, err := sqltext.One[struct{ System string }](ctx, on, systemStatement, nil)
	switch sqltext.Code(err) {
	case codeInsufficientPrivilege, "0A000", "42883": // unsupported, or no such function: of a service that resembles PostgreSQL
		return "", nil
	}
	return found.System, err
}

// Adopt notes that the table belongs where it is now. Only the owner of the note may.
//
// conn must not be in a transaction, and stays the caller's.
func Adopt(ctx context.Context, conn *pgx.Conn, t Table, environment string) error {
	values := map[string]string{"environment": sqltext.Literal(environment)}
	addTable(values, t)
	if err := runScript(ctx, conn, expand(adoptSQL, values), t, 0); err != nil {
		return fmt.Errorf("adopt %s: %w", t, err)
	}
	return nil
}
