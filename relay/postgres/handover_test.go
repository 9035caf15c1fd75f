package postgres_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgtest"
	"github.com/outbox-relay/outbox-relay/relay"
)

// flood sends notifications on the relays' channel, in transactions of n each,
// until it is stopped.
func (f *fixture) flood(key int64, n int) (stop func()) {
	f.t.Helper()
	ctx, cancel := context.WithCancel(f.t.Context())
	done := make(chan struct{})
	conn := pgtest.Connect(f.t, f.url)
	channel := fmt.Sprintf("outbox_relay_%016x", uint64(key))
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			_, err := conn.Exec(ctx, `SELECT pg_notify($1, n::text) FROM generate_series(1, $2::int) AS n`, channel, n)
			if err != nil && ctx.Err() == nil {
				f.t.Error("flood:", err)
				return
			}
		}
	}()
	stop = func() { cancel(); <-done }
	f.t.Cleanup(stop)
	return stop
}

// standBehind returns a leader and a standby.
func (f *fixture) standBehind(t *testing.T) (leader, standby relay.Control) {
	t.Helper()
	leader, standby = f.connect(), f.connect()
	if !tryLead(t, leader) || tryLead(t, standby) {
		t.Fatal("not exactly the first leads")
	}
	return leader, standby
}

// Rule 6: anyone who may connect can notify the relays' channel.
func TestAwaitHandoverRestsUnderAFlood(t *testing.T) {
	t.Parallel()
	f := setup(t, shape{})
	key := f.lockKey()
	leader, standby := f.standBehind(t)
	f.flood(key, 1) // one by one, which is no flood to it
	const rest = 100 * time.Millisecond
	start := time.Now()
	for n := 1; n <= 20; n++ {
		if err := standby.AwaitHandover(t.Context(), rest, 2*rest); err != nil {
			t.Fatal(err)
		}
		if err := leader.Heartbeat(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took < time.Duration(n)*rest {
			t.Fatalf("%d waits took %v", n, took)
		}
		if tryLead(t, standby) {
			t.Fatal("two lead")
		}
	}
	if err := leader.Resign(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := standby.AwaitHandover(t.Context(), rest, time.Second); err != nil || !tryLead(t, standby) {
		t.Error("the standby does not take over:", err)
	}
}

// Rule 6: a server that has more notifications for a session than that can read
// answers none of its statements.
func TestStandbyListensNoMoreUnderAFlood(t *testing.T) {
	t.Parallel()
	f := setup(t, shape{})
	key := f.lockKey()
	leader, standby := f.standBehind(t)
	if err := standby.AwaitHandover(t.Context(), 0, time.Millisecond); err != nil { // it listens
		t.Fatal(err)
	}
	stop := f.flood(key, 10_000)
	if err := standby.AwaitHandover(t.Context(), 100*time.Millisecond, 10*time.Second); err != nil {
		t.Fatal(err)
	}
	for range 5 { // now it hears nothing
		start := time.Now()
		if err := standby.AwaitHandover(t.Context(), 0, 200*time.Millisecond); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took < 200*time.Millisecond {
			t.Errorf("it was woken after %v", took)
		}
		if tryLead(t, standby) {
			t.Fatal("two lead")
		}
	}
	stop()
	if err := leader.Resign(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !tryLead(t, standby) {
		t.Error("the lock is not free")
	}
}
