package postgres_test

import (
	"math"
	"os"
	"slices"
	"strconv"
	"testing"
)

func fill(f *fixture) {
	f.exec(`INSERT INTO {t} (topic, key, payload) SELECT 'orders.created', 'key-' || n % 1000,
		json_build_object('n', n, 'pad', repeat('x', 280)) FROM generate_series(1, 300000) AS n`)
	f.exec(`VACUUM ANALYZE {t}`)
}

func BenchmarkChunk(b *testing.B) {
	f := setup(b, shape{})
	fill(f)
	_, s := f.lead()
	b.ReportAllocs()
	rows := 0
	for b.Loop() {
		req := request(f.begin(s))
		req.Rows, req.Bytes = 8192, 64<<20
		for done := false; !done; {
			c := f.chunk(s, req)
			rows += len(c.Rows)
			req.After, done = c.Cursor, c.Done
		}
	}
	b.ReportMetric(float64(rows)/b.Elapsed().Seconds(), "rows/s")
}

func BenchmarkMark(b *testing.B) {
	f := setup(b, shape{})
	marked := 0
	for b.Loop() {
		b.StopTimer()
		f.exec(`TRUNCATE {t}`)
		fill(f)
		c, s := f.lead()
		all := refs(f.readPass(s))
		b.StartTimer()
		for batch := range slices.Chunk(all, 2048) {
			done, err := c.Mark(b.Context(), marks(batch...))
			if err != nil || len(done) != len(batch) {
				b.Fatalf("marked %d of %d: %v", len(done), len(batch), err)
			}
			marked += len(done)
		}
		b.StopTimer()
		c.Close()
		s.Close()
		b.StartTimer()
	}
	b.ReportMetric(float64(marked)/b.Elapsed().Seconds(), "marks/s")
}

// BenchmarkRead is what reading alone can do: the measure for BenchmarkChunk.
func BenchmarkRead(b *testing.B) {
	f := setup(b, shape{})
	fill(f)
	f.exec(`SET enable_seqscan = off`)
	f.exec(`SET jit = off`)
	rows := 0
	for b.Loop() {
		r := f.admin.PgConn().ExecParams(b.Context(), f.sql(`SELECT id, message_id, topic, key, content_type, headers, payload, created_at
			FROM {t} WHERE sent_at IS NULL AND dead_at IS NULL AND (available_at IS NULL OR attempts > 0) ORDER BY id`),
			nil, nil, nil, []int16{1, 1, 0, 0, 0, 0, 0, 1})
		for r.NextRow() {
			rows++
		}
		if _, err := r.Close(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(rows)/b.Elapsed().Seconds(), "rows/s")
}

// BenchmarkCensus prints the time of the database that one counting of a large backlog
// takes, and how far the number is off. ROWS is how many are pending: a million, if it is
// not set. A relay counts at most five times a minute; the bar is 50 ms a minute.
func BenchmarkCensus(b *testing.B) {
	pending := int64(1_000_000)
	if text := os.Getenv("ROWS"); text != "" {
		var err error
		if pending, err = strconv.ParseInt(text, 10, 64); err != nil {
			b.Fatal(err)
		}
	}
	f := setup(b, shape{})
	// Every fourth has been sent, so that they are to be estimated.
	f.exec(`INSERT INTO {t} (topic, payload, sent_at) SELECT 'x', '1', CASE WHEN i % 4 = 0 THEN now() END FROM generate_series(1, $1::bigint * 4 / 3) AS i`, pending)
	f.exec(`VACUUM ANALYZE {t}`)
	f.stats() // warm
	// Sessions report at their ends, and now and then.
	active := func() (ms float64) {
		if err := f.admin.QueryRow(b.Context(), `SELECT active_time FROM pg_stat_database WHERE datname = current_database()`).Scan(&ms); err != nil {
			b.Fatal(err)
		}
		return ms
	}
	var off float64
	before := active()
	n := 0
	for b.Loop() {
		got := f.stats().Due
		off = max(off, math.Abs(float64(got.Rows-pending))/float64(pending))
		n++
	}
	b.ReportMetric((active()-before)/float64(n), "database-ms/op")
	b.ReportMetric(100*off, "%-off-at-most")
}
