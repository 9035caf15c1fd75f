package oracle

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/schema"
)

// CopyIn writes rows as [Insert] does, by COPY. COPY returns nothing, so the ids
// are taken before: under the aggregate's lock, which keeps them in order.
func CopyIn(ctx context.Context, tx pgx.Tx, table schema.Table, payload schema.PayloadType, first int64, contents ...Content) ([]Row, error) {
	columns, err := newColumns(contents)
	if err != nil {
		return nil, err
	}
	rows, err := takeIDs(ctx, tx, table, first, contents)
	if err != nil {
		return nil, err
	}
	source := pgx.CopyFromSlice(len(rows), func(i int) ([]any, error) {
		var value any = columns.payloads[i]
		if payload != schema.PayloadBytea {
			value = string(columns.payloads[i])
		}
		return []any{
			rows[i].ID, rows[i].MessageID.String(), columns.topics[i], columns.keys[i],
			columns.contentTypes[i], columns.headers[i], value,
		}, nil
	})
	names := []string{"id", "message_id", "topic", "key", "content_type", "headers", "payload"}
	if _, err := tx.CopyFrom(ctx, pgx.Identifier{table.Schema, table.Name}, names, source); err != nil {
		return nil, fmt.Errorf("copy %d rows: %w", len(rows), err)
	}
	written := make([]Written, len(rows))
	for i := range rows {
		written[i] = rows[i].Written
	}
	return rows, Log(ctx, tx, written...)
}

// takeIDs gives the contents the next ids of the table, and message ids.
func takeIDs(ctx context.Context, tx pgx.Tx, table schema.Table, first int64, contents []Content) ([]Row, error) {
	answer, err := tx.Query(ctx, `SELECT nextval(pg_get_serial_sequence($1, 'id')), gen_random_uuid()::text
		FROM generate_series(1, $2::int)`, table.Quoted(), len(contents))
	if err != nil {
		return nil, fmt.Errorf("take %d ids: %w", len(contents), err)
	}
	rows := make([]Row, 0, len(contents))
	var id int64
	var messageID string
	_, err = pgx.ForEachRow(answer, []any{&id, &messageID}, func() error {
		row := newRow(contents[len(rows)], first+int64(len(rows)))
		row.ID = id
		row.MessageID, err = relay.ParseMessageID(messageID)
		rows = append(rows, row)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("take %d ids: %w", len(contents), err)
	}
	return rows, nil
}

// newRow is a row to be delivered, with its place in its key, and without ids.
func newRow(c Content, place int64) Row {
	row := Row{Content: c, Written: Written{Key: c.Key, Keyed: c.Keyed, Digest: c.Digest(), Expect: Delivered}}
	if c.Keyed {
		row.Seq = place
	}
	return row
}
