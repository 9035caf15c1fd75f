package examples

import (
	"maps"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/await"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgtest"
	"github.com/outbox-relay/outbox-relay/schema"
)

// traceparent is the one of the page's SQL.
const traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

// TestWritersOfThePageInsertTheRowWithTheirData: in one transaction, behind the lock of the
// aggregate.
func TestWritersOfThePageInsertTheRowWithTheirData(t *testing.T) {
	page := readPage(t, "writing.md")
	for _, file := range slices.Sorted(maps.Keys(page["sql"])) {
		t.Run("SQL/"+file, func(t *testing.T) {
			writeOnce(t, func(address string) (finished func()) {
				return inBackground(t, pgtest.Connect(t, address), page["sql"][file])
			})
		})
	}
	for _, l := range languages() {
		for _, main := range slices.Sorted(maps.Keys(page[l.fence])) {
			t.Run(l.name+"/"+main, func(t *testing.T) {
				writeOnce(t, func(address string) (finished func()) {
					writer := prepareAlone(t, page, l, main, append(databaseEnv(t, address), "TRACEPARENT="+traceparent)...)
					running := writer.start(t)
					return func() { finish(t, running) }
				})
			})
		}
	}
}

// prepareAlone prepares a program whose files are no part of another's.
func prepareAlone(t *testing.T, p page, l language, main string, env ...string) *runner {
	t.Helper()
	return prepare(t, page{l.fence: {main: p[l.fence][main]}}, l, main, env...)
}

// inBackground runs a script on a connection of its own.
func inBackground(t *testing.T, conn *pgx.Conn, script string) (finished func()) {
	failure := make(chan error, 1)
	go func() { failure <- conn.PgConn().Exec(t.Context(), script).Close() }()
	return func() {
		t.Helper()
		if err := <-failure; err != nil {
			t.Fatal(err)
		}
	}
}

// writeOnce starts a writer while the aggregate is locked, and looks at what it has written
// in the end.
func writeOnce(t *testing.T, start func(address string) (finished func())) {
	s := &shop{t: t, address: pgtest.Database(t)}
	s.conn = pgtest.Connect(t, s.address)
	if err := s.conn.PgConn().Exec(t.Context(), schema.SQL(schema.Options{Table: schema.Table{Schema: "public", Name: "outbox"}})+`
		CREATE TABLE customer (name text PRIMARY KEY);
		CREATE TABLE purchase (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, customer text NOT NULL, total numeric NOT NULL);
		INSERT INTO customer VALUES ('ann')`).Close(); err != nil {
		t.Fatal(err)
	}

	other := pgtest.Connect(t, s.address)
	lock, err := other.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lock.Exec(t.Context(), "SELECT FROM customer FOR UPDATE"); err != nil {
		t.Fatal(err)
	}
	finished := start(s.address)
	await.Until(t, "the writer waits for the aggregate", func() bool {
		return s.count("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'") == 1
	})
	if n := s.count("SELECT coalesce(pg_sequence_last_value(pg_get_serial_sequence('outbox', 'id')), 0)"); n != 0 {
		t.Error("the writer inserts before it has the aggregate's lock")
	}
	if err := lock.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	finished()

	// One transaction has one xmin.
	const written = `SELECT count(*) FROM purchase AS p JOIN outbox AS o ON o.xmin = p.xmin
		WHERE p.customer = 'ann' AND p.total = 9.90 AND o.key = 'ann' AND o.payload->>'customer' = 'ann' AND (o.payload->>'total')::numeric = 9.90 AND `
	if n := s.count(written+`o.topic = 'orders.created' AND o.headers = jsonb_build_object('traceparent', $1::text) AND o.available_at IS NULL`, traceparent); n != 1 {
		t.Error("the event is not as the page says")
	}
	if n := s.count(written + `o.topic = 'orders.reminder' AND o.available_at - now() BETWEEN interval '23 hours' AND interval '24 hours'`); n != 1 {
		t.Error("the reminder is not as the page says")
	}
	if n := s.count("SELECT count(*) FROM outbox"); n != 2 {
		t.Errorf("the outbox has %d rows, want 2", n)
	}
}
