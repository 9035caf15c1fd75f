package e2e_test

import (
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/e2e/oracle"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgtest"
	"github.com/outbox-relay/outbox-relay/relay/admin"
)

// A crash of PostgreSQL may take marks back that were committed without waiting
// for the disk, those of the last three wal_writer_delay.
func TestPostgresCrashLosesNothing(t *testing.T) {
	t.Parallel()
	cluster := pgtest.Own(t, map[string]string{"wal_writer_delay": "10ms"})
	w := newWorld(t, worldOptions{cluster: cluster})
	load := w.load(oracle.Load{Rate: 1000, Seed: 30})
	relay := w.relay()
	const crashes, marksOfThirtyMilliseconds = 3, 1000
	for range crashes {
		w.awaitStored(w.stored() + 300)
		if err := cluster.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := cluster.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	w.awaitStored(w.stored() + 300)
	w.stop(load, 1000)
	w.awaitReconnect()
	w.awaitDrained()
	relay.Terminate()
	w.verdict(oracle.Limits{Redeliveries: crashes * (window + marksOfThirtyMilliseconds)})
}

// awaitReconnect makes sure that the test's own session is one of the server
// that runs now.
func (w *world) awaitReconnect() {
	w.t.Helper()
	w.await("the database answers", func() bool {
		_, err := w.conn().Exec(w.t.Context(), "SELECT 1")
		return err == nil
	})
}

func TestDatabaseUnreachableAtStartIsWaitedFor(t *testing.T) {
	t.Parallel()
	cluster := pgtest.Own(t, nil)
	w := newWorld(t, worldOptions{cluster: cluster})
	w.finish(w.load(oracle.Load{Rows: 300, Seed: 31}))
	if err := cluster.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	relay := w.relay()
	relay.AwaitLog(`"level":"WARN"`, "database")
	if err := cluster.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.awaitReconnect()
	w.awaitDrained()
	relay.Terminate()
	w.verdict(oracle.Limits{})
}

// The session that holds the lock is ended: the relay stops publishing, leads
// again, and sends again at most what was on its way.
func TestControlSessionTerminatedLosesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	load := w.load(oracle.Load{Rate: 1000, Seed: 32})
	relay := w.relay()
	const ends = 5
	for range ends {
		w.awaitStored(w.stored() + 200)
		// It may have been on its way to the lead still, with what was published before.
		w.await("the one session that holds the lock is ended", func() bool {
			n := w.terminate(`pid IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted)`)
			if n > 1 {
				t.Fatalf("%d sessions of the relay hold an advisory lock, want 1", n)
			}
			return n == 1
		})
	}
	w.awaitLoad(load, 1000)
	w.stop(load, 1000)
	w.awaitDrained()
	relay.Terminate()
	w.verdict(oracle.Limits{Redeliveries: ends * window})
}

// Ending the sessions that read is no loss of leadership, and delivers nothing
// twice.
func TestReadSessionTerminatedDeliversNothingTwice(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	load := w.load(oracle.Load{Rate: 1000, Seed: 33})
	relay := w.relay()
	for range 5 {
		w.awaitStored(w.stored() + 200)
		w.terminate(`pid NOT IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory')`)
	}
	w.awaitStored(w.stored() + 200)
	w.stop(load, 1000)
	w.awaitDrained()
	relay.Terminate()
	w.verdict(oracle.Limits{})
}

// terminate ends those of the relay's sessions for which the condition holds.
func (w *world) terminate(condition string) int {
	w.t.Helper()
	return w.count(`SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = $1 AND `+condition, w.role)
}

// A row that somebody has locked cannot be marked. All others can, for as long
// as the lock is held.
func TestRowLockHeldForTenSecondsStopsNoOtherMark(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	locked := w.insert(plain(0))
	holder, err := pgtest.Connect(t, w.url).Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := holder.Exec(t.Context(), w.sql(`SELECT FROM {outbox} WHERE id = $1 FOR UPDATE`), locked.ID); err != nil {
		t.Fatal(err)
	}
	relay := w.relay()
	w.awaitStored(1)
	held := time.Now()
	for n := 1; time.Since(held) < 10*time.Second; n++ {
		row := w.insert(plain(n))
		w.await("another row is marked beside the locked one", func() bool { return w.sent(row) })
	}
	w.awaitTold(relay, told{
		status: func(r admin.Report) bool { return r.LockedRows == 1 && len(r.LockedBy) == 1 },
		above:  []string{"outbox_locked_rows"},
		log:    []string{`"level":"WARN"`, "rows are locked by others"},
	})
	if w.sent(locked) {
		t.Fatal("the locked row is marked: the lock did not hold")
	}
	if err := holder.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.awaitDrained()
	relay.Terminate()
	w.verdict(oracle.Limits{})
}

// Rows of a transaction that stays open are nobody's business; all others flow,
// and when it commits at last its rows, with the lowest ids of all, are found.
func TestOpenTransactionHoldsBackOnlyItsOwnRows(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	open, err := pgtest.Connect(t, w.url).Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	rows, err := oracle.Insert(t.Context(), open, w.table, "json", 1, plain(1), plain(2))
	if err != nil {
		t.Fatal(err)
	}
	relay := w.relay()
	stats := w.finish(w.load(oracle.Load{Rows: 1000, Seed: 34}))
	w.awaitStored(stats.Committed)
	w.awaitDrained()
	if err := open.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.await("the late rows are marked", func() bool { return w.sent(rows[0]) && w.sent(rows[1]) })
	relay.Terminate()
	w.verdict(oracle.Limits{})
}
