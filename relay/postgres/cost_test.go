package postgres_test

import (
	"testing"
)

func TestScheduledRowsOfTheFutureCostNothing(t *testing.T) {
	t.Parallel()
	f := setup(t, shape{})
	f.exec(`ALTER TABLE {t} SET (autovacuum_enabled = off)`)
	f.exec(`INSERT INTO {t} (topic, payload, available_at) SELECT 't', '1', now() + interval '30 days' FROM generate_series(1, 100000)`)
	f.exec(`ANALYZE {t}`)
	_, s := f.lead()
	before := f.settledBlocks()
	pass := f.begin(s)
	if len(pass.Scheduled) > 0 || pass.Bound != 100_000 {
		t.Errorf("%+v", pass)
	}
	if c := f.chunk(s, request(pass)); len(c.Rows) > 0 || !c.Done || c.Cursor < pass.Bound {
		t.Errorf("%+v", c)
	}
	s.Close() // which has its reads counted
	if read := f.blocksSince(before); read > 200 {
		t.Errorf("a pass over scheduled rows read %d blocks", read)
	}
}

// blocks is how many blocks of the table and its indexes have been asked for.
func (f *fixture) blocks() int64 {
	f.exec(`SELECT pg_stat_clear_snapshot()`)
	return f.value(`SELECT coalesce(heap_blks_read + heap_blks_hit + idx_blks_read + idx_blks_hit, 0)
		FROM pg_statio_all_tables WHERE relid = $1::text::regclass`, f.table.Quoted()).(int64)
}

// settledBlocks is blocks once what the test itself has read and written is
// counted. A server counts that late: PostgreSQL 14 every half second, later
// versions when a session has been idle for a second.
func (f *fixture) settledBlocks() int64 {
	f.t.Helper()
	before, same := f.blocks(), 0
	eventually(f.t, "what the test has done is counted", func() bool {
		now := f.blocks()
		if same++; now != before {
			before, same = now, 0
		}
		return before > 0 && same > 250
	})
	return before
}

// blocksSince is how many blocks a session that has ended has asked for.
func (f *fixture) blocksSince(before int64) int64 {
	f.t.Helper()
	var read int64
	eventually(f.t, "the session's reads are counted", func() bool { read = f.blocks() - before; return read > 0 })
	return read
}

// Never analyzed, the table seems to have a handful of pending rows, to be read
// all at once and sorted: for each chunk of a backlog of millions.
func TestChunkOfABacklogReadsNoMoreThanItsRows(t *testing.T) {
	t.Parallel()
	f := setup(t, shape{})
	f.exec(`ALTER TABLE {t} SET (autovacuum_enabled = off)`)
	f.exec(`INSERT INTO {t} (topic, payload) SELECT 't', '1' FROM generate_series(1, 50000)`)
	_, s := f.lead()
	req := request(f.begin(s))
	req.Rows = 100
	before := f.settledBlocks()
	if c := f.chunk(s, req); len(c.Rows) != 100 || c.Done {
		t.Fatalf("%d rows, done: %t", len(c.Rows), c.Done)
	}
	s.Close() // which has its reads counted
	if read := f.blocksSince(before); read > 200 {
		t.Errorf("100 rows read %d blocks", read)
	}
}

func TestPassOverSentRowsReadsNoneOfThem(t *testing.T) {
	t.Parallel()
	f := setup(t, shape{})
	f.exec(`ALTER TABLE {t} SET (autovacuum_enabled = off)`)
	f.exec(`ANALYZE {t}`) // of an empty table
	f.exec(`INSERT INTO {t} (topic, payload, sent_at) SELECT 't', '1', now() FROM generate_series(1, 50000)`)
	f.exec(`INSERT INTO {t} (topic, payload) SELECT 't', '1' FROM generate_series(1, 10)`)
	_, s := f.lead()
	before := f.settledBlocks()
	if rows := f.readPass(s); len(rows) != 10 {
		t.Fatalf("%d rows", len(rows))
	}
	s.Close()
	if read := f.blocksSince(before); read > 200 {
		t.Errorf("a pass over 10 pending rows read %d blocks", read)
	}
}
