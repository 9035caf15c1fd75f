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

// await polls a condition. While rows still move from one state to another, the machine is
// slow and nothing hangs: then it waits until longPatience is over.
func (w *world) await(what string, condition func() bool) {
	w.t.Helper()
	began, before := time.Now(), ""
	for !w.holdsWithin(patience/2, condition) {
		state := w.state()
		if waited := time.Since(began); before != "" && (state == before || waited > longPatience) {
			w.t.Fatalf("waited %v in vain until %s; %s", waited.Round(time.Second), what, state)
		}
		before = state
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

// state says where the rows are. The test may have locked them, and may be in the middle of a
// transaction: it asks in a session of its own.
func (w *world) state() string {
	var sent, dead, waiting, pending int
	ctx, cancel := context.WithTimeout(w.t.Context(), 5*time.Second)
	defer cancel()
	db, err := pgx.Connect(ctx, w.url)
	if err != nil {
		return "the database does not tell of its rows: " + err.Error()
	}
	defer func() { _ = db.Close(ctx) }()
	err = db.QueryRow(ctx, w.sql(`SELECT count(*) FILTER (WHERE sent_at IS NOT NULL), count(*) FILTER (WHERE dead_at IS NOT NULL),
		count(*) FILTER (WHERE sent_at IS NULL AND dead_at IS NULL AND attempts > 0),
		count(*) FILTER (WHERE sent_at IS NULL AND dead_at IS NULL) FROM {outbox}`)).Scan(&sent, &dead, &waiting, &pending)
	if err != nil {
		return "the database does not tell of its rows: " + err.Error()
	}
	return fmt.Sprintf("rows: %d sent, %d dead, %d pending, of these %d with attempts", sent, dead, pending, waiting)
}
