package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

const deadHelp = `Works on dead rows: those that the relay has given up, and that wait for a person.

  list      print them, or count them by topic and kind of error (--summary)
  show      print all of some rows, the payload too
  replay    have them sent again, each under its message_id
  discard   delete them

These commands need the database alone (OUTBOX_DATABASE_URL, OUTBOX_TABLE), so they
work where the broker's configuration is what is wrong. They may run beside working
relays, and be interrupted and run again at any time.`

// newDeadCommand has a command for each thing to do with dead rows.
func newDeadCommand(env []string) *cobra.Command {
	cmd := &cobra.Command{
		Use: "dead list|show|replay|discard", Short: "list dead rows, show them, have them sent again, delete them", Long: deadHelp,
	}
	cmd.AddCommand(newDeadListCommand(env), newDeadShowCommand(env), newDeadReplayCommand(env), newDeadDiscardCommand(env))
	cmd.Args = oneOf(cmd)
	cmd.RunE = func(*cobra.Command, []string) error { return errNoDeed }
	return cmd
}

var errNoDeed = errors.New("there is nothing to do")

// oneOf refuses a word that names none of the command's commands, which cobra takes for
// an argument, and no word at all.
func oneOf(cmd *cobra.Command) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		var names []string
		for _, c := range cmd.Commands() {
			names = append(names, c.Name())
		}
		if len(args) == 0 {
			return fmt.Errorf("say what to do: %s", strings.Join(names, ", "))
		}
		return fmt.Errorf("there is no command %q; there are: %s", args[0], strings.Join(names, ", "))
	}
}
