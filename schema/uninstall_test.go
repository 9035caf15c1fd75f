package schema_test

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgtest"
	"github.com/outbox-relay/outbox-relay/schema"
)

// made counts what there is in a database beside its tables and their primary keys.
const made = `SELECT (SELECT count(*) FROM pg_proc WHERE pronamespace = 'public'::regnamespace)
	+ (SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal) + (SELECT count(*) FROM pg_publication)
	+ (SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('i', 'I') AND relname NOT LIKE '%pkey')
	+ (SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND relname <> 'outbox')`

func countOf(t *testing.T, conn *pgx.Conn, sql string) (n int) {
	t.Helper()
	if err := conn.QueryRow(t.Context(), sql).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestUninstallTakesBackAllButTheRows(t *testing.T) {
	t.Parallel()
	conn := migrated(t, outbox)
	run(t, conn, `INSERT INTO outbox (topic, payload) VALUES ('a', '{}')`)
	if countOf(t, conn, made) == 0 {
		t.Fatal("the migration has made nothing: nothing is tested")
	}
	script(t, conn, schema.UninstallSQL(outbox, false))
	if n := countOf(t, conn, made); n != 0 {
		t.Errorf("%d objects are left", n)
	}
	if n := countOf(t, conn, `SELECT count(*) FROM outbox`); n != 1 {
		t.Errorf("%d rows, want 1", n)
	}
	script(t, conn, schema.UninstallSQL(outbox, false)) // again
	migrate(t, conn, outbox)                            // and back
	if countOf(t, conn, made) == 0 {
		t.Error("the migration after it has made nothing")
	}
}

func TestUninstallDropsTheTableIfAllIsSent(t *testing.T) {
	t.Parallel()
	conn := migrated(t, outbox)
	run(t, conn, `INSERT INTO outbox (topic, payload) VALUES ('a', '{}')`)
	err := conn.PgConn().Exec(t.Context(), schema.UninstallSQL(outbox, true)).Close()
	if err == nil || !strings.Contains(err.Error(), "has rows that are not sent") {
		t.Fatalf("error is %v", err)
	}
	script(t, conn, "ROLLBACK")
	run(t, conn, `UPDATE outbox SET sent_at = now()`)
	script(t, conn, schema.UninstallSQL(outbox, true))
	if n := countOf(t, conn, `SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace`); n != 0 {
		t.Errorf("%d relations are left", n)
	}
}

func TestUninstallLeavesWhatIsOfOthers(t *testing.T) {
	t.Parallel()
	conn := migrated(t, outbox)
	run(t, conn, `CREATE TABLE other (id int)`)
	run(t, conn, `ALTER PUBLICATION outbox_relay ADD TABLE other`)
	script(t, conn, schema.UninstallSQL(outbox, false))
	if n := countOf(t, conn, `SELECT count(*) FROM pg_publication_tables WHERE pubname = 'outbox_relay'`); n != 1 {
		t.Errorf("the publication has %d tables, want the other one", n)
	}
}

func TestUninstallRefusesBesideARelay(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	conn := pgtest.Connect(t, url)
	migrate(t, conn, outbox)
	run(t, pgtest.Connect(t, url), `SET application_name = 'outbox-relay public.outbox host'`)
	err := conn.PgConn().Exec(t.Context(), schema.UninstallSQL(outbox, false)).Close()
	if err == nil || !strings.Contains(err.Error(), "is connected") {
		t.Errorf("error is %v", err)
	}
}
