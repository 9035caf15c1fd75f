package e2e_test

import (
	"errors"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/outbox-relay/outbox-relay/e2e/oracle"
)

// The server ends the session that reads the log, again and again: the relay
// polls meanwhile, comes back, and nothing is doubled. The session's end takes the
// slot with it, which nobody can drop while the relay reads it.
func TestWalsenderTerminatedUnderLoadDeliversNothingTwice(t *testing.T) {
	t.Parallel()
	w := newTailWorld(t, worldOptions{})
	load := w.load(oracle.Load{Rate: 600, Seed: 64})
	relay, since := w.tailing()
	for range 3 {
		w.awaitStored(w.stored() + 200)
		_, err := w.conn().Exec(t.Context(), `SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots`)
		var refused *pgconn.PgError
		if !errors.As(err, &refused) || refused.Code != "55006" {
			t.Errorf("dropping the slot: %v, want that it is in use", err)
		}
		if n := w.endWalsender(); n != 1 {
			t.Errorf("ended %d sessions that read the log, want 1", n)
		}
		w.awaitStored(w.stored() + 100)
		since = w.awaitTailingAgain(relay, since)
		if n := w.slots(); n != 1 {
			t.Errorf("there are %d slots, want 1", n)
		}
	}
	w.awaitStored(w.stored() + 200)
	w.stop(load, 1000)
	w.awaitDrained()
	w.demandTailed(relay, since)
	relay.Terminate()
	w.await("the slot is gone", func() bool { return w.slots() == 0 })
	w.verdict(oracle.Limits{})
}

// The control session goes, and the tail with it: a new term begins with polling
// and comes to a tail of its own.
func TestControlSessionTerminatedWhileTailingLosesNothing(t *testing.T) {
	t.Parallel()
	w := newTailWorld(t, worldOptions{})
	load := w.load(oracle.Load{Rate: 600, Seed: 65})
	relay, since := w.tailing()
	const ends = 4
	for range ends {
		w.awaitStored(w.stored() + 200)
		if n := w.terminate(`pid IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted)`); n != 1 {
			t.Fatalf("%d sessions of the relay hold an advisory lock, want 1", n)
		}
		since = w.awaitTailingAgain(relay, since)
		w.await("one session reads the log", func() bool { return w.walsenders() == 1 && w.slots() == 1 })
	}
	w.awaitStored(w.stored() + 200)
	w.stop(load, 1000)
	w.awaitDrained()
	w.demandTailed(relay, since)
	relay.Terminate()
	w.verdict(oracle.Limits{Redeliveries: ends * window})
}

// Whatever becomes of the publication, rows flow, the relay says what is wrong,
// and reads the log again when it is fixed.
func TestPublicationSpoiledUnderLoad(t *testing.T) {
	t.Parallel()
	w := newTailWorld(t, worldOptions{})
	load := w.load(oracle.Load{Rate: 400, Seed: 66})
	relay, since := w.tailing()
	for _, c := range []struct {
		name, spoil, reason string
		fix                 func()
	}{
		{"dropped", `DROP PUBLICATION outbox_relay`, `run outbox-relay migrate`, w.migrate},
		{
			"without inserts", `ALTER PUBLICATION outbox_relay SET (publish = 'update')`, `does not publish INSERT`,
			func() { w.exec(`ALTER PUBLICATION outbox_relay SET (publish = 'insert')`) },
		},
		{"without the table", `ALTER PUBLICATION outbox_relay DROP TABLE {outbox}`, `lacks table public.outbox`, w.migrate},
	} {
		w.awaitStored(w.stored() + 200)
		w.exec(c.spoil)
		w.awaitPolling(relay, c.reason)
		w.awaitStored(w.stored() + 200)
		c.fix()
		since = w.awaitTailingAgain(relay, since)
		t.Logf("%s: found out, and fixed", c.name)
	}
	// At once there is another one of the name; the relay may not even notice.
	w.awaitStored(w.stored() + 200)
	w.exec(`DROP PUBLICATION outbox_relay; CREATE PUBLICATION outbox_relay FOR TABLE {outbox} WITH (publish = 'insert')`)
	w.awaitStored(w.stored() + 400)
	w.stop(load, 1500)
	w.awaitDrained()
	w.awaitTailing(relay)
	relay.Terminate()
	w.verdict(oracle.Limits{})
}
