package main

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/spf13/cobra"

	"github.com/outbox-relay/outbox-relay/cmd/outbox-relay/internal/config"
	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/relay/admin"
)

const healthHelp = `Asks the relay that serves OUTBOX_HTTP_ADDR whether it is alive (/livez), prints
one line, and ends with status 0 if it is, 1 if not or if nobody answers. It is a
container's probe where there is no shell and no curl.`

func newHealthCommand(env []string) *cobra.Command {
	cmd := &cobra.Command{
		Use: "health", Short: "ask the relay whether it is alive, for container probes", Long: healthHelp,
		Args: noArguments, ValidArgsFunction: cobra.NoFileCompletions,
	}
	ready := cmd.Flags().Bool("ready", false, "ask whether it is ready (/readyz): it reached the database and makes progress or stands by")
	asJSON := cmd.Flags().Bool("json", false, "print JSON")
	timeout := addTimeout(cmd, admin.Timeout, "give up after this long")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := loadConfig(cmd, config.LoadNames, env)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), *timeout)
		defer cancel()
		said, err := askHealth(ctx, c.HTTPAddr, *ready)
		if *asJSON {
			return printHealth(cmd, said, err)
		}
		if err != nil {
			return fail(cmd, err)
		}
		_, err = fmt.Fprintln(cmd.OutOrStdout(), relay.OneLine(said))
		return err
	}
	return cmd
}

// healthView is what "health --json" prints. Its names are stable.
type healthView struct {
	OK  bool   `json:"ok"`
	Why string `json:"why"` // what the relay said, or why nobody did
}

func printHealth(cmd *cobra.Command, said string, failure error) error {
	view := healthView{OK: failure == nil, Why: said}
	if failure != nil {
		view.Why = failure.Error()
	}
	if err := printJSON(cmd.OutOrStdout(), view); err != nil {
		return err
	}
	if failure != nil {
		return failed
	}
	return nil
}

func askHealth(ctx context.Context, address string, ready bool) (string, error) {
	client, err := newClient(address, config.Secret{})
	if err != nil {
		return "", err
	}
	if ready {
		return client.Ready(ctx)
	}
	return client.Live(ctx)
}

// newClient adds the variable's name to an error of the address. The token goes only
// where it is asked for: to a relay that listens beyond the loopback address.
func newClient(address string, token config.Secret) (*admin.Client, error) {
	client, err := admin.NewClient(address)
	if err != nil {
		return nil, fmt.Errorf("OUTBOX_HTTP_ADDR: %w: set it to the address that the relay's log gives", err)
	}
	if at, err := netip.ParseAddrPort(address); err != nil || at.Addr().IsLoopback() || at.Addr().IsUnspecified() {
		return client, nil
	}
	text, err := token.Reread()
	if err != nil {
		return nil, fmt.Errorf("OUTBOX_ADMIN_TOKEN_FILE=%w", err)
	}
	return client.WithToken(text), nil
}
