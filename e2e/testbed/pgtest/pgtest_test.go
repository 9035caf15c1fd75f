package pgtest_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

func count(t *testing.T, conn *pgx.Conn, sql string, args ...any) int {
	t.Helper()
	var n int
	if err := conn.QueryRow(t.Context(), sql, args...).Scan(&n); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return n
}

func name(t *testing.T, url string) string {
	t.Helper()
	config, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	return config.Database
}

func exec(t *testing.T, conn *pgx.Conn, sql string) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func TestDatabasesAreSeparate(t *testing.T) {
	for i := range 3 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			conn := pgtest.Connect(t, pgtest.Database(t))
			exec(t, conn, "CREATE TABLE same_name (i int)")
		})
	}
}

func TestDropEndsSessionsTransactionsAndWalsenders(t *testing.T) {
	admin := pgtest.Connect(t, pgtest.Server(t).URL("postgres"))
	var database string
	t.Run("user", func(inner *testing.T) {
		url := pgtest.Database(inner)
		database = name(t, url)
		// Connections of the outer test, so that they outlive the database.
		busy := pgtest.Connect(t, url)
		exec(t, busy, "BEGIN")
		exec(t, busy, "CREATE TABLE open_transaction (i int)")
		walsender := pgtest.Connect(t, url+"&replication=database")
		exec(t, busy, "COMMIT")
		if _, err := walsender.PgConn().Exec(t.Context(),
			"CREATE_REPLICATION_SLOT left_open TEMPORARY LOGICAL pgoutput NOEXPORT_SNAPSHOT").ReadAll(); err != nil {
			t.Fatal(err)
		}
		exec(t, busy, "BEGIN")
		exec(t, busy, "INSERT INTO open_transaction VALUES (1)")
		if n := count(t, admin, "SELECT count(*) FROM pg_replication_slots WHERE database = $1 AND active", database); n != 1 {
			t.Fatalf("%d active slots, want 1", n)
		}
	})
	if n := count(t, admin, "SELECT count(*) FROM pg_database WHERE datname = $1", database); n != 0 {
		t.Error("the database is still there")
	}
	if n := count(t, admin, "SELECT count(*) FROM pg_replication_slots WHERE database = $1", database); n != 0 {
		t.Error("its slot is still there")
	}
}

func TestOwnClusterStopsWithoutTheOthers(t *testing.T) {
	own := pgtest.Own(t, map[string]string{"cluster_name": "own"})
	if own.Port() == pgtest.Server(t).Port() {
		t.Fatal("an own cluster is the shared one")
	}
	if err := own.Kill(); err != nil {
		t.Fatal(err)
	}
	shared := pgtest.Connect(t, pgtest.Server(t).URL("postgres"))
	if n := count(t, shared, "SELECT 1"); n != 1 {
		t.Error("the shared cluster does not answer")
	}
	if err := own.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	conn := pgtest.Connect(t, own.URL("postgres"))
	if n := count(t, conn, "SELECT count(*) FROM pg_settings WHERE name = 'cluster_name' AND setting = 'own'"); n != 1 {
		t.Error("the setting is not there after a restart")
	}
}
