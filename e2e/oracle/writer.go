package oracle

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/schema"
)

// reconnectAfter keeps a writer from spinning while the server is down.
const reconnectAfter = 50 * time.Millisecond

// writer is one connection of the application.
type writer struct {
	load   Load
	tally  *tally
	number int
	rand   *rand.Rand
}

// run writes transactions until ctx ends or the load has its rows. A session
// that ends is replaced, for it was killed or its server was; any other error
// ends the load.
func (w *writer) run(ctx context.Context) error {
	for ctx.Err() == nil && !w.enough() {
		err := w.session(ctx)
		switch {
		case err == nil, ctx.Err() != nil:
		case isLost(err):
			wait(ctx, reconnectAfter)
		default:
			return fmt.Errorf("writer %d: %w", w.number, err)
		}
	}
	return nil
}

func (w *writer) enough() bool {
	return w.load.Rows > 0 && w.tally.committed.Load() >= int64(w.load.Rows)
}

func (w *writer) session(ctx context.Context) error {
	config, err := pgx.ParseConfig(w.load.URL)
	if err != nil {
		return fmt.Errorf("parse URL: %w", err)
	}
	config.RuntimeParams["application_name"] = writerName
	db, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return lostError{err}
	}
	// What is under way is finished also when the load is stopped: an application
	// does not tear its transactions apart at the end either.
	work := context.WithoutCancel(ctx)
	defer func() { _ = db.Close(work) }()
	for ctx.Err() == nil && !w.enough() {
		began := time.Now()
		rows, err := w.transaction(work, db)
		if err != nil {
			if db.IsClosed() {
				w.tally.unresolved.Add(1)
				return lostError{err}
			}
			return err
		}
		if w.load.Rate > 0 {
			wait(ctx, time.Duration(rows*w.load.Writers)*time.Second/time.Duration(w.load.Rate)-time.Since(began))
		}
	}
	return nil
}

// transaction inserts rows for a few aggregates and commits, or rolls back.
func (w *writer) transaction(ctx context.Context, db *pgx.Conn) (int, error) {
	commit := w.rand.IntN(100) >= 12
	tx, err := db.Begin(ctx)
	if err != nil {
		return 0, fmt.Errorf("begin: %w", err)
	}
	var rows []Row
	for _, key := range w.chooseKeys() {
		inserted, err := w.step(ctx, tx, key)
		if err != nil {
			return 0, err
		}
		rows = append(rows, inserted...)
	}
	if w.load.BeforeEnd != nil {
		if err := w.load.BeforeEnd(ctx, rows, commit); err != nil {
			return 0, err
		}
	}
	if !commit {
		w.tally.rolledBack.Add(int64(len(rows)))
		return len(rows), w.end(ctx, tx, false)
	}
	if err := w.end(ctx, tx, true); err != nil {
		return 0, fmt.Errorf("commit: %w", err)
	}
	w.tally.committed.Add(int64(len(rows)))
	return len(rows), nil
}

// chooseKeys takes one to three aggregates, now and then none (""). They are
// sorted, so that two writers do not wait for each other's locks in a circle.
func (w *writer) chooseKeys() []string {
	keys := make([]string, 1+w.rand.IntN(3))
	for i := range keys {
		if w.rand.IntN(100) < 15 {
			continue
		}
		keys[i] = fmt.Sprintf("%s %d", w.load.Prefix, w.rand.IntN(w.load.Keys))
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

// step writes the rows of one aggregate, sometimes within a savepoint, which is
// sometimes rolled back. It returns the rows that are still there.
func (w *writer) step(ctx context.Context, tx pgx.Tx, key string) ([]Row, error) {
	if w.rand.IntN(100) >= 20 {
		return w.insert(ctx, tx, key)
	}
	savepoint, err := tx.Begin(ctx)
	if err != nil {
		return nil, fmt.Errorf("savepoint: %w", err)
	}
	rows, err := w.insert(ctx, savepoint, key)
	if err != nil {
		return nil, err
	}
	if w.rand.IntN(2) == 0 {
		return rows, savepoint.Commit(ctx)
	}
	w.tally.savepoint.Add(int64(len(rows)))
	return nil, savepoint.Rollback(ctx)
}

// insert takes the aggregate's lock, then writes one to three rows in one
// statement, and logs them.
func (w *writer) insert(ctx context.Context, tx pgx.Tx, key string) ([]Row, error) {
	contents := make([]Content, 1+w.rand.IntN(3))
	for i := range contents {
		contents[i] = w.content(key)
	}
	first, err := lockAggregate(ctx, tx, key, len(contents))
	if err != nil {
		return nil, err
	}
	if w.chance(w.load.Copy) {
		w.tally.copied.Add(int64(len(contents)))
		return CopyIn(ctx, tx, w.load.Table, w.load.Payload, first, contents...)
	}
	return Insert(ctx, tx, w.load.Table, w.load.Payload, first, contents...)
}

// lockAggregate takes the row lock of a key and hands out n sequence numbers,
// returning the first. It must precede the INSERT: the lock is what makes the
// order of ids the order of commits.
func lockAggregate(ctx context.Context, tx pgx.Tx, key string, n int) (int64, error) {
	if key == "" {
		return 0, nil
	}
	var last int64
	err := tx.QueryRow(ctx, `
		INSERT INTO oracle.aggregate AS a (key, seq) VALUES ($1, $2)
		ON CONFLICT (key) DO UPDATE SET seq = a.seq + excluded.seq RETURNING seq`, key, n).Scan(&last)
	if err != nil {
		return 0, fmt.Errorf("lock aggregate %q: %w", key, err)
	}
	return last - int64(n) + 1, nil
}

// Insert writes rows in one statement, in their order, and logs them as to be
// delivered. Keyed rows take the sequence numbers from first on, which the
// caller has under the aggregate's lock; they must share one key.
func Insert(ctx context.Context, tx pgx.Tx, table schema.Table, payload schema.PayloadType, first int64, contents ...Content) ([]Row, error) {
	columns, err := newColumns(contents)
	if err != nil {
		return nil, err
	}
	answer, err := tx.Query(ctx, fmt.Sprintf(`
		INSERT INTO %s (topic, key, content_type, headers, payload)
		SELECT topic, key, content_type, headers::jsonb, %s
		FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bytea[])
			WITH ORDINALITY AS row (topic, key, content_type, headers, payload, place)
		ORDER BY place RETURNING id, message_id::text`, table.Quoted(), payloadExpression(payload)),
		columns.topics, columns.keys, columns.contentTypes, columns.headers, columns.payloads)
	if err != nil {
		return nil, fmt.Errorf("insert %d rows: %w", len(contents), err)
	}
	rows := make([]Row, 0, len(contents))
	written := make([]Written, 0, len(contents))
	var id int64
	var messageID string
	_, err = pgx.ForEachRow(answer, []any{&id, &messageID}, func() error {
		row := newRow(contents[len(rows)], first+int64(len(rows)))
		row.ID = id
		row.MessageID, err = relay.ParseMessageID(messageID)
		rows, written = append(rows, row), append(written, row.Written)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("insert %d rows: %w", len(contents), err)
	}
	return rows, Log(ctx, tx, written...)
}

// lostError is a session that ended.
type lostError struct{ cause error }

func (e lostError) Error() string { return "session lost: " + e.cause.Error() }
func (e lostError) Unwrap() error { return e.cause }

// isLost tells a session or a transaction that the server ended, which is part
// of the exercise, from a statement that it refused, a mistake of the test.
func isLost(err error) bool {
	var refused *pgconn.PgError
	if !errors.As(err, &refused) {
		var lost lostError
		return errors.As(err, &lost)
	}
	switch refused.Code[:2] {
	case "57", "53": // terminated, shutting down, starting up; too many connections
		return true
	case "40": // deadlock with a lock on the whole table, as ALTER TABLE takes it
		return true
	}
	return false
}

func wait(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
