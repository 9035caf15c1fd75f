package e2e_test

import (
	"syscall"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/e2e/oracle"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgtest"
)

// Rule 21. A relay that is frozen in the middle of a survey leaves a transaction
// open that has a lock on the table. An ALTER TABLE waits for it, and each INSERT
// of the application's waits behind that, until PostgreSQL ends the transaction.
func TestRelayFrozenInASurveyDoesNotStopTheApplication(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	relay, _ := w.tailing("OUTBOX_RECONCILE_INTERVAL", "1s")
	w.insert(plain(1))
	w.awaitDrained()

	// A lock makes the survey wait when its transaction has begun.
	locker, err := pgtest.Connect(t, w.url).Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := locker.Exec(t.Context(), w.sql("LOCK TABLE {outbox} IN ACCESS EXCLUSIVE MODE")); err != nil {
		t.Fatal(err)
	}
	const waits = `SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'outbox-relay %' AND datname = current_database()
		AND wait_event_type = 'Lock' AND query LIKE '%LOCK TABLE%'`
	w.await("a survey waits for the lock", func() bool { return w.count(waits) == 1 })
	relay.Signal(syscall.SIGSTOP)
	if err := locker.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.await("the relay's transaction stays open", func() bool {
		return w.count(`SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'outbox-relay %'
			AND datname = current_database() AND state = 'idle in transaction'`) == 1
	})
	w.exec("SET lock_timeout = '60s'")
	start := time.Now()
	w.exec("ALTER TABLE {outbox} ADD COLUMN more int")
	w.insert(plain(2))
	took := time.Since(start)
	t.Logf("the application waited for %v", took)
	if took > 40*time.Second {
		t.Errorf("the application waited for %v, want 10 s at most, and a little", took)
	}
	relay.Signal(syscall.SIGCONT)
	w.awaitDrained()
	relay.Terminate()
	w.verdict(oracle.Limits{Redeliveries: window})
}
