package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/spf13/cobra"

	"github.com/outbox-relay/outbox-relay/cmd/outbox-relay/internal/config"
	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/schema"
	"github.com/outbox-relay/outbox-relay/schema/sqltext"
)

const adoptHelp = `Notes that the outbox table belongs to this database, and to OUTBOX_ENVIRONMENT if
that is set. "outbox-relay migrate" notes it once, when it makes the table; copies of the
database have that note too, and a relay of another environment publishes nothing of
them. After this command it does: rows that wait in a copy are published from there.

Only the table's owner may run it. It is for a copy that is to live on its own, for a
database that was moved, renamed or upgraded, and for an OUTBOX_ENVIRONMENT that is new.
Relays follow within seconds, without a restart.`

func newAdoptCommand(env []string) *cobra.Command {
	cmd := &cobra.Command{
		Use: "adopt", Short: "note that the outbox table, such as one in a copy, belongs here", Long: adoptHelp,
		Args: noArguments, ValidArgsFunction: cobra.NoFileCompletions,
	}
	asJSON := cmd.Flags().Bool("json", false, "print JSON")
	yes := cmd.Flags().Bool("yes", false, "do not ask; needed where nobody can be asked")
	timeout := addTimeout(cmd, time.Minute, "give up after this long; the answer of a person counts")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := loadConfig(cmd, config.LoadMigration, env)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), *timeout)
		defer cancel()
		conn, err := openOwner(ctx, c, "outbox-relay adopt", func(*pgconn.Notice) {})
		if err != nil {
			return fail(cmd, err)
		}
		defer conn.Close(context.WithoutCancel(ctx))
		return adopt(ctx, cmd, conn, c, adoptFlags{yes: *yes, asJSON: *asJSON})
	}
	return cmd
}

type adoptFlags struct{ yes, asJSON bool }

// adoptView is what "adopt --json" prints. Its names are stable.
type adoptView struct {
	Table   string      `json:"table"`
	Adopted bool        `json:"adopted"` // false: it belonged here already
	Noted   []placeView `json:"noted"`   // before
	Here    placeView   `json:"here"`
}

type placeView struct {
	System      string `json:"system_identifier"`
	Database    string `json:"database"`
	Environment string `json:"environment"`
}

// adopt shows what is noted and what would be, asks, and writes it.
func adopt(ctx context.Context, cmd *cobra.Command, conn *pgx.Conn, c config.Config, flags adoptFlags) error {
	here, notes, err := places(ctx, conn, c)
	if err != nil {
		return fail(cmd, err)
	}
	view := adoptView{Table: c.Table.String(), Noted: []placeView{}, Here: placeView(here)}
	for _, n := range notes {
		view.Noted = append(view.Noted, placeView(n.Place))
	}
	belongs := len(notes) == 1 && notes[0].Place == here
	switch {
	case belongs && flags.asJSON:
		return printJSON(cmd.OutOrStdout(), view)
	case belongs:
		_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s belongs here already: %s\n", c.Table, place(here))
		return err
	}
	if !flags.asJSON {
		for _, n := range notes {
			printPlace(cmd.OutOrStdout(), "noted", n.Place)
		}
		printPlace(cmd.OutOrStdout(), "here", here)
	}
	if !flags.yes {
		what := fmt.Sprintf("note that %s belongs here", c.Table)
		if err := confirm(ctx, cmd, what, "nothing was noted", "give --yes"); err != nil {
			return err
		}
	}
	if err := schema.Adopt(ctx, conn, c.Table, here.Environment); err != nil {
		return fail(cmd, err)
	}
	if flags.asJSON {
		view.Adopted = true
		return printJSON(cmd.OutOrStdout(), view)
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "noted that %s belongs here\n", c.Table)
	return err
}

// places are where the table is, and where it is noted to belong.
func places(ctx context.Context, conn *pgx.Conn, c config.Config) (schema.Place, []schema.Note, error) {
	here := schema.Place{Environment: string(c.Environment)}
	var err error
	if here.System, err = schema.System(ctx, sqltext.On(conn)); err != nil {
		return here, nil, err
	}
	if err := conn.QueryRow(ctx, "SELECT pg_catalog.current_database()::text").Scan(&here.Database); err != nil {
		return here, nil, err
	}
	noted, err := schema.HasNote(ctx, sqltext.On(conn), c.Table)
	if err != nil || !noted {
		return here, nil, err // Adopt says what to do
	}
	notes, err := schema.ReadNotes(ctx, sqltext.On(conn), c.Table)
	return here, notes, err
}

func printPlace(w io.Writer, title string, p schema.Place) {
	fmt.Fprintf(w, "%-6s %s\n", title, place(p))
}

func place(p schema.Place) string {
	environment := "no environment"
	if p.Environment != "" {
		environment = "environment " + relay.Quote(p.Environment)
	}
	return fmt.Sprintf("%s, database %s, system %s", environment, relay.Quote(p.Database), relay.OneLine(p.System))
}
