package e2e_test

import (
	"net"
	"net/url"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/e2e/oracle"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/faultproxy"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgserver"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgtest"
)

// pair is a primary with a streaming standby, in a world whose application and
// relays are given both hosts and target_session_attrs=read-write.
type pair struct {
	*world
	primary, standby *pgserver.Server
	way              *faultproxy.Proxy // from the standby to its primary
	copied           *pgx.Conn         // a session of the standby's
}

const standbyName = "second"

func newPair(t *testing.T) *pair {
	t.Helper()
	p := &pair{primary: pgtest.Own(t, nil)}
	p.world = newWorld(t, worldOptions{cluster: p.primary})
	var err error
	if p.way, err = faultproxy.Start(t.Context(), address(p.primary)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.way.Close() })
	p.standby = pgtest.Standby(t, p.primary, pgserver.StandbyOptions{Name: standbyName, Through: p.way.Addr()})
	p.copied = pgtest.Connect(t, p.standby.URL("postgres"))

	u, err := url.Parse(p.url)
	if err != nil {
		t.Fatal(err)
	}
	// The standby comes first: whoever takes the first host that answers is wrong.
	u.Host = address(p.standby) + "," + address(p.primary)
	u.RawQuery += "&target_session_attrs=read-write"
	p.url = u.String()
	p.env["OUTBOX_DATABASE_URL"] = p.relayURL()
	return p
}

func address(s *pgserver.Server) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.Port())) }

// synchronize has every commit wait for the standby.
func (p *pair) synchronize() {
	p.t.Helper()
	pgtest.Synchronize(p.t, p.primary.URL("postgres"), standbyName)
	p.await("the standby is synchronous", func() bool {
		return p.count(`SELECT count(*) FROM pg_stat_replication WHERE application_name = $1 AND sync_state = 'sync'`, standbyName) == 1
	})
}

// aftermath is what is known when the primary is dead and the standby has
// replayed whatever it got.
type aftermath struct {
	stored   int   // messages
	unmarked int   // of these, the ones without a mark on the standby
	lastID   int64 // on the standby
}

// killPrimary ends the primary, and with it what is on its way to the standby.
// The relays notice, so that nothing more is published when the standby is asked.
func (p *pair) killPrimary(f *fleet) aftermath {
	p.t.Helper()
	if err := p.primary.Kill(); err != nil {
		p.t.Fatal(err)
	}
	p.way.Cut()
	f.awaitNoneLeads()
	p.letPass(20 * smallestWindow) // the broker reads what the relays had written
	p.await("the standby has replayed what it got", func() bool {
		// A record of which it got the beginning alone is never replayed: then it waits
		// to ask for the rest.
		return p.onStandby(`SELECT (pg_last_wal_replay_lsn() >= pg_last_wal_receive_lsn()
			OR wait_event = 'RecoveryRetrieveRetryInterval')::int FROM pg_stat_activity WHERE backend_type = 'startup'`) == 1
	})
	a := aftermath{stored: p.stored(), lastID: p.onStandby(p.sql(`SELECT coalesce(max(id), 0) FROM {outbox}`))}
	a.unmarked = a.stored - int(p.onStandby(p.sql(`SELECT count(*) FROM {outbox} WHERE sent_at IS NOT NULL`)))
	return a
}

func (p *pair) onStandby(sql string) (n int64) {
	p.t.Helper()
	if err := p.copied.QueryRow(p.t.Context(), sql).Scan(&n); err != nil {
		p.t.Fatalf("%s: %v", sql, err)
	}
	return n
}

// promote makes the standby the primary, to which the relays find by themselves.
func (p *pair) promote(f *fleet) {
	p.t.Helper()
	if err := p.standby.Promote(p.t.Context()); err != nil {
		p.t.Fatal(err)
	}
	p.awaitReconnect()
	p.awaitStored(p.stored() + 300)
	f.awaitTailing()
	f.demandOneLeader()
	p.awaitStored(p.stored() + 300)
}

// An asynchronous failover takes commits back, with the ledger's entries of them.
// What is judged is what the promoted server has: each row of its is received, in
// order and under its own id, and each message that came after the failover is a
// row of its. Messages from before may be of rows that were lost with the primary:
// the broker cannot forget them, and the documentation says so. Their ids are
// given out again, to other rows.
func TestAsynchronousFailoverLosesNoReplicatedRow(t *testing.T) {
	t.Parallel()
	asynchronousFailover(t, 40)
}

func asynchronousFailover(t *testing.T, seed uint64) {
	p := newPair(t)
	load := p.load(oracle.Load{Rate: 500, Seed: seed})
	f := p.fleet(2)
	p.awaitStored(300)
	// From here on the standby gets nothing, and the relay publishes all the same.
	p.way.Stall(true)
	p.awaitStored(p.stored() + 300)
	lastID := p.count(`SELECT max(id) FROM {outbox}`)

	after := p.killPrimary(f)
	p.promote(f)
	stats := p.stop(load, 900)
	p.awaitDrained()
	f.terminate()

	t.Logf("after the primary: %+v; the load: %+v", after, stats)
	if lost := stats.Committed - p.count(`SELECT count(*) FROM oracle.entry`); lost <= 0 {
		t.Errorf("%d committed rows were lost by the failover, want some, else nothing was tested", lost)
	}
	if reused := p.count(`SELECT count(*) FROM {outbox} WHERE id > $1 AND id <= $2`, after.lastID, lastID); reused == 0 {
		t.Errorf("no id between %d and %d was used again, so that was not tested", after.lastID, lastID)
	}
	p.verdict(oracle.Limits{Redeliveries: after.unmarked, Forgotten: uint64(after.stored)})
}

// With a synchronous standby nothing that was published may be taken back: every
// message is a row that the promoted server has. The primary dies at a moment
// when commits are in its log, where the tail reads them, and not at the standby.
func TestSynchronousFailoverTakesNothingBack(t *testing.T) {
	t.Parallel()
	synchronousFailover(t, 41)
}

func synchronousFailover(t *testing.T, seed uint64) {
	p := newPair(t)
	p.synchronize()
	load := p.load(oracle.Load{Rate: 500, Seed: seed})
	// A test that fails while commits wait must not wait for them itself.
	t.Cleanup(func() { _ = p.primary.Kill() })
	f := p.fleet(2)
	p.awaitStored(300)
	p.way.Stall(true)
	p.await("commits wait for the standby", func() bool {
		return p.count(`SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'`) > 0
	})
	// The tail has had every chance to publish what it reads.
	p.letPass(time.Second)

	after := p.killPrimary(f)
	p.promote(f)
	stats := p.stop(load, 600)
	p.awaitDrained()
	f.terminate()

	t.Logf("after the primary: %+v; the load: %+v", after, stats)
	if lost := stats.Committed - p.count(`SELECT count(*) FROM oracle.entry`); lost > 0 {
		t.Errorf("%d rows that were committed are not there: the standby was not synchronous", lost)
	}
	p.verdict(oracle.Limits{Redeliveries: after.unmarked})
}
