package main

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// The faults begin when so many per cent of the clicks are written.
	killAt       = 45
	brokerStopAt = 65

	// relayDown is how long the relay stays dead, as a pod does that is scheduled
	// again; longer than the stream's duplicate window.
	relayDown  = time.Second
	brokerDown = 2 * time.Second

	// killAttempts bounds how often a kill is repeated that left no row between its
	// acknowledgement and its mark.
	killAttempts = 8
)

// faults is what is done to the parts while they work.
type faults struct {
	*stage
	kills int // of the relay
	// unmarked are the message ids that were in the stream and not marked in the
	// table while the relay was dead.
	unmarked []string
}

// run does to the relay and the broker what happens to them in production.
func (f *faults) run(ctx context.Context) error {
	if err := f.awaitWritten(ctx, killAt); err != nil {
		return err
	}
	for ; len(f.unmarked) == 0; f.kills++ {
		if f.kills == killAttempts {
			return fmt.Errorf("the relay was killed %d times and all acknowledged rows were marked each time", killAttempts)
		}
		if err := f.killRelay(ctx); err != nil {
			return err
		}
	}
	if err := f.awaitWritten(ctx, brokerStopAt); err != nil {
		return err
	}
	if err := f.awaitRedelivered(ctx); err != nil {
		return err
	}
	return f.stopBroker(ctx)
}

// killRelay kills the relay at the moment a message comes through the broker,
// before its row can be marked, makes sure that this is so, and starts the relay
// again.
func (f *faults) killRelay(ctx context.Context) error {
	if err := f.broker.awaitMessage(ctx); err != nil {
		return err
	}
	if err := f.relay.kill(); err != nil {
		return err
	}
	back := time.Now().Add(relayDown)
	var err error
	if f.unmarked, err = f.findUnmarked(ctx); err != nil {
		return err
	}
	f.progress.step("relay killed with SIGKILL (%s acknowledged rows not yet marked)", thousands(len(f.unmarked)))
	if err := pause(ctx, time.Until(back)); err != nil {
		return err
	}
	if err := f.relay.restart(ctx); err != nil {
		return err
	}
	f.progress.step("relay started again")
	return nil
}

// findUnmarked compares the stream with the table while the relay is dead.
func (f *faults) findUnmarked(ctx context.Context) ([]string, error) {
	var pending []string
	err := withConn(ctx, f.pg.URL(shortenerDB), func(conn *pgx.Conn) error {
		if err := awaitSessionsEnd(ctx, conn); err != nil {
			return err
		}
		rows, err := conn.Query(ctx, "SELECT message_id::text FROM outbox WHERE sent_at IS NULL ORDER BY id")
		if err != nil {
			return fmt.Errorf("read unmarked rows: %w", err)
		}
		if pending, err = pgx.CollectRows(rows, pgx.RowTo[string]); err != nil {
			return fmt.Errorf("read unmarked rows: %w", err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	deliveries, err := f.broker.stored(ctx)
	if err != nil {
		return nil, err
	}
	stored := make(map[string]bool, len(deliveries))
	for _, d := range deliveries {
		stored[d.MessageID] = true
	}
	var unmarked []string
	for _, id := range pending {
		if stored[id] {
			unmarked = append(unmarked, id)
		}
	}
	return unmarked, nil
}

// awaitSessionsEnd returns when PostgreSQL has ended the dead relay's sessions:
// a mark that it had received may still be committed until then.
func awaitSessionsEnd(ctx context.Context, conn *pgx.Conn) error {
	for {
		var sessions int
		err := conn.QueryRow(ctx, "SELECT count(*) FROM pg_stat_activity WHERE usename = $1", relayRole).Scan(&sessions)
		if err != nil {
			return fmt.Errorf("look for the relay's sessions: %w", err)
		}
		if sessions == 0 {
			return nil
		}
		if err := pause(ctx, 10*time.Millisecond); err != nil {
			return err
		}
	}
}

// awaitRedelivered returns when the new relay has done the dead one's work: two
// faults at once would prove less than one after the other.
func (f *faults) awaitRedelivered(ctx context.Context) error {
	return withConn(ctx, f.pg.URL(shortenerDB), func(conn *pgx.Conn) error {
		for {
			var unmarked int
			err := conn.QueryRow(ctx, `SELECT count(*) FROM outbox
				WHERE message_id = ANY ($1::text[]::uuid[]) AND sent_at IS NULL`, f.unmarked).Scan(&unmarked)
			if err != nil {
				return fmt.Errorf("look for rows unmarked since the kill: %w", err)
			}
			if unmarked == 0 {
				return nil
			}
			if err := pause(ctx, 10*time.Millisecond); err != nil {
				return fmt.Errorf("%d rows still unmarked since the relay's kill: %w", unmarked, err)
			}
		}
	})
}

// stopBroker takes the broker away from everybody for a while.
func (f *faults) stopBroker(ctx context.Context) error {
	if err := f.broker.stop(ctx); err != nil {
		return fmt.Errorf("stop the broker: %w", err)
	}
	f.progress.step("broker stopped for %.0f s", brokerDown.Seconds())
	if err := pause(ctx, brokerDown); err != nil {
		return err
	}
	if err := f.broker.restart(ctx); err != nil {
		return fmt.Errorf("start the broker again: %w", err)
	}
	f.progress.step("broker is back")
	return nil
}

// awaitWritten returns when so many per cent of the clicks are written.
func (f *faults) awaitWritten(ctx context.Context, percent int) error {
	for f.load.written.Load()*100 < int64(f.load.clicks*percent) {
		if err := pause(ctx, 5*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}
