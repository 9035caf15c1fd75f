package e2e_test

import (
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/e2e/oracle"
)

// The table changes its shape, is rewritten and emptied while the log is read:
// the relay reads on.
func TestTableChangedUnderLoadWhileTailing(t *testing.T) {
	t.Parallel()
	w := newTailWorld(t, worldOptions{})
	load := w.load(oracle.Load{Rate: 600, Seed: 67})
	relay, since := w.tailing()
	for _, sql := range []string{
		`ALTER TABLE {outbox} ADD COLUMN note text`,
		`ALTER TABLE {outbox} ADD COLUMN region text NOT NULL DEFAULT 'eu'`,
		`ALTER TABLE {outbox} ALTER COLUMN region TYPE varchar(9)`, // rewrites the table
		`ALTER TABLE {outbox} DROP COLUMN note`,
		`VACUUM FULL {outbox}`,
	} {
		w.awaitStored(w.stored() + 150)
		w.alter(sql)
	}
	for range 3 {
		w.awaitStored(w.stored() + 150)
		if err := oracle.Truncate(t.Context(), w.conn(), w.table); err != nil {
			t.Fatal(err)
		}
	}
	w.awaitStored(w.stored() + 150)
	w.stop(load, 1000)
	w.awaitDrained()
	w.demandTailed(relay, since)
	relay.Terminate()
	w.verdict(oracle.Limits{})
}

// A relay whose broker hangs has rows in memory, more in the table, and a log
// that it does not read. None of that is a lock: the application alters its table
// without waiting for the broker. What may be in the way is one statement of the
// relay's, so a few seconds are a lot.
func TestAlterTableDoesNotWaitForTheBroker(t *testing.T) {
	t.Parallel()
	w := newTailWorld(t, worldOptions{})
	relay, _ := w.tailing("OUTBOX_ACK_TIMEOUT", "5s")
	w.finish(w.load(oracle.Load{Rows: 200, Seed: 68}))
	w.awaitDrained()
	if err := w.broker.Pause(); err != nil {
		t.Fatal(err)
	}
	w.bulk(oracle.Bulk{Rows: 10_000, Keys: 500, Prefix: "bulk ", Payload: 200})
	w.await("the window is full", func() bool { return w.status(relay).InFlight == window })
	alter := func(column string) {
		t.Helper()
		err := pgx.BeginFunc(t.Context(), w.conn(), func(tx pgx.Tx) error {
			if _, err := tx.Exec(t.Context(), `SET LOCAL lock_timeout = '10s'`); err != nil {
				return err
			}
			_, err := tx.Exec(t.Context(), w.sql(`ALTER TABLE {outbox} ADD COLUMN `+column+` text`))
			return err
		})
		if err != nil {
			t.Errorf("the relay keeps the table from being altered while its broker hangs: %v", err)
		}
	}
	alter("while_tailing")
	w.awaitPolling(relay) // it has given up: on the tail, and then on the broker
	alter("while_polling")
	if err := w.broker.Resume(); err != nil {
		t.Fatal(err)
	}
	w.awaitDrained()
	w.awaitTailing(relay)
	w.demandNothingReconciled(relay)
	relay.Terminate()
	w.verdict(oracle.Limits{Redeliveries: 2 * window})
}
