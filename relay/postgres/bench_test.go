package postgres_test

import (
	"slices"
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
