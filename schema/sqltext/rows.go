package sqltext

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
)

// Session runs statements. Make one with [On] or [Simple].
type Session interface {
	// query blocks until the server answers or ctx ends. read is called once for
	// each statement that returns rows, even if it returned none, in the order of the
	// statements; a SET has no such call.
	query(ctx context.Context, s Statement, given Args, read func(pgx.Rows) error) error
}

// All runs a statement and returns its rows. Of several statements it returns the rows of
// the last one that returns any. A field of T has the name of its column,
// without the underscores. Every column needs a field, and every field a column; a NULL
// needs a field that is a pointer.
func All[T any](ctx context.Context, on Session, s Statement, given Args) ([]T, error) {
	var found []T
	err := on.query(ctx, s, given, func(rows pgx.Rows) error {
		var err error
		found, err = pgx.CollectRows(rows, pgx.RowToStructByName[T])
		return err
	})
	return found, err
}

// Column is [All] for a statement that has one column.
func Column[T any](ctx context.Context, on Session, s Statement, given Args) ([]T, error) {
	var found []T
	err := on.query(ctx, s, given, func(rows pgx.Rows) error {
		var err error
		found, err = pgx.CollectRows(rows, pgx.RowTo[T])
		return err
	})
	return found, err
}

// One is [All] for a statement that has one row. Without any the error is
// [pgx.ErrNoRows].
func One[T any](ctx context.Context, on Session, s Statement, given Args) (T, error) {
	found, err := All[T](ctx, on, s, given)
	if err == nil && len(found) == 0 {
		err = pgx.ErrNoRows
	}
	if err != nil {
		var none T
		return none, err
	}
	return found[0], nil
}

// Both runs two statements that return rows, in one round trip and one transaction, in the simple
// protocol. It returns the rows of each, as [All] does.
func Both[A, B any](ctx context.Context, pg *pgconn.PgConn, a, b Statement, given Args) ([]A, []B, error) {
	var first []A
	var second []B
	results := 0
	err := Simple(pg).query(ctx, a+";\n"+b, given, func(rows pgx.Rows) error {
		var err error
		switch results++; results {
		case 1:
			first, err = pgx.CollectRows(rows, pgx.RowToStructByName[A])
		case 2:
			second, err = pgx.CollectRows(rows, pgx.RowToStructByName[B])
		default:
			err = errors.New("more than two statements returned rows")
		}
		return err
	})
	return first, second, err
}

// On runs statements with parameters.
func On(conn *pgx.Conn) Session { return extended{conn} }

type extended struct{ conn *pgx.Conn }

func (e extended) query(ctx context.Context, s Statement, given Args, read func(pgx.Rows) error) error {
	rows, err := e.conn.Query(ctx, string(s), pgx.StrictNamedArgs(given))
	if err != nil {
		return err
	}
	return read(rows)
}

// Simple runs statements in the simple protocol, the only one of replication sessions,
// and the one that leaves nothing behind at a pooler. A file may have several statements.
func Simple(pg *pgconn.PgConn) Session { return simple{pg} }

type simple struct{ pg *pgconn.PgConn }

func (p simple) query(ctx context.Context, s Statement, given Args, read func(pgx.Rows) error) error {
	sql, err := s.inlined(given)
	if err != nil {
		return err
	}
	results := p.pg.Exec(ctx, sql)
	for results.NextResult() {
		result := results.ResultReader()
		if len(result.FieldDescriptions()) == 0 {
			continue // SET, for example
		}
		err = errors.Join(err, read(pgx.RowsFromResultReader(pgtype.NewMap(), result)))
	}
	// What the server says comes first, so that it is said once.
	if failed := results.Close(); failed != nil {
		return failed
	}
	return err
}
