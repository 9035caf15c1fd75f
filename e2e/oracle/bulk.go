package oracle

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/schema"
)

// Bulk is many rows in one statement, made and logged by the server.
type Bulk struct {
	Table schema.Table
	Topic string
	Rows  int
	// Prefix of the keys. Keys rows take turns; with 0 rows have no key. Nobody
	// else may use the prefix, since the rows number themselves.
	Prefix string
	Keys   int
	// Payload is about the size of each payload in bytes.
	Payload int
}

// bulkInsert computes the digest of [Content.Digest] from the row as it was
// stored, so it is right for jsonb too.
const bulkInsert = `
WITH inserted AS (
	INSERT INTO %[1]s (topic, key, payload)
	SELECT $1, CASE WHEN $4 > 0 THEN $3 || (n %% $4) END,
		%[2]s
	FROM generate_series(1, $2::int) AS n
	RETURNING id, message_id, topic, key, content_type, payload)
INSERT INTO oracle.entry (id, message_id, key, seq, digest)
SELECT id, message_id, key,
	CASE WHEN key IS NULL THEN 0 ELSE row_number() OVER (PARTITION BY key ORDER BY id) END,
	sha256(convert_to(topic, 'UTF8') || '\x00'::bytea
		|| convert_to(coalesce('key ' || key, 'no key'), 'UTF8') || '\x00'::bytea
		|| convert_to(content_type, 'UTF8') || '\x00'::bytea
		|| convert_to('0', 'UTF8') || '\x00'::bytea
		|| %[3]s)
FROM inserted`

// Insert writes the rows and their ledger within tx.
func (b Bulk) Insert(ctx context.Context, tx pgx.Tx, payload schema.PayloadType) error {
	// The pad compresses to nothing in TOAST, which is why it is a hash per row.
	value := fmt.Sprintf(`convert_to('{"n": ' || n || ', "prefix": "' || $3 || '", "pad": "' ||
		left(repeat(md5($3 || n), %d), $5) || '"}', 'UTF8')`, b.Payload/32+1)
	stored := "convert_to(payload::text, 'UTF8')"
	if payload == schema.PayloadBytea {
		stored = "payload"
	} else {
		value = "convert_from(" + value + ", 'UTF8')::" + string(payload)
	}
	sql := fmt.Sprintf(bulkInsert, b.Table.Quoted(), value, stored)
	if _, err := tx.Exec(ctx, sql, b.Topic, b.Rows, b.Prefix, b.Keys, b.Payload); err != nil {
		return fmt.Errorf("insert %d rows into %s: %w", b.Rows, b.Table, err)
	}
	return nil
}
