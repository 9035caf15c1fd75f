package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgserver"
)

// stage is all parts of the demonstration. The owner closes it, however far
// setUp came.
type stage struct {
	options
	progress *progress

	pg       *pgserver.Server
	broker   broker
	relay    *relayProcess
	consumer *consumer
	load     *load
	more     *load // while the demonstration is kept running
}

// setUp starts everything but the clicks.
func (s *stage) setUp(ctx context.Context) error {
	var err error
	if s.pg, err = pgserver.Start(ctx, pgserver.Options{}); err != nil {
		return fmt.Errorf("start PostgreSQL: %w", err)
	}
	if err := prepareDatabases(ctx, s.pg); err != nil {
		return err
	}
	s.progress.step("PostgreSQL runs on port %d, the outbox table is migrated", s.pg.Port())
	if s.broker, err = startBroker(ctx, s.sink); err != nil {
		return err
	}
	s.progress.step("%s runs on %s, with %s", s.broker.name(), s.broker.Addr(), s.broker.place())
	shortener := s.pg.URL(shortenerDB)
	s.load = &load{url: shortener, clicks: s.clicks, rate: s.rate}
	s.more = &load{url: shortener, rate: slowRate}
	s.consumer = &consumer{url: s.pg.URL(statisticsDB), broker: s.broker}
	s.relay, err = startRelay(ctx, s.binary, s.pg.URLAs(relayRole, "", shortenerDB), s.broker.URL(), s.broker.relayEnv()...)
	if err != nil {
		return err
	}
	s.progress.step("relay started as process %d, in PostgreSQL as role %s", s.relay.Pid(), relayRole)
	return nil
}

// close ends and removes what was started, last things first.
func (s *stage) close() error {
	var errs []error
	if s.relay != nil {
		errs = append(errs, s.relay.Close())
	}
	if s.broker != nil {
		s.broker.close()
	}
	if s.pg != nil {
		errs = append(errs, s.pg.Close())
	}
	return errors.Join(errs...)
}

// watch shows the counts until ctx ends, which is its error, and returns early
// if the relay ends by itself.
func (s *stage) watch(ctx context.Context) error {
	return withConn(ctx, s.pg.URL(shortenerDB), func(conn *pgx.Conn) error {
		tick := time.NewTicker(s.progress.interval())
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-tick.C:
			}
			if err := s.relay.check(); err != nil {
				return err
			}
			pending, err := countPending(ctx, conn)
			if err != nil {
				return err
			}
			s.progress.show(counts{
				written:  int(s.load.written.Load() + s.more.written.Load()),
				consumed: int(s.consumer.consumed.Load()),
				pending:  pending,
				mode:     s.relay.mode.get(),
			})
		}
	})
}

// countPending asks the table how many rows are on their way.
func countPending(ctx context.Context, conn *pgx.Conn) (int, error) {
	var n int
	err := conn.QueryRow(ctx, "SELECT count(*) FROM outbox WHERE sent_at IS NULL AND dead_at IS NULL").Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("count pending rows: %w", err)
	}
	return n, nil
}
