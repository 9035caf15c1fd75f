package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/outbox-relay/outbox-relay/cmd/outbox-relay/internal/config"
	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/relay/postgres"
)

const deadListHelp = `Prints dead rows in the order of their ids, or counts them by topic and kind of error.
With --json it prints one JSON object a line.`

// listed is how many rows "dead list" prints unless told otherwise.
const listed = 100

func newDeadListCommand(env []string) *cobra.Command {
	cmd := &cobra.Command{
		Use: "list", Short: "print dead rows", Long: deadListHelp, Args: noArguments, ValidArgsFunction: cobra.NoFileCompletions,
	}
	filter := addDeadFilter(cmd, listed)
	asJSON := cmd.Flags().Bool("json", false, "print JSON, an object a line")
	summary := cmd.Flags().Bool("summary", false, "count by topic and kind of error; --limit is 0 unless given")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := filter.check(cmd); err != nil {
			return err
		}
		return withDead(cmd, env, relay.ReadDead, func(ctx context.Context, c config.Config, d *postgres.DeadLetters) error {
			if *summary {
				if !cmd.Flags().Changed("limit") {
					filter.limit = 0
				}
				return summarise(cmd, c, d, filter, *asJSON)
			}
			found, more, err := listDead(ctx, d, filter.rows(cmd), filter.limit, newRowPrinter(cmd.OutOrStdout(), *asJSON))
			switch {
			case err != nil:
				return fail(cmd, err)
			case found == 0 && !*asJSON:
				fmt.Fprintln(cmd.OutOrStdout(), nothing(c, cmd))
			case more:
				fmt.Fprintf(cmd.ErrOrStderr(), "there are more dead rows: --limit 0 prints all, --summary counts them\n")
			}
			return nil
		})
	}
	return cmd
}

// nothing says that no dead row is meant.
func nothing(c config.Config, cmd *cobra.Command) string {
	for _, name := range filterFlags {
		if cmd.Flags().Changed(name) {
			return fmt.Sprintf("%s has no dead rows of that kind", c.Table)
		}
	}
	return fmt.Sprintf("%s has no dead rows", c.Table)
}

// listDead prints rows, and says whether there are more than limit.
func listDead(ctx context.Context, d *postgres.DeadLetters, f relay.DeadFilter, limit int, print func([]relay.DeadRow) error) (found int, more bool, err error) {
	ask := limit
	if limit > 0 {
		ask++
	}
	err = relay.EachDeadPage(ctx, ask, relay.DeadPage{Filter: f, Rows: listPage}, func(p relay.DeadPage) (int64, int64, bool, error) {
		rows, cursor, end, err := d.List(ctx, p)
		if err != nil {
			return 0, 0, false, err
		}
		n := int64(len(rows))
		if limit > 0 && found+len(rows) > limit {
			more, rows = true, rows[:limit-found]
		}
		found += len(rows)
		return n, cursor, end, print(rows)
	})
	return found, more, err
}

// deadRowView is what "dead list --json" prints of a row. Its names are stable.
type deadRowView struct {
	ID             int64      `json:"id"`
	MessageID      string     `json:"message_id"`
	Topic          string     `json:"topic"`
	Key            *string    `json:"key"`
	ErrorType      string     `json:"error_type"`
	LastError      string     `json:"last_error"`
	Attempts       int        `json:"attempts"`
	CreatedAt      *time.Time `json:"created_at"`
	FirstAttemptAt *time.Time `json:"first_attempt_at"`
	DeadAt         *time.Time `json:"dead_at"`
}

func viewDeadRow(r relay.DeadRow) deadRowView {
	return deadRowView{
		ID: r.ID, MessageID: r.MessageID.String(), Topic: r.Topic, Key: r.Key, ErrorType: r.ErrorType, LastError: r.LastError,
		Attempts: r.Attempts, CreatedAt: timeOrNull(r.CreatedAt), FirstAttemptAt: timeOrNull(r.FirstAttemptAt), DeadAt: timeOrNull(r.DeadAt),
	}
}

// timeOrNull is nil also for a time that JSON cannot hold.
func timeOrNull(t time.Time) *time.Time {
	if t.IsZero() || t.Year() < 0 || t.Year() > 9999 {
		return nil
	}
	return &t
}

// newRowPrinter prints page after page.
func newRowPrinter(w io.Writer, asJSON bool) func([]relay.DeadRow) error {
	if asJSON {
		encoder := jsonLines(w)
		return func(rows []relay.DeadRow) error {
			for _, r := range rows {
				if err := encoder.Encode(viewDeadRow(r)); err != nil {
					return err
				}
			}
			return nil
		}
	}
	first := true
	return func(rows []relay.DeadRow) error {
		var b strings.Builder
		table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
		if first && len(rows) > 0 {
			first = false
			fmt.Fprintln(table, "ID\tDEAD SINCE\tATTEMPTS\tTOPIC\tKEY\tERROR")
		}
		for _, r := range rows {
			key := "-"
			if r.Key != nil {
				key = *r.Key
			}
			fmt.Fprintf(table, "%d\t%s\t%d\t%s\t%s\t%s\n", r.ID, shortTime(r.DeadAt), r.Attempts, shown(r.Topic, 60), shown(key, 40), shown(r.LastError, 160))
		}
		table.Flush() // a strings.Builder takes everything
		_, err := io.WriteString(w, b.String())
		return err
	}
}

// shown is text of a row, made harmless for a terminal and cut to so many characters.
func shown(text string, most int) string {
	line := []rune(relay.OneLine(text))
	if len(line) > most {
		return string(line[:most-1]) + "…"
	}
	return string(line)
}

// shortTime is a time to the second, in UTC.
func shortTime(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format("2006-01-02 15:04:05Z")
}
