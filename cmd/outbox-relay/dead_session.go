package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/outbox-relay/outbox-relay/cmd/outbox-relay/internal/config"
	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/relay/postgres"
)

// Dead rows that a statement looks at. One that changes rows is short, so that it keeps
// nobody waiting and little is lost when it is interrupted.
const (
	listPage    = 1000
	summaryPage = 10_000
	changePage  = 1000
)

// withDead runs a command on a session for dead rows.
func withDead(cmd *cobra.Command, env []string, access relay.DeadAccess, do func(ctx context.Context, c config.Config, d *postgres.DeadLetters) error) error {
	c, err := loadConfig(cmd, config.LoadTable, env)
	if err != nil {
		return err
	}
	database, err := openDatabase(c, hostname(), encryption(c, nil), nil)
	if err != nil {
		return fail(cmd, err)
	}
	dead, err := database.OpenDead(cmd.Context(), access)
	if err != nil {
		return fail(cmd, err)
	}
	defer dead.Close()
	return do(cmd.Context(), c, dead)
}
