package engine_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgtest"
	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/relay/engine"
)

// lockKey is the key of the lock that the leader of the harness's table holds.
func (h *harness) lockKey() int64 {
	h.Helper()
	return h.int(`SELECT classid::bigint << 32 | objid::bigint FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ExclusiveLock'
		AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`)
}

// Rule 18: whoever may connect to the database can take the lock.
func TestStandbySaysWhoHoldsTheLock(t *testing.T) {
	h := start(t, func(c *engine.Config) { c.HolderAfter = 300 * time.Millisecond }, nil)
	stop := h.run()
	h.until("a relay leads", func() bool { return h.relay.Status().Mode.Leads() })
	key := h.lockKey()
	second := h.beside(func(*engine.Config) {})
	h.until("the other one says who leads", func() bool {
		s := second.Status()
		return s.Mode == relay.StandingBy && !s.NoRelayLeads && strings.Contains(s.Reason, "another relay leads: pid ")
	})
	thief := pgtest.Connect(t, h.conn.Config().ConnString())
	waits := make(chan error, 1)
	go func() { // first in the queue
		_, err := thief.Exec(context.WithoutCancel(t.Context()), "SET application_name = 'nightly report'; SELECT pg_advisory_lock("+fmt.Sprint(key)+")")
		waits <- err
	}()
	h.until("somebody waits for the lock", func() bool {
		return h.int("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND pid = "+fmt.Sprint(thief.PgConn().PID())) == 1
	})
	stop()
	if err := <-waits; err != nil {
		t.Fatal(err)
	}
	h.until("the standby says who holds it instead", func() bool {
		s := second.Status()
		return s.Mode == relay.StandingBy && s.NoRelayLeads && strings.Contains(s.Reason, `"nightly report"`)
	})
	fix := fmt.Sprintf("SELECT pg_terminate_backend(%d);", thief.PgConn().PID())
	h.untilLogged(fix)
	h.exec(fix)
	h.until("the standby leads", func() bool { return second.Status().Mode.Leads() })
	if s := second.Status(); s.NoRelayLeads || strings.Contains(s.Reason, "nightly") {
		t.Errorf("it leads, and says %+v", s)
	}
	h.untilLogged("recovered")
	h.insert(1)
	h.untilMarked(1)
}

// tryCounter counts how often a relay tries for the lock.
type tryCounter struct {
	relay.Database
	tries atomic.Int64
}

type countedControl struct {
	relay.Control
	tries *atomic.Int64
}

func (d *tryCounter) Connect(ctx context.Context) (relay.Control, error) {
	c, err := d.Database.Connect(ctx)
	return countedControl{c, &d.tries}, err
}

func (c countedControl) TryLead(ctx context.Context) (bool, error) {
	c.tries.Add(1)
	return c.Control.TryLead(ctx)
}

// Rule 6: notifications wake a standby no more often than it may poll.
func TestFloodOfNotificationsDoesNotMakeAStandbySpin(t *testing.T) {
	const rest = time.Second
	h := start(t, func(c *engine.Config) { c.PollInterval = rest }, nil)
	h.run()
	h.until("a relay leads", func() bool { return h.relay.Status().Mode.Leads() })
	channel := fmt.Sprintf("outbox_relay_%016x", uint64(h.lockKey()))
	counter := &tryCounter{Database: h.config.Database}
	second := h.beside(func(c *engine.Config) { c.Database = counter })
	h.until("the other one stands by", func() bool { return second.Status().Mode == relay.StandingBy })
	flood := pgtest.Connect(t, h.conn.Config().ConnString())
	before, began := counter.tries.Load(), time.Now()
	sent := 0
	for time.Since(began) < 3*rest || sent < 50 { // which a busy machine does not send in that time
		if _, err := flood.Exec(t.Context(), "SELECT pg_notify($1, '')", channel); err != nil {
			t.Fatal(err)
		}
		sent++ // one by one: more than a hundred at once, and it would listen no more
	}
	tries, most := counter.tries.Load()-before, int64(time.Since(began)/rest)+1
	t.Logf("%d notifications in %v, and %d tries for the lock", sent, time.Since(began).Round(time.Millisecond), tries)
	if tries > most {
		t.Errorf("%d tries for the lock, want %d at most", tries, most)
	}
	if second.Status().Mode != relay.StandingBy {
		t.Errorf("it is %v", second.Status().Mode)
	}
}
