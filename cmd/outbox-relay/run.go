package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/outbox-relay/outbox-relay/cmd/outbox-relay/internal/config"
	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/relay/postgres"
)

const runUsage = `Usage: outbox-relay [run]

Sends the rows of the outbox table to the broker until SIGTERM or SIGINT. It is
configured by environment variables; "outbox-relay help" lists them.
`

// sinkCloseGrace is how long the sink may take to end after the relay has.
const sinkCloseGrace = 2 * time.Second

// runRelay is the command "run": it puts database, relay and sink together.
func runRelay(ctx context.Context, env, args []string, stdout, stderr io.Writer) int {
	if len(args) > 0 {
		if isHelp(args[0]) {
			fmt.Fprint(stdout, runUsage)
			return 0
		}
		fmt.Fprintf(stderr, "outbox-relay run: takes no arguments, got %q; it is configured by environment variables\n", args[0])
		return 2
	}
	c, err := config.Load(env)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 2
	}
	log := newLogger(stderr, c.LogLevel, c.LogFormat)
	if err := relayRows(ctx, c, log); err != nil {
		log.Error("ended", slog.Any("error", err))
		return 1
	}
	log.Info("ended")
	return 0
}

// relayRows runs the relay until ctx ends. Only what a person has to mend keeps
// it from starting: a database or a broker that is not there yet is awaited.
func relayRows(ctx context.Context, c config.Config, log *slog.Logger) error {
	host := hostname()
	database, err := openDatabase(c, host, log)
	if err != nil {
		return err
	}
	sink, err := openSink(c, host, log)
	if err != nil {
		return err
	}
	defer func() {
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), sinkCloseGrace)
		defer cancel()
		if err := sink.Close(grace); err != nil {
			log.Warn("sink did not close cleanly", slog.Any("error", err))
		}
	}()
	mover := relay.New(relayConfig(c, database, sink, log))
	server, err := serveStatus(ctx, c, host, mover.Status, log)
	if err != nil {
		return err
	}
	// After the relay: it answers, and is alive, while what is in flight is awaited.
	defer closeStatus(ctx, server, log)
	log.Info("starting", slog.String("version", version()), slog.String("table", c.Table.String()), slog.String("http", server.Address()))
	return mover.Run(ctx)
}

func openDatabase(c config.Config, host string, log *slog.Logger) (*postgres.Database, error) {
	afterSend := postgres.Mark
	if c.AfterSend == config.DeleteSent {
		afterSend = postgres.Delete
	}
	database, err := postgres.New(postgres.Options{
		URL: c.DatabaseURL.Reveal(), Table: c.Table, Publication: string(c.Publication),
		AfterSend: afterSend, Host: host, Logger: log,
	})
	if err != nil {
		return nil, fmt.Errorf("OUTBOX_DATABASE_URL: %w", err)
	}
	return database, nil
}

// hostname names this relay in pg_stat_activity and to the broker: in a pod it
// is the pod's name.
func hostname() string {
	name, err := os.Hostname()
	if err != nil {
		return "unknown-host"
	}
	return name
}
