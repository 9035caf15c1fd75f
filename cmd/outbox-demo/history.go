package main

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/e2e/oracle"
	"github.com/outbox-relay/outbox-relay/relay"
)

// history is what the two databases and the broker say in the end.
type history struct {
	clicks     []message // the application's, all committed
	outbox     []row     // the table in between
	table      oracle.Table
	rolledBack int               // outbox rows that took an id and are not there
	stream     []oracle.Delivery // what the broker has, in its order
	effects    []effect          // the consumer's
	dropped    []string          // message ids of the copies that the consumer dropped
}

// row is an outbox row, by the click that its payload tells of.
type row struct {
	relay.Ref
	click string
}

// effect is one click counted by the consumer.
type effect struct {
	messageID string
	click     message
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
	h.clicks, err = collect(ctx, conn, "SELECT id::text, code, seq, referrer FROM click",
		func(r pgx.CollectableRow) (c message, err error) {
			return c, r.Scan(&c.Click, &c.Code, &c.Seq, &c.Referrer)
		})
	if err != nil {
		return err
	}
	h.outbox, err = collect(ctx, conn, "SELECT id, message_id::text, payload->>'click' FROM outbox",
		func(r pgx.CollectableRow) (o row, err error) {
			var messageID string
			if err := r.Scan(&o.ID, &messageID, &o.click); err != nil {
				return o, err
			}
			o.MessageID, err = relay.ParseMessageID(messageID)
			return o, err
		})
	if err != nil {
		return err
	}
	if h.table, err = oracle.ReadTable(ctx, conn, outbox); err != nil {
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
	h.effects, err = collect(ctx, conn, "SELECT message_id::text, click::text, code, seq, referrer FROM counted",
		func(r pgx.CollectableRow) (e effect, err error) {
			return e, r.Scan(&e.messageID, &e.click.Click, &e.click.Code, &e.click.Seq, &e.click.Referrer)
		})
	if err != nil {
		return err
	}
	h.dropped, err = collect(ctx, conn, "SELECT message_id::text FROM dropped", pgx.RowTo[string])
	return err
}

// unseen is how many of the messages that the broker has did not come to the
// consumer as often as the broker has them.
func unseen(ctx context.Context, statisticsURL string, b broker) (int, error) {
	stored, err := b.stored(ctx)
	if err != nil {
		return 0, err
	}
	missing := make(map[string]int, len(stored))
	for _, d := range stored {
		missing[d.MessageID]++
	}
	err = withConn(ctx, statisticsURL, func(conn *pgx.Conn) error {
		came, err := collect(ctx, conn, "SELECT message_id::text FROM processed_messages UNION ALL SELECT message_id::text FROM dropped", pgx.RowTo[string])
		for _, id := range came {
			if missing[id]--; missing[id] <= 0 {
				delete(missing, id)
			}
		}
		return err
	})
	return len(missing), err
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
