package schema_test

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgtest"
	"github.com/outbox-relay/outbox-relay/schema"
	"github.com/outbox-relay/outbox-relay/schema/sqltext"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// outbox is the table of the tests that care for no other name.
var outbox = schema.Options{Table: mustTable("outbox")}

func mustTable(s string) schema.Table {
	table, err := schema.ParseTable(s)
	if err != nil {
		panic(err)
	}
	return table
}

// migrated returns a session in a fresh database that has the table.
func migrated(t *testing.T, o schema.Options) *pgx.Conn {
	t.Helper()
	conn := pgtest.Connect(t, pgtest.Database(t))
	migrate(t, conn, o)
	return conn
}

func migrate(t *testing.T, conn *pgx.Conn, o schema.Options) {
	t.Helper()
	if err := schema.Migrate(t.Context(), conn, o); err != nil {
		t.Fatal(err)
	}
}

func run(t *testing.T, conn *pgx.Conn, sql string, args ...any) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// script runs several statements at once.
func script(t *testing.T, conn *pgx.Conn, sql string) {
	t.Helper()
	if err := conn.PgConn().Exec(t.Context(), sql).Close(); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func value[T any](t *testing.T, conn *pgx.Conn, sql string, args ...any) T {
	t.Helper()
	var v T
	if err := conn.QueryRow(t.Context(), sql, args...).Scan(&v); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return v
}

func values(t *testing.T, conn *pgx.Conn, sql string, args ...any) []string {
	t.Helper()
	rows, err := conn.Query(t.Context(), sql, args...)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	v, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return v
}

// version is the server's major version.
func version(t *testing.T, conn *pgx.Conn) int {
	t.Helper()
	return value[int](t, conn, "SELECT current_setting('server_version_num')::int / 10000")
}

// notices is a session that keeps what the server says.
type notices struct {
	*pgx.Conn
	mu   sync.Mutex
	said []string
}

func listen(t *testing.T, url string) *notices {
	t.Helper()
	config, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	n := &notices{}
	config.OnNotice = func(_ *pgconn.PgConn, notice *pgconn.Notice) {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.said = append(n.said, fmt.Sprintf("%s: %s", notice.Severity, notice.Message))
	}
	if n.Conn, err = pgx.ConnectConfig(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Close(context.Background()) })
	return n
}

// take returns what was said since the last call.
func (n *notices) take() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	said := n.said
	n.said = nil
	return said
}

// role makes sure that no role of this name outlives the test. Call it before
// the test's databases are made, so that it runs after they are dropped.
func role(t *testing.T, name string) string {
	t.Helper()
	server := pgtest.Server(t)
	t.Cleanup(func() {
		ctx := context.Background()
		conn, err := pgx.Connect(ctx, server.URL("postgres"))
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close(ctx)
		if _, err := conn.Exec(ctx, "DROP ROLE IF EXISTS "+sqltext.Identifier(name)); err != nil {
			t.Error(err)
		}
	})
	return name
}
