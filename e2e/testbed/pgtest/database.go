package pgtest

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// cleanupDeadline bounds what happens at a test's end.
const cleanupDeadline = 30 * time.Second

var databases atomic.Int64

// Database creates an empty database in the shared cluster and returns the
// superuser's URL for it. At the test's end it is dropped, whoever is still
// connected.
func Database(t testing.TB) string {
	t.Helper()
	s := Server(t)
	name := fmt.Sprintf("test_%d_%d", os.Getpid(), databases.Add(1))
	maintain(t, s.URL("postgres"), func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, "CREATE DATABASE "+name+" TEMPLATE template0")
		return err
	})
	t.Cleanup(func() {
		maintain(t, s.URL("postgres"), func(ctx context.Context, conn *pgx.Conn) error {
			return drop(ctx, conn, name)
		})
	})
	return s.URL(name)
}

// drop ends the walsenders first: DROP DATABASE refuses, even WITH FORCE, while
// a logical slot of the database is in use.
func drop(ctx context.Context, conn *pgx.Conn, name string) error {
	const walsenders = `SELECT count(pg_terminate_backend(active_pid, 10000))
		FROM pg_replication_slots WHERE database = $1 AND active_pid IS NOT NULL`
	if _, err := conn.Exec(ctx, walsenders, name); err != nil {
		return fmt.Errorf("end walsenders of %s: %w", name, err)
	}
	if _, err := conn.Exec(ctx, "DROP DATABASE "+name+" WITH (FORCE)"); err != nil {
		return fmt.Errorf("drop database %s: %w", name, err)
	}
	return nil
}

// maintain runs f on a connection of its own, which also works at a test's end,
// when its context is over.
func maintain(t testing.TB, url string, f func(context.Context, *pgx.Conn) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), cleanupDeadline)
	defer cancel()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Error("connect for maintenance:", err)
		return
	}
	defer func() { _ = conn.Close(ctx) }()
	if err := f(ctx, conn); err != nil {
		t.Error("maintain test database:", err)
	}
}

// Connect opens a connection and closes it at the test's end. A test may close
// it before.
func Connect(t testing.TB, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal("connect:", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), cleanupDeadline)
		defer cancel()
		_ = conn.Close(ctx) // the server may be gone, which is the test's affair
	})
	return conn
}
