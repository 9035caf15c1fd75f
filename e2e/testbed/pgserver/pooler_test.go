package pgserver_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgserver"
)

func TestPoolerGivesASessionOrATransaction(t *testing.T) {
	t.Parallel()
	s := start(t, pgserver.Options{})
	run(t, connect(t, s.URL("postgres")), "CREATE ROLE somebody LOGIN")
	for mode, keeps := range map[pgserver.PoolMode]bool{pgserver.PoolSession: true, pgserver.PoolTransaction: false} {
		p, err := pgserver.StartPooler(t.Context(), s, mode)
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := p.Close(); err != nil {
				t.Error(err)
			}
		}()
		through, err := p.Through(s.URLAs("somebody", "", "postgres"))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		first, second := backend(ctx, t, through), backend(ctx, t, through)
		if kept := first != second; kept != keeps {
			t.Errorf("%s: two clients at once have the backends %d and %d", mode, first, second)
		}
	}
}

// backend is the server's process that a new client, which stays, was given.
func backend(ctx context.Context, t *testing.T, url string) (pid uint32) {
	t.Helper()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(ctx) })
	if err := conn.QueryRow(ctx, "SELECT pg_backend_pid()", pgx.QueryExecModeSimpleProtocol).Scan(&pid); err != nil {
		t.Fatal(err)
	}
	if pid == conn.PgConn().PID() {
		t.Errorf("the client was told the real backend %d", pid)
	}
	return pid
}
