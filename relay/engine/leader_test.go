package engine_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/e2e/testbed"
	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/relay/engine"
	"github.com/outbox-relay/outbox-relay/sinks/link"
	"github.com/outbox-relay/outbox-relay/sinks/natsjs"
)

// beside runs another relay on the harness's table, with a configuration of its
// own.
func (h *harness) beside(configure func(*engine.Config)) *engine.Relay {
	h.Helper()
	c := h.config
	configure(&c)
	ctx, cancel := context.WithCancel(h.Context())
	done := make(chan error, 1)
	r := engine.New(c)
	go func() { done <- r.Run(ctx) }()
	h.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			h.Errorf("relay: %v", err)
		}
	})
	return r
}

// standbys counts the relays that compete for the lead. A leader may have kept the
// lock that standbys share.
func (h *harness) standbys() int64 {
	h.Helper()
	return h.int(`WITH held AS (SELECT pid, mode FROM pg_locks WHERE locktype = 'advisory' AND granted
			AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))
		SELECT count(*) FROM held WHERE mode = 'ShareLock' AND pid NOT IN (SELECT pid FROM held WHERE mode = 'ExclusiveLock')`)
}

// sinkTo opens a sink to an address.
func (h *harness) sinkTo(url string) relay.Sink {
	h.Helper()
	s, err := natsjs.Open(natsjs.Options{SinkOptions: link.SinkOptions{URLs: url, Window: h.config.MaxInFlight, Logger: h.config.Logger}})
	if err != nil {
		h.Fatal(err)
	}
	h.Cleanup(func() { _ = s.Close(context.Background()) })
	return s
}

// besideWithoutABroker runs another relay whose broker is not there.
func (h *harness) besideWithoutABroker() *engine.Relay {
	h.Helper()
	port, err := testbed.ReservePort(h.Context())
	if err != nil {
		h.Fatal(err)
	}
	h.Cleanup(func() { _ = port.Close() })
	nowhere := h.sinkTo(fmt.Sprintf("nats://127.0.0.1:%d", port.Number))
	return h.beside(func(c *engine.Config) { c.Sink, c.StepDownAfter = nowhere, 2*time.Second })
}

// A leader that cannot reach its broker leaves the lead to a relay that can.
// (Rule 14.)
func TestLeaderWithoutABrokerStepsDown(t *testing.T) {
	for name, configure := range map[string]func(*engine.Config){"polling": nil, "tailing": tailed} {
		t.Run(name, func(t *testing.T) {
			h := start(t, configure, nil)
			cut := h.besideWithoutABroker()
			h.until("the relay without a broker leads", func() bool { return cut.Status().Mode.Leads() })
			h.insert(3)
			// Alone it goes on, however long: there is nobody better.
			h.until("it says why it publishes nothing, for long", func() bool {
				s := cut.Status()
				return s.SinkDown != "" && time.Since(s.SinkDownSince) > 3*time.Second && s.Mode.Leads()
			})
			h.run()
			h.until("the other one leads", func() bool { return h.relay.Status().Mode.Leads() })
			h.untilMarked(3)
			h.until("it stands by", func() bool { return cut.Status().Mode == relay.StandingBy })
			h.until("it competes again", func() bool { return h.standbys() == 1 })
			if strings.Contains(h.log.String(), "cannot work with the database") {
				t.Error("it lost its session meanwhile")
			}
			if ids := h.sink.ids(); len(ids) != 3 {
				t.Errorf("published %v, want each row once", ids)
			}
		})
	}
}

// A standby that is slow to take the lead finds it free: the relay that has left
// it waits before it competes. (Rule 14.)
func TestRelayThatSteppedDownWaitsBeforeItCompetes(t *testing.T) {
	h := start(t, nil, nil)
	stop := h.run()
	h.until("a relay leads", func() bool { return h.relay.Status().Mode.Leads() })
	h.besideWithoutABroker()
	h.until("the one without a broker stands by", func() bool { return h.standbys() == 1 })
	// This session stands by as it does, and never takes the lead.
	h.exec(`SELECT pg_advisory_lock_shared(classid::bigint << 32 | objid::bigint) FROM pg_locks
		WHERE locktype = 'advisory' AND mode = 'ShareLock' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`)
	stop()
	h.untilLogged("stepped down")
	h.until("it goes on", func() bool {
		_, after, _ := strings.Cut(h.log.String(), "stepped down")
		waits, leads := strings.Index(after, "standing by"), strings.Index(after, "msg=leading")
		if leads >= 0 && (waits < 0 || leads < waits) {
			t.Fatalf("it took the lead again at once:\n%s", after)
		}
		return waits >= 0
	})
}

// Two relays, of which one leads: the other takes over when the leader stops,
// and what the leader has sent is not sent again. (Rules 12 and 15.)
func TestStandbyTakesOverFromALeaderThatStops(t *testing.T) {
	h := start(t, tailed, nil)
	stop := h.run()
	h.untilTailing()
	second := h.beside(func(*engine.Config) {})
	h.until("the other one stands by", func() bool { return second.Status().Mode == relay.StandingBy })
	h.insert(10)
	h.untilMarked(10)
	stop()
	h.insert(10)
	h.untilMarked(20)
	h.until("it tails", func() bool { return second.Status().Mode == relay.Tailing })
	ids := slices.Sorted(slices.Values(h.sink.ids()))
	if len(slices.Compact(ids)) != 20 || len(h.sink.ids()) != 20 {
		t.Errorf("published %v, want 20 rows once each", ids)
	}
	h.until("a leader alone has three connections", func() bool {
		return h.int("SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'outbox-relay%' AND datname = current_database()") == 3
	})
}
