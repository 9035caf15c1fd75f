package engine_test

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgtest"
	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/relay/engine"
)

// A server that decodes more slowly than the log is written, here not at all:
// its process is stopped. Rows go on by passes, and once it keeps up again, by
// the tail. (Rule 7.)
func TestTailThatFallsBehindIsLeft(t *testing.T) {
	t.Parallel()
	// A stopped process is in the way of whoever drops a database of its cluster.
	h := startOn(t, pgtest.Own(t, nil).URL("postgres"), tailed, nil)
	h.run()
	h.untilTailing()
	h.insertKeyed("K")
	h.untilMarked(1)
	walsender := h.walsender()
	if err := syscall.Kill(int(walsender), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Kill(int(walsender), syscall.SIGCONT) })
	for range 10 {
		h.insertKeyed("K")
	}
	h.untilPolling("faster than the server decodes it")
	h.insertKeyed("K")
	h.untilMarked(12)
	h.untilTailing() // by another process
	h.insertKeyed("K")
	h.untilMarked(13)
	if ids := h.sink.ids(); len(ids) != 13 {
		t.Errorf("published %v", ids)
	}
}

// Idle, or beside a log that is written for others, a tail is not taken for one
// that falls behind.
func TestTailThatKeepsUpStays(t *testing.T) {
	t.Parallel()
	h := start(t, tailed, nil)
	h.run()
	h.untilTailing()
	walsender := h.walsender()
	for range 3 {
		h.untilInspected()
		h.exec("SELECT pg_logical_emit_message(false, 'test', repeat('x', 100000))")
	}
	for range 3 {
		h.untilInspected()
	}
	if now := h.walsender(); now != walsender {
		t.Errorf("another tail is read by process %d, the first was by %d", now, walsender)
	}
	if s := h.relay.Status(); s.Mode != relay.Tailing {
		t.Errorf("mode %s: %s", s.Mode, s.Reason)
	}
}

// While the broker is away nobody looks for a tail: that there is none is no fault
// of the log.
func TestOutageOfTheBrokerIsNoFaultOfTheLog(t *testing.T) {
	t.Parallel()
	h := start(t, func(c *engine.Config) { tailed(c); c.Tail.Retry.Max = 3 * time.Second }, nil)
	h.run()
	h.untilTailing()
	h.broker.Shutdown()
	h.insertKeyed("K")
	h.untilPolling("the broker was away")
	h.until("the outage has lasted", func() bool {
		s := h.relay.Status()
		return s.SinkDown != "" && time.Since(s.SinkDownSince) > unreadLimit+2*h.config.Tail.Retry.Max
	})
	if err := h.broker.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.untilMarked(1)
	h.untilTailing()
	if log := h.log.String(); strings.Contains(log, "the write-ahead log cannot be read") {
		t.Errorf("the log says:\n%s", log)
	}
}

// unreadLimit is when a tail that is not read is left.
const unreadLimit = 5 * time.Second

// untilInspected waits until the relay has looked at its slot once more.
func (h *harness) untilInspected() {
	h.Helper()
	const last = "SELECT extract(epoch FROM max(query_start))::bigint FROM pg_stat_activity " +
		"WHERE datname = current_database() AND pid <> pg_backend_pid() AND query LIKE 'SELECT p.pubinsert AS inserts,%'"
	h.until("an inspection", func() bool { return h.int("SELECT count(*) FROM ("+last+") s(at) WHERE at IS NOT NULL") == 1 })
	before := h.int(last)
	h.until("the next inspection", func() bool { return h.int("SELECT coalesce(("+last+"), 0)") > before })
}
