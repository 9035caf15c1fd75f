package e2e_test

import (
	"context"
	"fmt"
	"time"
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

// await polls a condition.
func (w *world) await(what string, condition func() bool) {
	w.t.Helper()
	w.awaitFor(patience, what, condition)
}

func (w *world) awaitFor(d time.Duration, what string, condition func() bool) {
	w.t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(d); !condition(); <-tick.C {
		if time.Now().After(deadline) {
			w.t.Fatalf("waited %v in vain until %s; %s", d, what, w.state())
		}
	}
}

// letPass holds a condition, such as a broker that is down, for some time.
func (w *world) letPass(d time.Duration) {
	w.t.Helper()
	began := time.Now()
	w.await("time has passed", func() bool { return time.Since(began) >= d })
}

// state says where the rows are, for the message of a failed test, which may have locked them.
func (w *world) state() string {
	var sent, dead, waiting, pending int
	ctx, cancel := context.WithTimeout(w.t.Context(), 5*time.Second)
	defer cancel()
	err := w.conn().QueryRow(ctx, w.sql(`SELECT count(*) FILTER (WHERE sent_at IS NOT NULL), count(*) FILTER (WHERE dead_at IS NOT NULL),
		count(*) FILTER (WHERE sent_at IS NULL AND dead_at IS NULL AND attempts > 0),
		count(*) FILTER (WHERE sent_at IS NULL AND dead_at IS NULL) FROM {outbox}`)).Scan(&sent, &dead, &waiting, &pending)
	if err != nil {
		return "the database does not tell of its rows: " + err.Error()
	}
	return fmt.Sprintf("rows: %d sent, %d dead, %d pending, of these %d with attempts", sent, dead, pending, waiting)
}
