package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/outbox-relay/outbox-relay/cmd/outbox-relay/internal/config"
	"github.com/outbox-relay/outbox-relay/schema"
)

const migrateUsage = `Usage: outbox-relay migrate [flags]

Makes the outbox table (OUTBOX_TABLE) and the publication (OUTBOX_PUBLICATION) in
the database OUTBOX_DATABASE_URL, or adds what they lack: in one transaction, at
any time, also beside a running relay and application. It drops nothing.

It needs a role that may create them; no superuser.

Flags:
`

// runMigrate is the command "migrate": it applies what "schema" prints.
func runMigrate(ctx context.Context, env, args []string, stdout, stderr io.Writer) int {
	var timeout time.Duration
	cmd := newTableCommand("migrate", migrateUsage)
	cmd.flags.DurationVar(&timeout, "timeout", time.Minute,
		"give up after this long, waiting for locks that others hold included")
	if status, done := cmd.parse(config.LoadMigration, env, args, stdout, stderr); done {
		return status
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if err := cmd.migrate(ctx, stdout, stderr); err != nil {
		fmt.Fprintln(stderr, "outbox-relay:", err)
		return 1
	}
	return 0
}

func (c *tableCommand) migrate(ctx context.Context, stdout, stderr io.Writer) error {
	session, err := pgx.ParseConfig(c.config.DatabaseURL.Reveal())
	if err != nil {
		return fmt.Errorf("read OUTBOX_DATABASE_URL: %w", err)
	}
	session.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) { printNotice(n, stdout, stderr) }
	session.RuntimeParams["application_name"] = "outbox-relay migrate"
	conn, err := pgx.ConnectConfig(ctx, session)
	if err != nil {
		return fmt.Errorf("connect to OUTBOX_DATABASE_URL: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))

	if err := schema.Migrate(ctx, conn, c.options()); err != nil {
		return err
	}
	if c.role != "" {
		if err := schema.GrantRole(ctx, conn, c.roleOptions(), ""); err != nil {
			return err
		}
	}
	fmt.Fprintf(stdout, "%s is up to date\n", c.config.Table)
	return nil
}

// printNotice tells what the scripts report: changes on stdout, on stderr what
// somebody should look at.
func printNotice(n *pgconn.Notice, stdout, stderr io.Writer) {
	if cmp.Or(n.SeverityUnlocalized, n.Severity) != "WARNING" {
		fmt.Fprintln(stdout, n.Message)
		return
	}
	fmt.Fprintln(stderr, "warning:", n.Message)
	if n.Hint != "" {
		fmt.Fprintln(stderr, "  ", n.Hint)
	}
}
