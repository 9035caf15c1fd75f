package e2e_test

import (
	"slices"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/e2e/oracle"
)

// PostgreSQL does not end before its walsenders have sent all of the log and been
// told that it was read. A relay that tails under load must not keep an
// administrator waiting: both are measured in one run, in turn, and the quickest
// of each counts, so that a busy machine does not.
func TestRelayDoesNotHoldUpAFastShutdown(t *testing.T) {
	t.Parallel()
	const rounds, margin = 3, 2 * time.Second
	w := newTailWorld(t, worldOptions{})
	load := w.load(oracle.Load{Rate: 1000, Seed: 70})
	var with, without []time.Duration
	for range rounds {
		w.awaitLoad(load, 300)
		without = append(without, w.stopFast())
		relay, _ := w.tailing()
		w.awaitLoad(load, 300)
		w.awaitTailing(relay)
		with = append(with, w.stopFast())
		w.awaitDrainedBut(load)
		relay.Terminate()
	}
	relay := w.relay()
	w.stop(load, 1000)
	w.awaitDrained()
	relay.Terminate()
	t.Logf("without the relay: %v; with it: %v", without, with)
	if extra := slices.Min(with) - slices.Min(without); extra >= margin {
		t.Errorf("a fast shutdown takes %v longer with the relay, want less than %v", extra, margin)
	}
	w.verdict(oracle.Limits{Redeliveries: rounds * window})
}

// stopFast stops PostgreSQL as pg_ctl stop -m fast does, starts it again and
// returns how long the stop took.
func (w *world) stopFast() time.Duration {
	w.t.Helper()
	began := time.Now()
	if err := w.options.cluster.Stop(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	took := time.Since(began)
	if err := w.options.cluster.Restart(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	w.awaitReconnect()
	return took
}

// awaitLoad waits until a load has committed so many rows more.
func (w *world) awaitLoad(load *oracle.Running, rows int) {
	w.t.Helper()
	until := load.Committed() + rows
	w.await("the load has gone on", func() bool { return load.Committed() >= until })
}

// awaitDrainedBut waits until what the load has committed by now was published.
func (w *world) awaitDrainedBut(load *oracle.Running) {
	w.t.Helper()
	until := load.Committed()
	w.await("what is committed is published", func() bool { return w.stored() >= until })
}
