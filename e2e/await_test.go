package e2e_test

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// How a test waits: for conditions, with a deadline.

// awaitDrained waits until no row is pending.
func (w *world) awaitDrained() {
	w.t.Helper()
	w.awaitFor(longPatience, "all rows are settled", func() bool { return w.pending() == 0 })
}

// awaitStored waits until the stream has taken so many messages.
func (w *world) awaitStored(n int) {
	w.t.Helper()
	w.await(fmt.Sprintf("the stream has %d messages", n), func() bool { return w.stored() >= n })
}

// await polls a condition. Each half of patience it looks whether relays have settled more
// rows. While they have, it goes on, up to longPatience: the machine is slow.
func (w *world) await(what string, condition func() bool) {
	w.t.Helper()
	began, before := time.Now(), -1
	for !w.holdsWithin(patience/2, condition) {
		state := w.state()
		if waited := time.Since(began); before >= 0 && state.settled() <= before || waited > longPatience {
			w.t.Fatalf("waited %v in vain until %s; %s", waited.Round(time.Second), what, state)
		}
		before = state.settled()
	}
}

// awaitFor polls a condition that has to hold within d.
func (w *world) awaitFor(d time.Duration, what string, condition func() bool) {
	w.t.Helper()
	if !w.holdsWithin(d, condition) {
		w.t.Fatalf("waited %v in vain until %s; %s", d, what, w.state())
	}
}

func (w *world) holdsWithin(d time.Duration, condition func() bool) bool {
	w.t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(d); !condition(); <-tick.C {
		if time.Now().After(deadline) {
			return false
		}
	}
	return true
}

// letPass holds a condition, such as a broker that is down, for some time.
func (w *world) letPass(d time.Duration) {
	w.t.Helper()
	began := time.Now()
	w.await("time has passed", func() bool { return time.Since(began) >= d })
}

// tableState is where the rows of a table are.
type tableState struct {
	sent, dead, waiting, pending int
	err                          error // the database does not tell
}

func (s tableState) settled() int { return s.sent + s.dead }

// String is for the message of a failed test.
func (s tableState) String() string {
	if s.err != nil {
		return "the database does not tell of its rows: " + s.err.Error()
	}
	return fmt.Sprintf("rows: %d sent, %d dead, %d pending, of these %d with attempts", s.sent, s.dead, s.pending, s.waiting)
}

// state asks in a session of its own: the test may have locked the rows, and may be in the
// middle of a transaction.
func (w *world) state() (s tableState) {
	ctx, cancel := context.WithTimeout(w.t.Context(), 5*time.Second)
	defer cancel()
	db, err := pgx.Connect(ctx, w.url)
	if err != nil {
		s.err = err
		return s
	}
	defer func() { _ = db.Close(ctx) }()
	s.err = db.QueryRow(ctx, w.sql(`SELECT count(*) FILTER (WHERE sent_at IS NOT NULL), count(*) FILTER (WHERE dead_at IS NOT NULL),
		count(*) FILTER (WHERE sent_at IS NULL AND dead_at IS NULL AND attempts > 0),
		count(*) FILTER (WHERE sent_at IS NULL AND dead_at IS NULL) FROM {outbox}`)).Scan(&s.sent, &s.dead, &s.waiting, &s.pending)
	return s
}
