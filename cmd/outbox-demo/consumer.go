package main

import (
	"context"
	"encoding/json"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
)

// countClick is exactly-once in one statement: the effect happens only where the inbox
// did not have the message id before, in the same transaction. A copy is noted.
const countClick = `
WITH fresh AS (
	INSERT INTO processed_messages (message_id) VALUES ($1::uuid) ON CONFLICT DO NOTHING RETURNING message_id
), effect AS (
	INSERT INTO counted (message_id, click, code, seq, referrer) SELECT message_id, $3::uuid, $4, $5::bigint, $6 FROM fresh
)
INSERT INTO dropped (message_id, stream_seq)
	SELECT $1::uuid, $2::bigint WHERE NOT EXISTS (SELECT FROM fresh)`

// consumer is the statistics service.
type consumer struct {
	url    string
	broker broker

	consumed atomic.Int64 // messages that had their effect; for show only
}

// run consumes until ctx ends, which is its error. A broker that is away is waited for.
func (c *consumer) run(ctx context.Context) error {
	return withConn(ctx, c.url, func(conn *pgx.Conn) error {
		for {
			if err := c.take(ctx, conn); err != nil {
				return err
			}
		}
	})
}

// take consumes one batch: effects first, in one transaction, then the
// acknowledgements. A crash in between costs a copy that is dropped.
func (c *consumer) take(ctx context.Context, conn *pgx.Conn) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	batch, err := c.broker.fetch(ctx)
	if err != nil || len(batch) == 0 {
		return err
	}
	if err := c.count(ctx, conn, batch); err != nil {
		return fmt.Errorf("count clicks: %w", err)
	}
	for _, d := range batch {
		_ = d.ack() // see delivery
	}
	return nil
}

// count writes the effects of a batch.
func (c *consumer) count(ctx context.Context, conn *pgx.Conn, deliveries []delivery) error {
	batch := &pgx.Batch{}
	for _, d := range deliveries {
		var m message
		if err := json.Unmarshal(d.body, &m); err != nil {
			return fmt.Errorf("decode message %d (id %q): %w", d.place, d.id, err)
		}
		batch.Queue(countClick, d.id, d.place, m.Click, m.Code, m.Seq, m.Referrer)
	}
	effects := len(deliveries)
	err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		results := tx.SendBatch(ctx, batch)
		for range deliveries {
			dropped, err := results.Exec()
			if err != nil {
				_ = results.Close()
				return err
			}
			effects -= int(dropped.RowsAffected())
		}
		return results.Close()
	})
	if err == nil {
		c.consumed.Add(int64(effects))
	}
	return err
}

// pause waits for d; its error says that ctx ended before.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
