package e2e_test

import (
	"strings"
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

// A relay that is frozen, and has no standby, tells nobody anything. What is around it does:
// its probe fails, so that it is started anew; `status` has the database tell that rows wait
// and no relay was reached; PostgreSQL ends the session, so that another relay can lead; a scrape
// fails, which is the alert OutboxNoLeader (TestEachAlertFiresFromItsFaultAndResolves). When it
// goes on, its log says why time has passed.
func TestFrozenRelayWithoutAStandbyIsToldByWhatIsAroundIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	relay := w.relay()
	w.insert(plain(1))
	w.awaitDrained()
	frozen := time.Now()
	relay.Signal(syscall.SIGSTOP)
	w.insert(plain(2))
	if said := w.awaitAnswer(relay, 1, "health", "--timeout", "1s"); !strings.Contains(said, "deadline exceeded") {
		t.Errorf("its probe says %q", said)
	}
	if said := w.awaitAnswer(relay, 2, "status", "--max-age", "5s"); !strings.Contains(said, "the oldest pending row has been due for") {
		t.Errorf("status --max-age says %q", said)
	}
	if _, said := w.ask(relay, "status"); !strings.Contains(said, "not reached") || !strings.Contains(said, "oldest pending") {
		t.Errorf("status says %q", said)
	}
	w.await("PostgreSQL has ended the session that leads", func() bool {
		return w.count(`SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`) == 0
	})
	w.letPass(12*time.Second - time.Since(frozen)) // more than the relay takes for a delay
	relay.Signal(syscall.SIGCONT)
	relay.AwaitLog(`"level":"WARN"`, "the relay stood still")
	w.awaitDrained()
	relay.Terminate()
	w.verdict(oracle.Limits{Redeliveries: window})
}
