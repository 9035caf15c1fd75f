package main

import (
	"context"
	"encoding/json"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	durable   = "statistics"
	batchSize = 256
	// fetchWait bounds how long a batch is collected for.
	fetchWait = 250 * time.Millisecond
	// ackWait is short: acknowledgements that are lost with the broker's stop are
	// asked for again soon.
	ackWait = 2 * time.Second
)

// countClick is exactly-once in one statement: the effect happens only where the
// message id was not there before, in the same transaction. A copy is noted.
const countClick = `
WITH fresh AS (
	INSERT INTO received (message_id) VALUES ($1::uuid) ON CONFLICT DO NOTHING RETURNING message_id
), effect AS (
	INSERT INTO counted (message_id, click, code, seq) SELECT message_id, $3::uuid, $4, $5::bigint FROM fresh
)
INSERT INTO dropped (message_id, stream_seq)
	SELECT $1::uuid, $2::bigint WHERE NOT EXISTS (SELECT FROM fresh)`

// consumer is the statistics service.
type consumer struct {
	url    string
	source jetstream.Consumer

	consumed atomic.Int64 // messages that had their effect; for show only
}

// newConsumer makes the durable consumer.
func newConsumer(ctx context.Context, b *broker, url string) (*consumer, error) {
	source, err := b.js.CreateConsumer(ctx, stream, jetstream.ConsumerConfig{
		Durable: durable, AckPolicy: jetstream.AckExplicitPolicy, AckWait: ackWait, MaxAckPending: 4 * batchSize,
	})
	if err != nil {
		return nil, fmt.Errorf("create consumer %s: %w", durable, err)
	}
	return &consumer{url: url, source: source}, nil
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
	fetched, err := c.source.Fetch(batchSize, jetstream.FetchMaxWait(fetchWait))
	if err != nil {
		return pause(ctx, fetchWait)
	}
	var msgs []jetstream.Msg
	for msg := range fetched.Messages() {
		msgs = append(msgs, msg)
	}
	if fetched.Error() != nil && len(msgs) == 0 {
		return pause(ctx, fetchWait)
	}
	if len(msgs) == 0 {
		return nil
	}
	if err := c.count(ctx, conn, msgs); err != nil {
		return fmt.Errorf("count clicks: %w", err)
	}
	for _, msg := range msgs {
		// Where this fails the message comes again and is dropped.
		_ = msg.Ack()
	}
	return nil
}

// count writes the effects of a batch.
func (c *consumer) count(ctx context.Context, conn *pgx.Conn, msgs []jetstream.Msg) error {
	batch := &pgx.Batch{}
	for _, msg := range msgs {
		meta, err := msg.Metadata()
		if err != nil {
			return fmt.Errorf("read metadata: %w", err)
		}
		id := msg.Headers().Get(jetstream.MsgIDHeader)
		var m message
		if err := json.Unmarshal(msg.Data(), &m); err != nil {
			return fmt.Errorf("decode message %d (id %q): %w", meta.Sequence.Stream, id, err)
		}
		batch.Queue(countClick, id, int64(meta.Sequence.Stream), m.Click, m.Code, m.Seq)
	}
	effects := len(msgs)
	err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		results := tx.SendBatch(ctx, batch)
		for range msgs {
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

// backlog is how many messages of the stream have not been consumed and
// acknowledged yet.
func (c *consumer) backlog(ctx context.Context) (int, error) {
	info, err := c.source.Info(ctx)
	if err != nil {
		return 0, fmt.Errorf("ask for the consumer's backlog: %w", err)
	}
	return int(info.NumPending) + info.NumAckPending, nil
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
