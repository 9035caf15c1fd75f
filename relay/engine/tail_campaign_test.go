package engine_test

import (
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/e2e/oracle"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgtest"
	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/relay/engine"
	"github.com/outbox-relay/outbox-relay/schema"
)

// TestTailOpenedHundredsOfTimesUnderLoad ends the tail as soon as it is read, and
// has it opened again, while 32 writers commit, roll back, and take each other's
// keys in turn. Now and then commits stall while a tail is being opened.
//
// The schedules looked for: a transaction between the slot's start and the
// survey's snapshot is lost, or taken twice; X of a key stalls in its commit,
// which the log has before the slot and the survey does not see, and Y of the key
// follows.
func TestTailOpenedHundredsOfTimesUnderLoad(t *testing.T) {
	c := newTailCampaign(t)
	c.run(func(openings int) bool { return openings < 200 })
}

// tailCampaign is a harness under an oracle's load.
type tailCampaign struct {
	*harness
	url  string
	load *oracle.Running
}

// stallEvery is how many openings come between two of which the commits stall.
const stallEvery = 20

func newTailCampaign(t *testing.T) *tailCampaign {
	t.Helper()
	h, url := stalled(t, func(c *engine.Config) {
		tailed(c)
		c.Tail.Retry = engine.Backoff{Min: time.Millisecond, Max: 10 * time.Millisecond}
		c.MaxInFlight = 1024
	}, nil)
	if err := oracle.Install(t.Context(), h.conn); err != nil {
		t.Fatal(err)
	}
	c := &tailCampaign{harness: h, url: url}
	c.load = oracle.Load{
		URL: url, Table: outboxTable, Writers: 32, Keys: 40, Rate: 800, Copy: 10, Topics: []string{"orders.created"}, Seed: 80,
	}.Start(t.Context())
	t.Cleanup(func() { _, _ = c.load.Stop() })
	return c
}

var outboxTable = schema.Table{Schema: "public", Name: "outbox"}

// run opens tails for as long as it is told, and lets the oracle judge.
func (c *tailCampaign) run(more func(openings int) bool) {
	c.Helper()
	stop := c.harness.run()
	openings, stalls := 0, 0
	for ; more(openings); openings++ {
		c.untilTailing()
		switch {
		case openings%stallEvery == stallEvery/2:
			stalls++
			c.openWhileCommitsStall()
		case openings%4 == 0:
			c.untilPublished(c.relay.Status().Published + 50)
			c.endTail()
		default:
			c.endTail()
		}
	}
	c.untilTailing()
	stats, err := c.load.Stop()
	if err != nil {
		c.Fatal(err)
	}
	c.until("all rows are marked", func() bool { return c.int("SELECT count(*) FROM "+c.table+" WHERE sent_at IS NULL") == 0 })
	s := c.relay.Status()
	stop()
	c.Logf("%d tails, %d of them opened while commits stalled; the load: %+v", openings, stalls, stats)
	if s.Reconciled > 0 {
		c.Errorf("%d rows were found that the log had not told of", s.Reconciled)
	}
	c.verdict()
}

func (c *tailCampaign) untilPublished(n uint64) {
	c.Helper()
	c.until("rows are published", func() bool { return c.relay.Status().Published >= n })
}

// endTail ends the session that reads the log, and waits until it is not read, or
// is read again.
func (c *tailCampaign) endTail() {
	c.Helper()
	before := c.relay.Status()
	c.int("SELECT count(pg_terminate_backend(active_pid)) FROM pg_replication_slots")
	c.until("the tail is left", func() bool {
		s := c.relay.Status()
		return s.Mode != relay.Tailing || s.Since.After(before.Since)
	})
}

// openWhileCommitsStall stalls commits before the tail goes, so that the next one
// is opened among transactions that are in the log and not visible; once the relay
// waits for them, they go on.
func (c *tailCampaign) openWhileCommitsStall() {
	c.Helper()
	defer pgtest.StallCommits(c.T, c.url)()
	c.until("commits stall", func() bool { return c.int("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'") >= 2 })
	c.endTail()
	c.until("a slot waits for them", func() bool {
		return c.int("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'walsender' AND wait_event_type = 'Lock'") == 1
	})
}

func (c *tailCampaign) verdict() {
	c.Helper()
	committed, err := oracle.Committed(c.Context(), c.conn)
	if err != nil {
		c.Fatal(err)
	}
	table, err := oracle.ReadTable(c.Context(), c.conn, outboxTable)
	if err != nil {
		c.Fatal(err)
	}
	received, err := oracle.Collect(c.Context(), c.broker.URL(), "ORDERS")
	if err != nil {
		c.Fatal(err)
	}
	c.Logf("%d rows, %d messages", len(committed), len(received))
	if findings := oracle.Judge(committed, received, table, oracle.Limits{}); len(findings) > 0 {
		c.Error(oracle.Report(findings))
	}
}
