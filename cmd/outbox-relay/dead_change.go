package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/outbox-relay/outbox-relay/cmd/outbox-relay/internal/config"
	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/relay/postgres"
)

// deed is what replay and discard differ in.
type deed struct {
	verb, done string // replay, replayed
	help       string
	access     relay.DeadAccess
	page       func(*postgres.DeadLetters, context.Context, relay.DeadPage) (relay.DeadDone, error)
}

// change is a run of a command that changes dead rows.
type change struct {
	deed
	cmd    *cobra.Command
	table  string
	filter *deadFilter
	dead   *postgres.DeadLetters
	yes    bool
	dryRun bool
	asJSON bool
}

func newChangeCommand(env []string, d deed, short string) *cobra.Command {
	cmd := &cobra.Command{Use: d.verb, Short: short, Long: d.help, Args: noArguments, ValidArgsFunction: cobra.NoFileCompletions}
	filter := addDeadFilter(cmd, 0)
	cmd.Flags().BoolVar(&filter.all, "all", false, "all dead rows")
	yes := cmd.Flags().Bool("yes", false, "do not ask; needed where nobody can be asked")
	dryRun := cmd.Flags().Bool("dry-run", false, "only print which rows it would be")
	asJSON := cmd.Flags().Bool("json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := filter.check(cmd); err != nil {
			return err
		}
		return withDead(cmd, env, d.access, func(ctx context.Context, c config.Config, dead *postgres.DeadLetters) error {
			run := change{deed: d, cmd: cmd, table: c.Table.String(), filter: filter, dead: dead, yes: *yes, dryRun: *dryRun, asJSON: *asJSON}
			return run.run(ctx, c)
		})
	}
	return cmd
}

// run counts the rows, asks, and changes them.
func (c *change) run(ctx context.Context, config config.Config) error {
	rows := c.filter.rows(c.cmd)
	if now := c.dead.Now(); rows.IDs == nil && (rows.Until.IsZero() || rows.Until.After(now)) {
		// What dies from now on has not been asked about.
		rows.Until = now
	}
	found, err := count(ctx, c.dead, rows, c.filter.limit, newProgress(c.cmd.ErrOrStderr()))
	if err != nil {
		return fail(c.cmd, err)
	}
	result := changeView{Action: c.verb, Matched: found.Rows, DryRun: c.dryRun}
	switch {
	case found.Rows == 0 && !c.asJSON:
		fmt.Fprintln(c.cmd.OutOrStdout(), nothing(config, c.cmd))
		return nil
	case found.Rows == 0, c.dryRun && c.asJSON:
		return jsonLines(c.cmd.OutOrStdout()).Encode(result)
	case !c.asJSON:
		if err := printTally(c.cmd.OutOrStdout(), found); err != nil {
			return err
		}
	}
	if c.dryRun {
		fmt.Fprintf(c.cmd.OutOrStdout(), "dry run: %s would be %s\n", number(int(found.Rows), "row"), c.done)
		return nil
	}
	if err := c.confirm(ctx, found.Rows); err != nil {
		return err
	}
	return c.changeAll(ctx, rows, result)
}

// confirm asks a person, or wants to have been told that nobody is to be asked.
func (c *change) confirm(ctx context.Context, rows int64) error {
	if c.yes {
		return nil
	}
	what := fmt.Sprintf("%s %s of %s", c.verb, number(int(rows), "dead row"), c.table)
	return confirm(ctx, c.cmd, what, "nothing was "+c.done, "give --yes, or --dry-run to look")
}

// confirm asks a person whether to do what the words say, where there is one.
func confirm(ctx context.Context, cmd *cobra.Command, what, undone, otherwise string) error {
	if !isTerminalInput(cmd.InOrStdin()) {
		return fmt.Errorf("nobody can be asked whether to %s: %s", what, otherwise)
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "%s%s? [y/N] ", strings.ToUpper(what[:1]), what[1:])
	answer, err := ask(ctx, cmd.InOrStdin())
	switch {
	case err != nil:
		fmt.Fprintln(cmd.ErrOrStderr())
		return fail(cmd, fmt.Errorf("%s: %w", undone, err))
	case answer != "y" && answer != "yes":
		return fail(cmd, errors.New(undone))
	}
	return nil
}

// ask waits for a line, or for the signal that interrupts the command. A terminal's read
// cannot be ended: the goroutine ends with the process, which is about to.
func ask(ctx context.Context, in io.Reader) (string, error) {
	type reply struct {
		line string
		err  error
	}
	replies := make(chan reply, 1)
	go func() {
		line, err := bufio.NewReader(in).ReadString('\n')
		replies <- reply{line, err}
	}()
	select {
	case <-ctx.Done():
		return "", errors.New("interrupted")
	case r := <-replies:
		if errors.Is(r.err, io.EOF) {
			r.err = errors.New("there was no answer: give --yes where nobody can be asked")
		}
		return strings.ToLower(strings.TrimSpace(r.line)), r.err
	}
}

// changeAll changes page after page. A signal is heeded between two: a page is changed as
// a whole or not at all, and what is counted has been changed.
func (c *change) changeAll(ctx context.Context, rows relay.DeadFilter, result changeView) error {
	told := newProgress(c.cmd.ErrOrStderr())
	unbroken := context.WithoutCancel(ctx)
	err := relay.EachDeadPage(ctx, c.filter.limit, relay.DeadPage{Filter: rows, Rows: changePage}, func(p relay.DeadPage) (int64, int64, bool, error) {
		done, err := c.page(c.dead, unbroken, p)
		result.Changed += done.Changed
		result.Left += done.Matched - done.Changed
		told.say("%s %d of %d rows", c.done, result.Changed, result.Matched)
		return done.Matched, done.Cursor, done.End, err
	})
	told.clear()
	result.Interrupted = errors.Is(err, context.Canceled)
	if err := c.print(result); err != nil {
		return err
	}
	switch {
	case result.Interrupted:
		return fail(c.cmd, errors.New("interrupted: the rest is dead as before; run it again to go on"))
	case err != nil:
		return fail(c.cmd, err)
	}
	return nil
}

// changeView is what "dead replay --json" and "dead discard --json" print. Its names are
// stable.
type changeView struct {
	Action string `json:"action"` // replay or discard
	// Matched is how many rows the filter took when they were counted.
	Matched int64 `json:"matched"`
	// Changed is how many rows were changed, Left how many were not, because another
	// session has them locked or has changed them meanwhile.
	Changed     int64 `json:"changed"`
	Left        int64 `json:"left"`
	DryRun      bool  `json:"dry_run"`
	Interrupted bool  `json:"interrupted"`
}

func (c *change) print(r changeView) error {
	if c.asJSON {
		return jsonLines(c.cmd.OutOrStdout()).Encode(r)
	}
	if _, err := fmt.Fprintf(c.cmd.OutOrStdout(), "%s %s\n", c.done, number(int(r.Changed), "row")); err != nil {
		return err
	}
	if r.Left > 0 {
		fmt.Fprintf(c.cmd.ErrOrStderr(), "%s left: locked by other sessions, or changed by them meanwhile; run it again to see\n", number(int(r.Left), "row"))
	}
	return nil
}
