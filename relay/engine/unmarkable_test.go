package engine_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgtest"
	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/relay/engine"
	"github.com/outbox-relay/outbox-relay/relay/postgres"
	"github.com/outbox-relay/outbox-relay/schema"
)

// badRow is something that keeps the outcome of the row with the key badKey from
// being written.
type badRow struct {
	make, heal string
	says       string // in the error
	after      postgres.AfterSend
	refuse     bool // the broker refuses the row
}

const badKey = "twenty characters 20"

var badRows = map[string]badRow{
	"constraint": {
		make: `ALTER TABLE outbox ADD CONSTRAINT short_key CHECK (length(key) < 10) NOT VALID`,
		heal: `ALTER TABLE outbox DROP CONSTRAINT short_key`, says: `violates check constraint "short_key"`,
	},
	"constraint, refused": {
		make: `ALTER TABLE outbox ADD CONSTRAINT short_key CHECK (length(key) < 10) NOT VALID`,
		heal: `ALTER TABLE outbox DROP CONSTRAINT short_key`, says: `violates check constraint "short_key"`, refuse: true,
	},
	"foreign key": {
		make: `CREATE TABLE child (id bigint REFERENCES outbox); INSERT INTO child SELECT id FROM outbox WHERE key = '` + badKey + `'`,
		heal: `DROP TABLE child`, says: `violates foreign key constraint "child_id_fkey"`, after: postgres.Delete,
	},
	"trigger": {
		make: veto("IF NEW.key = '" + badKey + "' THEN RAISE EXCEPTION 'not on Mondays'; END IF; RETURN NEW;"),
		heal: `DROP TRIGGER veto ON outbox`, says: "not on Mondays",
	},
	"trigger, refused": {
		make: veto("IF NEW.key = '" + badKey + "' THEN RAISE EXCEPTION 'not on Mondays'; END IF; RETURN NEW;"),
		heal: `DROP TRIGGER veto ON outbox`, says: "not on Mondays", refuse: true,
	},
	"trigger that suppresses": {
		make: veto("IF NEW.key = '" + badKey + "' THEN RETURN NULL; END IF; RETURN NEW;"),
		heal: `DROP TRIGGER veto ON outbox`, says: "a trigger or rule on public.outbox suppresses the write to row",
	},
}

// veto is a trigger before each update of the outbox table.
func veto(body string) string {
	return `CREATE FUNCTION veto() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN ` + body + ` END$$;
		CREATE TRIGGER veto BEFORE UPDATE ON outbox FOR EACH ROW EXECUTE FUNCTION veto()`
}

// startAfter is start for a relay that marks rows, or deletes them.
func startAfter(t *testing.T, after postgres.AfterSend, configure func(*engine.Config)) *harness {
	t.Helper()
	url := pgtest.Database(t)
	return startOn(t, url, func(c *engine.Config) {
		database, err := postgres.New(postgres.Options{
			URL: url, Table: schema.Table{Schema: "public", Name: "outbox"}, Logger: c.Logger, AfterSend: after,
		})
		if err != nil {
			t.Fatal(err)
		}
		c.Database = database
		if configure != nil {
			configure(c)
		}
	}, nil)
}

// insertBad commits n rows with keys of their own, of which the bad ones have the
// bad key.
func (h *harness) insertBad(n int, bad ...int) {
	h.Helper()
	list := strings.Trim(strings.Join(strings.Fields(fmt.Sprint(bad)), ","), "[]")
	h.exec(fmt.Sprintf(`INSERT INTO %s (topic, key, payload)
		SELECT 'orders.created', CASE WHEN n IN (%s) THEN '%s' ELSE 'k' || n END, '1' FROM generate_series(1, %d) n`, h.table, list, badKey, n))
}

func (h *harness) unsent() int64 {
	h.Helper()
	return h.int("SELECT count(*) FROM " + h.table + " WHERE sent_at IS NULL")
}

// One row of 500 cannot be marked, wherever it stands: the others are sent at once,
// it is published once, named, and marked when what was in the way is gone. (Rule 16.)
func TestRowThatCannotBeMarkedStopsNoOther(t *testing.T) {
	for name, bad := range badRows {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, at := range []int{1, 250} {
				stopsNoOther(t, bad, at)
			}
		})
	}
}

func stopsNoOther(t *testing.T, bad badRow, at int) {
	t.Helper()
	h := startAfter(t, bad.after, nil)
	h.insertBad(500, at)
	h.exec(bad.make)
	refused := bad.refuse
	h.sink.spoil = func(m *relay.Message, o relay.Outcome) relay.Outcome {
		if m.Key == badKey && refused {
			refused = false
			return relay.Outcome{Class: relay.Refused, Type: relay.ErrorTypeFull, Err: errors.New("refused by the test")}
		}
		return o
	}
	stop := h.run()
	h.until("the other 499 rows are sent", func() bool { return h.unsent() == 1 })
	h.until("the status names the row", func() bool {
		s := h.relay.Status()
		return s.Unmarkable == 1 && len(s.UnmarkableRows) == 1 && s.UnmarkableRows[0].ID == int64(at) &&
			strings.Contains(s.UnmarkableRows[0].Error, bad.says) && s.TableDown == ""
	})
	h.until("it is tried again", func() bool { return h.relay.Status().UnmarkableRows[0].Tries > 1 })
	if log := h.log.String(); !strings.Contains(log, "row cannot be marked") || !strings.Contains(log, fmt.Sprintf("id=%d ", at)) {
		t.Errorf("the log does not name row %d:\n%s", at, log)
	}
	if ids := h.sink.ids(); len(ids) != 500 {
		t.Errorf("%d rows were published, want each of 500 once", len(ids))
	}
	h.exec(bad.heal)
	h.until("the row is sent too", func() bool { return h.unsent() == 0 && h.relay.Status().Unmarkable == 0 })
	stop()
	want := 500
	if bad.refuse {
		want++ // its second attempt
	}
	if ids := h.sink.ids(); len(ids) != want {
		t.Errorf("%d rows were published, want %d", len(ids), want)
	}
}

// More rows than the window has room for cannot be marked: they leave it. (Rule 16.)
func TestRowsThatCannotBeMarkedDoNotFillTheWindow(t *testing.T) {
	bad := badRows["constraint"]
	h := startAfter(t, bad.after, func(c *engine.Config) { c.MaxInFlight = 16 })
	var list []int
	for n := 100; n < 140; n++ {
		list = append(list, n)
	}
	h.insertBad(500, list...)
	h.exec(`UPDATE outbox SET key = key || id WHERE key = '` + badKey + `'`) // none waits for another
	h.exec(bad.make)
	h.run()
	h.until("all others are sent", func() bool { return h.unsent() == 40 })
	h.until("the status counts them", func() bool {
		s := h.relay.Status()
		return s.Unmarkable == 40 && len(s.UnmarkableRows) == relay.MaxUnmarkableTold && s.InFlight == 0
	})
	if ids := h.sink.ids(); len(ids) != 500 {
		t.Errorf("%d rows were published, want each of 500 once", len(ids))
	}
	h.exec(bad.heal)
	h.untilMarked(500) // the relay may not know that yet when it is stopped
}

// A row that was set aside is marked while the relay is being stopped: it is not called one
// that will be sent again. (Rule 16.)
func TestRowThatIsMarkedAtTheEndIsNotLeft(t *testing.T) {
	bad := badRows["constraint"]
	var answer valve
	h := startAfter(t, bad.after, func(c *engine.Config) {
		c.Database = &slowDatabase{Database: c.Database, marked: answer.wait}
	})
	h.insertBad(3, 1)
	h.exec(bad.make)
	stop := h.run() // which fails the test if the end was not clean
	h.until("the row is set aside", func() bool { return h.unsent() == 1 && h.relay.Status().Unmarkable == 1 })
	answer.close()
	t.Cleanup(answer.open)
	h.exec(bad.heal)
	h.untilMarked(3)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		stop()
	}()
	h.untilLogged("msg=stopping")
	answer.open()
	<-stopped
}

// A bad row that comes alone, while nothing else does, delays no row after it.
// (Rule 16.)
func TestBadRowOfAQuietTableIsTakenForBad(t *testing.T) {
	bad := badRows["constraint"]
	h := startAfter(t, bad.after, nil)
	h.insert(1)
	h.run()
	h.untilMarked(1)
	h.insertBad(1, 1)
	h.exec(bad.make)
	h.until("the status names the row", func() bool { s := h.relay.Status(); return s.Unmarkable == 1 && s.TableDown == "" })
	h.insert(1)
	h.untilMarked(2)
	h.exec(bad.heal)
	h.untilMarked(3)
}
