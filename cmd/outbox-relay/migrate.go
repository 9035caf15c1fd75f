package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/spf13/cobra"

	"github.com/outbox-relay/outbox-relay/cmd/outbox-relay/internal/config"
	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/relay/postgres"
	"github.com/outbox-relay/outbox-relay/schema"
)

const migrateHelp = `Makes the outbox table (OUTBOX_TABLE) and the publication (OUTBOX_PUBLICATION) in
the database OUTBOX_DATABASE_URL, or adds what they lack: in one transaction, at
any time, also beside a running relay and application. It drops nothing.

It needs a role that may create them; no superuser.`

// newMigrateCommand applies what "schema" prints.
func newMigrateCommand(env []string) *cobra.Command {
	cmd := &cobra.Command{
		Use: "migrate", Short: "create the outbox table, or add what it lacks", Long: migrateHelp,
		Args: noArguments, ValidArgsFunction: cobra.NoFileCompletions,
	}
	flags := addTableFlags(cmd)
	timeout := addTimeout(cmd, time.Minute, "give up after this long; waiting for locks of other sessions counts")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := loadConfig(cmd, config.LoadMigration, env)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), *timeout)
		defer cancel()
		if err := migrate(ctx, c, flags, cmd.OutOrStdout(), cmd.ErrOrStderr()); err != nil {
			fmt.Fprintln(cmd.ErrOrStderr(), "outbox-relay:", lines(err))
			return failed
		}
		return nil
	}
	return cmd
}

func migrate(ctx context.Context, c config.Config, flags *tableFlags, stdout, stderr io.Writer) error {
	session, err := postgres.ParseURL(c.DatabaseURL.Reveal())
	if err != nil {
		return err
	}
	session.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) { printNotice(n, stdout, stderr) }
	session.RuntimeParams["application_name"] = "outbox-relay migrate"
	session.RuntimeParams["client_encoding"] = "UTF8"
	conn, err := pgx.ConnectConfig(ctx, session)
	if err != nil {
		return fmt.Errorf("connect to OUTBOX_DATABASE_URL: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	// Any of these could have been set for the role or the database. A script is parsed
	// as a whole before its own settings apply, a lock timeout must not end the session,
	// and the notices say what was changed.
	const pinned = "SET standard_conforming_strings = on; SET exit_on_error = off; SET client_min_messages = notice; SET statement_timeout = 0"
	if _, err := conn.Exec(ctx, pinned, pgx.QueryExecModeSimpleProtocol); err != nil {
		return fmt.Errorf("set session parameters: %w", err)
	}

	if err := schema.Migrate(ctx, conn, flags.options(c)); err != nil {
		return err
	}
	if flags.role.name != "" {
		if err := schema.GrantRole(ctx, conn, flags.roleOptions(c), ""); err != nil {
			return err
		}
	}
	fmt.Fprintf(stdout, "%s is up to date\n", c.Table)
	return nil
}

// printNotice prints what the scripts report: changes to stdout, warnings to stderr.
func printNotice(n *pgconn.Notice, stdout, stderr io.Writer) {
	if cmp.Or(n.SeverityUnlocalized, n.Severity) != "WARNING" {
		fmt.Fprintln(stdout, relay.OneLine(n.Message))
		return
	}
	fmt.Fprintln(stderr, "warning:", relay.OneLine(n.Message))
	if n.Hint != "" {
		fmt.Fprintln(stderr, "  ", relay.OneLine(n.Hint))
	}
}
