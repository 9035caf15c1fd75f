package engine_test

import (
	"strings"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/relay/engine"
)

// stallsSoon makes the times short in which a relay without progress is told of, and
// steps down.
func stallsSoon(c *engine.Config) { c.StallAfter, c.StepDownAfter = 2*time.Second, 3*time.Second }

// untilStalled waits until the status says for how long and why nothing gets on.
func (h *harness) untilStalled(r *engine.Relay, here bool, why string) {
	h.Helper()
	h.until("it says that it stalls: "+why, func() bool {
		s := r.Status()
		return strings.Contains(s.Stalled, why) && s.StalledHere == here && time.Since(s.StalledSince) > 2*time.Second && s.Mode.Leads()
	})
}

// The role may have one connection, and the session that reads gets none: the error is
// told at once, and then as a stall of the relay. (Rule 18.)
func TestRelayThatCannotReadStalls(t *testing.T) {
	h, role := startAs(t, stallsSoon)
	h.exec(`ALTER ROLE ` + role + ` CONNECTION LIMIT 1`)
	h.insert(10)
	h.run()
	h.until("the reason is told", func() bool { return strings.Contains(h.relay.Status().Reason, "too many connections for role") })
	h.untilStalled(h.relay, true, "too many connections for role")
	h.untilLogged("no progress")
	h.exec(`ALTER ROLE ` + role + ` CONNECTION LIMIT 2`)
	h.untilMarked(10)
	h.until("the stall is over", func() bool {
		s := h.relay.Status()
		return s.Stalled == "" && !s.StalledHere && s.StalledSince.IsZero() && !strings.Contains(s.Reason, "too many connections")
	})
}

// A relay that cannot read leaves the lead to one that can. (Rule 18, and 14 for every
// cause.)
func TestLeaderThatCannotReadStepsDown(t *testing.T) {
	h, role := startAs(t, stallsSoon)
	h.exec(`ALTER ROLE ` + role + ` CONNECTION LIMIT 1`)
	h.insert(10)
	h.run()
	h.untilStalled(h.relay, true, "too many connections for role")
	other := h.beside(func(c *engine.Config) { c.Database = h.asOwner() })
	h.until("the other one leads", func() bool { return other.Status().Mode.Leads() })
	h.untilLogged("stepped down")
	h.untilMarked(10)
	if n := len(h.sink.ids()); n != 10 {
		t.Errorf("%d rows were published, want each of 10 once", n)
	}
}

// So does one whose marks all fail; and a standby that fares no better publishes a few
// rows and not the table. (Rules 17 and 18.)
func TestLeaderThatCannotMarkStepsDown(t *testing.T) {
	h := start(t, stallsSoon, nil)
	h.insert(1000)
	h.exec(auditing)
	h.run()
	h.untilStalled(h.relay, true, "no row can be marked: mark rows sent: setup: a trigger on public.outbox fails")
	other := h.beside(func(*engine.Config) {})
	h.until("the other one leads", func() bool { return other.Status().Mode.Leads() })
	h.untilStalled(other, true, "audit_log")
	if n := len(h.sink.ids()); n > 100 { // some 10 for each term
		t.Errorf("%d rows were published without a mark", n)
	}
	h.exec(`DROP TRIGGER audit ON outbox`)
	h.untilMarked(1000)
}

// Somebody has the table locked: the relay is not to blame, and cannot work either.
// (Rule 18.)
func TestLockedTableIsAStall(t *testing.T) {
	h := start(t, stallsSoon, nil)
	h.run()
	h.insert(5)
	h.untilMarked(5)
	tx := h.begin()
	if _, err := tx.Exec(t.Context(), "LOCK TABLE "+h.table+" IN ACCESS EXCLUSIVE MODE"); err != nil {
		t.Fatal(err)
	}
	h.untilStalled(h.relay, true, "cannot read the outbox table")
	h.commit(tx)
	h.until("the stall is over", func() bool { return h.relay.Status().Stalled == "" })
}

// A broker that takes nothing is a stall, but none of the relay's. (Rule 18.)
func TestBrokerThatIsDownIsNoStallOfTheRelay(t *testing.T) {
	h := start(t, stallsSoon, nil)
	h.run()
	h.insert(1)
	h.untilMarked(1)
	h.broker.Shutdown()
	h.insert(10)
	h.untilStalled(h.relay, false, "the broker takes no messages")
	if err := h.broker.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.untilMarked(11)
	h.until("the stall is over", func() bool { return h.relay.Status().Stalled == "" })
}

// Nothing to do is no stall, while polling and while tailing. (Rule 18.)
func TestIdleRelayDoesNotStall(t *testing.T) {
	for name, configure := range map[string]func(*engine.Config){"polling": nil, "tailing": tailed} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := start(t, func(c *engine.Config) {
				if configure != nil {
					configure(c)
				}
				stallsSoon(c)
				c.StallAfter = 6 * time.Second // longer than a busy machine stands still
			}, nil)
			h.run()
			h.insert(1)
			h.untilMarked(1)
			began := time.Now()
			h.until("twice the time has passed", func() bool {
				if s := h.relay.Status(); s.Stalled != "" {
					t.Fatalf("it says that it stalls: %s", s.Stalled)
				}
				return time.Since(began) > 12*time.Second
			})
			if m := h.relay.Status().Mode; name == "tailing" && m != relay.Tailing {
				t.Errorf("it is %v", m)
			}
		})
	}
}
