package e2e_test

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/e2e/oracle"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgtest"
	"github.com/outbox-relay/outbox-relay/schema"
)

// How a test reads and writes both ends by hand.

// conn is the superuser's connection, made anew when its server was stopped.
func (w *world) conn() *pgx.Conn {
	w.t.Helper()
	if w.db.IsClosed() {
		w.db = pgtest.Connect(w.t, w.url)
	}
	return w.db
}

// exec runs a statement; in it, {outbox} stands for the table.
func (w *world) exec(sql string, args ...any) {
	w.t.Helper()
	if _, err := w.conn().Exec(w.t.Context(), w.sql(sql), args...); err != nil {
		w.t.Fatalf("%s: %v", sql, err)
	}
}

// row reads one row into dest.
func (w *world) row(sql string, args []any, dest ...any) {
	w.t.Helper()
	if err := w.conn().QueryRow(w.t.Context(), w.sql(sql), args...).Scan(dest...); err != nil {
		w.t.Fatalf("%s: %v", sql, err)
	}
}

func (w *world) sql(sql string) string { return strings.ReplaceAll(sql, "{outbox}", w.table.Quoted()) }

// count is a number from the database.
func (w *world) count(sql string, args ...any) int {
	w.t.Helper()
	var n int
	w.row(sql, args, &n)
	return n
}

// pending is the number of rows that the relay still has to do something about.
func (w *world) pending() int {
	w.t.Helper()
	// Each count by the condition of an index: one for both reads the whole table.
	return w.count(`SELECT (SELECT count(*) FROM {outbox} WHERE ` + schema.Due + `) + (SELECT count(*) FROM {outbox} WHERE ` + schema.Scheduled + `)`)
}

// stored is the number of messages that the broker has.
func (w *world) stored() int { return w.storedNow() }

// inStream is the number of messages that the stream ever took.
func (w *world) inStream() int {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	stream, err := w.js.Stream(ctx, streamName)
	if err != nil {
		w.t.Fatalf("look up stream: %v", err)
	}
	return int(stream.CachedInfo().State.LastSeq)
}

// insert commits one row outside any load and enters it in the ledger.
func (w *world) insert(c oracle.Content) oracle.Row {
	w.t.Helper()
	return w.insertAs(oracle.Delivered, c)[0]
}

// insertAs commits rows, in one transaction, with what is expected of them.
// Keyed rows number themselves, so a key must not be inserted twice.
func (w *world) insertAs(expect oracle.Expectation, contents ...oracle.Content) []oracle.Row {
	w.t.Helper()
	var rows []oracle.Row
	err := pgx.BeginFunc(w.t.Context(), w.conn(), func(tx pgx.Tx) error {
		var err error
		payload := w.options.payload
		if payload == "" {
			payload = schema.PayloadJSON
		}
		if rows, err = oracle.Insert(w.t.Context(), tx, w.table, payload, 1, contents...); err != nil {
			return err
		}
		for _, r := range rows {
			if err := oracle.Expect(w.t.Context(), tx, expect, r.MessageID); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return rows
}

// plain is a row that nothing is wrong with.
func plain(n int) oracle.Content {
	return oracle.Content{
		Topic: "oracle.plain", ContentType: "application/json", Payload: fmt.Appendf(nil, `{"plain": %d}`, n),
	}
}

// sent says whether a row is marked.
func (w *world) sent(r oracle.Row) bool {
	w.t.Helper()
	return w.count(`SELECT count(*) FROM {outbox} WHERE id = $1 AND sent_at IS NOT NULL`, r.ID) == 1
}
