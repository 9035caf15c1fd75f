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
	args := []string{"--payload-type", "jsonb", "--role", "migrate_relay"}

	var stdout, stderr strings.Builder
	if status := runMigrate(t.Context(), env, args, &stdout, &stderr); status != 0 || stderr.Len() != 0 {
		t.Fatalf("status %d, stdout %q, stderr %q", status, stdout.String(), stderr.String())
	}
	for _, want := range []string{"created table \"shop\".\"outbox\"\n", "created publication \"outbox_relay\"\n", "created role \"migrate_relay\"\n"} {
		if !strings.Contains(stdout.String(), want) {
			t.Errorf("stdout %q, want %q in it", stdout.String(), want)
		}
	}
	var allowed bool
	const granted = "SELECT has_table_privilege('migrate_relay', 'shop.outbox', 'SELECT') AND NOT has_table_privilege('migrate_relay', 'shop.outbox', 'DELETE')"
	if err := conn.QueryRow(t.Context(), granted).Scan(&allowed); err != nil || !allowed {
		t.Errorf("the role's privileges are wrong (%v)", err)
	}

	stdout.Reset()
	if status := runMigrate(t.Context(), env, args, &stdout, &stderr); status != 0 ||
		stdout.String() != "shop.outbox is up to date\n" || stderr.Len() != 0 {
		t.Errorf("second run: status %d, stdout %q, stderr %q", status, stdout.String(), stderr.String())
	}
}

func TestMigratePrintsWarningsWithTheirMend(t *testing.T) {
	url := pgtest.Database(t)
	conn := pgtest.Connect(t, url)
	if _, err := conn.Exec(t.Context(), "CREATE PUBLICATION outbox_relay WITH (publish = 'update')"); err != nil {
		t.Fatal(err)
	}
	var stdout, stderr strings.Builder
	status := runMigrate(t.Context(), []string{"OUTBOX_DATABASE_URL=" + url}, nil, &stdout, &stderr)
	if want := "warning: publication \"outbox_relay\" does not publish INSERT: the relay can only poll\n" +
		"   Run: ALTER PUBLICATION outbox_relay SET (publish = 'insert')\n"; status != 0 || stderr.String() != want {
		t.Errorf("status %d, stderr %q, want %q", status, stderr.String(), want)
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
		var stdout, stderr strings.Builder
		status := runMigrate(t.Context(), []string{"OUTBOX_DATABASE_URL=" + database}, nil, &stdout, &stderr)
		if status != 1 || !strings.HasPrefix(stderr.String(), want) || strings.Contains(stderr.String(), "secret") {
			t.Errorf("status %d, stderr %q, want 1 and %q", status, stderr.String(), want)
		}
	}
}

func TestMigrateNeedsADatabaseButNoBroker(t *testing.T) {
	var stdout, stderr strings.Builder
	status := runMigrate(t.Context(), nil, nil, &stdout, &stderr)
	if status != 2 || !strings.Contains(stderr.String(), "OUTBOX_DATABASE_URL: is required") || strings.Contains(stderr.String(), "SINK") {
		t.Errorf("status %d, stderr %q", status, stderr.String())
	}
}
