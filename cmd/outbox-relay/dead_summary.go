package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/outbox-relay/outbox-relay/cmd/outbox-relay/internal/config"
	"github.com/outbox-relay/outbox-relay/relay/postgres"
)

// tally counts dead rows by topic and kind of error.
type tally struct {
	rows   int64
	groups map[[2]string]*postgres.DeadGroup
	others int64 // in groups beyond maxGroups
}

// maxGroups bounds what is kept and printed.
const maxGroups = 1000

func (t *tally) add(g postgres.DeadGroup) {
	t.rows += g.Rows
	name := [2]string{g.Topic, g.ErrorType}
	known := t.groups[name]
	switch {
	case known != nil:
		known.Rows += g.Rows
		known.Error = g.Error
		if g.First.Before(known.First) {
			known.First = g.First
		}
		if g.Last.After(known.Last) {
			known.Last = g.Last
		}
	case len(t.groups) < maxGroups:
		t.groups[name] = &g
	default:
		t.others += g.Rows
	}
}

// sorted is the groups, the largest first.
func (t *tally) sorted() []*postgres.DeadGroup {
	var list []*postgres.DeadGroup
	for _, g := range t.groups {
		list = append(list, g)
	}
	slices.SortFunc(list, func(a, b *postgres.DeadGroup) int {
		return cmp.Or(cmp.Compare(b.Rows, a.Rows), cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.ErrorType, b.ErrorType))
	})
	return list
}

// count counts the rows of a filter, at most limit.
func count(ctx context.Context, d *postgres.DeadLetters, f postgres.DeadFilter, limit int, progress *progress) (*tally, error) {
	t := &tally{groups: make(map[[2]string]*postgres.DeadGroup)}
	defer progress.clear()
	err := eachPage(ctx, limit, postgres.DeadPage{Filter: f, Rows: summaryPage}, func(p postgres.DeadPage) (int64, int64, bool, error) {
		groups, cursor, end, err := d.Summarise(ctx, p)
		before := t.rows
		for _, g := range groups {
			t.add(g)
		}
		progress.say("counted %d dead rows", t.rows)
		return t.rows - before, cursor, end, err
	})
	return t, err
}

func summarise(cmd *cobra.Command, c config.Config, d *postgres.DeadLetters, f *deadFilter, asJSON bool) error {
	t, err := count(cmd.Context(), d, f.rows(cmd), f.limit, newProgress(cmd.ErrOrStderr()))
	switch {
	case err != nil:
		return fail(cmd, err)
	case asJSON:
		return t.printJSON(cmd.OutOrStdout())
	case t.rows == 0:
		fmt.Fprintln(cmd.OutOrStdout(), nothing(c, cmd))
		return nil
	}
	return t.printText(cmd.OutOrStdout())
}

func (t *tally) printText(w io.Writer) error {
	var b strings.Builder
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ROWS\tTYPE\tTOPIC\tDEAD SINCE\tUNTIL\tTHE LAST ERROR")
	for _, g := range t.sorted() {
		fmt.Fprintf(table, "%d\t%s\t%s\t%s\t%s\t%s\n", g.Rows, shown(cmp.Or(g.ErrorType, "-"), 20), shown(g.Topic, 60),
			shortTime(g.First), shortTime(g.Last), shown(g.Error, 120))
	}
	if t.others > 0 {
		fmt.Fprintf(table, "%d\t\tof other topics\n", t.others)
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

func (t *tally) printJSON(w io.Writer) error {
	encoder := jsonLines(w)
	for _, g := range t.sorted() {
		err := encoder.Encode(deadGroupView{
			Topic: &g.Topic, ErrorType: &g.ErrorType, Rows: g.Rows, FirstDeadAt: timeOrNull(g.First), LastDeadAt: timeOrNull(g.Last), LastError: g.Error,
		})
		if err != nil {
			return err
		}
	}
	if t.others > 0 {
		return encoder.Encode(deadGroupView{Rows: t.others})
	}
	return nil
}
