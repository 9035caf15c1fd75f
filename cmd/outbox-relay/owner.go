package main

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/outbox-relay/outbox-relay/cmd/outbox-relay/internal/config"
	"github.com/outbox-relay/outbox-relay/relay/postgres"
)

// openOwner opens a session that runs the scripts of the table's owner. notice is told what
// the server says.
func openOwner(ctx context.Context, c config.Config, name string, notice func(*pgconn.Notice)) (*pgx.Conn, error) {
	session, err := postgres.ParseURL(c.DatabaseURL.Reveal())
	if err != nil {
		return nil, err
	}
	postgres.Guard(&session.Config, encryption(c, nil))
	session.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) { notice(n) }
	session.RuntimeParams["application_name"] = name
	session.RuntimeParams["client_encoding"] = "UTF8"
	conn, err := pgx.ConnectConfig(ctx, session)
	if err != nil {
		return nil, fmt.Errorf("connect to OUTBOX_DATABASE_URL: %w", err)
	}
	// Any of these could have been set for the role or the database. A script is parsed
	// as a whole before its own settings apply, a lock timeout must not end the session,
	// and the notices say what was changed.
	const pinned = "SET standard_conforming_strings = on; SET exit_on_error = off; SET client_min_messages = notice; SET statement_timeout = 0"
	if _, err := conn.Exec(ctx, pinned, pgx.QueryExecModeSimpleProtocol); err != nil {
		_ = conn.Close(context.WithoutCancel(ctx))
		return nil, fmt.Errorf("set session parameters: %w", err)
	}
	return conn, nil
}
