//go:build patroni

package e2e_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/outbox-relay/outbox-relay/e2e/oracle"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/patroni"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgtest"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/relaybin"
)

// patroniWorld is a world whose database is a Patroni cluster.
type patroniWorld struct {
	*world
	cluster *patroni.Cluster
	fleet   *fleet
}

func newPatroniWorld(t *testing.T) *patroniWorld {
	t.Helper()
	c, err := patroni.Start(t.Context(), 3)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("close Patroni: %v", err)
		}
	})
	w := &patroniWorld{world: newWorld(t, worldOptions{url: c.URL("postgres")}), cluster: c}
	// As docs/managed.md advises: Patroni names the standbys only some time after a
	// promotion.
	w.env["OUTBOX_VISIBILITY_GATE"] = "on"
	w.fleet = w.world.fleet(2)
	return w
}

// Both ways in which Patroni changes the leader, once each, with synchronous_mode. The
// relay and the application know the members' addresses and nothing else.
func TestPatroniSwitchoverAndFailoverLoseNothing(t *testing.T) {
	w := newPatroniWorld(t)
	load := w.load(oracle.Load{Rate: 200, Seed: 90})
	w.awaitStored(300)
	// Patroni drops permanent slots that it does not know. This one it leaves alone.
	w.demandOnceTailed(w.fleet.awaitTailing(), func(int) { w.letPass(5 * time.Second) })

	first := w.leader()
	began := time.Now()
	said, err := w.cluster.Switchover(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("patronictl says:\n%s", said)
	second := w.takenOver("switchover", first, began)

	// The standby that takes over has to be a synchronous one again.
	if err := w.cluster.AwaitSynchronous(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.awaitStored(w.stored() + 300)
	began = time.Now()
	if err := second.Crash(); err != nil {
		t.Fatal(err)
	}
	w.takenOver("failover", second, began)
	w.demandNoSlot(first, second)

	stats := w.stop(load, 1000)
	w.awaitDrained()
	w.fleet.terminate()
	t.Logf("the load: %+v", stats)
	if lost := stats.Committed - w.count(`SELECT count(*) FROM oracle.entry`); lost > 0 {
		t.Errorf("%d rows that were committed are not there: Patroni has promoted a standby without them", lost)
	}
	// Marks are committed without waiting for the standby: those of the last moments go
	// with the leader that was killed.
	const marksOfASecond = 200
	w.verdict(oracle.Limits{Redeliveries: 2*window + marksOfASecond})
}

func (w *patroniWorld) leader() *patroni.Member {
	w.t.Helper()
	m, err := w.cluster.Leader(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return m
}

// takenOver waits until another member leads, and the relays publish what it takes and
// read its log, and tells how long that took.
func (w *patroniWorld) takenOver(what string, from *patroni.Member, began time.Time) *patroni.Member {
	w.t.Helper()
	next, err := w.cluster.AwaitOther(w.t.Context(), from)
	if err != nil {
		w.t.Fatal(err)
	}
	led := time.Since(began)
	// Patroni calls it the leader before its promotion has ended.
	w.await("a member takes writes", func() bool {
		conn, err := pgconn.Connect(w.t.Context(), w.url)
		if err == nil {
			_ = conn.Close(w.t.Context())
		}
		return err == nil
	})
	w.awaitReconnect()
	writes := time.Since(began)
	w.fleet.awaitPublishing()
	published := time.Since(began)
	w.fleet.awaitTailing()
	w.t.Logf("%s from %s to %s: led after %.1f s, takes writes after %.1f s, published after %.1f s, log read after %.1f s",
		what, from.Name, next.Name, led.Seconds(), writes.Seconds(), published.Seconds(), time.Since(began).Seconds())
	w.fleet.demandOneLeader()
	for i, r := range w.fleet.relays {
		w.t.Logf("relay %d said:\n%s", i, strings.Join(saidSince(r, began), "\n"))
	}
	w.awaitStored(w.stored() + 300)
	return next
}

// saidSince are the lines of a relay's log of which an operator takes notice.
func saidSince(r *relaybin.Process, began time.Time) []string {
	return slices.DeleteFunc(strings.Split(r.Log(), "\n"), func(line string) bool {
		var record struct {
			Time  time.Time
			Level string
		}
		return json.Unmarshal([]byte(line), &record) != nil || record.Time.Before(began) || record.Level == "DEBUG"
	})
}

// demandNoSlot demands that the members that have led keep nothing for the relays, once
// the one that was killed follows again.
func (w *patroniWorld) demandNoSlot(first, crashed *patroni.Member) {
	w.t.Helper()
	if err := crashed.Rejoin(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	for _, m := range []*patroni.Member{first, crashed} {
		if leads := w.leader() == m; leads {
			continue
		}
		var slots int
		err := pgtest.Connect(w.t, m.URL("postgres")).QueryRow(w.t.Context(), `SELECT count(*) FROM pg_replication_slots WHERE slot_type = 'logical'`).Scan(&slots)
		if err != nil {
			w.t.Fatal(err)
		}
		if slots > 0 {
			w.t.Errorf("member %s keeps %d logical slots", m.Name, slots)
		}
	}
}
