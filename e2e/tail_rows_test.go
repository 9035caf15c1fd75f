package e2e_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/outbox-relay/outbox-relay/e2e/oracle"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgtest"
	"github.com/outbox-relay/outbox-relay/schema"
)

// Whatever an application's transactions do, the log tells of what was committed,
// all of it and no more, in the order of the commits.
func TestTransactionsOfEveryKindComeByTheTail(t *testing.T) {
	t.Parallel()
	w := newTailWorld(t, worldOptions{})
	w.insert(plain(1))
	relay, since := w.tailing()
	load := w.load(oracle.Load{Writers: 8, Rows: 4000, Keys: 200, Copy: 25, Prepare: 20, Seed: 60})
	w.bulk(oracle.Bulk{Rows: 5000, Keys: 500, Prefix: "bulk ", Payload: 200})
	stats := w.finish(load)
	if stats.RolledBack == 0 || stats.SavepointRolledBack == 0 || stats.Copied == 0 || stats.Prepared == 0 {
		t.Errorf("the load was %+v, want something of each", stats)
	}
	w.awaitDrained()
	w.demandTailed(relay, since)
	relay.Terminate()
	w.verdict(oracle.Limits{})
}

// The later of two transactions commits first: its row goes first, and the other
// one, with the lower id, does not wait for a survey.
func TestTransactionsThatCommitOutOfOrderComeByTheTail(t *testing.T) {
	t.Parallel()
	w := newTailWorld(t, worldOptions{})
	relay, since := w.tailing()
	for n := range 20 {
		early, first := w.beginWith(plain(2 * n))
		late, second := w.beginWith(plain(2*n + 1))
		w.commit(late)
		w.await("the row that committed first is sent", func() bool { return w.sent(second) })
		w.commit(early)
		w.await("the row with the lower id is sent", func() bool { return w.sent(first) })
	}
	w.demandTailed(relay, since)
	relay.Terminate()
	w.verdict(oracle.Limits{})
}

// beginWith begins a transaction with a row, on a connection of its own.
func (w *world) beginWith(c oracle.Content) (pgx.Tx, oracle.Row) {
	w.t.Helper()
	tx, err := pgtest.Connect(w.t, w.url).Begin(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	rows, err := oracle.Insert(w.t.Context(), tx, w.table, schema.PayloadJSON, 1, c)
	if err != nil {
		w.t.Fatal(err)
	}
	return tx, rows[0]
}

// commit ends a transaction and its connection.
func (w *world) commit(tx pgx.Tx) {
	w.t.Helper()
	if err := tx.Commit(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	_ = tx.Conn().Close(w.t.Context())
}

// The log tells of a row as it was inserted, so a row must not be changed or
// deleted in the transaction that inserts it; and a row that is inserted as sent
// or dead is not for the broker.
func TestWhatTheLogCannotTellIsRefusedOrLeftAlone(t *testing.T) {
	t.Parallel()
	w := newTailWorld(t, worldOptions{})
	relay, since := w.tailing()
	for n, change := range []string{
		`UPDATE {outbox} SET topic = 'oracle.changed' WHERE id = $1`,
		`UPDATE {outbox} SET available_at = now() + interval '1 hour' WHERE id = $1`,
		`DELETE FROM {outbox} WHERE id = $1`,
	} {
		tx, row := w.beginWith(plain(n))
		if err := pgx.BeginFunc(t.Context(), tx, func(savepoint pgx.Tx) error {
			_, err := savepoint.Exec(t.Context(), w.sql(change), row.ID)
			return err
		}); !isGuarded(err) {
			t.Errorf("%s in the transaction that inserted the row: %v, want the guard's refusal", change, err)
		}
		w.commit(tx)
	}
	w.exec(`INSERT INTO {outbox} (topic, payload, sent_at) VALUES ('oracle.sent', '{}', now())`)
	w.exec(`INSERT INTO {outbox} (topic, payload, dead_at) VALUES ('oracle.dead', '{}', now())`)
	last := w.insert(plain(100))
	w.await("the rows after them are sent", func() bool { return w.sent(last) })
	w.awaitDrained()
	w.demandTailed(relay, since)
	relay.Terminate()
	w.verdict(oracle.Limits{}) // what arrives of the two that are in no ledger is a ghost
}

func isGuarded(err error) bool {
	var refused *pgconn.PgError
	return errors.As(err, &refused) && refused.Code == "55000" && strings.HasPrefix(refused.Message, "outbox-relay:")
}

// The rows of all partitions come under the table's name, also those of one that
// is made, filled and taken away while the log is read.
func TestPartitionedOutboxComesByTheTail(t *testing.T) {
	t.Parallel()
	w := newTailWorld(t, worldOptions{unmigrate: true})
	w.divide("outbox_first FOR VALUES FROM (MINVALUE) TO (200)", "outbox_rest FOR VALUES FROM (200) TO (1000000)")
	relay, since := w.tailing()
	load := w.load(oracle.Load{Rate: 800, Seed: 61, Copy: 20})
	w.awaitStored(300)
	w.alter(`CREATE TABLE outbox_later PARTITION OF {outbox} FOR VALUES FROM (1000000) TO (2000000)`)
	w.exec(`SELECT setval(pg_get_serial_sequence('public.outbox', 'id'), 1000000)`)
	w.awaitStored(w.stored() + 500)
	w.stop(load, 500)
	w.awaitDrained()
	for _, partition := range []string{"outbox_first", "outbox_rest", "outbox_later"} {
		if n := w.count(`SELECT count(*) FROM ` + partition + ` WHERE sent_at IS NOT NULL`); n == 0 {
			t.Errorf("no row of partition %s was sent", partition)
		}
	}
	w.demandTailed(relay, since)
	relay.Terminate()
	w.verdict(oracle.Limits{})
}

// Partitions are dropped as soon as their rows are sent, while others are written, published
// and marked: no message is lost, and none is published twice.
func TestPartitionsAreDroppedBesideTheRelay(t *testing.T) {
	t.Parallel()
	const ids, drops = 200, 8
	w := newTailWorld(t, worldOptions{unmigrate: true})
	partitions := []string{"outbox_rest DEFAULT"}
	for n := range 3 * drops {
		partitions = append(partitions, fmt.Sprintf("outbox_%d FOR VALUES FROM (%d) TO (%d)", n, n*ids, (n+1)*ids))
	}
	w.divide(partitions...)
	relay, _ := w.tailing("OUTBOX_RETENTION", "0")
	load := w.load(oracle.Load{Rate: 800, Seed: 62, Copy: 20})
	dropped := 0
	w.await("partitions are dropped", func() bool {
		var n int
		err := w.conn().QueryRow(t.Context(), `SELECT count(*) FROM outbox_drop_partitions('0')`).Scan(&n)
		if busy, ok := errors.AsType[*pgconn.PgError](err); err != nil && (!ok || busy.Code != "55P03") {
			t.Fatal(err)
		}
		dropped += n
		return dropped >= drops
	})
	w.stop(load, drops*ids/2) // of a transaction that is taken back the ids are gone
	w.awaitDrained()
	relay.Terminate()
	w.exec(`DELETE FROM {outbox} WHERE sent_at IS NOT NULL`) // as if all of it had been dropped
	w.verdict(oracle.Limits{Deletes: true})
}

// divide makes the outbox as an application may have it, with partitions of ids, each a name
// and its bounds, and migrates it.
func (w *world) divide(partitions ...string) {
	w.t.Helper()
	w.exec(`CREATE TABLE {outbox} (
		id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, message_id uuid NOT NULL DEFAULT gen_random_uuid(),
		topic text NOT NULL, payload json NOT NULL) PARTITION BY RANGE (id)`)
	for _, p := range partitions {
		name, bounds, _ := strings.Cut(p, " ")
		w.exec(`CREATE TABLE ` + name + ` PARTITION OF {outbox} ` + bounds)
	}
	w.migrate()
}
