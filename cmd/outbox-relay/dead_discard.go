package main

import (
	"github.com/spf13/cobra"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/relay/postgres"
)

const deadDiscardHelp = `Deletes dead rows for good. It needs a role that may delete from the table; the
relay's own may, unless it was made with OUTBOX_RETENTION=0.

It counts the rows, shows them by topic and kind of error, and asks. It deletes them in
short transactions; interrupted, it can be run again.`

func newDeadDiscardCommand(env []string) *cobra.Command {
	return newChangeCommand(env, deed{
		verb: "discard", done: "discarded", help: deadDiscardHelp, access: relay.DiscardDead, page: (*postgres.DeadLetters).Discard,
	}, "delete dead rows")
}
