package engine_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/relay/engine"
)

// The rules of intake, of what was taken, of holds and of marks, each with the schedule
// that it closes, on a real database and a real broker. Without the rule the test fails.

// A row with a low id commits while a pass is reading, and after it a row of
// the same key with a high id. The pass has gone by the first; if it brought
// the second, the key would be delivered out of order. (Rule 1: the bound, and newer
// rows.)
func TestLowIDThatCommitsBetweenChunksIsNotOvertaken(t *testing.T) {
	h := start(t, func(c *engine.Config) { c.MaxInFlight = 4 }, func(h *harness) { h.sink.hold() })
	late := h.begin()
	first := h.insertIn(late, "K", "NULL")
	h.insert(40) // without a key: the pass reads them in several chunks
	h.run()
	h.until("the window is full", func() bool { return h.sink.holding() == 4 })

	h.commit(late)
	second := h.insertKeyed("K")
	h.sink.letGo()

	h.untilMarked(42)
	ids := h.sink.ids()
	if slices.Index(ids, first) > slices.Index(ids, second) {
		t.Fatalf("row %d of key K was published before row %d, which committed first: %v", second, first, ids)
	}
}

// A row whose id is lower than those already sent commits last: the next pass
// starts at the lowest id again and finds it. (Rule 1: no cursor outlives its
// pass.)
func TestRowWithALowIDThatCommitsLastIsFound(t *testing.T) {
	h := start(t, nil, nil)
	h.run()
	tx := h.begin()
	late := h.insertIn(tx, "K", "NULL")
	h.insert(20)
	h.untilMarked(20)
	h.commit(tx)
	h.untilMarked(21)
	if ids := h.sink.ids(); ids[len(ids)-1] != late {
		t.Fatalf("published %v, want row %d last", ids, late)
	}
}

// Passes come by every few milliseconds while a row waits for the broker.
// (Rule 2.)
func TestRowInFlightIsNotPublishedAgain(t *testing.T) {
	passes := make(chan struct{}, 10)
	h := start(t, func(c *engine.Config) {
		c.PollInterval = time.Millisecond
		c.Database = &slowDatabase{Database: c.Database, read: func(relay.Chunk) {
			select {
			case passes <- struct{}{}:
			default: // nobody asks any more
			}
		}}
	}, func(h *harness) { h.sink.hold() })
	h.insert(3)
	h.run()
	h.until("all three are with the sink", func() bool { return h.sink.holding() == 3 })
	for range 10 {
		<-passes
	}
	h.sink.letGo()
	h.untilMarked(3)
	if ids := h.sink.ids(); len(ids) != 3 {
		t.Fatalf("published %v, want each row once", ids)
	}
}

// Marks take their time: the rows acknowledged and unmarked, which a crash now would
// send twice, stay within the window. (Rule 2.)
func TestWindowStaysClosedWhileNothingIsMarked(t *testing.T) {
	var gate valve
	h := start(t, func(c *engine.Config) {
		c.MaxInFlight = 4
		c.OpenWindow()
		c.Database = &slowDatabase{Database: c.Database, marking: func([]relay.Mark) { gate.wait() }}
	}, func(h *harness) { h.valves = append(h.valves, &gate) })
	gate.close()
	h.insert(30)
	h.run()
	h.until("the window is full", func() bool { return len(h.sink.ids()) == 4 })
	<-time.After(300 * time.Millisecond)
	if ids := h.sink.ids(); len(ids) != 4 {
		t.Fatalf("published %v with a window of 4 and no mark", ids)
	}
	gate.open()
	h.untilMarked(30)
}

// A mark commits while a chunk whose snapshot is older is on its way: the chunk
// still shows the row unsent. (Rule 2: a row is taken until every
// running statement has been taken in.)
func TestRowMarkedDuringAPassIsNotPublishedTwice(t *testing.T) {
	var gate valve // shut while chunks are to wait
	read := make(chan struct{}, 1)
	h := start(t, func(c *engine.Config) {
		c.PollInterval = 20 * time.Millisecond
		c.Database = &slowDatabase{Database: c.Database, read: func(ch relay.Chunk) {
			if len(ch.Rows) < 4 {
				return // of a pass that began before the fourth was there
			}
			select {
			case read <- struct{}{}:
			default: // nobody asks any more
			}
			gate.wait()
		}}
	}, func(h *harness) {
		h.valves = append(h.valves, &gate)
		h.sink.hold()
	})
	h.insert(3)
	h.run()
	h.until("all three are with the sink", func() bool { return h.sink.holding() == 3 })

	gate.close()
	h.insert(1) // so that the next chunk is recognised
	<-read      // a chunk that shows the three rows unsent
	h.sink.letGo()
	h.untilMarked(3)
	gate.open()

	h.untilMarked(4)
	if ids := h.sink.ids(); len(ids) != 4 {
		t.Fatalf("published %v: a row went twice", ids)
	}
}

// TRUNCATE … RESTART IDENTITY hands out the ids in flight once more. The marks
// of the old rows must not touch the new ones. (Rule 2: identity.)
func TestTruncateRestartIdentityWithRowsInFlight(t *testing.T) {
	h := start(t, func(c *engine.Config) { c.MaxInFlight = 5 }, func(h *harness) { h.sink.hold() })
	h.insert(5)
	h.run()
	h.until("all five are with the sink", func() bool { return h.sink.holding() == 5 })

	h.exec("TRUNCATE " + h.table + " RESTART IDENTITY")
	h.insert(5)
	h.sink.letThrough() // the window opens when the old rows' marks are settled
	h.until("the new rows are with the sink too", func() bool { return h.sink.holding() == 5 })
	if n := h.int("SELECT count(*) FROM " + h.table + " WHERE sent_at IS NOT NULL"); n != 0 {
		t.Fatalf("%d of the new rows are marked by the acknowledgements of the old ones", n)
	}
	h.sink.letGo()
	h.untilMarked(5)
	if ids := h.sink.ids(); len(ids) != 10 {
		t.Fatalf("published %v, want each id twice, once for the old and once for the new row", ids)
	}
}

// Rows with the ids of rows in flight are not taken for these: they go at once,
// not when a later pass finds them again. (Rule 2: identity.)
func TestRowWithTheIDOfAnotherInFlightDoesNotWaitForIt(t *testing.T) {
	h := start(t, nil, func(h *harness) { h.sink.hold() })
	h.insert(5)
	h.run()
	h.until("all five are with the sink", func() bool { return h.sink.holding() == 5 })
	h.exec("TRUNCATE " + h.table + " RESTART IDENTITY")
	h.insert(5)
	h.until("the new rows are with the sink beside them", func() bool { return h.sink.holding() == 10 })
	h.sink.letGo()
	h.untilMarked(5)
}

// The application deletes a row that is in flight: its mark finds nothing, is
// settled nevertheless, and the window, here of one row, goes on. (Rule 11.)
func TestHeadDeletedByTheApplicationStopsNothing(t *testing.T) {
	h := start(t, func(c *engine.Config) { c.MaxInFlight = 1 }, func(h *harness) { h.sink.hold() })
	head := h.insertKeyed("K")
	h.insertKeyed("K")
	h.run()
	h.until("the head is with the sink", func() bool { return h.sink.holding() == 1 })
	h.exec(fmt.Sprintf("DELETE FROM %s WHERE id = %d", h.table, head))
	h.sink.letGo()
	h.untilMarked(1)
}

// A sink that has lost its broker gives the window back: nothing waits in
// memory, no attempt is counted, and everything follows when it is back, in the
// order of its key. (Rules 5 and F1.)
func TestSinkThatStallsGivesTheWindowBack(t *testing.T) {
	h := start(t, func(c *engine.Config) {
		c.MaxInFlight = 8
		c.PollInterval = 3 * time.Second // the pass is not over when the broker is back
	}, nil)
	h.run()
	h.insert(1)
	h.untilMarked(1)

	h.broker.Shutdown()
	var want []int64
	for range 20 {
		want = append(want, h.insertKeyed("K"))
	}
	h.insert(20)
	h.untilLogged("the broker takes no messages")
	if err := h.broker.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.untilMarked(41)
	if n := h.int("SELECT count(*) FROM " + h.table + " WHERE attempts > 0 OR last_error IS NOT NULL"); n != 0 {
		t.Fatalf("%d rows carry the broker's absence as their own fault", n)
	}
	var got []int64
	for _, id := range h.stored() {
		if slices.Contains(want, id) && !slices.Contains(got, id) {
			got = append(got, id)
		}
	}
	if !slices.Equal(got, want) {
		t.Fatalf("first deliveries of the key: %v, want %v", got, want)
	}
}

// A deferred trigger of the application meets a lock, so that the marks fail in
// their commit, after the server has answered for each row. They were not made,
// and are made later. (Rule 11.)
func TestMarksThatFailInTheirCommitAreMadeLater(t *testing.T) {
	h := start(t, func(c *engine.Config) { c.OpenWindow() }, nil)
	h.exec(`CREATE TABLE gate AS SELECT 1 AS id`)
	h.exec(`CREATE FUNCTION pass_gate() RETURNS trigger LANGUAGE plpgsql AS
		$$BEGIN PERFORM FROM public.gate FOR UPDATE; RETURN NULL; END$$`)
	h.exec(`CREATE CONSTRAINT TRIGGER gate AFTER UPDATE ON ` + h.table + ` DEFERRABLE INITIALLY DEFERRED
		FOR EACH ROW EXECUTE FUNCTION pass_gate()`)
	tx := h.begin()
	if _, err := tx.Exec(t.Context(), "SELECT FROM gate FOR UPDATE"); err != nil {
		t.Fatal(err)
	}
	h.insert(10)
	h.run()
	h.until("all are published", func() bool { return len(h.sink.ids()) == 10 })
	h.until("several attempts to mark them", func() bool { return h.relay.Status().TableDown != "" })
	h.commit(tx)
	h.untilMarked(10)
	if ids := h.sink.ids(); len(ids) != 10 {
		t.Fatalf("published %v, want each row once", ids)
	}
}

// A row whose mark somebody's lock holds up keeps no large row waiting: it is
// with the broker, and takes no memory. (Rule 11.)
func TestLargeRowDoesNotWaitForALockedOne(t *testing.T) {
	h := start(t, func(c *engine.Config) { c.BufferBytes = 1 << 20 }, nil)
	locked := h.insertKeyed("locked")
	tx := h.begin()
	if _, err := tx.Exec(t.Context(), fmt.Sprintf("SELECT FROM %s WHERE id = %d FOR UPDATE", h.table, locked)); err != nil {
		t.Fatal(err)
	}
	h.run()
	h.until("the locked row is published", func() bool { return len(h.sink.ids()) == 1 })
	h.exec("INSERT INTO " + h.table + ` (topic, payload) VALUES ('orders.created', to_json(repeat('x', 700000)))`)
	h.insert(1)
	h.untilMarked(2)
	h.commit(tx)
	h.untilMarked(3)
}

// A message with available_at in the future is not sent before, and soon after.
// It does not block its key.
func TestScheduledRowWaitsAndBlocksNobody(t *testing.T) {
	h := start(t, nil, nil)
	h.run()
	h.untilLogged("leading")
	scheduled := h.insertScheduled("K", "now() + interval '6 s'")
	other := h.insertKeyed("K")
	h.untilMarked(2)
	late := h.int(fmt.Sprintf("SELECT extract(epoch FROM sent_at - available_at) * 1000 FROM %s WHERE id = %d", h.table, scheduled))
	if late < 0 {
		t.Fatalf("sent %d ms before available_at", -late)
	}
	if ids := h.sink.ids(); len(ids) != 2 || ids[0] != other {
		t.Errorf("published %v, want row %d first", ids, other)
	}
}

// A standby takes over when the leader ends, and rows go once.
func TestStandbyTakesOverFromAGracefulLeader(t *testing.T) {
	h := start(t, nil, nil)
	stopFirst := h.run()
	h.untilLogged("leading")
	h.run()
	h.untilLogged("standing by")
	h.insert(50)
	h.untilMarked(50)
	stopFirst()
	h.insert(50)
	h.untilMarked(100)
	if ids := h.sink.ids(); len(ids) != 100 {
		t.Fatalf("%d publishes for 100 rows over a graceful hand-over", len(ids))
	}
}

// The control session dies: the leader stops, and leads again in a new term.
func TestControlSessionTerminatedLosesNothing(t *testing.T) {
	h := start(t, nil, nil)
	h.run()
	h.insert(100)
	h.untilMarked(100)
	n := h.int(`SELECT count(pg_terminate_backend(l.pid)) FROM pg_locks l JOIN pg_stat_activity a USING (pid)
		WHERE l.locktype = 'advisory' AND a.datname = current_database()`)
	if n != 1 {
		t.Fatalf("%d sessions hold the lock, want 1", n)
	}
	h.insert(100)
	h.untilMarked(200)
}

func count(ids []int64, id int64) int {
	n := 0
	for _, i := range ids {
		if i == id {
			n++
		}
	}
	return n
}

func lastIndex(ids []int64, id int64) int {
	last := -1
	for i, v := range ids {
		if v == id {
			last = i
		}
	}
	return last
}
