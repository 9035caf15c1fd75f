package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"syscall"
	"time"

	"github.com/outbox-relay/outbox-relay/cmd/outbox-relay/internal/config"
	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/relay/admin"
	"github.com/outbox-relay/outbox-relay/relay/postgres"
)

// statusCloseGrace is how long requests under way may take when the relay ends.
const statusCloseGrace = time.Second

// serveStatus serves OUTBOX_HTTP_ADDR. If it cannot listen there, the relay ends: a
// relay that runs but fails its probes would be killed again and again, for a reason
// that is hard to find.
func serveStatus(ctx context.Context, c config.Config, o admin.Options) (*admin.Server, error) {
	o.NeedsTail = c.Mode == config.ReplicationMode
	o.Version, o.Table, o.WantedMode = version(), c.Table.String(), string(c.Mode)
	o.Environment, o.Hosts = string(c.Environment), c.HTTPHosts
	if !c.AdminToken.IsZero() {
		o.Token = readAdminToken(c.AdminToken)
	}
	server, err := admin.Listen(ctx, c.HTTPAddr, o)
	switch {
	case err == nil:
		return server, nil
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("OUTBOX_HTTP_ADDR=%s is taken, maybe by another relay of this host: "+
			"set it to an address of this relay's own, such as 127.0.0.1:9465: %w", c.HTTPAddr, err)
	}
	return nil, fmt.Errorf("OUTBOX_HTTP_ADDR=%s: set it to an address of this host, such as 127.0.0.1:9464 or :9464: %w", c.HTTPAddr, err)
}

// readAdminToken reads the token again from its file, if it has one, and takes no worse one
// than the start does.
func readAdminToken(token config.Secret) func() (string, error) {
	read := reread("OUTBOX_ADMIN_TOKEN", token)
	return func() (string, error) {
		text, err := read()
		if err != nil {
			return "", err
		}
		if err := config.CheckAdminToken(text); err != nil {
			return "", fmt.Errorf("OUTBOX_ADMIN_TOKEN_FILE: %w", err)
		}
		return text, nil
	}
}

// openDead opens sessions for the dead rows of the page.
func openDead(database *postgres.Database) func(context.Context, relay.DeadAccess) (admin.DeadLetters, error) {
	return func(ctx context.Context, access relay.DeadAccess) (admin.DeadLetters, error) {
		dead, err := database.OpenDead(ctx, access)
		if err != nil {
			return nil, err // not a nil that is no nil
		}
		return dead, nil
	}
}

func closeStatus(ctx context.Context, server *admin.Server, log *slog.Logger) {
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), statusCloseGrace)
	defer cancel()
	if err := server.Close(grace); err != nil {
		log.Debug("status server did not close cleanly", slog.Any("error", err))
	}
}
