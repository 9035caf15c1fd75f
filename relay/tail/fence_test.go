package tail_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgtest"
	"github.com/outbox-relay/outbox-relay/relay/tail"
)

// waitsFor waits until the fixture's replication session waits for the
// transaction.
func (f *fixture) waitsFor(xid string) {
	f.t.Helper()
	eventually(f.t, "the slot waits for transaction "+xid, func() bool {
		return f.value(`SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid)
			WHERE a.application_name = $1 AND NOT l.granted AND l.transactionid::text = $2`, f.options.ApplicationName, xid) == "1"
	})
}

// X commits, and waits for the synchronous standby, while the slot waits for an
// older transaction: the slot starts behind X's commit, and X is not visible yet.
// A survey that came now would miss it, and so would the stream. (Rule 3: the
// fence.)
func TestFenceWaitsForWhatHasCommittedAndIsNotVisible(t *testing.T) {
	t.Parallel()
	f := setupAlone(t, nil)
	f.options.LockTimeout, f.options.CreateTimeout = time.Minute, time.Minute // more than the schedule takes
	first, firstXID := f.application("first")
	opened := make(chan *tail.Stream, 1)
	go func() {
		s, err := tail.Open(t.Context(), f.options)
		if err != nil {
			t.Error(err)
		}
		opened <- s
	}()
	f.waitsFor(firstXID)
	second, secondXID := f.application("second")
	execOn(t, first, "COMMIT")
	f.waitsFor(secondXID)

	release := pgtest.StallCommits(t, f.url)
	x := f.other()
	committed := make(chan error, 1)
	go func() {
		_, err := x.Exec(t.Context(), f.sql(insert), "x")
		committed <- err
	}()
	pgtest.AwaitStalled(t, f.url, 1)
	execOn(t, second, "ROLLBACK") // writes no commit that would wait too
	s := <-opened
	if s == nil {
		t.FailNow()
	}
	t.Cleanup(s.Close)
	if f.visible("x") {
		t.Fatal("X is visible before its time: the schedule did not come about")
	}

	fenced := make(chan error, 1)
	go func() { fenced <- s.Fence(t.Context()) }()
	select {
	case err := <-fenced: // without the rule
		t.Errorf("the fence let through while X was neither visible nor in the stream (error %v)", err)
		release()
	case <-time.After(300 * time.Millisecond):
		release()
		if err := <-fenced; err != nil {
			t.Fatal(err)
		}
		if !f.visible("x") {
			t.Error("X is not visible after the fence")
		}
	}
	if err := <-committed; err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.exec(insert, "y")
	if got := topics(rows(t, s, 1)); got != "y" {
		t.Errorf("the stream begins with %s: the schedule did not come about", got)
	}
}

func (f *fixture) visible(topic string) bool {
	f.t.Helper()
	return f.value("SELECT count(*) FROM {t} WHERE topic = $1", topic) == "1"
}

// Somebody's transaction that stays open keeps the fence from being passed, and
// is named, whether the fence's time ends between two of its statements or cancels one.
func TestFenceNamesWhoIsInTheWay(t *testing.T) {
	t.Parallel()
	f := setupAlone(t, nil)
	f.options.LockTimeout, f.options.CreateTimeout = time.Minute, time.Minute
	s := f.open()
	app, _ := f.application("billing")
	named := 0
	for limit := 100 * time.Millisecond; named == 0; limit *= 2 {
		tail.LimitFence(s, limit)
		err := s.Fence(t.Context())
		e, blocked := errors.AsType[*tail.UnavailableError](err)
		switch {
		case limit > patience, err == nil, !blocked && !errors.Is(err, context.DeadlineExceeded):
			t.Fatalf("after %s: %v", limit, err)
		case !blocked:
			// On a busy machine the session does not always outlive its canceling, and then
			// there is none to ask who is in the way.
			execOn(t, app, "ROLLBACK")
			s = f.open()
			app, _ = f.application("billing")
		case e.Reason != tail.ReasonBlocked || len(e.Blockers) > 1 || len(e.Blockers) == 1 && e.Blockers[0].Application != "billing":
			t.Errorf("%v: %+v", e, e.Blockers)
		}
		if blocked {
			named += len(e.Blockers)
		}
	}
	canceled := &pgconn.PgError{Code: "57014"}
	if e := unavailable(t, tail.RefusedFence(t.Context(), s, canceled), tail.ReasonBlocked); !errors.Is(e, canceled) {
		t.Errorf("in the middle of a statement: %v", e)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := tail.RefusedFence(ctx, s, canceled); !errors.Is(err, context.Canceled) {
		t.Errorf("by the caller: %v", err)
	}
	tail.LimitFence(s, time.Minute)
	execOn(t, app, "ROLLBACK")
	if err := s.Fence(t.Context()); err != nil {
		t.Errorf("the fence is not passed after the transaction's end: %v", err)
	}
}
