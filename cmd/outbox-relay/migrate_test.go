package main

import (
	"os"
	"strings"
	"testing"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

func TestMigrateAppliesTableAndRoleAndIsQuietTheSecondTime(t *testing.T) {
	url := pgtest.Database(t)
	conn := pgtest.Connect(t, url)
	env := []string{"OUTBOX_DATABASE_URL=" + url, "OUTBOX_TABLE=shop.outbox"}
	args := []string{"migrate", "--payload-type", "jsonb", "--role", "migrate_relay"}

	got := do(t, env, args...)
	if got.status != 0 || got.stderr != "" {
		t.Fatalf("%+v", got)
	}
	for _, want := range []string{"created table \"shop\".\"outbox\"\n", "created publication \"outbox_relay\"\n", "created role \"migrate_relay\"\n"} {
		if !strings.Contains(got.stdout, want) {
			t.Errorf("stdout %q, want %q in it", got.stdout, want)
		}
	}
	var allowed bool
	const granted = `SELECT has_table_privilege('migrate_relay', 'shop.outbox', 'SELECT') AND has_table_privilege('migrate_relay', 'shop.outbox', 'DELETE')
		AND NOT has_table_privilege('migrate_relay', 'shop.outbox', 'INSERT')`
	if err := conn.QueryRow(t.Context(), granted).Scan(&allowed); err != nil || !allowed {
		t.Errorf("the role's privileges are wrong (%v)", err)
	}

	if got := do(t, env, args...); got != (result{stdout: "shop.outbox is up to date\n"}) {
		t.Errorf("second run: %+v", got)
	}
}

func TestMigratePrintsWarningsWithTheirFix(t *testing.T) {
	url := pgtest.Database(t)
	conn := pgtest.Connect(t, url)
	if _, err := conn.Exec(t.Context(), "CREATE PUBLICATION outbox_relay WITH (publish = 'update')"); err != nil {
		t.Fatal(err)
	}
	got := do(t, []string{"OUTBOX_DATABASE_URL=" + url}, "migrate")
	if want := "warning: publication \"outbox_relay\" does not publish INSERT: the relay can only poll\n" +
		"   Run: ALTER PUBLICATION outbox_relay SET (publish = 'insert')\n"; got.status != 0 || got.stderr != want {
		t.Errorf("%+v, want %q", got, want)
	}
}

func TestMigrateFailsWithStatusOne(t *testing.T) {
	url := pgtest.Database(t)
	conn := pgtest.Connect(t, url)
	if _, err := conn.Exec(t.Context(), "CREATE VIEW outbox AS SELECT 1 AS id"); err != nil {
		t.Fatal(err)
	}
	for database, want := range map[string]string{
		url: `outbox-relay: migrate public.outbox: ERROR: "public"."outbox" is not a table`,
		"postgres://someone:secret@127.0.0.1:1/x?connect_timeout=5": "outbox-relay: connect to OUTBOX_DATABASE_URL: ",
	} {
		got := do(t, []string{"OUTBOX_DATABASE_URL=" + database}, "migrate")
		if got.status != 1 || !strings.HasPrefix(got.stderr, want) || strings.Contains(got.stderr, "secret") {
			t.Errorf("%+v, want 1 and %q", got, want)
		}
	}
}

func TestMigrateNeedsADatabaseButNoBroker(t *testing.T) {
	got := do(t, nil, "migrate")
	if got.status != 2 || !strings.Contains(got.stderr, "OUTBOX_DATABASE_URL: is required") || strings.Contains(got.stderr, "SINK") {
		t.Errorf("%+v", got)
	}
}
