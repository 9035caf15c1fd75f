package postgres_test

import (
	"math"
	"slices"
	"testing"

	"github.com/outbox-relay/outbox-relay/relay"
)

// hot inserts n rows of one key behind its head, which waits for its retry, and
// rows of other keys before, among and after them.
func (f *fixture) hot(n int, waits string) {
	f.t.Helper()
	f.exec(`ALTER TABLE {t} SET (autovacuum_enabled = off)`)
	f.exec(`INSERT INTO {t} (topic, key, payload) VALUES ('t', 'first', '1')`)
	f.exec(`INSERT INTO {t} (topic, key, payload, attempts, available_at) VALUES ('t', 'hot', '1', 1, now() + $1::text::interval)`, waits)
	f.exec(`INSERT INTO {t} (topic, key, payload) SELECT 't', CASE WHEN n = $1 / 2 THEN 'among' ELSE 'hot' END, '1' FROM generate_series(1, $1) AS n`, n)
	f.exec(`INSERT INTO {t} (topic, payload) VALUES ('t', '1')`)
}

// A statement looks at a bounded number of rows, also where it leaves them out; the
// next one goes on behind them.
func TestStatementThatLeavesKeysOutIsBounded(t *testing.T) {
	t.Parallel()
	f := setup(t, shape{})
	f.hot(100_000, "1 hour")
	_, s := f.lead()
	pass := f.begin(s)
	req := request(pass)
	req.Rows, req.ExcludeKeys = 100, []string{"hot"}
	before := f.settledBlocks()
	c := f.chunk(s, req)
	if got := ids(c.Rows); !slices.Equal(got, []int64{1}) || c.Done || c.Cursor < 10_000 || c.Cursor > 40_000 {
		t.Errorf("the first chunk brings %v, done: %t, and ends at %d", got, c.Done, c.Cursor)
	}
	if got := ids(f.drain(s, req)); !slices.Equal(got, []int64{1, 50_002, 100_003}) {
		t.Errorf("the pass brings %v", got)
	}
	one := "among"
	only := request(pass)
	only.Rows, only.OnlyKey = 100, &one
	if c := f.chunk(s, only); len(c.Rows) > 0 || c.Done || c.Cursor > 40_000 {
		t.Errorf("the first chunk of a key brings %v, done: %t, and ends at %d", ids(c.Rows), c.Done, c.Cursor)
	}
	if got := ids(f.drain(s, only)); !slices.Equal(got, []int64{50_002}) {
		t.Errorf("the key has %v", got)
	}
	s.Close() // which has its reads counted
	if read := f.blocksSince(before); read > 4*(f.value(`SELECT pg_relation_size('{t}') / 8192`).(int64)+1000)*2 {
		t.Errorf("two passes read %d blocks", read)
	}
}

// Statements for the rows of a hot key look at few others, while most rows are of that key.
// Where they are not, the statements look further, and nothing is missed.
func TestRowsOfAHotKeyAreReadNearby(t *testing.T) {
	t.Parallel()
	const rows, others = 30_000, 40_000
	f := setup(t, shape{})
	f.exec(`ALTER TABLE {t} SET (autovacuum_enabled = off)`)
	f.exec(`INSERT INTO {t} (topic, key, payload) SELECT 't', 'hot', '1' FROM generate_series(1, $1)`, rows)
	f.exec(`INSERT INTO {t} (topic, key, payload) SELECT 't', 'k' || n, '1' FROM generate_series(1, $1) AS n`, others)
	f.exec(`INSERT INTO {t} (topic, key, payload) SELECT 't', 'hot', '1' FROM generate_series(1, 3)`)
	_, s := f.lead()
	hot := "hot"
	req := request(f.begin(s))
	req.Rows, req.OnlyKey = 500, &hot
	before := f.settledBlocks()
	got, statements := []int64{}, 0
	for c := (relay.Chunk{}); !c.Done; statements++ {
		c = f.chunk(s, req)
		got, req.After = append(got, ids(c.Rows)...), c.Cursor
	}
	for i, id := range got {
		want := int64(i) + 1
		if want > rows {
			want += others
		}
		if id != want {
			t.Fatalf("row %d of the key has the id %d, want %d", i+1, id, want)
		}
	}
	if len(got) != rows+3 || statements > rows/500+others/10_000+3 {
		t.Errorf("%d rows were read by %d statements, want %d", len(got), statements, rows+3)
	}
	s.Close() // which has its reads counted
	read, table := f.blocksSince(before), f.value(`SELECT pg_relation_size('{t}') / 8192`).(int64)
	t.Logf("%d blocks were read, of a table of %d", read, table)
	if read > 10*table { // 5 times the table, and 19 times where each statement looks far
		t.Error("those are too many")
	}
}

// A survey is complete however many rows stand behind a head.
func TestSurveyIsCompleteBesideAHotKey(t *testing.T) {
	t.Parallel()
	f := setup(t, shape{})
	f.hot(100_000, "1 hour")
	_, s := f.lead()
	survey := func() relay.Survey {
		req := request(relay.Pass{})
		req.Rows, req.Bytes, req.KeyRows = 2000, 4<<20, 500
		v, err := s.Survey(t.Context(), req)
		if err != nil || !v.Complete {
			t.Fatalf("complete: %t, %v", v.Complete, err)
		}
		return v
	}
	if v := survey(); !slices.Equal(ids(v.Rows), []int64{1, 2, 50_002, 100_003}) || v.Rows[1].Wait == 0 || len(v.Cut) > 0 {
		t.Errorf("behind a head that waits: %v, cut %v", ids(v.Rows), v.Cut)
	}
	f.exec(`UPDATE {t} SET available_at = NULL WHERE id = 2`)
	v := survey()
	if len(v.Rows) != 503 || v.Rows[1].Wait != 0 || len(v.Cut) != 1 || v.Cut["hot"] != 501 || v.Frame.Bound != 100_003 {
		t.Errorf("behind a head that is due: %d rows, cut %v", len(v.Rows), v.Cut)
	}
}

// The lowest id that there is comes before all others.
func TestLowestAndHighestIDsAreRead(t *testing.T) {
	t.Parallel()
	f := setup(t, shape{})
	f.exec(`INSERT INTO {t} (id, topic, key, payload) VALUES ($1, 't', 'k', '1'), ($2, 't', 'k', '1'), ($3, 't', 'k', '1')`,
		math.MinInt64, math.MinInt64+1, math.MaxInt64)
	_, s := f.lead()
	want := []int64{math.MinInt64, math.MinInt64 + 1, math.MaxInt64}
	req := request(f.begin(s))
	if got := ids(f.drain(s, req)); !slices.Equal(got, want) {
		t.Errorf("a pass brings %v", got)
	}
	v, err := s.Survey(t.Context(), req)
	if err != nil || !slices.Equal(ids(v.Rows), want) {
		t.Errorf("a survey brings %v, %v", ids(v.Rows), err)
	}
	// The application has scheduled them.
	f.exec(`UPDATE {t} SET available_at = now()`)
	if got := ids(f.readPass(s)); !slices.Equal(got, want) {
		t.Errorf("scheduled: a pass brings %v", got)
	}
}

// Scheduled rows that a pass has listed go at their place, also if the first of the list
// have gone meanwhile: a statement that is given a part of the list ends with it.
func TestScheduledRowsThatHaveGoneHideNoOthers(t *testing.T) {
	t.Parallel()
	f := setup(t, shape{})
	f.exec(`INSERT INTO {t} (topic, payload, available_at) SELECT 't', '1', now() - interval '1 hour' FROM generate_series(1, 30)`)
	f.exec(`INSERT INTO {t} (topic, payload) SELECT 't', '1' FROM generate_series(31, 60)`)
	_, s := f.lead()
	pass := f.begin(s)
	f.exec(`UPDATE {t} SET sent_at = now() WHERE id <= 10`)
	want := make([]int64, 50)
	for i := range want {
		want[i] = int64(i) + 11
	}
	req := request(pass)
	req.Rows = 10
	if got := ids(f.drain(s, req)); !slices.Equal(got, want) {
		t.Errorf("the pass brings %v", got)
	}
	req.Rows, req.ExcludeKeys = 10, []string{"held"}
	if got := ids(f.drain(s, req)); !slices.Equal(got, want) {
		t.Errorf("a pass that leaves a key out brings %v", got)
	}
}
