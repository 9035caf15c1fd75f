package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgtest"
	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/relay/postgres"
)

// flood sends notifications on the relays' channel, in transactions of n each,
// until it is stopped.
func (f *fixture) flood(key int64, n int) (stop func()) {
	f.t.Helper()
	return f.floodChannel(fmt.Sprintf("outbox_relay_%016x", uint64(key)), n)
}

func (f *fixture) floodChannel(channel string, n int) (stop func()) {
	f.t.Helper()
	ctx, cancel := context.WithCancel(f.t.Context())
	done := make(chan struct{})
	conn := pgtest.Connect(f.t, f.url)
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
	isWoken := func(rest time.Duration) bool {
		start := time.Now()
		if err := standby.AwaitHandover(t.Context(), rest, rest+200*time.Millisecond); err != nil {
			t.Fatal(err)
		}
		return time.Since(start) < rest+200*time.Millisecond
	}
	// The first ones of a flood may come alone.
	var listened time.Time
	eventually(t, "it listens no more", func() bool {
		listened = time.Now()
		isWoken(100 * time.Millisecond)
		return !postgres.ListensForLock(standby)
	})
	for range 5 {
		if isWoken(0) && time.Since(listened) < 10*time.Second { // then it listens again
			t.Error("it was woken")
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

// Rule 6: a relay that reads the log hears of replays, and is not drowned by whoever
// notifies.
func TestReaderHearsReplaysAndNoFlood(t *testing.T) {
	t.Parallel()
	f := setup(t, shape{})
	_, reader := f.lead()
	wake := func(within time.Duration) (bool, error) {
		ctx, cancel := context.WithTimeout(t.Context(), within)
		defer cancel()
		return reader.AwaitWake(t.Context(), ctx)
	}
	if woken, err := wake(10 * time.Millisecond); woken || !errors.Is(err, context.DeadlineExceeded) { // it listens
		t.Errorf("%v, %v", woken, err)
	}
	f.exec(`INSERT INTO {t} (topic, payload, dead_at) SELECT 't', '1', now() FROM generate_series(1, 3)`)
	f.exec(`SELECT public.outbox_replay(1)`)
	if woken, err := wake(30 * time.Second); !woken || err != nil {
		t.Errorf("a replay by SQL: %v, %v", woken, err)
	}
	if done, err := f.dead(relay.ReplayDead).Replay(t.Context(), page(relay.DeadFilter{})); err != nil || done.Changed != 2 {
		t.Fatalf("%+v, %v", done, err)
	}
	if rows := f.readPass(reader); len(rows) != 3 || rows[0].Refused {
		t.Errorf("the session reads as before: %+v", rows)
	}
	if woken, err := wake(30 * time.Second); !woken || err != nil {
		t.Errorf("a replay by command: %v, %v", woken, err)
	}
	stop := f.floodChannel(f.table.WakeChannel(), 10_000)
	if woken, err := wake(30 * time.Second); !woken || err != nil {
		t.Errorf("under a flood: %v, %v", woken, err)
	}
	eventually(t, "it listens no more", func() bool {
		_, err := wake(time.Millisecond)
		return errors.Is(err, context.DeadlineExceeded) && !postgres.Listens(reader)
	})
	stop()
}
