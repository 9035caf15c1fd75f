package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgserver"
	"github.com/outbox-relay/outbox-relay/schema"
)

// The application and the consumer are two services: each has a database of its
// own, and nothing but messages goes from one to the other.
const (
	shortenerDB  = "shortener"
	statisticsDB = "statistics"
	relayRole    = "outbox_relay"
	publication  = "outbox_relay"
)

var outbox = schema.Table{Schema: "public", Name: "outbox"}

// The application's tables. link.clicks is updated before anything else in a
// transaction: its row lock puts the transactions of one link in a line, which
// is the application's part of the order, and its value numbers the clicks.
const shortenerSQL = `
CREATE TABLE link (
	code   text PRIMARY KEY,
	target text NOT NULL,
	clicks bigint NOT NULL DEFAULT 0
);
CREATE TABLE click (
	id       uuid PRIMARY KEY DEFAULT gen_random_uuid(),
	code     text NOT NULL REFERENCES link,
	seq      bigint NOT NULL,
	referrer text NOT NULL,
	UNIQUE (code, seq)
);`

// The consumer's tables, beside its inbox, which deduplicates. counted is the effect,
// and has no constraint on purpose: an effect that happens twice is seen twice.
const statisticsSQL = `
CREATE TABLE counted (
	message_id uuid NOT NULL, click uuid NOT NULL, code text NOT NULL, seq bigint NOT NULL, referrer text NOT NULL
);
CREATE TABLE dropped (message_id uuid NOT NULL, stream_seq bigint NOT NULL);`

// prepareDatabases makes both databases, migrates the outbox into the
// application's and makes the relay's role.
func prepareDatabases(ctx context.Context, pg *pgserver.Server) error {
	err := withConn(ctx, pg.URL("postgres"), func(conn *pgx.Conn) error {
		for _, name := range []string{shortenerDB, statisticsDB} {
			if _, err := conn.Exec(ctx, "CREATE DATABASE "+name); err != nil {
				return fmt.Errorf("create database %s: %w", name, err)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	err = withConn(ctx, pg.URL(shortenerDB), func(conn *pgx.Conn) error { return prepareShortener(ctx, conn) })
	if err != nil {
		return err
	}
	return withConn(ctx, pg.URL(statisticsDB), func(conn *pgx.Conn) error {
		if err := conn.PgConn().Exec(ctx, schema.InboxSQL(schema.DefaultInbox)+statisticsSQL).Close(); err != nil {
			return fmt.Errorf("create the consumer's tables: %w", err)
		}
		return nil
	})
}

func prepareShortener(ctx context.Context, conn *pgx.Conn) error {
	if err := schema.Migrate(ctx, conn, schema.Options{Table: outbox, Publication: publication}); err != nil {
		return err
	}
	if err := schema.GrantRole(ctx, conn, schema.RoleOptions{Table: outbox, Role: relayRole}, ""); err != nil {
		return err
	}
	if _, err := conn.Exec(ctx, shortenerSQL); err != nil {
		return fmt.Errorf("create the application's tables: %w", err)
	}
	_, err := conn.Exec(ctx, `INSERT INTO link (code, target)
		SELECT unnest($1::text[]), 'https://example.org/' || unnest($1::text[])`, linkCodes())
	if err != nil {
		return fmt.Errorf("create links: %w", err)
	}
	return nil
}

// withConn runs f on a connection of its own.
func withConn(ctx context.Context, url string, f func(*pgx.Conn) error) (err error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return fmt.Errorf("connect to PostgreSQL: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close(context.WithoutCancel(ctx))) }()
	return f(conn)
}
