package oracle

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/schema"
)

// The ledger lives in a schema of its own beside the application's tables, so
// that a transaction writes both or neither. Nothing of it is visible to the
// relay's role.
const installSQL = `
CREATE SCHEMA IF NOT EXISTS oracle;
CREATE TABLE IF NOT EXISTS oracle.aggregate (
	key text PRIMARY KEY,
	seq bigint NOT NULL
);
CREATE TABLE IF NOT EXISTS oracle.entry (
	id         bigint NOT NULL,
	message_id uuid PRIMARY KEY,
	key        text,
	seq        bigint NOT NULL,
	digest     bytea NOT NULL,
	expect     text NOT NULL DEFAULT 'delivered'
);`

// Install creates the ledger in the application's database.
func Install(ctx context.Context, db *pgx.Conn) error {
	if _, err := db.Exec(ctx, installSQL); err != nil {
		return fmt.Errorf("create ledger: %w", err)
	}
	return nil
}

// Log enters rows in the ledger, within the transaction that inserted them.
func Log(ctx context.Context, tx pgx.Tx, rows ...Written) error {
	ids, messageIDs := make([]int64, len(rows)), make([]string, len(rows))
	keys, seqs := make([]*string, len(rows)), make([]int64, len(rows))
	digests, expects := make([][]byte, len(rows)), make([]string, len(rows))
	for i := range rows {
		ids[i], messageIDs[i], seqs[i] = rows[i].ID, rows[i].MessageID.String(), rows[i].Seq
		digests[i], expects[i] = rows[i].Digest[:], string(rows[i].Expect)
		if rows[i].Keyed {
			keys[i] = &rows[i].Key
		}
	}
	_, err := tx.Exec(ctx, `
		INSERT INTO oracle.entry (id, message_id, key, seq, digest, expect)
		SELECT * FROM unnest($1::bigint[], $2::uuid[], $3::text[], $4::bigint[], $5::bytea[], $6::text[])`,
		ids, messageIDs, keys, seqs, digests, expects)
	if err != nil {
		return fmt.Errorf("log %d rows: %w", len(rows), err)
	}
	return nil
}

// Expect changes what is expected of rows in the ledger.
func Expect(ctx context.Context, tx pgx.Tx, expect Expectation, ids ...relay.MessageID) error {
	texts := make([]string, len(ids))
	for i, id := range ids {
		texts[i] = id.String()
	}
	tag, err := tx.Exec(ctx, `UPDATE oracle.entry SET expect = $1 WHERE message_id = ANY ($2::text[]::uuid[])`, string(expect), texts)
	if err != nil {
		return fmt.Errorf("expect %d rows %s: %w", len(ids), expect, err)
	}
	if int(tag.RowsAffected()) != len(ids) {
		return fmt.Errorf("expect %d rows %s: the ledger has %d of them", len(ids), expect, tag.RowsAffected())
	}
	return nil
}

// Truncate empties the outbox as an application may, ids starting again, and
// enters in the ledger which rows that took away before they were marked. Both
// happen under the lock that TRUNCATE takes, so the ledger is exact. Beside
// writers the lock can end in a deadlock; then it is tried again. Within a
// transaction it is a part of that one.
func Truncate(ctx context.Context, db beginner, table schema.Table) error {
	for {
		err := truncate(ctx, db, table)
		if !isLost(err) {
			return err
		}
	}
}

// beginner is a connection or a transaction.
type beginner interface {
	Begin(ctx context.Context) (pgx.Tx, error)
}

func truncate(ctx context.Context, db beginner, table schema.Table) error {
	return pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
		for _, sql := range []string{
			`LOCK TABLE ` + table.Quoted() + ` IN ACCESS EXCLUSIVE MODE`,
			`UPDATE oracle.entry e SET expect = 'withdrawn' FROM ` + table.Quoted() + ` o
			 WHERE o.id = e.id AND o.message_id = e.message_id AND o.sent_at IS NULL`,
			// A marked row has done its duty; without it in the table nothing can be
			// asked of it but that it arrived, and that stays asked.
			`UPDATE oracle.entry e SET expect = 'purged' FROM ` + table.Quoted() + ` o
			 WHERE o.id = e.id AND o.message_id = e.message_id AND o.sent_at IS NOT NULL`,
			`TRUNCATE ` + table.Quoted() + ` RESTART IDENTITY`,
		} {
			if _, err := tx.Exec(ctx, sql); err != nil {
				return fmt.Errorf("truncate %s: %w", table, err)
			}
		}
		return nil
	})
}

// Committed reads the ledger: every committed row, in no order.
func Committed(ctx context.Context, db *pgx.Conn) ([]Written, error) {
	rows, err := db.Query(ctx, `SELECT id, message_id::text, key, seq, digest, expect FROM oracle.entry`)
	if err != nil {
		return nil, fmt.Errorf("read ledger: %w", err)
	}
	committed, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (Written, error) {
		var (
			w         Written
			messageID string
			key       *string
			digest    []byte
		)
		if err := row.Scan(&w.ID, &messageID, &key, &w.Seq, &digest, &w.Expect); err != nil {
			return w, err
		}
		if key != nil {
			w.Key, w.Keyed = *key, true
		}
		copy(w.Digest[:], digest)
		w.MessageID, err = relay.ParseMessageID(messageID)
		return w, err
	})
	if err != nil {
		return nil, fmt.Errorf("read ledger: %w", err)
	}
	return committed, nil
}

// ReadTable reads what the outbox says about each of its rows.
func ReadTable(ctx context.Context, db *pgx.Conn, table schema.Table) (Table, error) {
	rows, err := db.Query(ctx, `
		SELECT id, message_id::text, sent_at IS NOT NULL, dead_at IS NOT NULL, attempts, coalesce(last_error, '')
		FROM `+table.Quoted())
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", table, err)
	}
	var (
		state     = Table{}
		row       RowState
		ref       relay.Ref
		messageID string
	)
	_, err = pgx.ForEachRow(rows, []any{&ref.ID, &messageID, &row.Sent, &row.Dead, &row.Attempts, &row.LastError}, func() error {
		ref.MessageID, err = relay.ParseMessageID(messageID)
		state[ref] = row
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", table, err)
	}
	return state, nil
}
