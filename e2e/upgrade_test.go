package e2e_test

import (
	"os"
	"strings"
	"testing"

	"github.com/outbox-relay/outbox-relay/e2e/oracle"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgserver"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgtest"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/relaybin"
	"github.com/outbox-relay/outbox-relay/schema"
)

// pg_upgrade gives the database another system identifier, as a copy elsewhere has one. That is
// a warning, and no more: what waits is sent, nothing is sent twice, and dead rows are dead.
func TestMajorUpgradeStopsNothing(t *testing.T) {
	t.Parallel()
	if _, err := pgserver.Program("pg_upgrade"); err != nil {
		if os.Getenv("PGSERVER_OLD_BIN") != "" {
			t.Fatal(err) // whoever names an older version wants the upgrade
		}
		t.Skip("only the server's programs are here:", err)
	}
	settings := map[string]string{"max_wal_size": "4GB"}
	t.Run("to the same version", func(t *testing.T) {
		t.Parallel()
		upgrade(t, pgtest.Own(t, settings))
	})
	t.Run("from an older version", func(t *testing.T) {
		t.Parallel()
		upgrade(t, pgtest.Older(t, settings))
	})
}

func upgrade(t *testing.T, old *pgserver.Server) {
	w := newWorld(t, worldOptions{cluster: old})
	write := func(seed uint64, keys string) {
		w.finish(w.load(oracle.Load{Rows: 1000, Seed: seed, Prefix: keys}))
	}
	relay, _ := w.tailing()
	write(71, "before")
	w.insertAs(oracle.Buried, oracle.Content{Topic: "oracle.no such", ContentType: "application/json", Payload: []byte(`{"dead": 1}`)})
	w.awaitDrained()
	relay.Terminate()
	w.insertAs(oracle.Delivered, plain(1), plain(2))
	w.exec(`INSERT INTO {outbox} (topic, payload, available_at) VALUES ('oracle.later', '{}', now() + interval '1 day')`)
	before := w.version()

	_ = w.db.Close(t.Context())
	upgraded := pgtest.Upgraded(t, old)
	w.url = upgraded.URL("postgres")
	w.env["OUTBOX_DATABASE_URL"] = w.relayURL()
	t.Logf("upgraded from PostgreSQL %s to %s", before, w.version())

	relay, _ = w.tailing()
	write(72, "after")
	w.await("only the scheduled row is left", func() bool { return w.pending() == 1 })
	w.demandDoubt(relay)
	if scheduled, dead := w.count(`SELECT count(*) FROM {outbox} WHERE available_at > now()`), w.count(`SELECT count(*) FROM {outbox} WHERE dead_at IS NOT NULL`); scheduled != 1 || dead != 1 {
		t.Errorf("%d rows are scheduled and %d are dead, want one each", scheduled, dead)
	}
	w.exec(`DELETE FROM {outbox} WHERE available_at > now()`)
	relay.Terminate()
	w.verdict(oracle.Limits{})
}

// demandDoubt demands that the relay is ready, tells of another system, and stops that when the
// owner has adopted the table.
func (w *world) demandDoubt(p *relaybin.Process) {
	w.t.Helper()
	if s := w.status(p); !s.Ready || !strings.Contains(s.OriginDoubt, "system ") {
		w.t.Errorf("ready: %t, %s; and a doubt %q, want one of another system", s.Ready, s.NotReady, s.OriginDoubt)
	}
	p.AwaitLog(`"level":"WARN"`, "the outbox table may be a copy")
	if err := schema.Adopt(w.t.Context(), w.conn(), w.table, ""); err != nil {
		w.t.Fatal(err)
	}
	w.await("the doubt ends", func() bool { return w.status(p).OriginDoubt == "" })
}

func (w *world) version() (v string) {
	w.t.Helper()
	w.row(`SELECT current_setting('server_version')`, nil, &v)
	return v
}
