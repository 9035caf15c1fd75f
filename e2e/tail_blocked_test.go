package e2e_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/e2e/oracle"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgtest"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/relaybin"
	"github.com/outbox-relay/outbox-relay/relay/admin"
)

// Transactions that stay open, or are left behind prepared, in any database of
// the cluster: no slot can be created, and one that exists keeps more and more of
// the log.

// mebibyte is the size of what emit writes.
const mebibyte = 1 << 20

// smallestWAL is the least that OUTBOX_MAX_WAL takes.
const smallestWAL = 16 * mebibyte

// openElsewhere begins a transaction that writes, in another database of the
// cluster, under the name of an application.
func (w *world) openElsewhere(application string) (tx pgx.Tx, pid uint32) {
	w.t.Helper()
	if w.count(`SELECT count(*) FROM pg_database WHERE datname = 'elsewhere'`) == 0 {
		w.exec(`CREATE DATABASE elsewhere TEMPLATE template0`)
	}
	conn := pgtest.Connect(w.t, w.options.cluster.URL("elsewhere"))
	if _, err := conn.Exec(w.t.Context(), `SELECT set_config('application_name', $1, false)`, application); err != nil {
		w.t.Fatal(err)
	}
	tx, err := conn.Begin(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := tx.Exec(w.t.Context(), `CREATE TABLE unfinished ()`); err != nil {
		w.t.Fatal(err)
	}
	return tx, conn.PgConn().PID()
}

// emit writes a mebibyte to the log that tells nobody anything.
func (w *world) emit() {
	w.t.Helper()
	w.exec(`SELECT pg_logical_emit_message(false, 'test', repeat('x', $1))`, mebibyte)
}

// demandUnobtrusive demands of a relay that cannot tail that it is in nobody's
// way: rows flow, the server keeps no more of its log for it than allowed, none of
// its sessions holds vacuum back, and it has no more walsenders than the one that
// tries.
func (w *world) demandUnobtrusive(keys string) {
	w.t.Helper()
	w.bulk(oracle.Bulk{Rows: 1000, Keys: 20, Prefix: keys, Payload: 300})
	w.awaitDrained()
	for range 2 * smallestWAL / mebibyte {
		w.emit()
		// What one try keeps goes with it. Between tries nothing is kept.
		w.await("the log that is kept is bounded", func() bool { return w.retained() <= smallestWAL })
		if n := w.walsenders(); n > 1 {
			w.t.Errorf("%d walsenders of the relay, want at most 1", n)
		}
	}
	w.await("no session of the relay holds a snapshot", func() bool {
		return w.count(`SELECT count(*) FROM pg_stat_activity WHERE usename = $1 AND backend_xmin IS NOT NULL`, w.role) == 0
	})
}

func TestOpenTransactionAtStartLeavesTheRelayPolling(t *testing.T) {
	t.Parallel()
	w := newTailWorld(t, worldOptions{})
	open, pid := w.openElsewhere("night job")
	relay := w.relay("OUTBOX_MAX_WAL", fmt.Sprint(smallestWAL))
	w.awaitPolling(relay, "blocked by transaction", `of application "night job"`, fmt.Sprintf("pid %d", pid), "database elsewhere")
	w.awaitTold(relay, told{
		status: func(r admin.Report) bool { return r.Mode == "polling" },
		above:  []string{`outbox_mode{mode="polling"}`},
		zero:   []string{`outbox_mode{mode="tailing"}`},
		log:    []string{`"level":"WARN"`, "the write-ahead log cannot be read, polling instead", "night job"},
	})
	w.demandUnobtrusive("blocked ")
	w.commit(open)
	w.finishTailing(relay)
}

func TestOpenTransactionInMidStreamEndsTheTail(t *testing.T) {
	t.Parallel()
	w := newTailWorld(t, worldOptions{})
	relay, since := w.tailing("OUTBOX_MAX_WAL", fmt.Sprint(smallestWAL))
	open, pid := w.openElsewhere("day job")
	w.bulk(oracle.Bulk{Rows: 1000, Keys: 20, Prefix: "still tailed ", Payload: 300})
	w.awaitDrained()
	w.demandTailed(relay, since)
	w.await("the server keeps more than it may", func() bool { w.emit(); return w.retained() > smallestWAL })
	w.awaitPolling(relay, "OUTBOX_MAX_WAL")
	w.awaitPolling(relay, "blocked by transaction", `of application "day job"`, fmt.Sprintf("pid %d", pid))
	w.demandUnobtrusive("blocked ")
	w.commit(open)
	w.finishTailing(relay)
}

func TestPreparedTransactionLeftBehindLeavesTheRelayPolling(t *testing.T) {
	t.Parallel()
	w := newTailWorld(t, worldOptions{})
	prepared, row := w.beginWith(plain(1))
	if _, err := prepared.Exec(t.Context(), `PREPARE TRANSACTION 'forgotten by its manager'`); err != nil {
		t.Fatal(err)
	}
	relay := w.relay("OUTBOX_MAX_WAL", fmt.Sprint(smallestWAL))
	w.awaitPolling(relay, `blocked by prepared transaction "forgotten by its manager"`, "ROLLBACK PREPARED")
	w.demandUnobtrusive("blocked ")
	w.exec(`COMMIT PREPARED 'forgotten by its manager'`)
	w.await("its row is sent", func() bool { return w.sent(row) })
	w.finishTailing(relay)
}

// finishTailing demands that nothing is in the way of the tail any more.
func (w *world) finishTailing(relay *relaybin.Process) {
	w.t.Helper()
	since := w.awaitTailing(relay)
	w.bulk(oracle.Bulk{Rows: 1000, Keys: 20, Prefix: "tailed ", Payload: 300})
	w.awaitDrained()
	w.demandTailed(relay, since)
	relay.Terminate()
	w.await("no slot is left", func() bool { return w.slots() == 0 })
	w.verdict(oracle.Limits{})
}

// Relays are killed while they read the log, and while they wait for a slot that
// they cannot have: the server ends their sessions, and the slots with them, also
// while the transaction in the way is still open.
func TestKilledRelaysLeaveNoWalsenderAndNoSlot(t *testing.T) {
	t.Parallel()
	w := newTailWorld(t, worldOptions{})
	load := w.load(oracle.Load{Rate: 300, Seed: 69})
	const each = 25
	for range each {
		relay := w.relayOf(relaybin.Released)
		relay.AwaitLog(`"msg":"tailing"`)
		relay.Kill()
	}
	open, _ := w.openElsewhere("night job")
	for range each {
		var before time.Time
		w.row(`SELECT clock_timestamp()`, nil, &before)
		relay := w.relayOf(relaybin.Released)
		w.await("the relay waits for its slot", func() bool {
			return w.count(`SELECT count(*) FROM pg_stat_activity WHERE usename = $1 AND backend_type = 'walsender'
				AND wait_event_type = 'Lock' AND backend_start > $2`, w.role, before) == 1
		})
		relay.Kill()
	}
	w.await("no walsender and no slot is left", func() bool { return w.walsenders() == 0 && w.slots() == 0 })
	w.commit(open)
	relay := w.relay()
	w.awaitTailing(relay)
	if n, slots := w.walsenders(), w.slots(); n != 1 || slots != 1 {
		t.Errorf("%d walsenders and %d slots of one relay, want 1", n, slots)
	}
	w.stop(load, 500)
	w.awaitDrained()
	relay.Terminate()
	w.verdict(oracle.Limits{Redeliveries: 2 * each * window})
}
