package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/spf13/cobra"

	"github.com/outbox-relay/outbox-relay/cmd/outbox-relay/internal/config"
	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/schema"
)

const migrateHelp = `Makes the outbox table (OUTBOX_TABLE) and the publication (OUTBOX_PUBLICATION) in
the database OUTBOX_DATABASE_URL, or adds what they lack: at any time, also beside a
running relay and application. It drops nothing.

All but new indexes of a table with many rows is done in one transaction, which waits
for no lock for long. Those indexes are built afterwards, while the application goes
on. That may take as long as there are rows, and as other transactions are open; it can
be interrupted and run again.

It needs a role that may create them; no superuser.`

// newMigrateCommand applies what "schema" prints.
func newMigrateCommand(env []string) *cobra.Command {
	cmd := &cobra.Command{
		Use: "migrate", Short: "create the outbox table, or add what it lacks", Long: migrateHelp,
		Args: noArguments, ValidArgsFunction: cobra.NoFileCompletions,
	}
	flags := addTableFlags(cmd)
	asJSON := cmd.Flags().Bool("json", false, "print JSON")
	timeout := addTimeout(cmd, time.Minute, "give up waiting for locks of other sessions after this long; building indexes has no limit")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := loadConfig(cmd, config.LoadMigration, env)
		if err != nil {
			return err
		}
		told := &migrationTold{stdout: cmd.OutOrStdout(), stderr: cmd.ErrOrStderr(), asJSON: *asJSON}
		if err := migrate(cmd.Context(), c, flags, *timeout, told); err != nil {
			fmt.Fprintln(cmd.ErrOrStderr(), "outbox-relay:", lines(err))
			return failed
		}
		return told.upToDate(c.Table.String())
	}
	return cmd
}

func migrate(ctx context.Context, c config.Config, flags *tableFlags, patience time.Duration, told *migrationTold) error {
	soon, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	conn, err := openOwner(soon, c, "outbox-relay migrate", told.notice)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	options := flags.options(c)
	options.Patience, options.Tell = patience, told.progress
	if err := schema.Migrate(ctx, conn, options); err != nil {
		return err
	}
	if flags.role.name == "" {
		return nil
	}
	ctx, cancel = context.WithTimeout(ctx, patience)
	defer cancel()
	return schema.GrantRole(ctx, conn, flags.roleOptions(c), "")
}

// migrationTold prints what the scripts report: as they go, or at the end as JSON.
type migrationTold struct {
	stdout, stderr io.Writer
	asJSON         bool
	view           migrationView
}

// migrationView is what "migrate --json" prints. Its names are stable.
type migrationView struct {
	Table string `json:"table"`
	// Changes and Warnings are in the order in which they came.
	Changes  []string           `json:"changes"`
	Warnings []migrationWarning `json:"warnings"`
}

type migrationWarning struct {
	Message string `json:"message"`
	Hint    string `json:"hint"`
}

// notice takes a change, which goes to stdout, or a warning, which goes to stderr.
func (t *migrationTold) notice(n *pgconn.Notice) {
	message, hint := relay.OneLine(n.Message), relay.OneLine(n.Hint)
	warning := cmp.Or(n.SeverityUnlocalized, n.Severity) == "WARNING"
	switch {
	case t.asJSON && warning:
		t.view.Warnings = append(t.view.Warnings, migrationWarning{message, hint})
	case t.asJSON:
		t.view.Changes = append(t.view.Changes, message)
	case warning:
		fmt.Fprintln(t.stderr, "warning:", message)
		if hint != "" {
			fmt.Fprintln(t.stderr, "  ", hint)
		}
	default:
		fmt.Fprintln(t.stdout, message)
	}
}

// progress takes what takes long. It is no part of the JSON.
func (t *migrationTold) progress(message string) {
	to := t.stdout
	if t.asJSON {
		to = t.stderr
	}
	fmt.Fprintln(to, relay.OneLine(message))
}

func (t *migrationTold) upToDate(table string) error {
	if !t.asJSON {
		_, err := fmt.Fprintf(t.stdout, "%s is up to date\n", table)
		return err
	}
	t.view.Table = table
	t.view.Changes = append([]string{}, t.view.Changes...) // an empty list is no null
	t.view.Warnings = append([]migrationWarning{}, t.view.Warnings...)
	return printJSON(t.stdout, t.view)
}
