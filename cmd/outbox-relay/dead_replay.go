package main

import (
	"github.com/spf13/cobra"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/relay/postgres"
)

const deadReplayHelp = `Has dead rows sent again, as if they had never been tried: their attempts are reset,
their message_id stays. A running relay sends them at once. Among pending and replayed
rows of a key the order of the ids holds; rows of the key that were sent meanwhile are
before them. What fails again ends dead again, for the same reason.

It counts the rows, shows them by topic and kind of error, and asks. It changes them in
short transactions; interrupted, it can be run again.`

func newDeadReplayCommand(env []string) *cobra.Command {
	return newChangeCommand(env, deed{
		verb: "replay", done: "replayed", help: deadReplayHelp, access: relay.ReplayDead, page: (*postgres.DeadLetters).Replay,
	}, "have dead rows sent again")
}
