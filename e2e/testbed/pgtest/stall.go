package pgtest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// patience is how long a server may take for what it does at once.
const patience = 20 * time.Second

// StallCommits makes every commit wait for a synchronous standby that does not exist,
// until release is called. Call it once. A transaction that waits so is in the log, and
// not visible to others. Sessions with synchronous_commit = local, or off, are spared.
// It is for a cluster of the test's own.
func StallCommits(t testing.TB, url string) (release func()) {
	t.Helper()
	conn := Connect(t, url)
	waitForNobody(t, url, conn)
	return func() {
		t.Helper()
		setStandbys(t, conn, "")
		// Each process reads the settings for itself.
		await(t, "no commit waits any more", func() bool { return stalled(t, conn) == 0 })
		_ = conn.Close(context.WithoutCancel(t.Context()))
	}
}

// Synchronize makes every commit wait for standbys. names is a value of the setting
// synchronous_standby_names. It is for a cluster
// of the test's own.
func Synchronize(t testing.TB, url, names string) {
	t.Helper()
	conn := Connect(t, url)
	// Where none was set before, commits go on without waiting until the checkpointer has
	// read the setting.
	waitForNobody(t, url, conn)
	setStandbys(t, conn, names)
}

func waitForNobody(t testing.TB, url string, conn *pgx.Conn) {
	t.Helper()
	setStandbys(t, conn, "nobody")
	await(t, "commits stall", func() bool { return probeStalls(t, url, conn) })
}

// setStandbys changes the setting and returns when this session, which waits for no
// standby, has read it.
func setStandbys(t testing.TB, conn *pgx.Conn, names string) {
	t.Helper()
	for _, sql := range []string{
		"SET synchronous_commit = local",
		"ALTER SYSTEM SET synchronous_standby_names = '" + names + "'",
		"SELECT pg_reload_conf()",
	} {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	await(t, "the setting is in force", func() bool {
		return number(t, conn, "SELECT (current_setting('synchronous_standby_names') = '"+names+"')::int") == 1
	})
}

// probeStalls says whether a commit waits already. The one that decides is the
// server's checkpointer, which reads the settings when it comes to it.
func probeStalls(t testing.TB, url string, conn *pgx.Conn) bool {
	t.Helper()
	probe := Connect(t, url)
	defer func() { _ = probe.Close(context.WithoutCancel(t.Context())) }() // it may be one of many
	pid := probe.PgConn().PID()
	committed := make(chan struct{})
	go func() {
		defer close(committed)
		_, _ = probe.Exec(context.WithoutCancel(t.Context()), "SELECT pg_logical_emit_message(true, 'probe', '')") // canceled, it has committed
	}()
	waits := false
	await(t, "a commit waits, or does not", func() bool {
		select {
		case <-committed:
			return true
		default:
			waits = number(t, conn, fmt.Sprintf("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND pid = %d", pid)) == 1
			return waits
		}
	})
	if waits {
		number(t, conn, fmt.Sprintf("SELECT pg_cancel_backend(%d)::int", pid))
	}
	<-committed
	return waits
}

// AwaitStalled waits until n commits wait for the standby.
func AwaitStalled(t testing.TB, url string, n int) {
	t.Helper()
	conn := Connect(t, url)
	await(t, "commits wait for the standby", func() bool { return stalled(t, conn) == n })
}

func stalled(t testing.TB, conn *pgx.Conn) int {
	t.Helper()
	return number(t, conn, "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
}

func number(t testing.TB, conn *pgx.Conn, sql string) (n int) {
	t.Helper()
	if err := conn.QueryRow(context.WithoutCancel(t.Context()), sql).Scan(&n); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return n
}

func await(t testing.TB, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("in vain waited until %s", what)
		}
		<-time.After(5 * time.Millisecond)
	}
}
