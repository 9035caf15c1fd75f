package engine_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgserver"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgtest"
	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/relay/engine"
)

// restarted restarts the server after a change of its files, and connects anew.
func (h *harness) restarted(s *pgserver.Server, change func()) {
	h.Helper()
	if err := s.Stop(h.Context()); err != nil {
		h.Fatal(err)
	}
	change()
	if err := s.Restart(h.Context()); err != nil {
		h.Fatal(err)
	}
	h.conn = pgtest.Connect(h.T, h.conn.Config().ConnString())
}

// toStopLimit is how many transactions younger than its oldest id a cluster gives ids
// to. Then it takes no more writes, so that ids do not come round.
const toStopLimit = 1<<31 - 1 - 3_000_000

// The server gives out no more transaction ids, since a forgotten slot holds vacuum
// back. No mark can be written: at most a window is published, the cause is told, and
// all is sent, each row once, when vacuum has caught up. (Rule 17.)
func TestServerWithoutTransactionIDsStopsThePublishing(t *testing.T) {
	const rows, window, left = 20_000, 64, 20
	s := pgtest.Own(t, map[string]string{"autovacuum_naptime": "1"})
	h := startOn(t, s.URL("postgres"), func(c *engine.Config) { c.MaxInFlight = window }, nil)
	h.insert(rows)
	h.exec(`SELECT pg_create_logical_replication_slot('forgotten', 'pgoutput')`)
	oldest := h.int(`SELECT catalog_xmin::text FROM pg_replication_slots`)
	h.restarted(s, func() {
		switch err := s.SkipTransactions(t.Context(), uint32(oldest+toStopLimit-left)); {
		case errors.Is(err, pgserver.ErrNoReset):
			t.Skip(err)
		case err != nil:
			t.Fatal(err)
		}
	})
	h.until("vacuum has done what it can", func() bool {
		return h.int(`SELECT count(*) FROM pg_database WHERE age(datfrozenxid) > `+h.text(`SELECT age(catalog_xmin) FROM pg_replication_slots`)) == 0
	})
	stop := h.run()
	h.untilTableDown("to avoid wraparound data loss")
	published, marked := len(h.sink.ids()), rows-int(h.unsent())
	if published > marked+window+probesIn(h) {
		t.Errorf("%d rows were published and %d marked with a window of %d", published, marked, window)
	}
	if marked == 0 {
		t.Error("no row was marked before the ids were used up")
	}
	h.exec(`SELECT pg_drop_replication_slot('forgotten')`)
	h.untilMarked(rows)
	if n := len(h.sink.ids()); n != rows {
		t.Errorf("%d rows were published, want each of %d once", n, rows)
	}
	stop()
}

// The server comes back as a standby: nothing is published there, and why is told. All
// is sent once it is the primary again.
func TestServerThatBecomesAStandbyIsAwaited(t *testing.T) {
	s := pgtest.Own(t, nil)
	h := startOn(t, s.URL("postgres"), nil, nil)
	stop := h.run()
	h.insert(100)
	h.untilMarked(100)
	data := h.text(`SHOW data_directory`)
	h.restarted(s, func() {
		if err := os.WriteFile(filepath.Join(data, "standby.signal"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	})
	h.until("the relay says that the server is a standby", func() bool {
		s := h.relay.Status()
		return s.Mode == relay.Connecting && strings.Contains(s.Reason, "standby")
	})
	if n := len(h.sink.ids()); n != 100 {
		t.Errorf("%d rows were published", n)
	}
	h.exec(`SELECT pg_promote()`)
	h.insert(100)
	h.untilMarked(200)
	if n := len(h.sink.ids()); n != 200 {
		t.Errorf("%d rows were published, want each of 200 once", n)
	}
	// The relay's sessions do not take over that transactions are to be read-only.
	h.exec(`ALTER SYSTEM SET default_transaction_read_only = on`)
	h.exec(`SELECT pg_reload_conf()`)
	h.until("the setting is there", func() bool { return h.text(`SHOW default_transaction_read_only`) == "on" })
	h.exec(`SET default_transaction_read_only = off`)
	h.insert(100)
	h.untilMarked(300)
	stop()
}
