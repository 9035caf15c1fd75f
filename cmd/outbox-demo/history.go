package main

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// history is what the two databases and the broker say in the end.
type history struct {
	clicks     []click  // the application's, all committed
	outbox     []row    // the table in between
	rolledBack int      // outbox rows that took an id and are not there
	stream     []string // message ids in the broker's order
	counted    []effect // the consumer's effects
	dropped    []string // message ids of the copies that the consumer dropped
}

// click is a click by its own id and by its place in the link's order.
type click struct {
	id   string
	code string
	seq  int64
}

// row is an outbox row with the click that its payload tells of.
type row struct {
	messageID string
	click     click
	sent      bool
	dead      bool
}

// effect is one click counted by the consumer.
type effect struct {
	messageID string
	click     click
}

// readHistory reads it all anew, on connections of its own.
func readHistory(ctx context.Context, shortenerURL, statisticsURL string, b broker) (history, error) {
	var h history
	err := withConn(ctx, shortenerURL, func(conn *pgx.Conn) error { return h.readShortener(ctx, conn) })
	if err != nil {
		return h, err
	}
	err = withConn(ctx, statisticsURL, func(conn *pgx.Conn) error { return h.readStatistics(ctx, conn) })
	if err != nil {
		return h, err
	}
	h.stream, err = b.stored(ctx)
	return h, err
}

func (h *history) readShortener(ctx context.Context, conn *pgx.Conn) error {
	var err error
	h.clicks, err = collect(ctx, conn, "SELECT id::text, code, seq FROM click", func(r pgx.CollectableRow) (c click, err error) {
		return c, r.Scan(&c.id, &c.code, &c.seq)
	})
	if err != nil {
		return err
	}
	h.outbox, err = collect(ctx, conn, `
		SELECT message_id::text, payload->>'click', key, (payload->>'seq')::bigint, sent_at IS NOT NULL, dead_at IS NOT NULL
		FROM outbox`, func(r pgx.CollectableRow) (o row, err error) {
		return o, r.Scan(&o.messageID, &o.click.id, &o.click.code, &o.click.seq, &o.sent, &o.dead)
	})
	if err != nil {
		return err
	}
	// The sequence of ids does not roll back with the transactions that drew them.
	err = conn.QueryRow(ctx, `
		SELECT pg_sequence_last_value(pg_get_serial_sequence('outbox', 'id')) - count(*) FROM outbox`).Scan(&h.rolledBack)
	if err != nil {
		return fmt.Errorf("count rolled back rows: %w", err)
	}
	return nil
}

func (h *history) readStatistics(ctx context.Context, conn *pgx.Conn) error {
	var err error
	h.counted, err = collect(ctx, conn, "SELECT message_id::text, click::text, code, seq FROM counted",
		func(r pgx.CollectableRow) (e effect, err error) {
			return e, r.Scan(&e.messageID, &e.click.id, &e.click.code, &e.click.seq)
		})
	if err != nil {
		return err
	}
	h.dropped, err = collect(ctx, conn, "SELECT message_id::text FROM dropped", pgx.RowTo[string])
	return err
}

func collect[T any](ctx context.Context, conn *pgx.Conn, sql string, scan pgx.RowToFunc[T]) ([]T, error) {
	rows, err := conn.Query(ctx, sql)
	if err != nil {
		return nil, fmt.Errorf("read history: %w", err)
	}
	items, err := pgx.CollectRows(rows, scan)
	if err != nil {
		return nil, fmt.Errorf("read history: %w", err)
	}
	return items, nil
}
