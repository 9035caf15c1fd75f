package engine_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/relay/engine"
	"github.com/outbox-relay/outbox-relay/relay/postgres"
	"github.com/outbox-relay/outbox-relay/schema"
)

// keeping is a harness whose relay keeps sent rows for a second.
func keeping(t *testing.T, configure func(*engine.Config)) *harness {
	t.Helper()
	return start(t, configure, func(h *harness) {
		database, err := postgres.New(postgres.Options{
			URL: h.conn.Config().ConnString(), Table: schema.Table{Schema: "public", Name: "outbox"},
			Retention: postgres.Retention{Age: time.Second, Chosen: true},
		})
		if err != nil {
			t.Fatal(err)
		}
		h.config.Database, h.config.Retention = database, time.Second
	})
}

// Sent rows go after their time. A row that a foreign key keeps stays, is told, and keeps
// no other.
func TestSentRowsArePurgedAroundOneThatCannotBe(t *testing.T) {
	t.Parallel()
	h := keeping(t, nil)
	h.exec(`CREATE TABLE invoices (outbox_id bigint REFERENCES outbox)`)
	h.insert(500)
	h.exec(`INSERT INTO invoices SELECT min(id) + 100 FROM outbox`)
	h.exec(`INSERT INTO outbox (topic, payload, dead_at) VALUES ('test.dead', '1', now() - interval '1 year')`)
	stop := h.run()
	h.until("all but two rows are gone", func() bool { return h.int(`SELECT count(*) FROM outbox`) == 2 })
	h.until("the one that stays is told", func() bool { return h.relay.Status().NotPurged != "" })
	h.untilLogged("sent rows are not deleted")
	h.exec(`DELETE FROM invoices`)
	h.until("it goes too", func() bool { return h.int(`SELECT count(*) FROM outbox`) == 1 })
	h.until("and that is told", func() bool { return h.relay.Status().NotPurged == "" && h.relay.Status().Purged == 500 })
	stop()
	if n := len(h.stored()); n != 500 {
		t.Errorf("%d messages, want 500", n)
	}
}

// Dead rows are replayed, and sent, while those that were replayed before are purged: each
// is delivered, and nothing stays.
func TestPurgeAndReplayAtOnceLoseNothing(t *testing.T) {
	t.Parallel()
	const rows, batch = 3000, 100
	h := keeping(t, nil)
	h.exec(`INSERT INTO outbox (topic, key, payload, dead_at, attempts, last_error)
		SELECT 'orders.created', 'k' || n % 50, to_json(n), now() - interval '1 day', 3, 'full: it was' FROM generate_series(1, 3000) AS n`)
	database, err := postgres.New(postgres.Options{URL: h.conn.Config().ConnString(), Table: schema.Table{Schema: "public", Name: "outbox"}})
	if err != nil {
		t.Fatal(err)
	}
	dead, err := database.OpenDead(t.Context(), relay.ReplayDead)
	if err != nil {
		t.Fatal(err)
	}
	defer dead.Close()
	stop := h.run()
	page := relay.DeadPage{After: relay.BeforeAllIDs, Rows: batch, Most: batch}
	for replayed := int64(0); replayed < rows; {
		done, err := dead.Replay(t.Context(), page)
		if err != nil || done.Changed != batch {
			t.Fatalf("after %d rows: %+v, %v", replayed, done, err)
		}
		page.After, replayed = done.Cursor, replayed+done.Changed
		if replayed == rows/2 { // so that the rest is replayed beside a purge
			h.until("some are purged", func() bool { return h.relay.Status().Purged > 0 })
		}
	}
	h.until("all are purged", func() bool { return h.int(`SELECT count(*) FROM outbox`) == 0 })
	stop()
	if n := len(h.stored()); n != rows {
		t.Errorf("%d messages, want %d", n, rows)
	}
}

// Ids begin again, and the purge with them.
func TestPurgeFollowsIDsThatBeginAgain(t *testing.T) {
	t.Parallel()
	h := keeping(t, nil)
	h.insert(50)
	stop := h.run()
	h.until("all rows are gone", func() bool { return h.int(`SELECT count(*) FROM outbox`) == 0 })
	h.exec(`TRUNCATE outbox RESTART IDENTITY`)
	h.insert(40)
	h.until("all rows are gone again", func() bool { return h.int(`SELECT count(*) FROM outbox`) == 0 && h.relay.Status().Purged == 90 })
	stop()
}

func TestRateIsLimited(t *testing.T) {
	t.Parallel()
	h := start(t, func(c *engine.Config) { c.Rate = engine.Rate{PerSecond: 20, Burst: 5} }, nil)
	h.insert(30)
	began := time.Now()
	stop := h.run()
	h.untilMarked(30)
	if took := time.Since(began); took < time.Second {
		t.Errorf("30 messages took %v: at 20 a second and 5 at once they take more than 1.2 s", took)
	}
	if s := h.relay.Status(); s.Stalled != "" {
		t.Errorf("stalled: %s", s.Stalled)
	}
	stop()
}

// Copies of dead rows count against the rate too, and neither they nor the rows use all of
// it up.
func TestCopiesOfDeadRowsKeepToTheRate(t *testing.T) {
	t.Parallel()
	const rows, dead, perSecond = 30, 300, 30
	h := start(t, func(c *engine.Config) {
		c.Rate, c.DeadLetterTopic = engine.Rate{PerSecond: perSecond, Burst: 1}, "orders.dead"
	}, nil)
	h.exec(fmt.Sprintf(`INSERT INTO outbox (topic, payload, dead_at) SELECT 'orders.lost', '1', now() FROM generate_series(1, %d)`, dead))
	began := time.Now()
	stop := h.run()
	h.until("the first is copied", func() bool { return h.int(`SELECT count(*) FROM outbox WHERE dead_letter_at IS NOT NULL`) > 0 })
	h.insert(rows)
	h.untilMarked(rows)
	stop()
	took, stored := time.Since(began), h.stored()
	if least := time.Duration(len(stored)-1) * time.Second / perSecond; took < least {
		t.Errorf("%d messages took %v: at %d a second they take %v", len(stored), took, perSecond, least)
	}
	between, sent := 0, 0
	for _, id := range stored {
		switch isCopy := id <= dead; {
		case !isCopy:
			sent++
		case sent > 0 && sent < rows:
			between++
		}
	}
	if sent != rows || between < rows/10 {
		t.Errorf("%d copies between the first and the last of %d rows: they take turns", between, sent)
	}
}
