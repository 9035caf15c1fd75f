package main

import (
	"context"
	"fmt"
	"io"

	"github.com/outbox-relay/outbox-relay/cmd/outbox-relay/internal/config"
	"github.com/outbox-relay/outbox-relay/relay/admin"
)

const healthUsage = `Usage: outbox-relay health [flags]

Asks the relay that serves OUTBOX_HTTP_ADDR whether it is alive (/livez), prints
one line, and ends with status 0 if it is, 1 if not or if nobody answers. It is a
container's probe where there is no shell and no curl.

Flags:
`

// runHealth is the command "health".
func runHealth(ctx context.Context, env, args []string, stdout, stderr io.Writer) int {
	cmd := newAskingCommand("health", healthUsage, admin.Timeout)
	ready := cmd.flags.Bool("ready", false, "ask whether it is ready (/readyz): it reached the database and makes progress or stands by")
	c, status, done := cmd.parse(config.LoadNames, env, args, stdout, stderr)
	if done {
		return status
	}
	ctx, cancel := context.WithTimeout(ctx, cmd.timeout)
	defer cancel()
	said, err := askHealth(ctx, c.HTTPAddr, *ready)
	if err != nil {
		fmt.Fprintln(stderr, "outbox-relay health:", err)
		return 1
	}
	fmt.Fprintln(stdout, said)
	return 0
}

func askHealth(ctx context.Context, address string, ready bool) (string, error) {
	client, err := newClient(address)
	if err != nil {
		return "", err
	}
	if ready {
		return client.Ready(ctx)
	}
	return client.Live(ctx)
}

// newClient names the variable where the address cannot be asked.
func newClient(address string) (*admin.Client, error) {
	client, err := admin.NewClient(address)
	if err != nil {
		return nil, fmt.Errorf("OUTBOX_HTTP_ADDR: %w: set it to the relay's, as its log has it", err)
	}
	return client, nil
}
