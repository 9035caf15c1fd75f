package e2e_test

import (
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/e2e/oracle"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgserver"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgtest"
	"github.com/outbox-relay/outbox-relay/relay/admin"
)

// throughPooler puts a pooler before the world's server and returns the relay's
// URL by way of it.
func (w *world) throughPooler(mode pgserver.PoolMode, settings ...string) string {
	w.t.Helper()
	url, err := pgtest.Pooler(w.t, pgtest.Server(w.t), mode, settings...).Through(w.relayURL())
	if err != nil {
		w.t.Fatal(err)
	}
	return url
}

// Rule 20. Three seconds of a relay once left its settings on the application's
// connections, and a lock that nobody held and no other relay could get.
func TestRelayThroughATransactionPoolerTouchesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	url := w.throughPooler(pgserver.PoolTransaction, "default_pool_size = 2")
	app := pgtest.Connect(t, url)
	for range 10 {
		w.insert(plain(1))
	}
	relay := w.relay("OUTBOX_DATABASE_URL", url)
	w.await("the relay says what to do", func() bool {
		return relay.CountLog("set OUTBOX_DATABASE_URL to PostgreSQL itself") > 0
	})
	w.letPass(3 * time.Second)
	w.awaitTold(relay, told{
		status: func(r admin.Report) bool { return r.Mode == "connecting" && !r.Ready },
		above:  []string{`outbox_mode{mode="connecting"}`},
		zero:   []string{"outbox_leader"},
		log:    []string{`"level":"WARN"`, "cannot work with the database", "set OUTBOX_DATABASE_URL to PostgreSQL itself"},
	})
	f := fleet{w: w}
	if r := f.says(relay); r.Ready || !strings.Contains(r.NotReady, "pooler in transaction mode") {
		t.Errorf("ready: %v, %q", r.Ready, r.NotReady)
	}
	for range 5 {
		var settings string
		err := app.QueryRow(t.Context(), `SELECT concat_ws(' ', current_setting('search_path'), current_setting('synchronous_commit'))`,
			pgx.QueryExecModeSimpleProtocol).Scan(&settings)
		if err != nil || settings != `"$user", public on` {
			t.Errorf("the application's connection has the settings %q, %v", settings, err)
		}
	}
	direct := w.relay()
	w.awaitDrained()
	if !f.says(direct).Leader {
		t.Error("the relay on the direct URL does not lead")
	}
	direct.Terminate()
	relay.Terminate()
	w.verdict(oracle.Limits{})
}

// Rule 20: the relay polls through a session pooler, and another one takes over.
func TestRelaysWorkThroughASessionPooler(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	w.env["OUTBOX_DATABASE_URL"] = w.throughPooler(pgserver.PoolSession)
	load := w.load(oracle.Load{Rate: 300, Seed: 21})
	first, second := w.relay(), w.relay()
	f := &fleet{w: w}
	f.relays = append(f.relays, first, second)
	w.awaitStored(200)
	leader := f.awaitPublishing()
	for _, r := range f.relays {
		if r != leader {
			f.awaitStandby(r)
		}
	}
	leader.Kill()
	f.awaitPublishing(leader)
	w.awaitStored(w.stored() + 200)
	w.stop(load, 400)
	w.awaitDrained()
	for _, r := range f.relays {
		if r != leader {
			r.Terminate()
		}
	}
	if n := w.count(`SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ExclusiveLock'
		AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`); n != 0 {
		t.Errorf("%d locks are left", n)
	}
	w.verdict(oracle.Limits{Redeliveries: window})
}
