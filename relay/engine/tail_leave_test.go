package engine_test

import (
	"slices"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgtest"
	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/relay/engine"
)

// More rows are due than the buffer takes: the survey ends early, and must not
// have the log's rows skipped. (Rule 4: only a complete survey counts.)
func TestSurveyThatDoesNotFitLeavesTheTail(t *testing.T) {
	var log valve // shut while the log is silent
	h := start(t, func(c *engine.Config) {
		tailed(c)
		c.MaxInFlight = 4 // a buffer of 16 rows
		c.Tail.ReconcileInterval = 50 * time.Millisecond
		c.Database = &slowDatabase{Database: c.Database, told: func(relay.TailEvent) { log.wait() }}
	}, func(h *harness) { h.valves = append(h.valves, &log) })
	h.run()
	h.untilTailing()
	log.close()
	h.insert(100)
	h.untilLogged("catching up")
	log.open()
	h.untilMarked(100)
	h.untilTailing() // again
	if ids := h.sink.ids(); len(ids) != 100 {
		t.Errorf("published %d times for 100 rows", len(ids))
	}
}

// A sink that does not keep up: the log is not read for seconds, PostgreSQL could
// not shut down, so the tail is left. (Rule 7.)
func TestTailThatIsNotReadIsLeft(t *testing.T) {
	h := start(t, func(c *engine.Config) { tailed(c); c.MaxInFlight = 8 }, nil) // a buffer of 32
	h.run()
	h.untilTailing()
	h.sink.hold()
	for range 100 {
		h.insert(1)
	}
	h.untilPolling("the broker does not keep up")
	h.until("no session of replication is left", func() bool {
		return h.int("SELECT count(*) FROM pg_stat_replication WHERE application_name LIKE 'outbox-relay%'") == 0
	})
	h.sink.letGo()
	h.untilMarked(100)
	h.untilTailing()
	if ids := h.sink.ids(); len(ids) != 100 {
		t.Errorf("published %d times for 100 rows", len(ids))
	}
}

// The log that the server keeps for the slot is bounded. (Rule 7: OUTBOX_MAX_WAL.)
func TestTailIsLeftWhenItsSlotKeepsTooMuch(t *testing.T) {
	url := pgtest.Own(t, nil).URL("postgres") // an open transaction is in everybody's way
	h := startOn(t, url, func(c *engine.Config) { tailed(c); c.Tail.MaxWAL = 1 << 20 }, nil)
	h.run()
	h.untilTailing()
	open := h.begin()
	h.insertIn(open, "open", "NULL")
	h.exec("SELECT pg_logical_emit_message(false, 'test', repeat('x', 1 << 20)) FROM generate_series(1, 4)")
	h.untilPolling("OUTBOX_MAX_WAL")
	h.insertKeyed("K")
	h.untilMarked(1)
	if n := h.int("SELECT count(*) FROM pg_replication_slots WHERE NOT active OR restart_lsn IS NULL"); n != 0 {
		t.Errorf("%d slots are left behind", n)
	}
	h.commit(open)
	h.untilMarked(2)
	h.untilTailing()
}

// Somebody takes the table out of the publication: PostgreSQL sends nothing of it
// any more, and says nothing. (Rule 7: reconciliation, and the publication is
// looked at.)
func TestPublicationThatLosesTheTableIsFoundOut(t *testing.T) {
	h := start(t, func(c *engine.Config) { tailed(c); c.Tail.ReconcileInterval = 50 * time.Millisecond }, nil)
	h.run()
	h.untilTailing()
	h.exec("ALTER PUBLICATION outbox_relay DROP TABLE " + h.table)
	for range 20 {
		h.insertKeyed("K")
	}
	h.untilMarked(20)
	h.untilPolling(`publication "outbox_relay" lacks table public.outbox: run outbox-relay migrate`)
	h.insertKeyed("K")
	h.untilMarked(21)
	h.exec("ALTER PUBLICATION outbox_relay ADD TABLE " + h.table)
	h.untilTailing()
	h.insertKeyed("K")
	h.untilMarked(22)
	if ids := h.sink.ids(); !slices.IsSorted(ids) || len(ids) != 22 {
		t.Errorf("published %v", ids)
	}
}

// Rows that the log never tells of are counted, once it has been read past them.
func TestRowsThatTheLogHasMissedAreCounted(t *testing.T) {
	var ear ear
	h := start(t, func(c *engine.Config) {
		tailed(c)
		c.Tail.ReconcileInterval = 50 * time.Millisecond
		c.Database = &deafDatabase{Database: c.Database, ear: &ear}
	}, nil)
	h.run()
	h.untilTailing()
	ear.deaf.Store(true)
	h.insert(7)
	h.untilMarked(7)
	h.until("the log has told of them", func() bool { return ear.lost.Load() == 7 })
	ear.deaf.Store(false)
	h.insert(1) // takes the log past the others
	h.until("the rows that were missed are counted", func() bool { return h.relay.Status().Reconciled == 7 })
	h.untilLogged("rows were found that the write-ahead log has missed")
}

// The server ends the stream, again and again: the relay polls, comes back, and
// nothing is lost, doubled or reordered.
func TestStreamThatIsEndedComesBack(t *testing.T) {
	h := start(t, tailed, nil)
	h.run()
	var want []int64
	for range 5 {
		h.untilTailing()
		for range 10 {
			want = append(want, h.insertKeyed("K"))
		}
		h.exec("SELECT pg_terminate_backend(pid) FROM pg_stat_replication WHERE application_name LIKE 'outbox-relay%'")
		for range 10 {
			want = append(want, h.insertKeyed("K"))
		}
	}
	h.untilMarked(int64(len(want)))
	h.untilTailing()
	if ids := h.sink.ids(); !slices.Equal(ids, want) {
		t.Errorf("published %v, want %v", ids, want)
	}
}

// A tail that is never joined, though nothing fails, is told in the log too: here
// more rows wait for their retry than the buffer takes.
func TestTailThatIsNeverJoinedIsTold(t *testing.T) {
	h := start(t, func(c *engine.Config) { tailed(c); c.MaxInFlight = 8 }, nil) // a buffer of 32
	h.exec("INSERT INTO " + h.table + " (topic, payload, attempts, available_at) SELECT 'test', '1', 1, now() + interval '1 hour' FROM generate_series(1, 100)")
	h.run()
	h.untilLogged(`msg="the write-ahead log cannot be read, polling instead" reason="catching up: more rows are due, or wait for their retry, than the buffer takes`)
	h.insertKeyed("K")
	h.untilMarked(1)
	h.exec("DELETE FROM " + h.table + " WHERE attempts > 0")
	h.untilTailing()
	h.untilLogged("recovered")
}

// Without a tail to be had, the relay polls and says why.
func TestReasonForPollingIsSaid(t *testing.T) {
	url := pgtest.Own(t, map[string]string{"wal_level": "replica"}).URL("postgres")
	h := startOn(t, url, tailed, nil)
	h.run()
	h.untilPolling(`wal_level is "replica", needs "logical"`)
	h.insertKeyed("K")
	h.untilMarked(1)
}
