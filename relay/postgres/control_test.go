package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/faultproxy"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgtest"
	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/relay/postgres"
	"github.com/outbox-relay/outbox-relay/schema"
)

func tryLead(t *testing.T, c relay.Control) bool {
	t.Helper()
	ok, err := c.TryLead(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return ok
}

// sessions counts the relay's connections.
func (f *fixture) sessions() int64 {
	f.t.Helper()
	return f.value(`SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
		AND application_name LIKE 'outbox-relay %'`).(int64)
}

func TestOnlyOneLeads(t *testing.T) {
	t.Parallel()
	f := setup(t, shape{})
	a, b := f.connect(), f.connect()
	if !tryLead(t, a) || tryLead(t, b) {
		t.Fatal("not exactly the first leads")
	}
	if !tryLead(t, a) {
		t.Error("the leader lost the lock by asking again")
	}
	if err := a.Resign(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !tryLead(t, b) || tryLead(t, a) {
		t.Error("the lock was not handed over")
	}
	b.Close()
	eventually(t, "the lock is free after the leader's end", func() bool { return tryLead(t, a) })
}

func TestTablesHaveSeparateLocks(t *testing.T) {
	t.Parallel()
	f := setup(t, shape{})
	other := *f
	table, err := schema.ParseTable(`"public.outbox"."outbox"`)
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Migrate(t.Context(), f.admin, schema.Options{Table: table, Publication: "outbox_relay"}); err != nil {
		t.Fatal(err)
	}
	f.exec(`GRANT USAGE ON SCHEMA "public.outbox" TO ` + f.role())
	f.exec(`GRANT SELECT, UPDATE ON ` + table.Quoted() + ` TO ` + f.role())
	f.exec(`GRANT SELECT ON ` + table.Note().Quoted() + ` TO ` + f.role())
	other.table, other.options.Table = table, table
	if !tryLead(t, f.connect()) || !tryLead(t, other.connect()) {
		t.Error("two tables share a lock")
	}
}

func TestResignWakesTheStandbys(t *testing.T) {
	t.Parallel()
	f := setup(t, shape{})
	leader, standby := f.connect(), f.connect()
	if !tryLead(t, leader) {
		t.Fatal("no leader")
	}
	start := time.Now()
	if err := standby.AwaitHandover(t.Context(), 0, 50*time.Millisecond); err != nil || time.Since(start) < 50*time.Millisecond {
		t.Fatalf("without a hand-over: %v after %s", err, time.Since(start))
	}
	woken := make(chan error, 1)
	go func() { woken <- standby.AwaitHandover(t.Context(), 0, 10*time.Minute) }()
	if err := leader.Resign(t.Context()); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-woken:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(patience):
		t.Fatal("the standby was not woken")
	}
	if !tryLead(t, standby) {
		t.Error("the lock is not free when the standby wakes")
	}
	// The one that resigned is not woken by its own farewell.
	start = time.Now()
	if err := leader.AwaitHandover(t.Context(), 0, 100*time.Millisecond); err != nil || time.Since(start) < 100*time.Millisecond {
		t.Errorf("%v after %s", err, time.Since(start))
	}
	if err := leader.Heartbeat(t.Context()); err != nil {
		t.Error("after the wait:", err)
	}
}

func TestAwaitHandoverEndsWithItsContext(t *testing.T) {
	t.Parallel()
	f := setup(t, shape{})
	c := f.connect()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.AwaitHandover(ctx, 0, time.Minute); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestReadingIsForTheLeaderOnly(t *testing.T) {
	t.Parallel()
	f := setup(t, shape{})
	d := f.database()
	c, err := d.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := d.OpenReader(t.Context(), c); !errors.Is(err, relay.ErrNotLeader) {
		t.Error("without the lock:", err)
	}
	leader := f.connect()
	if !tryLead(t, leader) {
		t.Fatal("no leader")
	}
	if _, err := d.OpenReader(t.Context(), c); !errors.Is(err, relay.ErrNotLeader) {
		t.Error("while another has the lock:", err)
	}
	eventually(t, "the refused sessions are gone", func() bool { return f.sessions() == 2 })
}

// Rule 12: with several hosts in the URL the two sessions may reach different
// servers, on each of which somebody may lead.
func TestReadingFromAnotherServerIsRefused(t *testing.T) {
	t.Parallel()
	f := setup(t, shape{})
	c := f.connect()
	if !tryLead(t, c) {
		t.Fatal("no leader")
	}
	other := pgtest.Own(t, nil)
	admin := pgtest.Connect(t, other.URL("postgres"))
	if err := schema.Migrate(t.Context(), admin, schema.Options{Table: f.table, Publication: "outbox_relay"}); err != nil {
		t.Fatal(err)
	}
	d, err := postgres.New(postgres.Options{URL: other.URL("postgres"), Table: f.table})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.OpenReader(t.Context(), c); !errors.Is(err, relay.ErrNotLeader) {
		t.Error(err)
	}
}

func TestConnectionCounts(t *testing.T) {
	t.Parallel()
	f := setup(t, shape{})
	c, s := f.lead()
	standby := f.connect()
	tryLead(t, standby)
	if n := f.sessions(); n != 3 {
		t.Errorf("a leader and a standby have %d connections, want 2 and 1", n)
	}
	if n := f.value(`SELECT count(*) FROM pg_stat_activity WHERE application_name = 'outbox-relay public.outbox test'
		AND datname = current_database()`); n != int64(3) {
		t.Errorf("%d of them are named", n)
	}
	for range 2 {
		s.Close()
		c.Close()
		standby.Close()
	}
	eventually(t, "all sessions are gone", func() bool { return f.sessions() == 0 })
	if err := c.Heartbeat(t.Context()); err == nil {
		t.Error("a heartbeat of a closed session")
	}
}

func TestEndedSessionIsAnError(t *testing.T) {
	t.Parallel()
	f := setup(t, shape{})
	c, s := f.lead()
	f.exec(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'outbox-relay %' AND datname = current_database()`)
	eventually(t, "the sessions are gone, and with them the lock", func() bool { return f.sessions() == 0 })
	if err := c.Heartbeat(t.Context()); err == nil {
		t.Error("the leader did not notice that its session was ended")
	}
	if _, err := s.Begin(t.Context()); err == nil {
		t.Error("the read session did not notice that its session was ended")
	}
	if !tryLead(t, f.connect()) {
		t.Error("the lock is not free")
	}
}

// Rule 13: the kernel of a frozen relay goes on answering keepalives.
func TestSilentLeaderLosesTheLock(t *testing.T) {
	t.Parallel()
	f := setup(t, shape{})
	c, mortal := f.connectMortal()
	if !tryLead(t, c) {
		t.Fatal("no leader")
	}
	standby := f.connect()
	mortal()
	eventually(t, "the silent leader is ended", func() bool { return tryLead(t, standby) })
	err := c.Heartbeat(t.Context())
	if err == nil || !strings.Contains(err.Error(), "silent for too long") {
		t.Error("the heartbeat of the one that was silent:", err)
	}
}

func TestHalfOpenConnectionIsNoticed(t *testing.T) {
	t.Parallel()
	f := setup(t, shape{})
	direct := fmt.Sprintf("127.0.0.1:%d", pgtest.Server(t).Port())
	proxy, err := faultproxy.Start(t.Context(), direct)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = proxy.Close() }()
	f.options.URL = strings.Replace(f.url, direct, proxy.Addr(), 1)
	c, s := f.lead()
	proxy.Stall(true)
	start := time.Now()
	if err := c.Heartbeat(t.Context()); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	if took := time.Since(start); took > 30*time.Second {
		t.Errorf("noticed after %s", took)
	}
	start = time.Now()
	c.Close()
	s.Close()
	if took := time.Since(start); took > 30*time.Second {
		t.Errorf("closing took %s", took)
	}
}

func TestCancelledReadEndsAtOnce(t *testing.T) {
	t.Parallel()
	f := setup(t, shape{})
	_, s := f.lead()
	pass := f.begin(s)
	locker := f.other()
	for _, sql := range []string{"BEGIN", f.sql(`LOCK TABLE {t} IN ACCESS EXCLUSIVE MODE`)} {
		if _, err := locker.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := s.Chunk(ctx, request(pass))
		ended <- err
	}()
	eventually(t, "the read waits for the lock", func() bool {
		return f.value(`SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = $1::text::regclass`, f.table.Quoted()).(int64) == 1
	})
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) { // at its deadline it would be another
		t.Error(err)
	}
	s.Close()
	eventually(t, "its session is gone", func() bool { return f.sessions() == 1 })
}
