package engine_test

import (
	"slices"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgtest"
	"github.com/outbox-relay/outbox-relay/relay/engine"
)

// The broker is away for a moment while the log is read: what was in memory is
// left to the table, and a survey comes before the log goes on. (Rule 5: after
// the window is given back, everything is held.)
func TestBrokerAwayForAMomentReordersNothing(t *testing.T) {
	h := start(t, func(c *engine.Config) { tailed(c); c.MaxInFlight = 8 }, nil)
	h.run()
	h.untilTailing()
	var want []int64
	for range 3 {
		h.broker.Shutdown()
		for range 10 {
			want = append(want, h.insertKeyed("K"))
		}
		if err := h.broker.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		for range 10 {
			want = append(want, h.insertKeyed("K"))
		}
		h.untilMarked(int64(len(want)))
	}
	var got []int64
	for _, id := range h.stored() {
		if !slices.Contains(got, id) {
			got = append(got, id)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("first deliveries of the key: %v, want %v", got, want)
	}
	if n := h.int("SELECT count(*) FROM " + h.table + " WHERE attempts > 0"); n != 0 {
		t.Errorf("%d rows carry the broker's absence as their own fault", n)
	}
	if s := h.relay.Status(); s.Reconciled != 0 {
		t.Errorf("%d rows that were given back count as missed by the log", s.Reconciled)
	}
}

// However seldom the table is polled, a moment without the broker does not cost
// the tail: the survey that the log waits for comes in time.
func TestBrokerAwayForAMomentDoesNotCostTheTail(t *testing.T) {
	h := start(t, func(c *engine.Config) { tailed(c); c.PollInterval = time.Hour }, nil)
	h.run()
	for quick, tries := 0, 0; quick < 2; tries++ {
		if tries == 10 {
			t.Fatal("the machine is too slow: a moment without the broker takes longer than a tail may be unread")
		}
		h.untilTailing()
		walsender := h.walsender()
		began := time.Now()
		h.broker.Shutdown()
		h.insertKeyed("K")
		h.until("the relay knows that the broker is down", func() bool { return h.relay.Status().SinkDown != "" })
		if err := h.broker.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		h.insertKeyed("K")
		h.untilMarked(h.int("SELECT count(*) FROM " + h.table))
		if time.Since(began) > 4*time.Second { // after 5 s it is left, as it should be
			continue
		}
		quick++
		if now := h.walsender(); now != walsender {
			t.Errorf("the tail is read from process %d, at first it was %d", now, walsender)
		}
	}
}

// The broker goes away while a slot is being created: nobody would go on with it,
// and the server would keep its log for as long as the broker is down.
func TestSlotIsNotKeptForABrokerThatIsDown(t *testing.T) {
	url := pgtest.Own(t, nil).URL("postgres") // an open transaction is in everybody's way
	h := startOn(t, url, tailed, nil)
	open := h.begin()
	h.insertIn(open, "open", "NULL")
	h.run()
	h.until("a slot is being created", func() bool {
		return h.int("SELECT count(*) FROM pg_stat_replication WHERE application_name LIKE 'outbox-relay%'")+
			h.int("SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE NOT l.granted AND a.backend_type = 'walsender'") > 0
	})
	h.broker.Shutdown()
	h.insert(1)
	h.until("the relay knows that the broker is down", func() bool { return h.relay.Status().SinkDown != "" })
	h.commit(open)
	h.until("no slot is left", func() bool { return h.int("SELECT count(*) FROM pg_replication_slots") == 0 })
	if err := h.broker.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.untilMarked(2)
	h.untilTailing()
}
