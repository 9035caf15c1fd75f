package e2e_test

import (
	"strings"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/e2e/oracle"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgtest"
	"github.com/outbox-relay/outbox-relay/relay/admin"
)

// Rule 18. A leader is killed while its session waits for a synchronous standby
// that is not there. PostgreSQL does not notice; the session keeps the lock. The
// other relay cannot lead, says why, and is not ready.
func TestStandbyNamesASessionThatOutlivesItsRelay(t *testing.T) {
	t.Parallel()
	server := pgtest.Own(t, nil)
	w := newWorld(t, worldOptions{cluster: server})
	f := w.fleet(2)
	leader, standby := f.relays[0], f.relays[1]
	w.insert(plain(1))
	w.awaitDrained()

	w.exec("ALTER SYSTEM SET synchronous_standby_names = 'absent'")
	w.exec("SELECT pg_reload_conf()")
	w.await("the server waits for a standby", func() bool {
		return w.count("SELECT count(*) FROM pg_settings WHERE name = 'synchronous_standby_names' AND setting = 'absent'") == 1
	})
	// A refusal commits durably.
	w.exec("SET synchronous_commit = local")
	w.exec("INSERT INTO {outbox} (topic, payload) VALUES ('nowhere.bound', '{}')")
	const hangs = `SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'outbox-relay %' AND wait_event = 'SyncRep'`
	w.await("the leader's session waits", func() bool { return w.count(hangs) > 0 })
	leader.Kill()
	killed := time.Now()
	w.awaitFor(90*time.Second, "the standby is not ready", func() bool {
		r := f.says(standby)
		return r.Mode == "standby" && !r.Ready && strings.Contains(r.NotReady, "SyncRep")
	})
	t.Logf("told %v after the kill: %s", time.Since(killed).Round(time.Second), f.says(standby).NotReady)
	w.awaitTold(standby, told{
		status: func(r admin.Report) bool { return !r.Ready },
		above:  []string{`outbox_mode{mode="standby"}`},
		zero:   []string{"outbox_leader"},
		log:    []string{`"level":"WARN"`, "the leadership lock is held by a session that is not a working relay", "SyncRep"},
	})
	if w.count(hangs) != 1 {
		t.Error("the session does not hang any more")
	}
	_, fix, _ := strings.Cut(f.says(standby).NotReady, "to free it, run ")
	w.exec("ALTER SYSTEM RESET synchronous_standby_names")
	if !strings.HasPrefix(fix, "SELECT pg_terminate_backend(") {
		t.Fatalf("the fix is %q", fix)
	}
	w.exec(fix)
	w.exec("SELECT pg_reload_conf()")
	w.await("the standby leads", func() bool { return f.says(standby).Leader })
	w.insert(plain(2))
	w.await("it publishes", func() bool { return w.stored() >= 2 })
	w.exec("DELETE FROM {outbox} WHERE topic = 'nowhere.bound'")
	w.awaitDrained()
	standby.Terminate()
	w.verdict(oracle.Limits{Redeliveries: window})
}
