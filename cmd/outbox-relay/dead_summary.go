package main

import (
	"cmp"
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

// count counts the rows of a filter, at most limit.
func count(ctx context.Context, d *postgres.DeadLetters, f relay.DeadFilter, limit int, progress *progress) (*relay.DeadTally, error) {
	t := &relay.DeadTally{}
	defer progress.clear()
	err := relay.EachDeadPage(ctx, limit, relay.DeadPage{Filter: f, Rows: summaryPage}, func(p relay.DeadPage) (int64, int64, bool, error) {
		groups, cursor, end, err := d.Summarise(ctx, p)
		before := t.Rows
		for _, g := range groups {
			t.Add(g)
		}
		progress.say("counted %d dead rows", t.Rows)
		return t.Rows - before, cursor, end, err
	})
	return t, err
}

func summarise(cmd *cobra.Command, c config.Config, d *postgres.DeadLetters, f *deadFilter, asJSON bool) error {
	t, err := count(cmd.Context(), d, f.rows(cmd), f.limit, newProgress(cmd.ErrOrStderr()))
	switch {
	case err != nil:
		return fail(cmd, err)
	case asJSON:
		return printTallyJSON(cmd.OutOrStdout(), t)
	case t.Rows == 0:
		fmt.Fprintln(cmd.OutOrStdout(), nothing(c, cmd))
		return nil
	}
	return printTally(cmd.OutOrStdout(), t)
}

func printTally(w io.Writer, t *relay.DeadTally) error {
	var b strings.Builder
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ROWS\tTYPE\tTOPIC\tDEAD SINCE\tUNTIL\tTHE LAST ERROR")
	for _, g := range t.Sorted() {
		fmt.Fprintf(table, "%d\t%s\t%s\t%s\t%s\t%s\n", g.Rows, shown(cmp.Or(g.ErrorType, "-"), 20), shown(g.Topic, 60),
			shortTime(g.First), shortTime(g.Last), shown(g.Error, 120))
	}
	if t.Others > 0 {
		fmt.Fprintf(table, "%d\t\tof other topics\n", t.Others)
	}
	table.Flush() // a strings.Builder takes everything
	_, err := io.WriteString(w, b.String())
	return err
}

// deadGroupView is what "dead list --summary --json" prints of a group. Its names are
// stable. The one of other groups has neither topic nor error_type.
type deadGroupView struct {
	Topic       *string    `json:"topic"`
	ErrorType   *string    `json:"error_type"`
	Rows        int64      `json:"rows"`
	FirstDeadAt *time.Time `json:"first_dead_at"`
	LastDeadAt  *time.Time `json:"last_dead_at"`
	LastError   string     `json:"last_error"`
}

func printTallyJSON(w io.Writer, t *relay.DeadTally) error {
	encoder := jsonLines(w)
	for _, g := range t.Sorted() {
		err := encoder.Encode(deadGroupView{
			Topic: &g.Topic, ErrorType: &g.ErrorType, Rows: g.Rows, FirstDeadAt: timeOrNull(g.First), LastDeadAt: timeOrNull(g.Last), LastError: g.Error,
		})
		if err != nil {
			return err
		}
	}
	if t.Others > 0 {
		return encoder.Encode(deadGroupView{Rows: t.Others})
	}
	return nil
}
