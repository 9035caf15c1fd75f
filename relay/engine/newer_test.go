package engine_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/relay/engine"
)

// A transaction inserts two rows of a key, far apart, and commits while a pass is
// between them: the pass has gone by the first, and must not bring the second.
// (Rule 1: what ended after the pass began is left to the next one.)
func TestTransactionThatCommitsBetweenChunksKeepsItsOrder(t *testing.T) {
	for name, begin := range map[string]func(*harness) (tx, writer pgx.Tx){
		"as such": func(h *harness) (pgx.Tx, pgx.Tx) {
			tx := h.begin()
			return tx, tx
		},
		"in a savepoint": func(h *harness) (pgx.Tx, pgx.Tx) {
			tx := h.begin()
			h.insertIn(tx, "other", "NULL") // its own id comes before the savepoint's
			savepoint, err := tx.Begin(h.Context())
			if err != nil {
				h.Fatal(err)
			}
			return tx, savepoint
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := start(t, func(c *engine.Config) { c.MaxInFlight = 4 }, func(h *harness) { h.sink.hold() })
			tx, writer := begin(h)
			first := h.insertIn(writer, "K", "NULL")
			h.insert(40) // without a key: the pass reads them in several chunks
			second := h.insertIn(writer, "K", "NULL")
			h.insert(1) // so that the pass's bound is beyond
			if writer != tx {
				h.commit(writer)
			}
			h.run()
			h.until("the window is full", func() bool { return h.sink.holding() == 4 })
			h.commit(tx)
			h.sink.letGo()
			h.untilMarked(h.int("SELECT count(*) FROM " + h.table))
			if ids := h.sink.ids(); slices.Index(ids, first) > slices.Index(ids, second) {
				t.Errorf("row %d of key K was published before row %d of the same transaction: %v", second, first, ids)
			}
		})
	}
}

// A transaction that stays open makes no row newer than the pass: a backlog is read in one pass,
// chunk after chunk, though it is younger than that.
func TestOpenTransactionDoesNotMakeABacklogNewer(t *testing.T) {
	var newer, rows int
	h := start(t, func(c *engine.Config) {
		c.MaxInFlight = 8
		c.Database = &slowDatabase{Database: c.Database, read: func(c relay.Chunk) {
			for _, row := range c.Rows {
				rows++
				if row.Newer && row.Key != "open" { // which may end while a pass reads its last rows
					newer++
				}
			}
		}}
	}, nil)
	open := h.begin()
	h.insertIn(open, "open", "NULL")
	const keyed = 500
	h.exec(fmt.Sprintf("INSERT INTO %s (topic, key, payload) SELECT 'orders.created', 'K' || n %% 100, '1' FROM generate_series(1, %d) n", h.table, keyed))
	stop := h.run()
	h.untilMarked(keyed)
	h.commit(open)
	h.untilMarked(keyed + 1)
	stop()
	if newer > 0 {
		t.Errorf("%d of %d rows read were newer than the pass", newer, rows)
	}
}

// A transaction that was open before a backlog came ends while a pass reads it:
// all that follows may have ended with it. The pass ends, and the next one is not
// concerned; it does not read on for nothing. (No other test runs beside it: transactions of
// theirs that end make rows newer too.)
func TestPassThatMeetsANewerRowEnds(t *testing.T) {
	const keyed, buffer = 1000, 32
	var newer int
	h := start(t, func(c *engine.Config) {
		c.MaxInFlight = buffer / 4
		c.Database = &slowDatabase{Database: c.Database, read: func(c relay.Chunk) {
			for _, row := range c.Rows {
				if row.Newer {
					newer++
				}
			}
		}}
	}, func(h *harness) { h.sink.hold() })
	open := h.begin()
	h.insertIn(open, "open", "NULL")
	h.exec(fmt.Sprintf("INSERT INTO %s (topic, key, payload) SELECT 'orders.created', 'K' || n, '1' FROM generate_series(1, %d) n", h.table, keyed))
	stop := h.run()
	h.until("the window is full", func() bool { return h.sink.holding() == buffer/4 })
	h.commit(open)
	h.sink.letGo()
	h.untilMarked(keyed + 1)
	stop()
	if newer == 0 || newer > buffer {
		t.Errorf("%d newer rows were read, want those of one chunk", newer)
	}
}

// The first row of a key was scheduled, for a time that is over, and commits with
// the second between the beginning of a pass, which finds no scheduled row due,
// and its first chunk.
func TestScheduledRowThatCommitsAfterAPassHasBegunKeepsItsOrder(t *testing.T) {
	t.Parallel()
	var begun, goOn valve
	h := start(t, func(c *engine.Config) {
		c.Database = &slowDatabase{Database: c.Database, began: func(p relay.Pass) {
			if p.Bound > 0 && len(p.Scheduled) == 0 {
				begun.open()
				goOn.wait()
			}
		}}
	}, func(h *harness) { h.valves = append(h.valves, &goOn) })
	begun.close()
	goOn.close()
	tx := h.begin()
	first := h.insertIn(tx, "K", "now()")
	second := h.insertIn(tx, "K", "NULL")
	h.insert(1) // so that the pass's bound is beyond
	h.run()
	begun.wait()
	h.commit(tx)
	goOn.open()
	h.untilMarked(3)
	if ids := h.sink.ids(); slices.Index(ids, first) > slices.Index(ids, second) {
		t.Errorf("row %d of key K was published before row %d, which was due: %v", second, first, ids)
	}
}
