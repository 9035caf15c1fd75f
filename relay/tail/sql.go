package tail

import (
	"context"
	"embed"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/outbox-relay/outbox-relay/schema"
	"github.com/outbox-relay/outbox-relay/schema/sqltext"
)

//go:embed sql/*.sql
var sqlFiles embed.FS

var statements = sqltext.Parse(sqlFiles, "sql/*.sql")

// all returns the rows of a statement. It uses the simple protocol, which every session
// takes, those for replication too.
func all[T any](ctx context.Context, pg *pgconn.PgConn, s sqltext.Statement, given sqltext.Args) ([]T, error) {
	ctx, cancel := context.WithTimeout(ctx, shortDeadline)
	defer cancel()
	return sqltext.All[T](ctx, sqltext.Simple(pg), s, given)
}

// one is [all] for a statement that has one row.
func one[T any](ctx context.Context, pg *pgconn.PgConn, s sqltext.Statement, given sqltext.Args) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, shortDeadline)
	defer cancel()
	return sqltext.One[T](ctx, sqltext.Simple(pg), s, given)
}

// named are the parameters that name the table.
func named(table schema.Table) sqltext.Args {
	return sqltext.Args{"schema": table.Schema, "table": table.Name}
}
