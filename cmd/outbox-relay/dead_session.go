package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/outbox-relay/outbox-relay/cmd/outbox-relay/internal/config"
	"github.com/outbox-relay/outbox-relay/relay/postgres"
)

// Dead rows that a statement looks at. One that changes rows is short, so that it keeps
// nobody waiting and little is lost when it is interrupted.
const (
	listPage    = 1000
	summaryPage = 10_000
	changePage  = 1000
)

// noLimit is more rows than a page has.
const noLimit = 1 << 30

// withDead runs a command on a session for dead rows.
func withDead(cmd *cobra.Command, env []string, access postgres.DeadAccess, do func(ctx context.Context, c config.Config, d *postgres.DeadLetters) error) error {
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

// eachPage asks for page after page until there are no more, or limit rows have been
// found. ask returns how many it has found, the next cursor, and whether it was the last.
func eachPage(ctx context.Context, limit int, page postgres.DeadPage, ask func(postgres.DeadPage) (found int64, cursor int64, end bool, err error)) error {
	page.After = postgres.BeforeAllIDs
	left := int64(noLimit)
	if limit > 0 {
		left = int64(limit)
	}
	for left > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		page.Most = int(min(left, int64(page.Rows)))
		found, cursor, end, err := ask(page)
		if err != nil || end {
			return err
		}
		page.After = cursor
		if limit > 0 {
			left -= found
		}
	}
	return nil
}
