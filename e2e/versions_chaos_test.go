//go:build chaos

package e2e_test

import (
	"testing"

	"github.com/outbox-relay/outbox-relay/e2e/oracle"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/relaybin"
	"github.com/outbox-relay/outbox-relay/schema/sqltext"
)

// firstVersion is the first commit that was a whole relay.
var firstVersion = relaybin.Variant{Revision: "8577e24"}

// TestChaosRollingBetweenVersions updates the relay and the table of the first version, and
// takes the relay back, beside writers: the relay of either version works on the table of
// either, and takes over from the other.
func TestChaosRollingBetweenVersions(t *testing.T) {
	w := newWorld(t, worldOptions{unmigrate: true})
	// The first version has none of these.
	delete(w.env, "OUTBOX_RETENTION")
	delete(w.env, "OUTBOX_ACK_TIMEOUT")
	w.migrateBy(firstVersion)
	load := w.load(oracle.Load{Rate: 300, Seed: 11})
	old, next := firstVersion, relaybin.Tested
	progress := func(what string) {
		t.Helper()
		t.Log(what)
		w.awaitStored(w.stored() + 300)
	}
	relay := w.relayOf(old)
	progress("the first version on its own table")
	// roll starts a relay of a version beside the one that leads, and ends that one.
	roll := func(to relaybin.Variant, end func(*relaybin.Process)) {
		t.Helper()
		beside := w.relayOf(to)
		beside.AwaitLog(`"msg":"starting"`)
		progress("two versions beside each other")
		end(relay)
		relay = beside
	}
	terminate := func(r *relaybin.Process) { r.Terminate() }
	kill := func(r *relaybin.Process) { r.Kill() }
	roll(next, terminate)
	progress("this version on the older table")
	relay.AwaitLog("the table is older than the relay", "error_type", "outbox_dead_key_idx")
	roll(old, terminate)
	progress("back again")
	w.migrateBy(next)
	progress("the first version on the new table")
	roll(next, kill)
	progress("this version on its own table")
	roll(old, kill)
	progress("back again, on the new table")
	roll(next, terminate)
	w.stop(load, 2000)
	w.awaitDrained()
	relay.Terminate()
	w.verdict(oracle.Limits{Redeliveries: 5 * window})
	for _, column := range []string{"error_type", "dead_letter_at"} {
		if w.count(`SELECT count(*) WHERE has_column_privilege($1, 'outbox', $2, 'UPDATE')`, w.role, column) != 1 {
			t.Errorf("the role of the first version may not write %s", column)
		}
	}
}

// migrateBy migrates with the command of a version, which makes the role, if it is missing.
func (w *world) migrateBy(v relaybin.Variant) {
	w.t.Helper()
	env := map[string]string{"OUTBOX_DATABASE_URL": w.url, "OUTBOX_TABLE": w.options.table}
	if w.options.table == "" {
		env["OUTBOX_TABLE"] = "public.outbox"
	}
	args := []string{"migrate"}
	known := w.count(`SELECT count(*) FROM pg_roles WHERE rolname = $1`, w.role) == 1
	if !known {
		args = append(args, "--role", sqltext.Identifier(w.role))
	}
	command := relaybin.Start(w.t, v, env, args...)
	command.AwaitLog("is up to date")
	<-command.Exited()
	if !known {
		w.exec(`ALTER ROLE ` + sqltext.Identifier(w.role) + ` PASSWORD 'relay-secret'`)
	}
}
