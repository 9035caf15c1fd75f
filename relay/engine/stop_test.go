package engine_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/engine"
)

// SIGTERM while rows are with the broker: they are awaited and marked, and no
// other is sent. (Rule 15.)
func TestStopAwaitsWhatIsInFlight(t *testing.T) {
	h := start(t, func(c *engine.Config) { c.MaxInFlight = 4 }, func(h *harness) { h.sink.hold() })
	h.insert(20)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- engine.New(h.config).Run(ctx) }()
	h.until("the window is full", func() bool { return h.sink.holding() == 4 })
	cancel()
	h.untilLogged("stopping")
	h.sink.letGo()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if n := h.int("SELECT count(*) FROM " + h.table + " WHERE sent_at IS NOT NULL"); n != 4 {
		t.Fatalf("%d rows are marked after the stop, want the 4 that were in flight", n)
	}
	if ids := h.sink.ids(); len(ids) != 4 {
		t.Fatalf("published %v, want the 4 that were in flight", ids)
	}
}

// A broker that never answers must not keep the relay from ending. (Rule 15.)
func TestStopEndsAtTheGracePeriod(t *testing.T) {
	h := start(t, func(c *engine.Config) { c.ShutdownGrace = 200 * time.Millisecond }, func(h *harness) { h.sink.hold() })
	h.insert(3)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- engine.New(h.config).Run(ctx) }()
	h.until("all three are with the sink", func() bool { return h.sink.holding() == 3 })
	cancel()
	if err := <-done; err == nil || !strings.Contains(err.Error(), "3 rows") {
		t.Fatalf("Run = %v, want an error that counts the 3 rows", err)
	}
}

// SIGTERM, and then the database goes: what was in flight will be sent again,
// and the relay says so. (Rule 15.)
func TestStopWithoutMarksIsNoSuccess(t *testing.T) {
	h := start(t, nil, func(h *harness) { h.sink.hold() })
	h.insert(3)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- engine.New(h.config).Run(ctx) }()
	h.until("all three are with the sink", func() bool { return h.sink.holding() == 3 })
	cancel()
	h.untilLogged("stopping")
	h.int(`SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
		WHERE datname = current_database() AND application_name LIKE 'outbox-relay %'`)
	if err := <-done; err == nil || !strings.Contains(err.Error(), "3 rows") {
		t.Fatalf("Run = %v, want an error that counts the 3 rows", err)
	}
	h.sink.letGo()
}
