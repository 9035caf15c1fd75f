package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/outbox-relay/outbox-relay/cmd/outbox-relay/internal/config"
)

const statusHelp = `Prints what the relay at OUTBOX_HTTP_ADDR says of itself, and how many rows of the
outbox table wait in the database OUTBOX_DATABASE_URL. It ends with status 0 if it
reached both, else with 1, and prints what it got. A number of rows with a ~ before it
is an estimate, good to some percent; one with a + after it is where counting ended.

With --max-age or --max-dead it is a check for a monitoring system: it prints one line
that says why, and ends with status 0 if the table is within the limits, 2 if it is
not, and 3 if that cannot be told, as Nagios has it.

With --watch it goes on until it is interrupted: on a terminal it shows the same, drawn
anew, elsewhere it prints a line each interval.`

// statusTimeout is longer than the counting may take.
const statusTimeout = 15 * time.Second

func newStatusCommand(env []string) *cobra.Command {
	cmd := &cobra.Command{
		Use: "status", Short: "print what the relay is doing and how many rows wait", Long: statusHelp,
		Args: noArguments, ValidArgsFunction: cobra.NoFileCompletions,
	}
	asJSON := cmd.Flags().Bool("json", false, "print JSON; with --watch, an object a line")
	timeout := addTimeout(cmd, statusTimeout, "give up after this long")
	limits := addRowLimits(cmd)
	watch := cmd.Flags().Bool("watch", false, "go on until interrupted")
	interval := cmd.Flags().Duration("interval", 2*time.Second, "with --watch: how often")
	completeWith(cmd, "interval")
	for _, limit := range limitFlags {
		cmd.MarkFlagsMutuallyExclusive("watch", limit)
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if *interval < minInterval {
			return fmt.Errorf("--interval %v: expected at least %v", *interval, minInterval)
		}
		if err := limits.check(); err != nil {
			return err
		}
		c, err := loadConfig(cmd, config.LoadMigration, env)
		if err != nil {
			return err
		}
		if *watch {
			return newWatcher(cmd, env, c, *interval, *timeout, *asJSON).run(cmd.Context())
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), *timeout)
		defer cancel()
		if limits.given() {
			return limits.judge(cmd, askDatabase(ctx, c), *asJSON)
		}
		return printStatus(cmd, askStatus(ctx, c), *asJSON)
	}
	return cmd
}

func printStatus(cmd *cobra.Command, got overview, asJSON bool) error {
	show := got.printText
	if asJSON {
		show = got.printJSON
	}
	if err := show(cmd.OutOrStdout()); err != nil {
		return err
	}
	if !got.Relay.Reached || !got.Database.Reached {
		return failed
	}
	return nil
}
