package engine_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgtest"
	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/relay/engine"
)

// The rules of the tail, each with the schedule that it closes, on a real
// database and a real broker. Without the rule the test fails.

// tailed is the configuration of a relay that reads the log. Surveys come only
// where a rule asks for one.
func tailed(c *engine.Config) {
	c.Tail.Wanted = true
	c.Tail.ReconcileInterval = time.Hour
	c.Tail.MaxWAL = 1 << 30
	c.Tail.Retry = engine.Backoff{Min: 10 * time.Millisecond, Max: time.Second}
}

// untilTailing waits until the log is read.
func (h *harness) untilTailing() {
	h.Helper()
	h.until("the relay is tailing", func() bool { return h.relay.Status().Mode == relay.Tailing })
}

// walsender is the process that the tail is read from; 0 where there is none.
func (h *harness) walsender() int64 {
	h.Helper()
	return h.int("SELECT coalesce(max(active_pid), 0) FROM pg_replication_slots WHERE database = current_database()")
}

// untilPolling waits until the tail was left, for the reason given.
func (h *harness) untilPolling(reason string) {
	h.Helper()
	h.until("the relay polls: "+reason, func() bool {
		s := h.relay.Status()
		return s.Mode == relay.Polling && strings.Contains(s.Reason, reason)
	})
}

// application is another session, whose commits stall where they are told to.
func (h *harness) application() *pgx.Conn {
	h.Helper()
	return pgtest.Connect(h.T, h.conn.Config().ConnString())
}

// stalled is a harness on a cluster of its own, whose commits can be stalled.
func stalled(t *testing.T, configure func(*engine.Config), before func(*harness)) (h *harness, url string) {
	t.Helper()
	url = pgtest.Own(t, nil).URL("postgres")
	h = startOn(t, url, configure, before)
	h.exec("SET synchronous_commit = local") // what the test does beside is not stalled
	return h, url
}

// Rows come by the log, in the order of the commits, and no survey has to find
// them.
func TestRowsComeByTheTail(t *testing.T) {
	h := start(t, tailed, nil)
	h.run()
	h.untilTailing()
	const rows = 200
	var want []int64
	for range rows {
		want = append(want, h.insertKeyed("K"))
		h.insertKeyed("L")
	}
	h.untilMarked(2 * rows)
	h.until("all are counted", func() bool { return h.relay.Status().Published == 2*rows })
	if s := h.relay.Status(); s.Mode != relay.Tailing || s.Reconciled != 0 {
		t.Errorf("status is %+v, want tailing and nothing reconciled", s)
	}
	if got := slices.DeleteFunc(h.sink.ids(), func(id int64) bool { return !slices.Contains(want, id) }); !slices.Equal(got, want) {
		t.Errorf("the key was published in the order %v, want %v", got, want)
	}
}

// A survey brings a row before the log tells of it, and it is sent and marked
// when the log does. (Rule 4: what the newest survey's snapshot sees is skipped.)
func TestRowThatASurveyHasBroughtIsNotTakenFromTheLogAgain(t *testing.T) {
	var log valve // shut while the log is silent
	h := start(t, func(c *engine.Config) {
		tailed(c)
		c.Tail.ReconcileInterval = 30 * time.Millisecond
		c.Database = &slowDatabase{Database: c.Database, told: func(relay.TailEvent) { log.wait() }}
	}, func(h *harness) { h.valves = append(h.valves, &log) })
	h.run()
	h.untilTailing()
	log.close()
	surveyed := h.insertKeyed("K")
	h.untilMarked(1) // by a survey
	log.open()
	last := h.insertKeyed("K")
	h.untilMarked(2)
	if ids := h.sink.ids(); !slices.Equal(ids, []int64{surveyed, last}) {
		t.Errorf("published %v, want %v", ids, []int64{surveyed, last})
	}
}

// Surveys all the time, between the rows of transactions that the log is telling
// of: nothing is doubled, skipped or reordered, and nothing counts as missed.
// (Rule 4: row by row, against the newest snapshot.)
func TestSurveysInTheMiddleOfTransactionsChangeNothing(t *testing.T) {
	h := start(t, func(c *engine.Config) {
		tailed(c)
		c.PollInterval, c.Tail.ReconcileInterval = time.Millisecond, time.Millisecond
		c.MaxInFlight = 1024
	}, nil)
	h.run()
	h.untilTailing()
	const writers, transactions, rows = 4, 60, 8
	var load sync.WaitGroup
	for w := range writers {
		conn := h.application()
		load.Go(func() {
			for n := range transactions {
				_, err := conn.Exec(t.Context(), fmt.Sprintf(
					"INSERT INTO %s (topic, key, payload) SELECT 'orders.created', 'key %d', '{}' FROM generate_series(1, %d)", h.table, w, rows))
				if err != nil {
					t.Errorf("writer %d, transaction %d: %v", w, n, err)
					return
				}
			}
		})
	}
	load.Wait()
	h.untilMarked(writers * transactions * rows)
	published := h.sink.ids()
	for w := range writers {
		var want []int64
		found, _ := h.conn.Query(t.Context(), "SELECT id FROM "+h.table+" WHERE key = $1 ORDER BY id", fmt.Sprintf("key %d", w))
		want, err := pgx.CollectRows(found, pgx.RowTo[int64])
		if err != nil {
			t.Fatal(err)
		}
		got := slices.DeleteFunc(slices.Clone(published), func(id int64) bool { return !slices.Contains(want, id) })
		if !slices.Equal(got, want) {
			t.Errorf("key %d was published %d times for %d rows, in order: %v", w, len(got), len(want), slices.IsSorted(got))
		}
	}
	if s := h.relay.Status(); s.Reconciled != 0 {
		t.Errorf("%d rows count as missed by the log", s.Reconciled)
	}
}

// refuseOnce has the sink refuse the row's first publish.
func (h *harness) refuseOnce(id int64) {
	var refused atomic.Bool
	h.sink.spoil = func(m *relay.Message, o relay.Outcome) relay.Outcome {
		if m.ID == id && refused.CompareAndSwap(false, true) {
			return relay.Outcome{Class: relay.Refused, Type: relay.ErrorTypeFull, Err: errors.New("refused by the test")}
		}
		return o
	}
}

// The head of a key is refused, and the log goes on to tell of later rows of the
// key. (Rule 5: rows of a held key stay in the table.)
func TestLogDoesNotPassARefusedHead(t *testing.T) {
	h := start(t, func(c *engine.Config) {
		tailed(c)
		c.Retry = engine.Backoff{Min: 2 * time.Second, Max: 2 * time.Second}
	}, func(h *harness) { h.refuseOnce(1) })
	h.run()
	h.untilTailing()
	head := h.insertKeyed("K")
	h.untilLogged("message refused")
	follower := h.insertKeyed("K")
	h.insertKeyed("L")
	h.untilMarked(3)
	ids := h.sink.ids()
	if head != 1 || count(ids, head) != 2 || count(ids, follower) != 1 || slices.Index(ids, follower) < lastIndex(ids, head) {
		t.Errorf("published %v: row %d passed row %d, which had been refused", ids, follower, head)
	}
	if s := h.relay.Status(); s.Reconciled != 0 || s.Mode != relay.Tailing {
		t.Errorf("status is %+v, want tailing and nothing reconciled", s)
	}
}

// A chain that is full while the log tells of more rows of its key: they are left
// to surveys, in order. (Rule 5: a chain longer than its cap turns into a hold.)
func TestHotKeyOfTheLogKeepsItsOrder(t *testing.T) {
	h := start(t, func(c *engine.Config) {
		tailed(c)
		c.MaxInFlight = 4                // a cap of 2
		c.PollInterval = 2 * time.Second // the next survey comes so much later
	}, func(h *harness) { h.sink.hold() })
	h.run()
	h.untilTailing()
	var want []int64
	for range 3 {
		want = append(want, h.insertKeyed("K"))
	}
	h.until("the chain is full, and the first of it with the sink", func() bool {
		return h.sink.holding() == 1 && h.relay.Status().Waiting == 1
	})
	h.sink.letGo() // the chain empties before the survey comes
	want = append(want, h.insertKeyed("K"))
	h.untilMarked(4)
	if ids := h.sink.ids(); !slices.Equal(ids, want) {
		t.Errorf("published %v, want %v", ids, want)
	}
}

// The log tells of a row of a held key a moment before others can see it, and the
// survey that is to end the hold does not see it yet either. (Rule 5: a hold
// ends only through a survey that is newer than the last row that returned.)
func TestHoldOutlastsASurveyThatDoesNotSeeWhatWasDropped(t *testing.T) {
	var surveys, told atomic.Int64
	h, url := stalled(t, func(c *engine.Config) {
		tailed(c)
		c.Tail.Gate = engine.GateOff
		c.Retry = engine.Backoff{Min: time.Hour, Max: time.Hour}
		c.Tail.ReconcileInterval = 20 * time.Millisecond
		c.Database = &slowDatabase{
			Database: c.Database,
			surveyed: func(relay.Survey) { surveys.Add(1) },
			told: func(ev relay.TailEvent) {
				if ev.Message != nil {
					told.Add(1)
				}
			},
		}
	}, func(h *harness) { h.refuseOnce(1) })
	h.run()
	h.untilTailing()
	h.insertKeyed("K")
	h.until("the head is refused", func() bool { return h.int("SELECT max(attempts) FROM "+h.table) == 1 })

	release := pgtest.StallCommits(t, url)
	insert := func() <-chan int64 {
		app, row := h.application(), make(chan int64, 1)
		go func() { row <- h.insertIn(app, "K", "NULL") }()
		return row
	}
	someSurveys := func() {
		before := surveys.Load()
		h.until("surveys have come", func() bool { return surveys.Load() > before+2 })
	}
	committed := insert()
	h.until("the second row is in the log", func() bool { return told.Load() == 2 })
	someSurveys()
	h.exec("UPDATE " + h.table + " SET available_at = now()") // the head is due
	someSurveys()
	behind := insert() // would be taken from the log where the hold has ended
	h.until("the third row is in the log", func() bool { return told.Load() == 3 })
	someSurveys()
	pgtest.AwaitStalled(t, url, 2)
	release()
	second, third := <-committed, <-behind
	h.untilMarked(3)
	if ids := h.sink.ids(); slices.Index(ids, third) < slices.Index(ids, second) {
		t.Errorf("published %v: row %d passed row %d, which committed first", ids, third, second)
	}
}

// A row is published and acknowledged before its transaction is visible: its
// mark finds nothing, and it is not gone. (Rule 11: a missing row is settled when
// its transaction is visible.)
func TestRowThatIsNotVisibleYetIsNotTakenForGone(t *testing.T) {
	h, url := stalled(t, func(c *engine.Config) {
		tailed(c)
		c.Tail.Gate = engine.GateOff
		c.Tail.ReconcileInterval = 50 * time.Millisecond
	}, nil)
	app := h.application()
	h.run()
	h.untilTailing()
	release := pgtest.StallCommits(t, url)
	committed := make(chan int64, 1)
	go func() { committed <- h.insertIn(app, "K", "NULL") }()
	// The status is a tenth of a second old at most, so the mark was tried.
	h.until("the row is acknowledged", func() bool { return h.relay.Status().Published == 1 })
	pgtest.AwaitStalled(t, url, 1)
	release()
	id := <-committed
	h.untilMarked(1)
	if ids := h.sink.ids(); !slices.Equal(ids, []int64{id}) {
		t.Errorf("published %v, want row %d once", ids, id)
	}
}

// With a synchronous standby the log tells of a commit before the standby has it.
// Were the primary lost now, the transaction would never have been. (Rule 8: the
// visibility gate.)
func TestGateKeepsBackWhatMayNeverHaveBeen(t *testing.T) {
	h, url := stalled(t, tailed, nil)
	release := pgtest.StallCommits(t, url)
	app := h.application()
	h.run()
	h.untilTailing()
	early := h.insertKeyed("K") // not stalled
	h.untilMarked(1)
	committed := make(chan int64, 1)
	go func() { committed <- h.insertIn(app, "K", "NULL") }()
	pgtest.AwaitStalled(t, url, 1)
	behind := h.insertKeyed("L") // has the log go on
	<-time.After(300 * time.Millisecond)
	if ids := h.sink.ids(); !slices.Equal(ids, []int64{early}) {
		t.Fatalf("published %v while the standby had only row %d", ids, early)
	}
	release()
	id := <-committed
	h.untilMarked(3)
	if ids := h.sink.ids(); !slices.Contains(ids, id) || !slices.Contains(ids, behind) || len(ids) != 3 {
		t.Errorf("published %v, want %d, %d and %d once", ids, early, id, behind)
	}
}

// Rows that are inserted sent or dead are not for the broker.
func TestRowInsertedAsSentIsNotPublished(t *testing.T) {
	h := start(t, tailed, nil)
	h.run()
	h.untilTailing()
	h.exec("INSERT INTO " + h.table + " (topic, payload, sent_at) VALUES ('orders.created', '{}', now())")
	h.exec("INSERT INTO " + h.table + " (topic, payload, dead_at) VALUES ('orders.created', '{}', now())")
	last := h.insertKeyed("K")
	h.untilMarked(2)
	if ids := h.sink.ids(); !slices.Equal(ids, []int64{last}) {
		t.Errorf("published %v, want %d alone", ids, last)
	}
}
