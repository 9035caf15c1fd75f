package schema_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// The three questions that the relay asks, as it asks them.
const (
	due       = "sent_at IS NULL AND dead_at IS NULL AND (available_at IS NULL OR attempts > 0)"
	scheduled = "sent_at IS NULL AND dead_at IS NULL AND available_at IS NOT NULL AND attempts = 0"
	dead      = "sent_at IS NULL AND dead_at IS NOT NULL"
)

// plan is the part of EXPLAIN's answer that the tests look at.
type plan struct {
	Type   string `json:"Node Type"`
	Index  string `json:"Index Name"`
	Hit    int    `json:"Shared Hit Blocks"`
	Read   int    `json:"Shared Read Blocks"`
	Plans  []plan
	Actual float64 `json:"Actual Rows"` // whole, or to the hundredth from PostgreSQL 18 on
}

func explain(t *testing.T, conn *pgx.Conn, sql string) plan {
	t.Helper()
	text := value[string](t, conn, "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) "+sql)
	var top []struct{ Plan plan }
	if err := json.Unmarshal([]byte(text), &top); err != nil {
		t.Fatal(err)
	}
	return top[0].Plan
}

// indexes lists the indexes that a plan reads.
func (p plan) indexes() string {
	var names []string
	if p.Index != "" {
		names = append(names, p.Index)
	} else if strings.Contains(p.Type, "Scan") {
		names = append(names, p.Type)
	}
	for _, child := range p.Plans {
		names = append(names, child.indexes())
	}
	return strings.Join(names, " ")
}

// crowd fills the table with what the pending indexes must hide from a pass:
// sent rows, rows scheduled for next month, and dead ones; and a few due rows.
func crowd(t *testing.T, conn *pgx.Conn) {
	t.Helper()
	script(t, conn, `
		INSERT INTO outbox (topic, payload, sent_at) SELECT 't', '1', now() FROM generate_series(1, 20000);
		INSERT INTO outbox (topic, payload, available_at)
			SELECT 't', '1', now() + random() * interval '30 days' + interval '1 day' FROM generate_series(1, 100000);
		INSERT INTO outbox (topic, payload, dead_at, attempts) SELECT 't', '1', now(), 10 FROM generate_series(1, 1000);
		INSERT INTO outbox (topic, payload) SELECT 't', '1' FROM generate_series(1, 20);
		INSERT INTO outbox (topic, payload, available_at, attempts) SELECT 't', '1', now() + interval '1 hour', 1 FROM generate_series(1, 10);
		INSERT INTO outbox (topic, payload, available_at) SELECT 't', '1', now() FROM generate_series(1, 5)`)
	run(t, conn, "VACUUM (ANALYZE) outbox")
}

func TestScheduledAndSentRowsCostAPassNothing(t *testing.T) {
	conn := migrated(t, outbox)
	crowd(t, conn)
	for _, c := range []struct {
		sql, index string
		rows       int
	}{
		{"SELECT id, payload FROM outbox WHERE id > 0 AND id <= 1000000 AND " + due + " ORDER BY id LIMIT 1000", "outbox_due_idx", 30},
		{"SELECT id FROM outbox WHERE available_at <= now() AND " + scheduled + " ORDER BY available_at, id LIMIT 1000", "outbox_scheduled_idx", 5},
		{"SELECT min(available_at) FROM outbox WHERE available_at > now() AND " + scheduled, "outbox_scheduled_idx", 1},
		{"SELECT id FROM outbox WHERE " + dead + " ORDER BY id LIMIT 10", "outbox_dead_idx", 10},
	} {
		p := explain(t, conn, c.sql)
		if p.indexes() != c.index || p.Actual != float64(c.rows) {
			t.Errorf("%s: reads %s and finds %v rows, want %s and %d", c.sql, p.indexes(), p.Actual, c.index, c.rows)
		}
		if pages := p.Hit + p.Read; pages > 25 {
			t.Errorf("%s: reads %d pages of a table of which it wants %d rows", c.sql, pages, c.rows)
		}
	}
}

func TestAPendingRowIsInExactlyOnePendingIndex(t *testing.T) {
	conn := migrated(t, outbox)
	run(t, conn, `INSERT INTO outbox (topic, payload, sent_at, dead_at, available_at, attempts)
		SELECT 't', '1', sent, dead, available, attempts
		FROM unnest(ARRAY[NULL, now()]) sent, unnest(ARRAY[NULL, now()]) dead,
			unnest(ARRAY[NULL, now(), now() + interval '1 day', 'infinity']) available, unnest(ARRAY[0, 1, 7]) attempts`)
	predicates := values(t, conn, `SELECT pg_get_expr(indpred, indrelid) FROM pg_index
		JOIN pg_class c ON c.oid = indexrelid WHERE indrelid = 'outbox'::regclass AND indpred IS NOT NULL
		AND relname IN ('outbox_due_idx', 'outbox_scheduled_idx')`)
	if len(predicates) != 2 {
		t.Fatalf("the pending indexes have the predicates %q, want two", predicates)
	}
	wrong := values(t, conn, `SELECT o::text FROM outbox o WHERE (sent_at IS NULL AND dead_at IS NULL)::int
		<> (`+predicates[0]+`)::int + (`+predicates[1]+`)::int`)
	if len(wrong) != 0 {
		t.Errorf("rows in none or both of the pending indexes, or not pending and in one: %q", wrong)
	}
}

func TestNegativeAttemptsWhichNoIndexWouldHoldAreRefused(t *testing.T) {
	conn := migrated(t, outbox)
	if _, err := conn.Exec(t.Context(), "INSERT INTO outbox (topic, payload, attempts) VALUES ('t', '1', -1)"); err == nil {
		t.Error("a row with attempts = -1 was inserted")
	}
}
