package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/outbox-relay/outbox-relay/cmd/outbox-relay/internal/config"
	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/relay/admin"
	"github.com/outbox-relay/outbox-relay/relay/engine"
	"github.com/outbox-relay/outbox-relay/relay/postgres"
)

const runHelp = `Sends the rows of the outbox table to the broker until SIGTERM or SIGINT. It is
configured by environment variables; "outbox-relay help" lists them.`

// sinkCloseGrace is how long the sink may take to end after the relay has.
const sinkCloseGrace = 2 * time.Second

// newRunCommand puts database, relay and sink together.
func newRunCommand(env []string) *cobra.Command {
	return &cobra.Command{
		Use: "run", Short: "send the rows of the outbox table to the broker (the default)", Long: runHelp,
		Args: noArguments, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := loadConfig(cmd, config.Load, env)
			if err != nil {
				return err
			}
			log := newLogger(cmd.ErrOrStderr(), c.LogLevel, c.LogFormat)
			if unknown := config.Unknown(env); len(unknown) > 0 {
				log.Warn("these variables are not known to this version and change nothing", slog.Any("variables", unknown), slog.String("version", version()))
			}
			defer limitMemory(env, "/", c.Flow, log)()
			defer fitProcessors(cmd.Context(), env, cpuTime, log)()
			if err := relayRows(cmd.Context(), c, newSupervisor(env), log); err != nil {
				log.Error("ended", slog.Any("error", err))
				return failed
			}
			log.Info("ended")
			return nil
		},
	}
}

// relayRows runs the relay until ctx ends. Only what a person has to fix keeps
// it from starting: a database or a broker that is not there yet is awaited.
func relayRows(ctx context.Context, c config.Config, systemd supervisor, log *slog.Logger) error {
	host := hostname()
	guard := encryption(c, log)
	database, err := openDatabase(c, host, guard, log)
	if err != nil {
		return err
	}
	sink, err := openSink(c, host, guard, log)
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
	observed, err := openTelemetry(ctx, c, host, log)
	if err != nil {
		return err
	}
	defer closeTelemetry(ctx, observed, log)
	takes := relay.Allow(sink, c.TopicsAllow)
	if observing {
		takes = observed.Observe(takes)
	}
	mover := engine.New(relayConfig(c, database, takes, log))
	census, stopCensus := takeCensus(ctx, database)
	defer stopCensus()
	if err := observed.Watch(mover.Status, census.Latest); err != nil {
		return fmt.Errorf("make metrics: %w", err)
	}
	server, err := serveStatus(ctx, c, admin.Options{
		Status: mover.Status, Census: census.Latest, Watch: census.Watch, Delivered: observed.Delivered, Metrics: observed.Handler(),
		OpenDead: openDead(database), Broker: brokerNames[c.Broker()], Host: host, Logger: log,
	})
	if err != nil {
		return err
	}
	// Closed after the relay, so that probes are answered while what is in flight is
	// awaited.
	defer closeStatus(ctx, server, log)
	log.Info("starting", slog.String("version", version()), slog.String("table", c.Table.String()), slog.String("http", server.Address()))
	defer systemd.follow(ctx, server.Health, log)()
	defer watchStandstill(ctx, log)()
	return mover.Run(ctx)
}

// encryption judges all connections to the database and the broker. log may be nil, for
// silence.
func encryption(c config.Config, log *slog.Logger) *relay.Encryption {
	return &relay.Encryption{Required: c.RequireTLS == config.On, Logger: log}
}

func openDatabase(c config.Config, host string, guard *relay.Encryption, log *slog.Logger) (*postgres.Database, error) {
	afterSend := postgres.Mark
	if c.AfterSend == config.DeleteSent {
		afterSend = postgres.Delete
	}
	deadPolicy := postgres.SkipDead
	if c.DeadPolicy == config.DeadBlock {
		deadPolicy = postgres.BlockDead
	}
	database, err := postgres.New(postgres.Options{
		URL: c.DatabaseURL.Reveal(), ReadURL: reread("OUTBOX_DATABASE_URL", c.DatabaseURL), Table: c.Table, Publication: string(c.Publication),
		Environment: string(c.Environment), Coalesce: c.Coalesce,
		AfterSend: afterSend, DeadPolicy: deadPolicy, Retention: retention(c), Host: host,
		Encryption: guard, Logger: log,
	})
	if err != nil {
		return nil, fmt.Errorf("OUTBOX_DATABASE_URL: %w", err)
	}
	return database, nil
}

// retention is for rows that are marked: deleted ones do not have to be deleted again.
func retention(c config.Config) postgres.Retention {
	if c.AfterSend == config.DeleteSent {
		return postgres.Retention{}
	}
	return postgres.Retention{Age: c.Retention, Chosen: c.RetentionChosen}
}

// reread reads a secret for one connection, again from its file if it has one.
func reread(variable string, secret config.Secret) func() (string, error) {
	return func() (string, error) {
		text, err := secret.Reread()
		if err != nil {
			return "", fmt.Errorf("%s_FILE=%w", variable, err)
		}
		return text, nil
	}
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
