package tail_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgtest"
	"github.com/outbox-relay/outbox-relay/relay/tail"
	"github.com/outbox-relay/outbox-relay/schema"
)

// setupAlone is a fixture in a cluster of its own: an open transaction is in the
// way of everybody's slots.
func setupAlone(t *testing.T, settings map[string]string) *fixture {
	t.Helper()
	server := pgtest.Own(t, settings)
	return setupOn(t, server, server.URL("postgres"), schema.Options{Table: outbox})
}

// application is a session that has a transaction open, whose id it returns.
func (f *fixture) application(name string) (*pgx.Conn, string) {
	f.t.Helper()
	conn := f.other()
	execOn(f.t, conn, "SET application_name = '"+name+"'")
	execOn(f.t, conn, "BEGIN")
	var xid string
	if err := conn.QueryRow(f.t.Context(), "SELECT pg_current_xact_id()::xid::text").Scan(&xid); err != nil {
		f.t.Fatal(err)
	}
	return conn, xid
}

// slotIsWaitedFor waits until the fixture's session waits for a transaction, whichever.
func (f *fixture) slotIsWaitedFor() {
	f.t.Helper()
	eventually(f.t, "the slot waits", func() bool {
		return f.value("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'walsender' AND wait_event = 'transactionid'") == "1"
	})
}

func TestSlotIsNotWaitedForLongerThanAllowed(t *testing.T) {
	t.Parallel()
	f := setupAlone(t, map[string]string{"max_prepared_transactions": "5"})
	app, xid := f.application("billing")
	execOn(t, app, "SAVEPOINT s")
	execOn(t, app, f.sql(insert), "a") // a savepoint has an id of its own
	second, _ := f.application("second")

	f.options.LockTimeout = 100 * time.Millisecond
	blocked := func() *tail.UnavailableError {
		t.Helper()
		var err error
		for {
			start := time.Now()
			var s *tail.Stream
			if s, err = tail.Open(t.Context(), f.options); err == nil {
				s.Close()
			}
			if took := time.Since(start); took > patience/2 {
				t.Errorf("gave up after %s", took)
			}
			// On a busy machine the session does not always outlive its canceling, and
			// then there is none to ask who is in the way.
			if !errors.Is(err, context.DeadlineExceeded) || errors.As(err, new(*tail.UnavailableError)) {
				break
			}
		}
		e := unavailable(t, err, tail.ReasonBlocked)
		f.gone() // while the blocker is still there
		return e
	}
	e := blocked()
	want := fmt.Sprintf(`blocked by transaction %s of application "billing" (pid %d, database postgres)`, xid, app.PgConn().PID())
	if len(e.Blockers) != 2 || !strings.HasPrefix(e.Error(), want) || !strings.Contains(e.Error(), "and 1 more: end it (SELECT pg_terminate_backend(") {
		t.Errorf("%v: %+v", e, e.Blockers)
	}

	// Canceled, where no lock's timeout ends it.
	f.options.LockTimeout, f.options.CreateTimeout = time.Minute, 300*time.Millisecond
	if e = blocked(); len(e.Blockers) != 2 {
		t.Errorf("%v: %+v", e, e.Blockers)
	}

	// By a caller that has no more time.
	f.options.CreateTimeout = time.Minute
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	opened := make(chan error, 1)
	go func() {
		_, err := tail.Open(ctx, f.options)
		opened <- err
	}()
	f.slotIsWaitedFor()
	cancel()
	if err := <-opened; !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	f.gone()
	f.options.CreateTimeout = 300 * time.Millisecond

	// What the role may know, it says.
	f.exec("GRANT pg_read_all_stats TO " + f.options.Config.User)
	eventually(t, "the transaction is two seconds old", func() bool {
		return f.value("SELECT now() - xact_start > '2 s' FROM pg_stat_activity WHERE pid = $1", app.PgConn().PID()) == "true"
	})
	if e = blocked(); e.Blockers[0].Age < 2*time.Second || !strings.Contains(e.Error(), ") for ") {
		t.Errorf("%v: %+v", e, e.Blockers)
	}

	execOn(t, second, "ROLLBACK")
	execOn(t, app, "PREPARE TRANSACTION 'left''behind'")
	e = blocked()
	if len(e.Blockers) != 1 || e.Blockers[0].Prepared != "left'behind" || !strings.Contains(e.Error(), "ROLLBACK PREPARED 'left''behind'") {
		t.Errorf("%v: %+v", e, e.Blockers)
	}

	f.exec("COMMIT PREPARED 'left''behind'")
	f.options.CreateTimeout = time.Minute
	f.stream()
}

func TestPreparedTransactionsComeWhenTheyAreCommitted(t *testing.T) {
	t.Parallel()
	f := setupAlone(t, map[string]string{"max_prepared_transactions": "5"})
	s := f.stream()
	for _, name := range []string{"a", "b"} {
		f.exec("BEGIN")
		f.exec(insert, name)
		f.exec("PREPARE TRANSACTION '" + name + "'")
	}
	f.exec(insert, "c")
	f.exec("ROLLBACK PREPARED 'a'")
	f.exec("COMMIT PREPARED 'b'")
	if got := topics(rows(t, s, 2)); got != "c b" {
		t.Errorf("rows %s", got)
	}
}

// TestRelayKilledWhileItWaitsForItsSlotLeavesNothing is about a relay that can
// no longer cancel anything: its connections are cut, and it gets no new ones.
func TestRelayKilledWhileItWaitsForItsSlotLeavesNothing(t *testing.T) {
	t.Parallel()
	f := setupAlone(t, nil)
	f.application("billing")
	// So that no timeout of the server's own ends it.
	f.options.LockTimeout, f.options.CreateTimeout = time.Minute, time.Minute
	proxy := f.throughProxy()
	failed := make(chan error, 1)
	go func() {
		_, err := tail.Open(context.WithoutCancel(t.Context()), f.options)
		failed <- err
	}()
	f.slotIsWaitedFor()
	proxy.Refuse(true)
	proxy.Cut()
	if err := <-failed; err == nil {
		t.Error("a stream without a connection")
	}
	f.gone() // while the blocker is still there
}
